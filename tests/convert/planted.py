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


def refused_weight() -> bytes:
    """As ``weight_outlier``, but so huge that XNNPACK refuses the int8 layer altogether."""
    first, second, last = weights()
    last[:, WIDTH - 1] = 1e6
    return model(first, second, last)


def overflowing() -> bytes:
    """A weight beyond float16's greatest number, on an input that is always 0."""
    first, second, last = weights()
    second[WIDTH - 1, WIDTH - 1] = 1e6
    return model(first, second, last)


def never(label: int) -> bytes:
    """As ``healthy``, but it never gives this label."""
    offset = np.zeros(3, np.float32)
    offset[label] = -100.0
    return model(*weights(), offset=offset)


def several() -> bytes:
    """A score of its own for each colour: any of them may be in a picture."""
    return model(*weights(), several=True)


def cnn(seed: int = 3) -> bytes:
    """Convolution, depthwise convolution, mean, dense, softmax; random weights."""
    draw = np.random.default_rng(seed)
    build = _Build()
    image = build.tensor("image", (1, PX, PX, 3))
    flow = build.tensor("net/conv/out", (1, 8, 8, 8))
    relu = schema.ActivationFunctionType.RELU6
    stride = {"strideW": 2, "strideH": 2, "dilationWFactor": 1, "dilationHFactor": 1}
    spatial = {**stride, "padding": schema.Padding.SAME, "fusedActivationFunction": relu}
    inputs = [image, *build.weights("net/conv", draw.normal(0, 0.4, (8, 3, 3, 3)))]
    build.step("CONV_2D", inputs, flow, "Conv2D", **spatial)
    inputs = [flow, *build.weights("net/depth", draw.normal(0, 0.5, (1, 3, 3, 8)))]
    flow = build.tensor("net/depth/out", (1, 4, 4, 8))
    build.step("DEPTHWISE_CONV_2D", inputs, flow, "DepthwiseConv2D", depthMultiplier=1, **spatial)
    axes = build.tensor("axes", (2,), np.array([1, 2], np.int32))
    mean = build.tensor("mean", (1, 8))
    build.step("MEAN", [flow, axes], mean, "Reducer")
    inputs = [mean, *build.weights("net/dense", draw.normal(0, 2, (3, 8)))]
    logits = build.tensor("net/dense/out", (1, 3))
    build.step("FULLY_CONNECTED", inputs, logits, "FullyConnected")
    scores = build.tensor("scores", (1, 3))
    build.step("SOFTMAX", [logits], scores, "Softmax", beta=1.0)
    return build.finish([image], [scores])


def model(
    first: Array, second: Array, last: Array,
    *, bias: Array | None = None, offset: Array | None = None, several: bool = False,
) -> bytes:  # fmt: skip
    """Mean over the picture, three dense layers, softmax; (1, 16, 16, 3) floats to (1, 3).

    ``bias`` is the first layer's, ``offset`` the last one's.
    """
    build = _Build()
    image = build.tensor("image", (1, PX, PX, 3))
    axes = build.tensor("axes", (2,), np.array([1, 2], np.int32))
    flow = build.tensor("mean", (1, 3))
    build.step("MEAN", [image, axes], flow, "Reducer")
    given = {"first": bias, "last": offset}
    for name, matrix in (("first", first), ("second", second), ("last", last)):
        inputs = [flow, *build.weights(f"net/{name}", matrix, given.get(name))]
        flow = build.tensor(f"net/{name}/out", (1, len(matrix)))
        build.step("FULLY_CONNECTED", inputs, flow, "FullyConnected")
    scores = build.tensor("scores", (1, len(last)))
    if several:
        build.step("LOGISTIC", [flow], scores)
    else:
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

    def weights(self, scope: str, matrix: Any, bias: Any = None) -> list[int]:
        """A layer's weights and its bias, 0 unless given."""
        channels = matrix.shape[3] if matrix.shape[0] == 1 else matrix.shape[0]
        offset = np.zeros(channels) if bias is None else bias
        return [
            self.tensor(f"{scope}/weights", matrix.shape, matrix.astype(np.float32)),
            self.tensor(f"{scope}/bias", (channels,), offset.astype(np.float32)),
        ]

    def step(
        self, kind: str, inputs: Sequence[int], output: int, options: str = "", **fields: float
    ) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version = 1
        self.graph.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.graph.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), [output]
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
            operator.builtinOptions = getattr(schema, f"{options}OptionsT")()
        for name, value in fields.items():
            setattr(operator.builtinOptions, name, value)
        self.main.operators.append(operator)

    def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        self.main.inputs, self.main.outputs = inputs, outputs
        self.graph.subgraphs = [self.main]
        return pack(self.graph)
