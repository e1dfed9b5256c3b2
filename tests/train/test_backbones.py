"""The table of networks: every row builds, and what cannot be built is named early."""

from pathlib import Path

import numpy as np
import pytest

from sightpost_edge.errors import ConfigError, WeightsUnavailable
from sightpost_train.backbones import BACKBONES, build_backbone
from sightpost_train.model import OUTPUT, build
from sightpost_train.recipe import TrainRecipe

pytestmark = pytest.mark.workshop


@pytest.mark.parametrize("name", BACKBONES)
def test_every_row_builds(name: str) -> None:
    """At odd widths and small sizes, from scaled photos to pooled features, with our momentum."""
    import keras

    model = build_backbone(name, width=0.5, input_px=48, weights="none")
    out = model.predict_on_batch(np.zeros((2, 48, 48, 3), np.float32))
    assert out.ndim == 2
    assert np.isfinite(out).all()
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert {layer.momentum for layer in norms} == {0.9}


@pytest.mark.parametrize("name", [name for name in BACKBONES if "v3" not in name])
def test_rows_called_safe_have_no_swish(name: str) -> None:
    """What the table says of int8 is what the graph holds."""
    assert BACKBONES[name].int8.startswith("safe")
    assert "hard_silu" not in build_backbone(name, width=0.5, input_px=48, weights="none").to_json()


def test_the_v3_rows_differ_where_int8_hurts() -> None:
    """Hard-swish in the full ones, none in the minimalistic ones."""
    for name in ("mobilenet_v3_small", "mobilenet_v3_large"):
        full = build_backbone(name, width=1.0, input_px=48, weights="none").to_json()
        minimal = build_backbone(f"{name}_minimalistic", width=1.0, input_px=48, weights="none")
        assert "hard_silu" in full
        assert "hard_silu" not in minimal.to_json()
        assert BACKBONES[name].int8.startswith("at risk")


def test_weights_load_into_the_small_network(tmp_path: Path) -> None:
    """A file of its own weights gives its own features."""
    first = build_backbone("small_cnn", width=0.5, input_px=32, weights="none")
    first.save_weights(tmp_path / "cnn.weights.h5")
    second = build_backbone(
        "small_cnn", width=0.5, input_px=32, weights=str(tmp_path / "cnn.weights.h5")
    )
    photos = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    assert np.array_equal(first.predict_on_batch(photos), second.predict_on_batch(photos))


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    """A file made for one width in a network of another."""
    narrow = build_backbone("mobilenet_v2", width=0.35, input_px=32, weights="none")
    narrow.save_weights(tmp_path / "narrow.weights.h5")
    with pytest.raises(WeightsUnavailable, match="does not fit") as caught:
        build_backbone(
            "mobilenet_v2", width=1.0, input_px=32, weights=str(tmp_path / "narrow.weights.h5")
        )
    assert "width" in caught.value.hint


def test_weights_that_are_not_there() -> None:
    """A wrong path names what to do."""
    with pytest.raises(WeightsUnavailable, match="no weights file"):
        build_backbone("mobilenet_v2", width=0.35, input_px=32, weights="none.h5")


def test_hostile_weights_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    """A link out of the file: named, and nothing outside is read."""
    import h5py

    path = tmp_path / "evil.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/hostname", "/x")
    with pytest.raises(WeightsUnavailable, match="'/layers' is a link"):
        build_backbone("mobilenet_v2", width=0.35, input_px=32, weights=str(path))


def test_imagenet_weights_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network: the error names the alternatives."""

    def unreachable(*args: object, **kw: object) -> str:
        raise OSError("URL fetch failure: Name or service not known")

    module = __import__("keras.src.applications.mobilenet_v2", fromlist=["file_utils"])
    monkeypatch.setattr(module.file_utils, "get_file", unreachable)
    with pytest.raises(WeightsUnavailable, match="cannot be had") as caught:
        build_backbone("mobilenet_v2", width=0.35, input_px=96, weights="imagenet")
    for way in ("internet", "--weights FILE", "--weights none"):
        assert way in caught.value.hint


def test_widths_without_imagenet_weights_are_named() -> None:
    """Before Keras says it in its own words."""
    with pytest.raises(ConfigError, match="no ImageNet weights of width") as caught:
        TrainRecipe(backbone="mobilenet_v3_small", width=0.35)
    assert "0.75" in caught.value.hint


@pytest.mark.parametrize("multi_label", [False, True])
def test_heads(multi_label: bool) -> None:
    """Scores of one photo sum to one, or stand each for itself."""
    recipe = TrainRecipe(weights="none", width=0.35, input_px=32)
    backbone = build_backbone("mobilenet_v2", width=0.35, input_px=32, weights="none")
    model = build(recipe, backbone, 4, multi_label=multi_label)
    layer = model.get_layer(OUTPUT)
    layer.set_weights([layer.get_weights()[0] * 0, np.array([2, 2, 2, 2], np.float32)])
    scores = model.predict_on_batch(np.zeros((1, 32, 32, 3), np.float32))
    assert np.allclose(scores, 0.8808 if multi_label else 0.25, atol=1e-3)


def test_greyscale_sees_no_colour() -> None:
    """Two colours of one luminance look the same; the border still takes R,G,B."""
    recipe = TrainRecipe(weights="none", width=0.35, input_px=32, greyscale=True)
    backbone = build_backbone("mobilenet_v2", width=0.35, input_px=32, weights="none")
    model = build(recipe, backbone, 3, multi_label=False)
    red, grey = np.zeros((2, 1, 32, 32, 3), np.float32)
    red[..., 0], grey[...] = 1.0, 0.299
    assert np.allclose(model.predict_on_batch(red), model.predict_on_batch(grey), atol=1e-5)
