"""The ranking finds the layer that was planted, and leaves out those that do nothing."""

import numpy as np
import pytest

from sightpost_convert import layers as module
from sightpost_convert.graph import complete
from sightpost_convert.layers import PHOTOS, Hurt, rank_layers, steps, worst_first
from sightpost_convert.quantizer import find_ranges
from sightpost_convert.ranges import images
from sightpost_edge.contract import Contract
from sightpost_edge.pixels import Geometry
from sightpost_edge.testing import TINY_LABELS

from . import planted
from .courtroom import photos_of

pytestmark = pytest.mark.workshop

SHOWN = photos_of(*[[label] for label in TINY_LABELS * 4]).pixels
CONTRACT = Contract(TINY_LABELS, Geometry(planted.PX, planted.PX))


def ranked(model: bytes, photos: np.ndarray = SHOWN) -> list[Hurt]:
    signed = complete(model)
    ranges = find_ranges(signed, images(SHOWN, mean=127.5, std=127.5))
    return list(rank_layers(signed, ranges, CONTRACT, photos))


def test_the_planted_layer_comes_first() -> None:
    """The layer with the outlier moves the scores by far the most."""
    first, *others = worst_first(ranked(planted.weight_outlier()))
    assert first.layer == "last (fully_connected)"
    assert first.name == "net/last/out"
    assert first.moved > 0.3
    assert all(one.moved < 0.1 * first.moved for one in others)


def test_layers_come_in_graph_order() -> None:
    """All that can be quantized alone, small movements included."""
    found = [one.layer for one in ranked(planted.cnn())]
    assert found == [
        "conv (conv_2d)", "depth (depthwise_conv_2d)", "mean (mean)", "dense (fully_connected)",
        "scores (softmax)",
    ]  # fmt: skip


def test_a_healthy_model_has_hardly_any() -> None:
    """Nothing moves the scores by more than a few steps of int8."""
    assert all(one.moved < 0.02 for one in ranked(planted.healthy()))


def test_scores_that_are_no_numbers_count_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN must not look like a small change."""
    honest = module.answers

    def broken(model: bytes, contract: Contract, photos: np.ndarray) -> object:
        found = honest(model, contract, photos)
        if model != complete(planted.healthy()):
            found.scores[:] = np.nan
        return found

    monkeypatch.setattr(module, "answers", broken)
    assert min(one.moved for one in ranked(planted.healthy())) > 0.3


def test_not_more_photos_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many validation photos the first 48."""
    counts: list[int] = []
    honest = module.answers

    def counted(model: bytes, contract: Contract, photos: np.ndarray) -> object:
        counts.append(len(photos))
        return honest(model, contract, photos)

    monkeypatch.setattr(module, "answers", counted)
    ranked(planted.healthy(), np.repeat(SHOWN, 10, axis=0))
    assert set(counts) == {PHOTOS}


def test_harmless_layers_are_left_out() -> None:
    """The worst first, those below a quarter of a step of int8 not at all."""
    some = [Hurt("a", "a", 0.01), Hurt("b", "b", 0.0005), Hurt("c", "c", 0.4)]
    assert [one.layer for one in worst_first(some)] == ["c", "a"]


@pytest.mark.parametrize(("count", "found"), [(0, []), (1, [1]), (3, [1, 2]), (9, [1, 2, 4, 8])])
def test_steps_double(count: int, found: list[int]) -> None:
    assert steps(count) == found
