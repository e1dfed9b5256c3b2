"""Bias correction: weights on int8's grid, and each channel's mean where it was before."""

from typing import Any

import numpy as np
import pytest

from sightpost_convert.bias import LEVELS, corrected, on_grid
from sightpost_convert.graph import constant, layers, pack, set_constant, unpack
from sightpost_convert.ranges import images, values
from sightpost_edge.testing import TINY_LABELS

from . import planted
from .courtroom import photos_of

pytestmark = pytest.mark.workshop

PHOTOS = photos_of(*[[label] for label in TINY_LABELS * 4]).pixels
SAMPLES = images(PHOTOS, mean=127.5, std=127.5)
LAYERS = ("net/conv/out", "net/depth/out", "net/dense/out")


def coarse() -> bytes:
    """A network in which rounding shifts means: one large weight a channel, the rest small."""
    graph = unpack(planted.cnn())
    for layer in layers(graph):
        if layer.channel_axis is not None:
            weights = constant(graph, layer.inputs[1])
            assert weights is not None
            scale = np.moveaxis(weights, layer.channel_axis, 0).reshape(weights.shape[3]
                if layer.channel_axis == 3 else weights.shape[0], -1)  # fmt: skip
            scale[:, 0] = 40.0
            moved = scale.reshape(np.moveaxis(weights, layer.channel_axis, 0).shape)
            set_constant(graph, layer.inputs[1], np.moveaxis(moved, 0, layer.channel_axis) / 40)
    return pack(graph)


def means(model: bytes) -> dict[str, Any]:
    """Per channel, of every layer with weights."""
    wanted = {layer.name: layer.output for layer in layers(unpack(model)) if layer.name in LAYERS}
    seen = list(values(model, SAMPLES, wanted))
    return {name: np.mean([one[name].reshape(-1, one[name].shape[-1]).mean(axis=0) for one in seen],
                          axis=0) for name in wanted}  # fmt: skip


def rounded(model: bytes) -> bytes:
    """On the grid, biases as they were."""
    graph = unpack(model)
    for layer in layers(graph):
        weights = constant(graph, layer.inputs[1]) if layer.channel_axis is not None else None
        if weights is not None:
            set_constant(graph, layer.inputs[1], on_grid(weights, layer.channel_axis))
    return pack(graph)


def test_the_means_move_back() -> None:
    """Behind a dense layer exactly; where a ReLU cuts off part of the shift, most of the way."""
    model = coarse()
    target, plain, found = means(model), means(rounded(model)), means(corrected(model, SAMPLES))
    for name in LAYERS:
        before, after = (np.abs(one[name] - target[name]).mean() for one in (plain, found))
        assert before > 1e-3, name
        assert after < (1e-5 if name == "net/dense/out" else 0.75 * before), name


def test_a_planted_shift_is_repaired() -> None:
    """All small weights of a channel round to 0; the bias takes over what they gave on average."""
    first, second, last = planted.weights()
    last[:] = 0.003
    last[:, planted.WIDTH - 1] = 3.0  # on an input that is always 0
    bias = np.ones(planted.WIDTH, np.float32)
    bias[planted.WIDTH - 1] = 0
    model = planted.model(first, second, last, bias=bias)
    graph = unpack(corrected(model, SAMPLES))
    dense = list(layers(graph))[3]
    weights, repaired = constant(graph, dense.inputs[1]), constant(graph, dense.inputs[2])
    assert weights is not None
    assert not weights[:, : planted.WIDTH - 1].any()
    wanted = means_of(model, "net/last/out")
    np.testing.assert_allclose(repaired, wanted, rtol=1e-4)
    assert wanted.min() > 0.5


def means_of(model: bytes, name: str) -> Any:
    output = next(layer.output for layer in layers(unpack(model)) if layer.name == name)
    return np.mean([found[name][0] for found in values(model, SAMPLES, {name: output})], axis=0)


@pytest.mark.parametrize(("shape", "axis"), [((8, 3, 3, 3), 0), ((1, 3, 3, 8), 3), ((3, 8), 0)])
def test_the_grid(shape: tuple[int, ...], axis: int) -> None:
    """At most 255 levels a channel, symmetric, the greatest weight exact, rounding to the next."""
    weights = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    found = on_grid(weights, axis)
    assert found.dtype == np.float32
    for before, after in zip(np.moveaxis(weights, axis, 0), np.moveaxis(found, axis, 0),
                             strict=True):  # fmt: skip
        scale = np.abs(before).max() / LEVELS
        levels = after / scale
        np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
        assert np.abs(levels).max() == pytest.approx(LEVELS)
        assert np.abs(after - before).max() <= scale / 2 * 1.001
    np.testing.assert_allclose(on_grid(found, axis), found, rtol=1e-6)


def test_a_channel_of_zeros_stays() -> None:
    """No scale, no NaN."""
    assert not on_grid(np.zeros((4, 5), np.float32), 0).any()


def test_kept_layers_stay_as_training_left_them() -> None:
    """Neither weights nor bias of a kept layer are touched; the others are on the grid."""
    model = coarse()
    before, after = unpack(model), unpack(corrected(model, SAMPLES, keep=["net/depth/out"]))
    for layer in layers(before):
        for tensor in layer.inputs[1:] if layer.channel_axis is not None else ():
            same = np.array_equal(constant(before, tensor), constant(after, tensor))
            assert same == (layer.name == "net/depth/out"), layer.name


def test_a_layer_without_bias_is_rounded_all_the_same() -> None:
    """Input -1 stands for an absent bias."""
    graph = unpack(coarse())
    dense = graph.subgraphs[0].operators[3]
    dense.inputs = [dense.inputs[0], dense.inputs[1], -1]
    found = unpack(corrected(pack(graph), SAMPLES))
    weights = constant(found, int(dense.inputs[1]))
    np.testing.assert_allclose(on_grid(weights, 0), weights, rtol=1e-6)
