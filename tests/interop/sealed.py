"""MobileNetV1 0.25 on ImageNet, sealed as ``convert`` seals, and photos to show it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightpost_edge import pixels
from sightpost_edge.contract import Contract

SIZE_PX = 128
PHOTOS = 100
KINDS = ("float32", "int8", "two heads")
GOLDEN_TOLERANCE = {"float32": 0.005, "int8": 0.1}
"""As ``convert`` writes them."""


def photo_paths(data: Path) -> list[Path]:
    """A hundred photos of all five flowers."""
    paths = sorted((data / "flowers5").rglob("*.jpg"))
    return paths[:: len(paths) // PHOTOS][:PHOTOS]


def fitted_photos(data: Path) -> NDArray[np.uint8]:
    """(100, 128, 128, 3) uint8, R,G,B, fitted as on the device."""
    geometry = pixels.Geometry(SIZE_PX, SIZE_PX)
    return np.stack([pixels.fit(pixels.read_photo(path), geometry) for path in photo_paths(data)])


def imagenet_labels(data: Path) -> tuple[str, ...]:
    """The 1,000 names in Keras order; the file counts "background" first."""
    text = (data / "weights" / "imagenet_labels.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines()[1:])


def network(data: Path) -> Any:
    """The Keras model with the outputs "scores" and "embedding"; the converter swaps them."""
    import keras

    weights = data / "weights" / f"mobilenet_v1_0.25_{SIZE_PX}.weights.h5"
    shape = (SIZE_PX, SIZE_PX, 3)
    net = keras.applications.MobileNet(alpha=0.25, input_shape=shape, weights=weights)
    pooling = keras.layers.GlobalAveragePooling2D
    pooled = next(layer for layer in net.layers if isinstance(layer, pooling)).output
    embedding = keras.layers.Flatten()(pooled)
    return keras.Model(net.input, {"scores": net.output, "embedding": embedding})


def export(net: Any, heads: Sequence[str], folder: Path) -> None:
    """A SavedModel with the outputs named.

    ExportArchive, because a tf.Module that holds a Keras 3 model is saved without its variables.
    """
    import keras
    import tensorflow as tf

    def serve(image: Any) -> dict[str, Any]:
        outputs = net(image, training=False)
        return {head: outputs[head] for head in heads}

    archive = keras.export.ExportArchive()
    archive.track(net)
    image = tf.TensorSpec((1, *net.input_shape[1:]), tf.float32, name="image")
    archive.add_endpoint("serve", serve, input_signature=[image])
    archive.write_out(str(folder), verbose=False)


def converted(saved: Path, calibration: NDArray[np.uint8] | None) -> bytes:
    """The SavedModel as .tflite; uint8 in and out where photos are given for its ranges."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: samples(calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    return bytes(converter.convert())


def samples(photos: NDArray[np.uint8]) -> Iterator[list[NDArray[np.float32]]]:
    """Photos as the network sees them; the first holds both ends: an input scale of 1/127.5."""
    for index, photo in enumerate(photos):
        sample = photo[None].astype(np.float32) / 127.5 - 1
        if index == 0:
            sample[0, 0, :2] = [[-1] * 3, [1] * 3]
        yield [sample]


def seal_all(data: Path, folder: Path, kinds: Sequence[str] = KINDS) -> dict[str, Path]:
    """A Bundle of each kind, as ``convert`` writes them; "two heads" adds the embedding."""
    from sightpost_convert.seal import Provenance, seal

    net, photos, labels = network(data), fitted_photos(data), imagenet_labels(data)
    golden = [(path.stem, pixels.read_photo(path)) for path in photo_paths(data)[::20]]
    paths = {}
    for kind in kinds:
        heads = ["scores", "embedding"] if "two heads" in kind else ["scores"]
        number = "int8" if "int8" in kind else "float32"
        paths[kind] = folder / f"{kind.replace(' ', '-')}.tflite"
        export(net, heads, folder / kind)
        model = converted(folder / kind, photos if number == "int8" else None)
        geometry = pixels.Geometry(SIZE_PX, SIZE_PX)
        contract = Contract(
            labels, geometry, kind=number, golden_tolerance=GOLDEN_TOLERANCE[number]
        )
        seal(model, contract, golden, Provenance("interop", {}, {}), paths[kind])
    return paths


def same_label(ours: NDArray[np.float32], theirs: NDArray[np.float32], tie: float) -> bool:
    """Whether (classes,) scores name one label; labels closer than ``tie`` are equally right."""
    return bool(ours[theirs.argmax()] >= ours.max() - tie)


def report(reporter: Any, folder: str) -> None:
    """Print what the tests of a folder measured, where that folder was asked for."""
    if not any(f"tests/{folder}" in argument for argument in reporter.config.args):
        return
    for test in reporter.getreports("passed"):
        if test.when == "call" and f"tests/{folder}/" in test.nodeid:
            for name, figure in test.user_properties:
                reporter.write_line(f"{name}: {figure}")
