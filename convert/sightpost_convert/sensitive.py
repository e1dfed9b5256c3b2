"""Which pictures become golden frames: those near a decision, which the slightest error tips."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sightpost_edge.pixels import Geometry
from sightpost_edge.records import Pixels, Scores

MOST = 30
"""Golden frames in a Bundle: about half a megabyte at 224 pixels."""
FLAT_GREY = 128
CELL = 4
"""Pixels: single ones would make the noise the largest part of a small Bundle."""


def choose_rows(
    scores: Scores, truth: NDArray[np.bool_], tolerance: float, *, multi_label: bool = False
) -> list[int]:
    """Photos near a decision boundary, one of each class, the nearest first.

    A photo whose two best scores are closer than twice the tolerance is passed over where its class
    has others, and comes last where not: a good device may name it either way.

    Args:
        scores: (n, classes) of the chosen candidate.
        truth: (n, classes), which labels apply.
        tolerance: how far a score may be off on another machine.
        multi_label: several labels may apply, each from 0.5 on.
    """
    margin = _margins(scores, multi_label=multi_label)
    steady = margin > 2 * tolerance
    chosen: list[int] = []
    for label in range(truth.shape[1]):
        mine = np.flatnonzero(truth[:, label])
        mine = mine[np.argsort(margin[mine], kind="stable")]
        ordered = [*mine[steady[mine]], *mine[~steady[mine]][::-1]]
        chosen += [int(i) for i in ordered if int(i) not in chosen][:1]
    return sorted(chosen, key=lambda row: (not steady[row], margin[row]))[: MOST - 2]


def _margins(scores: Scores, *, multi_label: bool) -> NDArray[np.float32]:
    """(n,): how far the best score is ahead of the second, or the nearest one from 0.5."""
    if multi_label or scores.shape[1] == 1:
        return np.asarray(np.abs(scores - 0.5).min(axis=1))
    best = np.sort(scores, axis=1)
    return np.asarray(best[:, -1] - best[:, -2], np.float32)


def frames(pictures: Sequence[Pixels], geometry: Geometry) -> Iterator[tuple[str, Pixels]]:
    """Names and pictures of the golden frames, the most telling first.

    The first places go to the two nearest photos, noise and a blank; then the other
    photos. Noise is all detail, which every error in crop or resize moves; a blank shows what the
    biases alone do.
    """
    drawn = [("noise", noise(geometry)), ("blank", blank(geometry))]
    photos = [(f"photo{i:02d}", picture) for i, picture in enumerate(pictures)]
    yield from [*photos[:2], *drawn, *photos[2:]]


def noise(geometry: Geometry) -> Pixels:
    """Random squares of 4 pixels, 4:3, 1.5 times the input, so that crop and resize take part."""
    height, width = _size(geometry)
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, (-(-height // CELL), -(-width // CELL), 3), np.uint8)
    return np.ascontiguousarray(cells.repeat(CELL, 0).repeat(CELL, 1)[:height, :width])


def blank(geometry: Geometry) -> Pixels:
    """One grey."""
    return np.full((*_size(geometry), 3), FLAT_GREY, np.uint8)


def _size(geometry: Geometry) -> tuple[int, int]:
    short = round(1.5 * max(geometry.width, geometry.height))
    return short, short * 4 // 3
