"""A .tflite as editable tables: read, look at its layers, change a few things, write."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from sightpost_edge.container import model_part
from sightpost_edge.errors import ModelError

ALIGNMENT = 16
"""Bytes: ``force_align`` of Buffer.data in TFLite's schema.fbs; the generated code forgets it."""
OPERATORS = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Where the output channels are in the weights of the layers that have some."""


@dataclass(frozen=True, slots=True)
class _Buffer:
    """Packs like the schema's BufferT, but on the boundary that aligned loads rely on."""

    data: NDArray[np.uint8] | None

    def Pack(self, builder: Any) -> int:
        """Called by ``ModelT.Pack``, hence the name."""
        if self.data is not None:
            builder.Prep(ALIGNMENT, self.data.size)
            vector = builder.CreateNumpyVector(self.data)
        schema.BufferStart(builder)
        if self.data is not None:
            schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


def refuse_other(model: bytes) -> None:
    """Take a bare FlatBuffer only: nothing appended, and the TFLite identifier in its place."""
    if model[4:8] != b"TFL3":
        raise ModelError(
            "this is no .tflite file (its identifier is missing)",
            hint="give the bytes that the TFLite converter returned",
        )
    if len(model_part(model)) != len(model):
        raise ModelError(
            "files are already appended to this model",
            hint="start from the converter's output: metadata first, then all files at once",
        )


def unpack(model: bytes) -> Any:
    """The model as the schema's ModelT; its arrays are views into ``model``."""
    refuse_other(model)
    try:
        graph = schema.ModelT.InitFromPackedBuf(model)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError) as exc:
        raise ModelError(
            f"the .tflite file is damaged or cut short ({exc})", hint="copy or convert it again"
        ) from exc
    if not graph.subgraphs or not graph.buffers:
        raise ModelError("the .tflite file holds no graph")
    # Readers take 0 and 1 for "not used". Such weights are found by absolute position, which any
    # insertion would shift.
    if graph.externalBuffers or any(b.offset > 1 or b.size > 1 for b in graph.buffers):
        raise ModelError("this model keeps weights outside its FlatBuffer: too large for a device")
    return graph


def gathered(model: bytes) -> bytes:
    """The same model with all weights inside its FlatBuffer.

    AI Edge Quantizer appends them behind it, which runtimes before LiteRT cannot read.
    """
    graph = schema.ModelT.InitFromPackedBuf(model)
    for buffer in graph.buffers:
        if buffer.offset > 1:
            content = model[buffer.offset : buffer.offset + buffer.size]
            buffer.data = np.frombuffer(content, np.uint8)
    return pack(graph)


def pack(graph: Any) -> bytes:
    """The FlatBuffer of a ModelT."""
    kept = graph.buffers
    weights = sum(buffer.data.size for buffer in kept if buffer.data is not None)
    builder = flatbuffers.Builder(weights + 65536)
    graph.buffers = [_Buffer(buffer.data) for buffer in kept]
    try:
        builder.Finish(graph.Pack(builder), b"TFL3")
    finally:
        graph.buffers = kept
    return bytes(builder.Output())


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator of the main graph; tensors by index.

    ``name`` is that of its first output, as the converter wrote it: long, and the quantizer's key.
    """

    index: int
    operator: str
    name: str
    inputs: tuple[int, ...]
    output: int

    @property
    def channel_axis(self) -> int | None:
        """Which axis of its weights counts output channels; None without weights."""
        return CHANNEL_AXIS.get(self.operator)

    @property
    def short_name(self) -> str:
        """What a person finds in the Keras summary: the scope of the first fused name."""
        parts = [part for part in self.name.split(";")[0].split("/") if part]
        return f"{parts[-2] if len(parts) > 1 else parts[-1]} ({self.operator.lower()})"


def layers(graph: Any) -> Iterator[Layer]:
    """The main graph's operators in the order in which they run."""
    main = graph.subgraphs[0]
    for index, operator in enumerate(main.operators):
        code = graph.operatorCodes[operator.opcodeIndex]
        kind = OPERATORS.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")
        output = int(operator.outputs[0])
        inputs = tuple(map(int, operator.inputs))
        name = (main.tensors[output].name or b"").decode(errors="replace")
        yield Layer(index, kind, name, inputs, output)


def is_constant(graph: Any, tensor: int) -> bool:
    """Whether the file holds the tensor's content; an empty buffer holds none."""
    data = graph.buffers[graph.subgraphs[0].tensors[tensor].buffer].data
    return data is not None and data.size > 0


def constant(graph: Any, tensor: int) -> NDArray[np.float32] | None:
    """A copy of a float32 constant in its shape; None for a computed tensor or another type."""
    if tensor < 0:
        return None
    described = graph.subgraphs[0].tensors[tensor]
    data = graph.buffers[described.buffer].data
    if not is_constant(graph, tensor) or described.type != schema.TensorType.FLOAT32:
        return None
    return np.frombuffer(bytes(data), np.float32).reshape(described.shape).copy()


def set_constant(graph: Any, tensor: int, values: NDArray[np.float32]) -> None:
    """Replace a float32 constant; a buffer that other tensors use as well stays theirs."""
    described = graph.subgraphs[0].tensors[tensor]
    users = sum(t.buffer == described.buffer for s in graph.subgraphs for t in s.tensors)
    if users > 1:
        graph.buffers.append(schema.BufferT())
        described.buffer = len(graph.buffers) - 1
    content = np.ascontiguousarray(values, np.float32).tobytes()
    graph.buffers[described.buffer] = schema.BufferT(data=np.frombuffer(content, np.uint8))


def complete(model: bytes) -> bytes:
    """The same model with what the format leaves optional and the quantizer wants.

    Every tensor gets a name of its own, and where there is no signature one is made: "image" in,
    "scores" out, further outputs by number.
    """
    graph = unpack(model)
    main = graph.subgraphs[0]
    changed = _name_tensors(main)
    if not graph.signatureDefs:
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
        signature.inputs = [_border(b"image", main.inputs[0])]
        signature.outputs = [
            _border(b"scores" if i == 0 else b"output_%d" % i, tensor)
            for i, tensor in enumerate(main.outputs)
        ]
        graph.signatureDefs = [signature]
        changed = True
    return pack(graph) if changed else model


def _name_tensors(main: Any) -> bool:
    """Number the tensors that have no name or one that another has; whether there were any."""
    seen: set[bytes] = set()
    changed = False
    for index, tensor in enumerate(main.tensors):
        if not tensor.name or tensor.name in seen:
            tensor.name = b"%s_%d" % (tensor.name or b"tensor", index)
            changed = True
        seen.add(tensor.name)
    return changed


def _border(name: bytes, tensor: int) -> Any:
    border = schema.TensorMapT()
    border.name, border.tensorIndex = name, int(tensor)
    return border


def ending_at(graph: Any, layer: Layer) -> bytes:
    """The model cut off behind ``layer``, whose output becomes the only one."""
    main = graph.subgraphs[0]
    whole = main.operators, main.outputs, graph.signatureDefs
    main.operators, main.outputs = main.operators[: layer.index + 1], [layer.output]
    graph.signatureDefs = None
    try:
        return pack(graph)
    finally:
        main.operators, main.outputs, graph.signatureDefs = whole
