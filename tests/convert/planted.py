"""Small models whose int8 form is known to fail, and where: built by hand, the same each time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from sightpost_convert.graph import pack

PX = 16
WIDTH = 256
Array = NDArray[np.float32]


def healthy() -> bytes:
    """Names the strongest of red, green and blue; int8 costs it nothing."""
    return model(*weights())


def weight_outlier() -> bytes:
    """One huge weight in every row of the last layer, on an input that is always 0.

    In float it does nothing. int8's scale for the row follows it, and all others round to 0:
    every picture gets the same scores. Biases cannot repair that; the layer in float does.
    """
    first, second, last = weights()
    last[:, WIDTH - 1] = 3e4
    return model(first, second, last)


def activation_outlier() -> bytes:
    """One huge activation that the next layer ignores: int8's scale for the tensor follows it."""
    first, second, last = weights()
    bias = np.zeros(WIDTH, np.float32)
    bias[WIDTH - 1] = 3e4
    return model(first, second, last, bias=bias)


def not_finite() -> bytes:
    """Scores are NaN for every picture."""
    first, second, last = weights()
    last[0, 0] = np.nan
    return model(first, second, last)


def weights() -> tuple[Array, Array, Array]:
    """Three dense layers that carry the colours' means through to the scores."""
    first, last = np.zeros((WIDTH, 3), np.float32), np.zeros((3, WIDTH), np.float32)
    for row, channel in enumerate((2, 1, 0)):  # labels in alphabetical order: blue, green, red
        first[row, channel] = 1.0
        last[row, row] = 6.0
    return first, np.eye(WIDTH, dtype=np.float32), last


def model(first: Array, second: Array, last: Array, *, bias: Array | None = None) -> bytes:
    """Mean over the picture, three dense layers, softmax; (1, 16, 16, 3) floats to (1, 3)."""
    build = _Build()
    image = build.tensor("image", (1, PX, PX, 3))
    axes = build.tensor("axes", (2,), np.array([1, 2], np.int32))
    flow = build.tensor("mean", (1, 3))
    build.step("MEAN", [image, axes], flow, "Reducer")
    for name, matrix in (("first", first), ("second", second), ("last", last)):
        offset = bias if name == "first" and bias is not None else np.zeros(len(matrix))
        inputs = [
            flow,
            build.tensor(f"net/{name}/weights", matrix.shape, matrix),
            build.tensor(f"net/{name}/bias", (len(matrix),), offset.astype(np.float32)),
        ]
        flow = build.tensor(f"net/{name}/out", (1, len(matrix)))
        build.step("FULLY_CONNECTED", inputs, flow, "FullyConnected")
    scores = build.tensor("scores", (1, len(last)))
    build.step("SOFTMAX", [flow], scores, "Softmax", beta=1.0)
    return build.finish([image], [scores])


class _Build:
    """A graph under construction: tensors by index, operators in order."""

    def __init__(self) -> None:
        self.graph = schema.ModelT()
        self.graph.version, self.graph.description = 3, b"planted"
        self.graph.buffers = [schema.BufferT()]
        self.graph.operatorCodes = []
        self.main = schema.SubGraphT()
        self.main.tensors, self.main.operators, self.main.name = [], [], b"main"

    def tensor(self, name: str, shape: Sequence[int], content: Any = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name.encode(), np.array(shape, np.int32), 0
        made.type = schema.TensorType.FLOAT32
        if content is not None:
            if content.dtype == np.int32:
                made.type = schema.TensorType.INT32
            data = np.frombuffer(np.ascontiguousarray(content).tobytes(), np.uint8)
            self.graph.buffers.append(schema.BufferT(data=data))
            made.buffer = len(self.graph.buffers) - 1
        self.main.tensors.append(made)
        return len(self.main.tensors) - 1

    def step(
        self, kind: str, inputs: Sequence[int], output: int, options: str, **fields: float
    ) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version = 1
        self.graph.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.graph.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), [output]
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
        operator.builtinOptions = getattr(schema, f"{options}OptionsT")()
        for name, value in fields.items():
            setattr(operator.builtinOptions, name, value)
        self.main.operators.append(operator)

    def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        self.main.inputs, self.main.outputs = inputs, outputs
        self.graph.subgraphs = [self.main]
        return pack(self.graph)
