"""From a trained Keras model to a float32 .tflite with two outputs, and TensorFlow's own int8."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightpost_edge.errors import ConversionRefused, first_line
from sightpost_edge.native import quiet_native

from .ranges import Images

HEAD = "scores"
"""The name of the layer whose output are the scores and whose input is the embedding."""
CHILD = "import sys; from sightpost_convert.export import child; child(*sys.argv[1:])"
TENSORFLOW_MB = 2500
"""Memory that a second TensorFlow takes while it converts MobileNetV2 1.0."""


def save(model: Any, folder: Path) -> None:
    """A Keras classifier as SavedModel: one image in, "scores" and "embedding" out.

    Batch size 1: the device classifies one frame at a time, and a fixed shape is what XNNPACK
    plans its memory for. The outputs are named, since the converter reorders them.
    """
    import keras
    import tensorflow as tf

    height, width = model.input_shape[1:3]
    heads = {"scores": model.output}
    if any(layer.name == HEAD for layer in model.layers):
        heads["embedding"] = model.get_layer(HEAD).input
    both = keras.Model(model.input, heads)

    def serve(image: Any) -> dict[str, Any]:
        found = both(image, training=False)
        return {name: found[name] for name in heads}

    archive = keras.export.ExportArchive()
    archive.track(both)
    signature = [tf.TensorSpec((1, height, width, 3), tf.float32, name="image")]
    archive.add_endpoint("serve", serve, input_signature=signature)
    archive.write_out(str(folder), verbose=False)


def float_model(saved: Path) -> bytes:
    """The SavedModel as a float32 FlatBuffer.

    Raises:
        ConversionRefused: TensorFlow cannot convert it.
    """
    import tensorflow as tf

    with quiet_native():
        try:
            return bytes(tf.lite.TFLiteConverter.from_saved_model(str(saved)).convert())
        except Exception as exc:
            raise ConversionRefused(
                f"TensorFlow cannot convert this model ({first_line(exc)})",
                hint="layers outside of TFLite's operators cannot run on the device",
            ) from exc


class Int8Conversion:
    """TensorFlow's full int8 conversion in a process of its own, beside everything else.

    Its calibration of 200 photos takes longer than all other candidates together.
    """

    def __init__(self, saved: Path, samples: Images) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sightpost-")
        self._saved = saved
        np.save(self._path("samples.npy"), np.stack(samples))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, without waiting."""
        words = [str(self._saved), str(self._path("samples.npy")), str(self._path("int8.tflite"))]
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD, *words],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip

    def result(self) -> tuple[bytes, str]:
        """The FlatBuffer, or nothing and why."""
        if self._process is None:
            self.start()
        assert self._process is not None
        _, errors = self._process.communicate()
        path = self._path("int8.tflite")
        if self._process.returncode == 0 and path.exists():
            return path.read_bytes(), ""
        lines: Sequence[str] = errors.decode(errors="replace").strip().splitlines()
        return b"", lines[-1][:200] if lines else f"exit code {self._process.returncode}"

    def close(self) -> None:
        """End what still runs and remove the files."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stderr:
                self._process.stderr.close()
        self._folder.cleanup()

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / name


def child(saved: str, samples: str, out: str) -> None:
    """What the process does: int8 weights and activations, uint8 borders."""
    import tensorflow as tf

    images = np.load(samples)
    converter = tf.lite.TFLiteConverter.from_saved_model(saved)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ({"image": image} for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    Path(out).write_bytes(converter.convert())
