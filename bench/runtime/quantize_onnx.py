"""Quantizes an ONNX file with onnxruntime's own tool, as its documentation advises for CPUs.

    python -m bench.runtime.quantize_onnx FLOAT32 CALIBRATION OUT

Run with the Python of ``.venv-peers``. CALIBRATION is (N, 224, 224, 3) uint8, R,G,B, as .npy.
"""

import sys

import numpy as np
import onnxruntime  # type: ignore[import-not-found]
from onnxruntime.quantization import (  # type: ignore[import-not-found]
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)


class Photos(CalibrationDataReader):  # type: ignore[misc]
    """Gives the calibration photos one by one, as onnxruntime asks for them."""

    def __init__(self, path: str, name: str) -> None:
        pixels = np.load(path).transpose(0, 3, 1, 2).astype(np.float32)
        self._rows = iter([{name: (row[None] - 127.5) / 127.5} for row in pixels])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """One photo as the network takes it, or None after the last."""
        return next(self._rows, None)


def main(model: str, calibration: str, out: str) -> None:
    """Static quantization, QDQ, 8 bits both ways, a scale for each channel."""
    name = onnxruntime.InferenceSession(model).get_inputs()[0].name
    quantize_static(
        model, out, Photos(calibration, name), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
