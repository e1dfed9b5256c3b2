"""The TFLite interpreter as one small object: raw pixels in, probabilities out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ContractMismatch, MissingExtra, ModelError
from .native import quiet_native
from .records import Pixels, Scores


def interpreter_class() -> Any:
    """LiteRT's Interpreter, or tflite-runtime's on images too old for LiteRT."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as exc:
            raise MissingExtra(
                "no TFLite runtime is installed",
                hint="pip install ai-edge-litert (or tflite-runtime with numpy<2 on 32-bit boards)",
            ) from exc
    return Interpreter


class Network:
    """A loaded graph with one image input and one row of class scores.

    ``input_shape`` is (height, width); ``classes`` the number of scores. Not thread-safe: one
    interpreter per thread.
    """

    def __init__(self, model: bytes, *, threads: int = 1) -> None:
        self._interpreter = _load(model, threads)
        self._input, self._output = _tensors(self._interpreter)
        _, height, width, _ = self._input["shape"]
        self.input_shape = (int(height), int(width))
        self.classes = int(self._output["shape"][-1])
        self._tables: dict[tuple[float, float], NDArray[Any] | None] = {}

    @property
    def input_dtype(self) -> str:
        """ "uint8", "int8" or "float32"."""
        return str(np.dtype(self._input["dtype"]).name)

    def scores(self, pixels: Pixels, *, mean: float, std: float) -> Scores:
        """Run the graph once.

        Args:
            pixels: (height, width, 3) uint8, R,G,B, as ``pixels.fit`` made them.
            mean, std: the contract's normalisation, in grey levels.

        Returns:
            (classes,) float32, probabilities in label order.
        """
        table = self._table(mean, std)
        filled = pixels if table is None else table[pixels]
        self._interpreter.set_tensor(self._input["index"], filled[None])
        self._interpreter.invoke()
        raw = self._interpreter.get_tensor(self._output["index"]).reshape(-1)
        return _dequantize(raw, self._output["quantization"])

    def _table(self, mean: float, std: float) -> NDArray[Any] | None:
        """What each grey level becomes at the input; None where raw bytes go in untouched."""
        key = (mean, std)
        if key not in self._tables:
            self._tables[key] = _levels(self._input, mean, std)
        return self._tables[key]


def _load(model: bytes, threads: int) -> Any:
    cls = interpreter_class()
    try:
        with quiet_native():
            interpreter = cls(model_content=model, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as exc:
        raise ModelError(
            f"the TFLite runtime refuses this file ({str(exc).strip().splitlines()[0]})",
            hint="is it a .tflite, and was it copied whole?",
        ) from exc
    return interpreter


def _tensors(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The image input and the scores output: by signature name where there is one."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(inputs[0]["shape"]) != 4 or inputs[0]["shape"][-1] != 3:
        raise ContractMismatch("the model does not take one RGB image")
    output = outputs[0]
    for signature in interpreter.get_signature_list().values():
        if "scores" in signature["outputs"] and len(outputs) > 1:
            runner = interpreter.get_signature_runner()
            index = runner.get_output_details()["scores"]["index"]
            output = next(o for o in outputs if o["index"] == index)
    if np.dtype(output["dtype"]) not in (np.float32, np.uint8, np.int8):
        raise ContractMismatch(f"the model's output type {np.dtype(output['dtype']).name} is odd")
    if len(output["shape"]) != 2 or output["shape"][0] != 1 or inputs[0]["shape"][0] != 1:
        raise ContractMismatch("the model does not give one row of class scores")
    return inputs[0], output


def _levels(tensor: dict[str, Any], mean: float, std: float) -> NDArray[Any] | None:
    """Quantise by the tensor's own scale: round, clip, cast (a bare cast loses half a step)."""
    levels = (np.arange(256, dtype=np.float64) - mean) / std
    dtype = np.dtype(tensor["dtype"])
    if dtype == np.float32:
        return levels.astype(np.float32)
    if dtype not in (np.uint8, np.int8):
        raise ContractMismatch(f"the model's input type {dtype.name} is not supported")
    scale, zero_point = tensor["quantization"]
    if not scale:
        raise ContractMismatch("the model's input is quantized but states no scale")
    info = np.iinfo(dtype)
    table = np.clip(np.rint(levels / scale + zero_point), info.min, info.max).astype(dtype)
    # Half a step of zero point (127 or 128 for a mean of 127.5) is not worth a table look-up.
    untouched = dtype == np.uint8 and np.abs(table.astype(int) - np.arange(256)).max() <= 1
    return None if untouched else table


def _dequantize(raw: NDArray[Any], quantization: tuple[float, int]) -> Scores:
    if raw.dtype == np.float32:
        return raw.copy()
    scale, zero_point = quantization
    return ((raw.astype(np.float32) - zero_point) * scale).astype(np.float32)
