"""Quantization-aware fine-tuning on a toy net with everything that the MobileNets are made of."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from sightpost_convert.export import child, save
from sightpost_convert.ranges import images
from sightpost_edge.errors import TrainingError
from sightpost_edge.interpreter import Network, interpreter_class
from sightpost_edge.kerasfile import refuse_hostile
from sightpost_edge.testing import COLOURS, colour
from sightpost_train import quantlayers
from sightpost_train.quantaware import calibrate, finish, prepare

pytestmark = pytest.mark.workshop

layers = keras.layers
MEAN = STD = 127.5
PX = 16

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


def scaled(pixels: Pixels) -> Floats:
    return (pixels.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)


def toy_backbone() -> Any:
    """Padded and strided, depthwise, squeeze and excite, hard-swish, a shortcut: 8 channels."""
    image = keras.Input((PX, PX, 3))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(image)
    x = layers.Conv2D(8, 3, 2, use_bias=False)(x)
    x = stem = layers.Activation("hard_swish")(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(scale=False)(x))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="relu")(gate)
    gate = layers.ReLU(6.0)(layers.Conv2D(8, 1)(gate) + 3.0) * (1.0 / 6.0)
    x = layers.Multiply()([x, gate])
    x = layers.BatchNormalization(center=False)(layers.Conv2D(8, 1)(x))
    x = layers.ReLU()(layers.Add()([stem, x]))
    return keras.Model(image, layers.GlobalAveragePooling2D()(x), name="backbone")


def toy_model(activation: str = "softmax") -> Any:
    """The backbone nested between a fixed first kernel and a head; statistics as if trained."""
    keras.utils.set_random_seed(1)
    backbone = toy_backbone()
    image = keras.Input((PX, PX, 3), name="image")
    tint = layers.Conv2D(3, 1, use_bias=False, trainable=False, name="tint")(image)
    x = layers.Dropout(0.2)(backbone(tint))
    model = keras.Model(image, layers.Dense(3, activation=activation, name="scores")(x))
    rng = np.random.default_rng(1)
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            shapes = {v.name: v.shape for v in layer.weights}
            layer.set_weights([
                rng.normal(0, 0.3, shape) if "m" in name[-4:] or "beta" in name
                else rng.uniform(0.5, 1.5, shape)
                for name, shape in shapes.items()
            ])  # fmt: skip
    return model


def photos(per_class: int) -> tuple[Pixels, NDArray[np.int64]]:
    """(n, 16, 16, 3) uint8 and their classes: colours, half of them faint."""
    pictures, targets = [], []
    for index in range(per_class):
        for target, name in enumerate(COLOURS):
            picture = colour(name, width=PX + index, height=PX)[:, index:].astype(np.float32)
            faint = 128 + (picture - 128) * (0.3 if index % 2 else 1.0)
            pictures.append(np.clip(faint, 0, 255).astype(np.uint8))
            targets.append(target)
    return np.stack(pictures), np.array(targets, np.int64)


def ready(model: Any) -> Any:
    """Prepared and calibrated."""
    prepared = prepare(model, mean=MEAN, std=STD)
    pixels, _ = photos(10)
    calibrate(prepared, [scaled(pixels[:15]), scaled(pixels[15:])])
    return prepared


def int8_file(model: Any, calibration: Pixels | None = None) -> bytes:
    """As TensorFlow's converter makes it for convert; without calibration photos black ones, so
    that any range taken from them would be wrong."""
    black = np.zeros((4, PX, PX, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The converter calibrates with TensorFlow's own, deprecated interpreter.
        warnings.simplefilter("ignore")
        paths = [str(Path(folder) / name) for name in ("saved", "samples.npy", "out.tflite")]
        save(model, Path(paths[0]))
        np.save(paths[1], images(black if calibration is None else calibration, mean=MEAN, std=STD))
        child(*paths)
        return Path(paths[2]).read_bytes()


def device_scores(flatbuffer: bytes, pixels: Pixels) -> Floats:
    network = Network(flatbuffer)
    return np.stack([network.scores(photo, mean=MEAN, std=STD) for photo in pixels])


def fit(model: Any, epochs: int, rate: float) -> None:
    pixels, targets = photos(30)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(scaled(pixels), targets, epochs=epochs, batch_size=15, verbose=0)


@pytest.fixture(scope="module")
def trained() -> Any:
    """A float classifier that tells the colours apart."""
    model = toy_model()
    fit(model, 25, 1e-2)
    return model


@pytest.fixture(scope="module")
def tuned(trained: Any) -> Any:
    """The same after quantization-aware fine-tuning, still with its special layers."""
    prepared = ready(trained)
    fit(prepared, 2, 1e-4)
    return prepared


@pytest.fixture(scope="module")
def flatbuffer(tuned: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the converter makes of it after saving and loading: convert runs in its own process."""
    path = tmp_path_factory.mktemp("run") / "model.keras"
    finish(tuned).save(path)
    refuse_hostile(path)
    return int8_file(keras.models.load_model(path, compile=False))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_before_rounding_it_is_the_same_network(
    activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folded batch norms change nothing but the last bits."""
    model = toy_model(activation)
    x = scaled(photos(4)[0])
    monkeypatch.setattr(quantlayers, "rounded_kernel", lambda layer: layer.kernel)
    monkeypatch.setattr(
        quantlayers.TrackedRange, "call", lambda self, values, training=False: values
    )
    prepared = prepare(model, mean=MEAN, std=STD)
    assert not any(isinstance(x, (layers.BatchNormalization, keras.Model)) for x in prepared.layers)
    # The input is rounded by an operation that stays: half a grey level.
    assert np.abs(np.asarray(prepared(x)) - np.asarray(model(x))).max() < 3e-3
    rounded = keras.quantizers.fake_quant_with_min_max_vars(x, -1.0, 1.0)
    assert np.abs(np.asarray(prepared(x)) - np.asarray(model(rounded))).max() < 1e-5
    assert np.asarray(model(x)).std() > 0.01


def test_the_file_is_int8_through_and_through(flatbuffer: bytes) -> None:
    """No float anywhere; a camera's bytes go in untouched; one QUANTIZE at each end."""
    interpreter = interpreter_class()(model_content=flatbuffer)
    interpreter.allocate_tensors()
    kinds = {np.dtype(t["dtype"]).name for t in interpreter.get_tensor_details()}
    assert kinds == {"int8", "int32", "uint8"}
    scale, zero_point = interpreter.get_input_details()[0]["quantization"]
    assert scale == pytest.approx(1 / 127.5, rel=1e-6)
    assert zero_point in (127, 128)
    assert (1 / 256, 0) in [o["quantization"] for o in interpreter.get_output_details()]


def test_the_device_decides_as_training_measured(tuned: Any, flatbuffer: bytes) -> None:
    """What the fake-quantized network says in Keras is what the whole numbers say."""
    pixels, targets = photos(40)
    device = device_scores(flatbuffer, pixels)
    simulated = tuned.predict(scaled(pixels), verbose=0)
    assert (device.argmax(1) == simulated.argmax(1)).mean() >= 0.97
    assert np.abs(device - simulated).mean() < 0.02
    assert (device.argmax(1) == targets).mean() >= 0.9


def test_kernels_lie_on_the_grid_that_the_converter_finds(tuned: Any) -> None:
    """At most 255 steps per output channel, and rounding them again changes nothing."""
    kernels = 0
    for layer in finish(tuned).layers:
        if hasattr(layer, "kernel"):
            kernel = np.asarray(layer.kernel).reshape(-1, quantlayers.channels(layer))
            step = np.abs(kernel).max(axis=0) / 127
            assert np.abs(kernel / step - np.rint(kernel / step)).max() < 1e-3
            kernels += 1
    assert kernels == 7


def test_training_moves_what_it_should(trained: Any) -> None:
    """Ranges and every kernel, but no fixed one, and nothing of the float run; judging moves
    nothing."""
    float_weights = trained.get_weights()
    prepared = ready(trained)
    names = [v.path for v in prepared.weights]
    before = prepared.get_weights()
    prepared.predict(np.full((2, PX, PX, 3), 5, np.float32), verbose=0)
    assert all(map(np.array_equal, before, prepared.get_weights()))
    fit(prepared, 1, 1e-3)
    pairs = zip(names, before, prepared.get_weights(), strict=True)
    still = {name for name, a, b in pairs if np.array_equal(a, b)}
    assert {name for name in still if "kernel" in name} == {"tint/kernel"}
    assert {name for name in names if name.endswith("high")} - still
    assert all(map(np.array_equal, float_weights, trained.get_weights()))


def test_it_repairs_what_plain_int8_breaks() -> None:
    """Channels of very unequal range (Nagel et al. 2019, arXiv:1906.04721): one scale for all of
    them leaves the smaller ones a step or two, until training makes them larger."""
    keras.utils.set_random_seed(1)
    image = keras.Input((PX, PX, 3), name="image")
    x = layers.ReLU()(layers.Conv2D(8, 3, 2, name="first")(image))
    x = layers.ReLU()(layers.Conv2D(16, 3, 2, name="second")(x))
    scores = layers.Dense(3, activation="softmax", name="scores")
    model = keras.Model(image, scores(layers.GlobalAveragePooling2D()(x)))
    fit(model, 25, 1e-2)
    stretch = 2.0 ** np.linspace(0, 12, 8)
    stretch /= stretch.mean()
    first, second = (model.get_layer(name) for name in ("first", "second"))
    first.set_weights([w * stretch for w in first.get_weights()])
    kernel, bias = second.get_weights()
    second.set_weights([kernel / stretch[:, None], bias])

    plain = int8_file(model, photos(10)[0])
    prepared = ready(model)
    fit(prepared, 8, 1e-3)
    pixels, targets = photos(40)
    assert (np.asarray(model(scaled(pixels))).argmax(1) == targets).mean() >= 0.99
    assert (device_scores(plain, pixels).argmax(1) == targets).mean() < 0.9
    mended = device_scores(int8_file(finish(prepared)), pixels)
    assert (mended.argmax(1) == targets).mean() >= 0.97


def leaky(x: Any) -> Any:
    return layers.LeakyReLU(name="odd")(x)


def lonely_norm(x: Any) -> Any:
    return layers.BatchNormalization(name="odd")(layers.ReLU()(x))


def curved(x: Any) -> Any:
    return layers.Conv2D(4, 1, activation="gelu", name="odd")(x)


def clipped(x: Any) -> Any:
    return layers.ReLU(3.0, name="odd")(x)


@pytest.mark.parametrize("odd", [leaky, lonely_norm, curved, clipped])
def test_a_layer_that_is_not_known(odd: Callable[[Any], Any]) -> None:
    """Named, before anything is trained."""
    image = keras.Input((PX, PX, 3), name="image")
    x = layers.GlobalAveragePooling2D()(odd(layers.Conv2D(4, 1)(image)))
    with pytest.raises(TrainingError, match="does not know layer odd") as caught:
        prepare(keras.Model(image, x), mean=MEAN, std=STD)
    assert "MobileNets" in caught.value.hint


def test_it_must_be_calibrated(trained: Any) -> None:
    """Without ranges nothing can be saved."""
    with pytest.raises(TrainingError, match="no ranges") as caught:
        finish(prepare(trained, mean=MEAN, std=STD))
    assert "calibrate" in caught.value.hint


def test_another_backend(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The converter knows TensorFlow's fake quantization only."""
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(TrainingError, match="needs Keras on TensorFlow, not jax"):
        prepare(trained, mean=MEAN, std=STD)


def test_interrupted_training_goes_on(tuned: Any, trained: Any, tmp_path: Path) -> None:
    """Weights and ranges travel through a weights file."""
    tuned.save_weights(tmp_path / "kept.weights.h5")
    other = prepare(trained, mean=MEAN, std=STD)
    other.load_weights(tmp_path / "kept.weights.h5")
    x = scaled(photos(2)[0])
    assert np.array_equal(np.asarray(other(x)), np.asarray(tuned(x)))
