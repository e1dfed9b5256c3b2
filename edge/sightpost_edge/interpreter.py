"""The TFLite interpreter as one small object: raw pixels in, probabilities and embedding out."""

import importlib
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import ContractMismatch, MissingExtra, ModelError, first_line
from .extras import is_absent, unloadable
from .machine import RUNTIMES
from .native import quiet_native
from .records import Pixels, Scores


def interpreter_class() -> Any:
    """LiteRT's Interpreter, or tflite-runtime's on images too old for LiteRT.

    Raises:
        MissingExtra: neither is installed.
        LibraryError: one is, and cannot be loaded.
    """
    broken: tuple[str, Exception] | None = None
    for package in RUNTIMES:
        try:
            return importlib.import_module(f"{package}.interpreter").Interpreter
        except Exception as exc:  # noqa: BLE001 - a library may raise anything while it is loaded
            if not is_absent(exc, package):
                broken = broken or (package, exc)
    if broken is not None:
        raise unloadable(*broken) from broken[1]
    raise MissingExtra(
        "no TFLite runtime is installed",
        hint="pip install ai-edge-litert (or tflite-runtime with numpy<2 on 32-bit boards)",
    )


class Outputs(NamedTuple):
    """What a network makes of a picture: (classes,) and, where it has that output, (features,)."""

    scores: Scores
    embedding: NDArray[np.float32] | None


class Network:
    """A loaded graph with one image input, one row of class scores and perhaps an embedding.

    ``input_shape`` is (height, width); ``classes`` the number of scores; ``features`` the length of
    the embedding, 0 without one; ``threads`` what the interpreter was given. Not thread-safe: one
    interpreter per thread.
    """

    def __init__(self, model: bytes, *, threads: int = 1, delegate: str = "xnnpack") -> None:
        self._made_of = (model, threads, delegate)
        self.threads = threads
        self._interpreter = _load(model, threads, delegate)
        self._input, self._output, self._embedding = _tensors(self._interpreter)
        _, height, width, _ = self._input["shape"]
        self.input_shape = (int(height), int(width))
        self.classes = int(self._output["shape"][-1])
        self.features = int(self._embedding["shape"][-1]) if self._embedding else 0
        self._tables: dict[tuple[float, float], NDArray[Any] | None] = {}

    def twin(self) -> "Network":
        """The same graph in an interpreter of its own, for another thread.

        The model's bytes are shared: the runtime reads the weights from them.
        """
        model, threads, delegate = self._made_of
        return Network(model, threads=threads, delegate=delegate)

    @property
    def input_dtype(self) -> str:
        """ "uint8", "int8" or "float32"."""
        return str(np.dtype(self._input["dtype"]).name)

    @property
    def input_quantization(self) -> tuple[float, int]:
        """Scale and zero point of the input; (0, 0) for floats."""
        scale, zero_point = self._input["quantization"]
        return float(scale), int(zero_point)

    def scores(self, pixels: Pixels, *, mean: float, std: float) -> Scores:
        """The probabilities of ``outputs`` alone, (classes,) float32 in label order."""
        return self.outputs(pixels, mean=mean, std=std).scores

    def outputs(self, pixels: Pixels, *, mean: float, std: float) -> Outputs:
        """Run the graph once.

        Args:
            pixels: (height, width, 3) uint8, R,G,B, as ``pixels.fit`` made them.
            mean, std: the contract's normalisation, in grey levels.
        """
        table = self._table(mean, std)
        filled = pixels if table is None else table[pixels]
        self._interpreter.set_tensor(self._input["index"], filled[None])
        try:
            self._interpreter.invoke()
        except RuntimeError as exc:
            raise ModelError(
                f"the TFLite runtime cannot run this model ({first_line(exc)})",
                hint="sightpost inspect checks the file; convert it again",
            ) from exc
        scores = self._read(self._output)
        return Outputs(scores, self._read(self._embedding) if self._embedding else None)

    def _read(self, tensor: dict[str, Any]) -> NDArray[np.float32]:
        raw = self._interpreter.get_tensor(tensor["index"]).reshape(-1)
        return _dequantize(raw, tensor["quantization"])

    def _table(self, mean: float, std: float) -> NDArray[Any] | None:
        """What each grey level becomes at the input; None where raw bytes go in untouched."""
        key = (mean, std)
        if key not in self._tables:
            self._tables[key] = _levels(self._input, mean, std)
        return self._tables[key]


def _load(model: bytes, threads: int, delegate: str) -> Any:
    cls = interpreter_class()
    options = {"model_content": model, "num_threads": threads}
    if delegate == "none":
        resolver = sys.modules[cls.__module__].OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        options["experimental_op_resolver_type"] = resolver
    try:
        with quiet_native():
            interpreter = cls(**options)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as exc:
        raise ModelError(
            f"the TFLite runtime refuses this file ({first_line(exc)})",
            hint="is it a .tflite, and was it copied whole?",
        ) from exc
    return interpreter


def _tensors(
    interpreter: Any,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    """The image input, the scores and the embedding: by signature name where there is one."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(inputs[0]["shape"]) != 4 or inputs[0]["shape"][-1] != 3:
        raise ContractMismatch("the model does not take one RGB image")
    named = _named(interpreter, outputs)
    output, embedding = named.get("scores", outputs[0]), named.get("embedding")
    if np.dtype(output["dtype"]) not in (np.float32, np.uint8, np.int8):
        raise ContractMismatch(f"the model's output type {np.dtype(output['dtype']).name} is odd")
    if len(output["shape"]) != 2 or output["shape"][0] != 1 or inputs[0]["shape"][0] != 1:
        raise ContractMismatch("the model does not give one row of class scores")
    if embedding is not None and (len(embedding["shape"]) != 2 or embedding["shape"][0] != 1):
        raise ContractMismatch("the model's embedding is not one row")
    return inputs[0], output, embedding


def _named(interpreter: Any, outputs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Outputs by their names in the first signature: converters may reorder them."""
    keys = list(interpreter.get_signature_list())
    if len(outputs) < 2 or not keys:
        return {}
    details = interpreter.get_signature_runner(keys[0]).get_output_details()
    places = {output["index"]: output for output in outputs}
    return {
        name: places[int(tensor["index"])]
        for name, tensor in details.items()
        if int(tensor["index"]) in places
    }


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
