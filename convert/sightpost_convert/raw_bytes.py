"""uint8 borders for an int8 model: MediaPipe and rpicam take no int8, and cameras give uint8."""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from .graph import OPERATORS, pack, unpack

SHIFT = 128
"""int8 and uint8 of the same scale differ by this zero point."""


def with_raw_bytes(model: bytes) -> bytes:
    """The same model with each int8 input and output as uint8 of the same scale.

    As TensorFlow's converter does it: a QUANTIZE operator at either end, which only shifts by 128.
    Borders of other types stay.
    """
    graph = unpack(model)
    main = graph.subgraphs[0]
    main.inputs, main.outputs = list(main.inputs), list(main.outputs)
    code = _operator_code(graph)
    for place, tensor in enumerate(main.inputs):
        if _is_int8(main, tensor):
            main.inputs[place] = _twin(graph, int(tensor))
            main.operators.insert(0, _quantize(code, main.inputs[place], tensor))
            _rename(graph, "inputs", int(tensor), int(main.inputs[place]))
    for place, tensor in enumerate(main.outputs):
        if _is_int8(main, tensor):
            main.outputs[place] = _twin(graph, int(tensor))
            main.operators.append(_quantize(code, tensor, main.outputs[place]))
            _rename(graph, "outputs", int(tensor), int(main.outputs[place]))
    return pack(graph)


def _is_int8(main: Any, tensor: int) -> bool:
    return bool(main.tensors[tensor].type == schema.TensorType.INT8)


def _operator_code(graph: Any) -> int:
    """The index of QUANTIZE among the model's operator codes, added where it is missing."""
    for index, code in enumerate(graph.operatorCodes):
        if OPERATORS.get(code.builtinCode) == "QUANTIZE":
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 2
    graph.operatorCodes.append(code)
    return len(graph.operatorCodes) - 1


def _twin(graph: Any, tensor: int) -> int:
    """A uint8 tensor of the same scale; its index."""
    main = graph.subgraphs[0]
    source = main.tensors[tensor]
    twin = schema.TensorT()
    twin.name, twin.shape, twin.shapeSignature = source.name, source.shape, source.shapeSignature
    twin.type, twin.buffer = schema.TensorType.UINT8, 0
    twin.quantization = schema.QuantizationParametersT()
    twin.quantization.scale = source.quantization.scale
    twin.quantization.zeroPoint = [int(source.quantization.zeroPoint[0]) + SHIFT]
    source.name = source.name + b"_int8"
    main.tensors.append(twin)
    return len(main.tensors) - 1


def _quantize(code: int, source: int, sink: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, [int(source)], [int(sink)]
    operator.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    operator.builtinOptions = schema.QuantizeOptionsT()
    return operator


def _rename(graph: Any, side: str, old: int, new: int) -> None:
    """Let every signature point to the new border."""
    for signature in graph.signatureDefs or ():
        for border in getattr(signature, side):
            if border.tensorIndex == old:
                border.tensorIndex = new
