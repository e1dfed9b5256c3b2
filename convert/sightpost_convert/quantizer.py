"""AI Edge Quantizer: every kind of quantization from one float .tflite, without TensorFlow."""

import contextlib
import io
import re
import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from sightpost_edge.native import quiet_native

from .graph import gathered, is_constant, unpack
from .ranges import Images, Ranges, measure
from .raw_bytes import with_raw_bytes

FLOAT_ACTIVATIONS = ("float16", "weights8", "dynamic")
DYNAMIC_LAYERS = ("CONV_2D", "FULLY_CONNECTED")
"""Depthwise layers stay in float: quantizing their input anew for each frame made MobileNetV2 0.35
2.5 times slower and the file 14 KB smaller."""


def wanted_tensors(model: bytes) -> dict[str, int]:
    """Every computed float tensor, name -> index: what int8 needs a range for."""
    graph = unpack(model)
    main = graph.subgraphs[0]
    used = {int(i) for op in main.operators for i in (*op.inputs, *op.outputs) if i >= 0}
    computed = [
        i
        for i in sorted(used)
        if main.tensors[i].type == schema.TensorType.FLOAT32 and not is_constant(graph, i)
    ]
    return {main.tensors[i].name.decode(): i for i in computed}


def find_ranges(model: bytes, samples: Images, method: str = "min/max") -> Ranges:
    """Ranges of every computed tensor; the image keeps its full range whatever the method."""
    main = unpack(model).subgraphs[0]
    ranges = measure(model, samples, wanted_tensors(model), method)
    image = main.tensors[main.inputs[0]].name.decode()
    ranges[image] = (float(min(s.min() for s in samples)), float(max(s.max() for s in samples)))
    return ranges


def quantize(
    model: bytes, kind: str, ranges: Ranges | None = None, *, keep: Collection[str] = (),
    only: str = "",
) -> bytes:  # fmt: skip
    """The float ``model`` as "float16", "weights8", "dynamic", "int8" or "int16x8".

    Args:
        model: a float32 FlatBuffer.
        kind: "int8" has uint8 borders, "int16x8" float ones.
        ranges: of ``find_ranges``, for the last two.
        keep: names of layers (their outputs) that stay in float.
        only: quantize this layer and leave all others in float.

    Raises:
        Exception: of many kinds, where the library cannot do it.
    """
    from ai_edge_quantizer import quantizer

    with quiet_native(), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        # It draws progress bars that no option switches off.
        # Channels whose weights are all zero have no scale; it warns while casting 0 / 0.
        warnings.simplefilter("ignore")
        work = quantizer.Quantizer(model)
        _add_recipe(work, kind, _scope(only) if only else ".*")
        for name in keep:
            _leave(work, _scope(name))
        done = work.quantize(
            _statistics(ranges) if kind not in FLOAT_ACTIVATIONS else None,
            enable_progress_bar=False, enable_progress_report=False,
        )  # fmt: skip
    made = gathered(bytes(done.quantized_model))
    return with_raw_bytes(made) if kind == "int8" and not only else made


def _scope(layer: str) -> str:
    """The library joins the names of a layer's outputs, each followed by a semicolon."""
    return f"^{re.escape(layer)};?$"


def _add_recipe(work: Any, kind: str, scope: str) -> None:
    if kind == "float16":
        from ai_edge_quantizer import qtyping

        half = qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(
                num_bits=16, dtype=qtyping.TensorDataType.FLOAT
            ),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        work.update_quantization_recipe(scope, "*", half, "float_casting")
    elif kind == "weights8":
        work.add_weight_only_config(scope, "*", 8)
    elif kind == "dynamic":
        for layer in DYNAMIC_LAYERS:
            work.add_dynamic_config(scope, layer, 8)
    else:
        work.add_static_config(scope, "*", 16 if kind == "int16x8" else 8, 8)
        if kind == "int16x8":
            _leave(work, scope, "INPUT")
            _leave(work, scope, "OUTPUT")


def _leave(work: Any, scope: str, operation: str = "*") -> None:
    work.update_quantization_recipe(scope, operation, algorithm_key="no_quantize")


def _statistics(ranges: Ranges | None) -> dict[str, dict[str, Any]]:
    """Ranges in the form that the library's own calibration returns."""
    found = ranges or {}
    return {
        name: {"min": np.full((1, 1), low, np.float32), "max": np.full((1, 1), high, np.float32)}
        for name, (low, high) in found.items()
    }
