"""What a picture is worth keeping for, and so in which order pictures go when room is needed. Pure.

Nobody misses the ten thousandth picture of a deer. Within a value the label that has most gives its
oldest first, so that labels even out and the rare ones keep theirs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import NOTHING_LABELS

KEPT = 20
"""The best pictures of each label, worth as much as those of a label that has no more."""


class Value(IntEnum):
    """Lowest first; ``MARKED`` by a person is never given up."""

    BLANK = 0
    COMMON = 1
    UNCERTAIN = 2
    RARE = 3
    MARKED = 4


@dataclass(frozen=True, slots=True)
class Pictures:
    """Columns of (n,), one row for each event or sample that has pictures, oldest first.

    ``group``: int32, the same for the same label. ``score``: float32. The others are bool.
    """

    group: NDArray[np.int32]
    score: NDArray[np.float32]
    doubtful: NDArray[np.bool_]
    blank: NDArray[np.bool_]
    marked: NDArray[np.bool_]
    clip: NDArray[np.bool_]
    snapshot: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Doubt:
    """What a run's rules say about its own scores; made from the JSON kept with the run."""

    threshold: float
    by_label: Mapping[str, float]
    nothing: frozenset[str]

    @classmethod
    def read(cls, rules: str) -> "Doubt":
        """From ``decide.Rules`` as JSON; what an old release did not write, or what a card has
        spoiled, has its default."""
        try:
            return cls._of(json.loads(rules))
        except (ValueError, TypeError, AttributeError, KeyError):
            return cls._of({})

    @classmethod
    def _of(cls, rules: Mapping[str, Any]) -> "Doubt":
        classes = rules.get("classes") or {}
        given = {label: one["threshold"] for label, one in classes.items() if one.get("threshold")}
        return cls(float(rules.get("threshold") or 0.8), given, frozenset(rules.get("nothing", ())))

    def doubts(self, label: str, score: float, named_by: str) -> bool:
        """Nearer to the threshold than to certainty, or named by a group or its novelty."""
        return named_by != "label" or score < (self.by_label.get(label, self.threshold) + 1) / 2

    def blank(self, label: str) -> bool:
        """Whether the label means that nothing is there."""
        return label.lower() in NOTHING_LABELS or label in self.nothing


def values(pictures: Pictures) -> NDArray[np.int8]:
    """The ``Value`` of each, (n,) int8."""
    worth = np.where(pictures.doubtful, Value.UNCERTAIN, Value.COMMON).astype(np.int8)
    worth[_best(pictures)] = Value.RARE
    worth[pictures.blank] = Value.BLANK
    worth[pictures.marked] = Value.MARKED
    return worth


def leaving(pictures: Pictures) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.int8]]:
    """All that may go, in the order in which it goes; within a value clips before snapshots.

    Returns:
        Rows, (m,) intp, one twice where it has a clip and a snapshot; whether it is the clip that
        goes, (m,) bool; its value, (m,) int8.
    """
    worth = values(pictures)
    newer = _newer(pictures.group, worth)
    free = worth < Value.MARKED
    clips = np.flatnonzero(free & pictures.clip)
    snapshots = np.flatnonzero(free & pictures.snapshot)
    rows = np.concatenate([clips, snapshots])
    is_clip = np.arange(len(rows)) < len(clips)
    order = np.lexsort((rows, -newer[rows], ~is_clip, worth[rows]))
    return rows[order], is_clip[order], worth[rows[order]]


def _best(pictures: Pictures) -> NDArray[np.intp]:
    """The ``KEPT`` with the best scores of each group; of equals the newest."""
    order = np.lexsort((pictures.score, pictures.group))
    return order[_from_end(pictures.group[order]) < KEPT]


def _newer(group: NDArray[np.int32], worth: NDArray[np.int8]) -> NDArray[np.int64]:
    """How many of the same group and value are newer, (n,)."""
    order = np.lexsort((group, worth))
    counts = np.empty(len(order), np.int64)
    counts[order] = _from_end(group[order].astype(np.int64) * (Value.MARKED + 1) + worth[order])
    return counts


def _from_end(keys: NDArray[Any]) -> NDArray[np.int64]:
    """Of keys whose equals stand together: how many of the same follow, (n,)."""
    if not len(keys):
        return np.empty(0, np.int64)
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    ends = np.r_[starts[1:], len(keys)]
    return np.repeat(ends, ends - starts) - 1 - np.arange(len(keys))
