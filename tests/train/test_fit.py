"""Training end to end on tiny photos, through the command line's own function."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightpost_edge.errors import ConfigError, TrainingError, WeightsUnavailable
from sightpost_train.augment import Batches, view
from sightpost_train.backbones import build_backbone
from sightpost_train.fit import logistic_head
from sightpost_train.recipe import TrainRecipe
from sightpost_train.training import run_training

from ..conftest import TrainedRun

pytestmark = pytest.mark.workshop

SMALL = {"width": 0.35, "input_px": 32}


@pytest.fixture(scope="module")
def photos(trained_run: TrainedRun) -> Path:
    return trained_run.photos


@pytest.fixture(scope="module")
def weights(trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local weights file, without top, from that run."""
    import keras

    path = tmp_path_factory.mktemp("weights") / "notop.weights.h5"
    model = keras.models.load_model(trained_run.path / "model.keras", compile=False)
    next(layer for layer in model.layers if isinstance(layer, keras.Model)).save_weights(path)
    return path


@pytest.fixture(scope="module")
def transfer(photos: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transfer-learning run."""
    out = tmp_path_factory.mktemp("runs") / "transfer"
    recipe = TrainRecipe(
        **SMALL, weights=str(weights), head_epochs=30, head_learning_rate=0.02,
        fine_tune_epochs=1, batch=8, patience=30,
    )  # fmt: skip
    run_training(photos, out, recipe)
    return out


def test_a_run_leaves_what_the_issue_of_trust_needs(transfer: Path) -> None:
    """Model, figures, curves, confusion matrix, history, split, recipe."""
    assert {p.name for p in transfer.iterdir()} == {
        "model.keras", "metrics.json", "history.csv", "curves.png", "confusion.png",
        "split.csv", "recipe.toml",
    }  # fmt: skip
    for picture in ("curves.png", "confusion.png"):
        assert cv2.imread(str(transfer / picture)).std() > 5


def test_metrics_tell_the_truth(transfer: Path) -> None:
    """Accuracy is that of the confusion matrix; per-class figures are there; so is the bar."""
    metrics = json.loads((transfer / "metrics.json").read_text())
    confusion = np.array(metrics["test"]["confusion"])
    assert metrics["test"]["accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())
    assert [row["label"] for row in metrics["test"]["classes"]] == ["blue", "green", "red"]
    assert {s["name"] for s in metrics["stages"]} == {
        "frozen head", "logistic regression", "fine-tuned",
    }  # fmt: skip
    kept = next(s for s in metrics["stages"] if s["name"] == metrics["kept"])
    assert kept["val_loss"] == min(s["val_loss"] for s in metrics["stages"])
    assert kept["test_accuracy"] == pytest.approx(metrics["test"]["accuracy"])
    assert len(metrics["dataset"]["fingerprint"]) == 64


def test_colours_are_learnt(transfer: Path) -> None:
    """Features that know colours give a head that does: the chain really trains."""
    assert json.loads((transfer / "metrics.json").read_text())["test"]["accuracy"] >= 0.9


def test_history_names_its_phases(transfer: Path) -> None:
    """Head first, then fine-tuning."""
    with (transfer / "history.csv").open() as file:
        phases = [row["phase"] for row in csv.DictReader(file)]
    assert phases[0] == "head"
    assert phases[-1] == "fine-tune"


def test_a_finished_run_is_not_overwritten(transfer: Path, photos: Path) -> None:
    """Hours of training are not lost to a repeated command."""
    before = (transfer / "model.keras").read_bytes()
    with pytest.raises(ConfigError, match="already holds a finished run"):
        run_training(photos, transfer, TrainRecipe(**SMALL, weights="none"))
    assert (transfer / "model.keras").read_bytes() == before


def test_from_scratch(trained_run: TrainedRun) -> None:
    """Without pretrained weights everything trains at once, and colours are learnt."""
    metrics = json.loads((trained_run.path / "metrics.json").read_text())
    assert metrics["kept"] == "from scratch"
    assert metrics["test"]["accuracy"] >= 0.8


def test_an_infinite_loss_stops_with_advice(photos: Path, tmp_path: Path) -> None:
    """A learning rate far too high: the advice names it."""
    recipe = TrainRecipe(**SMALL, weights="none", scratch_epochs=3, scratch_learning_rate=1e30)
    with pytest.raises(TrainingError, match="infinite") as caught:
        run_training(photos, tmp_path / "run", recipe)
    assert "learning rate" in caught.value.hint


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    """A wrong path, and a file for another width: both name what to do."""
    with pytest.raises(WeightsUnavailable, match="no weights file"):
        build_backbone("mobilenet_v2", weights=str(tmp_path / "none.h5"), **SMALL)


def test_weights_that_do_not_fit(weights: Path) -> None:
    """A file made for width 0.35 in a network of width 1.0."""
    with pytest.raises(WeightsUnavailable, match="does not fit") as caught:
        build_backbone("mobilenet_v2", width=1.0, input_px=32, weights=str(weights))
    assert "width" in caught.value.hint


def test_imagenet_weights_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network: the error names the alternatives."""
    import keras

    def unreachable(*args: object, **kw: object) -> str:
        raise OSError("URL fetch failure: Name or service not known")

    module = __import__("keras.src.applications.mobilenet_v2", fromlist=["file_utils"])
    monkeypatch.setattr(module.file_utils, "get_file", unreachable)
    assert keras
    with pytest.raises(WeightsUnavailable, match="cannot be had") as caught:
        build_backbone("mobilenet_v2", width=0.35, input_px=96, weights="imagenet")
    for way in ("internet", "--weights FILE", "--weights none"):
        assert way in caught.value.hint


def test_batch_norm_learns_fast_enough(weights: Path) -> None:
    """With Keras's 0.999 a short run from scratch validates at chance."""
    import keras

    model = build_backbone("mobilenet_v2", weights="none", **SMALL)
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert norms
    assert {layer.momentum for layer in norms} == {0.9}


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_becomes_a_softmax_layer(classes: int) -> None:
    """Its weights in a dense softmax layer give its own probabilities, for two classes too."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)).astype(np.float32)
    y = x[:, :classes].argmax(axis=1).astype(np.int64)
    stage, (kernel, bias) = logistic_head([x, x, x], [y, y, y], classes)
    logits = x @ kernel + bias
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    best = min(
        np.abs(LogisticRegression(C=c, max_iter=1000).fit(x, y).predict_proba(x) - softmax).max()
        for c in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    )
    assert best < 1e-4
    assert stage.val_accuracy > 0.8


def test_batches_are_reproducible_and_complete() -> None:
    """The same seed gives the same views; each photo comes once an epoch; epochs differ."""
    pixels = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2)
    pixels = pixels.repeat(3, 3)
    options = {"batch": 4, "seed": 3, "augment": "none", "mean": 0.0, "std": 1.0}
    first, second = (Batches(pixels, np.arange(10), **options) for _ in range(2))
    epoch = [first[i][1].tolist() for i in range(len(first))]
    assert sorted(target for batch in epoch for target in batch) == list(range(10))
    assert epoch == [second[i][1].tolist() for i in range(len(second))]
    first.on_epoch_end()
    assert epoch != [first[i][1].tolist() for i in range(len(first))]


@pytest.mark.parametrize("augment", ["none", "flips", "natural"])
def test_views_keep_shape_type_and_most_of_the_light(augment: str) -> None:
    """A view is still a photo of the same thing."""
    photo = np.random.default_rng(1).integers(60, 190, (32, 32, 3)).astype(np.uint8)
    for seed in range(20):
        seen = view(photo, augment, np.random.default_rng(seed))
        assert seen.shape == photo.shape
        assert seen.dtype == np.uint8
        assert abs(float(seen.mean()) - float(photo.mean())) < 45
