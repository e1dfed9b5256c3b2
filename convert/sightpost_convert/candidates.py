"""The same network in several number formats: float32, float16, dynamic-range and full int8."""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightpost_edge.errors import ConversionRefused
from sightpost_edge.native import quiet_native
from sightpost_edge.records import Pixels

KINDS = ("float32", "float16", "dynamic", "int8")

TOLERANCES = {"float32": 0.005, "float16": 0.02, "dynamic": 0.1, "int8": 0.1}
"""How far a golden score may be off on another machine. Whole-number arithmetic is exact, but the
kernels are not the same everywhere: with and without XNNPACK int8 scores were seen 0.09 apart."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One converted FlatBuffer, not yet judged; ``failure`` says why there is none."""

    kind: str
    model: bytes = field(repr=False)
    failure: str = ""


def export(model: Any, folder: Path) -> None:
    """A Keras classifier as SavedModel with one image in and an output named "scores".

    Batch size 1: the device classifies one frame at a time, and a fixed shape is what XNNPACK
    plans its memory for.
    """
    import keras
    import tensorflow as tf

    height, width = model.input_shape[1:3]

    def serve(image: Any) -> dict[str, Any]:
        return {"scores": model(image, training=False)}

    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec((1, height, width, 3), tf.float32, name="image")]
    archive.add_endpoint("serve", serve, input_signature=signature)
    archive.write_out(str(folder), verbose=False)


def convert_all(
    model: Any, calibration: Pixels, *, mean: float, std: float, kinds: Sequence[str] = KINDS
) -> Iterator[Candidate]:
    """Convert to each kind, one after the other.

    Args:
        model: a Keras classifier, (1, h, w, 3) scaled floats to (1, classes).
        calibration: (n, h, w, 3) uint8 photos of every class, for the ranges of int8.
        mean, std: the contract's normalisation in grey levels.
    """
    with tempfile.TemporaryDirectory(prefix="sightpost-") as folder:
        with quiet_native():
            export(model, Path(folder))
        for kind in kinds:
            # Not around the yield: what others write to stderr meanwhile must be seen.
            with quiet_native(), warnings.catch_warnings():
                # TensorFlow's converter calibrates with its own, deprecated interpreter.
                warnings.simplefilter("ignore")
                candidate = _convert(kind, folder, calibration, mean, std)
            yield candidate


def _convert(kind: str, saved: str, calibration: Pixels, mean: float, std: float) -> Candidate:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(saved)
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "int8":
        converter.representative_dataset = lambda: representative(calibration, mean, std)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.uint8
    try:
        return Candidate(kind, bytes(converter.convert()))
    except Exception as exc:  # noqa: BLE001 - the converter raises many kinds; one bad kind is not the end
        return Candidate(kind, b"", str(exc).strip().splitlines()[0])


def representative(
    calibration: Pixels, mean: float, std: float
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Calibration photos as the network sees them; each also holds the darkest and lightest level.

    With exactly 0 and 255 seen, the input's scale is exactly 1 / std and its zero point 127 or 128,
    so a camera's bytes go in untouched. Without, it came out as 0.9966 of that.
    """
    if not len(calibration):
        raise ConversionRefused("no calibration photos", hint="the run's train split is empty")
    for photo in calibration:
        image = (photo[None].astype(np.float32) - np.float32(mean)) / np.float32(std)
        image[0, 0, 0, :] = (0 - mean) / std
        image[0, 0, 1, :] = (255 - mean) / std
        yield {"image": image}
