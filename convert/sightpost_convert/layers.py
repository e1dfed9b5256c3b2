"""Which layers hurt when they are quantized, and the mixed model that leaves those in float."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from sightpost_edge.contract import Contract
from sightpost_edge.errors import SightpostError
from sightpost_edge.records import Pixels, Scores

from .bulk import answers
from .graph import Layer, layers, unpack
from .quantizer import quantize
from .ranges import Ranges

PHOTOS = 48
"""Enough to rank layers: twice as many swapped neighbours in the ranking and changed no mixed
model's verdict."""

NOTHING = 0.001
"""A quarter of int8's own step in a score."""


@dataclass(frozen=True, slots=True)
class Hurt:
    """How far one layer moves the scores when it alone is quantized to int8.

    ``moved`` is the mean over photos of the greatest change of any score, 0 to 1. ``name`` is the
    quantizer's key, ``layer`` what a person finds in the Keras summary.
    """

    layer: str
    name: str
    moved: float


def rank_layers(model: bytes, ranges: Ranges, contract: Contract, photos: Pixels) -> Iterator[Hurt]:
    """Each layer's own damage, in graph order; (n, h, w, 3) photos, the first 48 are used.

    One layer at a time is quantized, weights and borders, and the rest left in float: errors of
    layers in front do not count against those behind.
    """
    some = photos[:PHOTOS]
    reference = answers(model, contract, some).scores
    for layer in layers(unpack(model)):
        moved = _alone(model, ranges, contract, some, reference, layer)
        if moved is not None:
            yield Hurt(layer.short_name, layer.name, moved)


def _alone(
    model: bytes, ranges: Ranges, contract: Contract, photos: Pixels, reference: Scores,
    layer: Layer,
) -> float | None:  # fmt: skip
    """None where the quantizer cannot do it alone; 1 where the runtime refuses the result."""
    try:
        changed = quantize(model, "int8", ranges, only=layer.name)
    except Exception:  # noqa: BLE001 - the library raises many kinds
        return None
    try:
        scores = answers(changed, contract, photos).scores
    except SightpostError:
        return 1.0
    difference = np.abs(np.nan_to_num(scores, nan=1.0) - reference).max(axis=1)
    return float(difference.mean())


def steps(count: int) -> list[int]:
    """How many layers to leave in float, few first: 1, 2, 4 ... as far as there are."""
    found, size = [], 1
    while size <= count:
        found.append(size)
        size *= 2
    return found


def worst_first(hurt: Iterable[Hurt]) -> list[Hurt]:
    """The ranking, the most harmful first, without those that do nothing."""
    return sorted((one for one in hurt if one.moved > NOTHING), key=lambda one: -one.moved)
