"""Puts a recording through the device's own code once, then decides it anew under other rules."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import PurePath
from statistics import median
from typing import Literal, get_args

import numpy as np

from .decide import decide
from .errors import DataError
from .image import RawImage
from .pace import SLACK_S
from .records import Event, Frame, Prediction
from .rules import UNKNOWN, Rules
from .sources import Source
from .truth import EventScore, Interval, Sighting, score_events

Part = Literal["smoothing", "gate", "novelty"]
PARTS: tuple[Part, ...] = get_args(Part)
"""What a decision rests on beside the model, and can be left out to see what it is worth."""

_NO_PICTURE = RawImage(np.zeros((1, 1, 3), np.uint8), "bgr")


@dataclass(frozen=True, slots=True)
class Recording:
    """What the model said of one recording; the Frames have lost their pictures.

    ``looks`` is how often the model ran, less than the Predictions where the gate spared it.
    """

    file: str
    predictions: tuple[Prediction, ...] = field(repr=False)
    duration_s: float
    looks: int

    @classmethod
    def of(cls, file: str, predictions: Iterable[Prediction]) -> "Recording":
        """Gather Predictions: an hour at 25 frames a second of 10 labels takes 60 MB."""
        kept = tuple(_without_picture(prediction) for prediction in predictions)
        looks = sum(not one.carried for one in kept)
        return cls(file, kept, _duration_s(one.frame for one in kept), looks)


@dataclass(frozen=True, slots=True)
class Told:
    """An Event and the recording it is of."""

    file: str
    event: Event


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of some recordings: Events, and against a truth their score.

    ``without`` are the parts that were left out; ``frames`` and ``looks`` are sums. The indices in
    ``score`` are those of ``told`` and of ``truth``.
    """

    without: tuple[Part, ...]
    told: tuple[Told, ...] = field(repr=False)
    duration_s: float
    frames: int
    looks: int
    truth: tuple[Interval, ...] = ()
    score: EventScore | None = None


@dataclass(frozen=True, slots=True)
class Deciding:
    """All that ``decide`` needs beside Predictions."""

    rules: Rules
    labels: tuple[str, ...]
    nothing: frozenset[str] = frozenset()
    multi_label: bool = False

    def without(self, parts: Iterable[Part]) -> "Deciding":
        """The same with smoothing or novelty left out; the gate is no matter of deciding."""
        rules = self.rules
        if "smoothing" in parts:
            rules = replace(rules, smoothing_s=0.0)
        if "novelty" in parts:
            rules = replace(rules, unknown="off")
        return replace(self, rules=rules)

    def groups_of(self, label: str) -> frozenset[str]:
        """The groups a label belongs to."""
        return frozenset(g for g, members in self.rules.groups.items() if label in members)

    def strange(self, truth: Iterable[Interval]) -> list[str]:
        """Labels of a truth that no Event can have: mistyped, or simply not learnt."""
        known = {*self.labels, *self.rules.groups, UNKNOWN} - self.nothing
        return sorted({row.label for row in truth} - known)


def variants(without: Sequence[Part]) -> list[tuple[Part, ...]]:
    """What to compare: as it is, less each part that is left, less all of them."""
    more = [tuple(p for p in PARTS if p in without or p == part) for part in PARTS]
    return list(dict.fromkeys([tuple(without), *more, PARTS]))


def judge_rules(
    recordings: Sequence[Recording],
    deciding: Deciding,
    truth: Sequence[Interval] | None,
    *,
    without: Sequence[Part] = (),
) -> Outcome:
    """Decide what was predicted and score it; the gate is in or out of the recordings already."""
    given = deciding.without(without)
    told = tuple(
        Told(recording.file, event)
        for recording in recordings
        for event in decide(
            recording.predictions, given.rules, labels=given.labels, nothing=given.nothing,
            multi_label=given.multi_label,
        )
    )  # fmt: skip
    seen = [_sighting(one, given) for one in told]
    return Outcome(
        without=tuple(without),
        told=told,
        duration_s=sum(recording.duration_s for recording in recordings),
        frames=sum(len(recording.predictions) for recording in recordings),
        looks=sum(recording.looks for recording in recordings),
        truth=tuple(truth or ()),
        score=None if truth is None else score_events(seen, truth),
    )


def _sighting(told: Told, deciding: Deciding) -> Sighting:
    event = told.event
    return Sighting(
        event.label, event.started.elapsed_s, event.ended.elapsed_s, event.decided.elapsed_s,
        deciding.groups_of(event.label), told.file,
    )  # fmt: skip


def assign(truth: Iterable[Interval], files: Sequence[str]) -> list[Interval]:
    """The rows that are about ``files``, each with the very name its recording was given by.

    A row's ``file`` is the end of a path, ``clip.mp4`` or ``night/clip.mp4``; with one recording
    rows may go without.

    Raises:
        DataError: a row could be about two of them, or names none where it must.
    """
    return [replace(row, file=file) for row in truth for file in _meant(row, files)]


def strange_files(truth: Iterable[Interval], files: Sequence[str]) -> list[str]:
    """The files of a truth that are none of the recordings: left out on purpose, or mistyped."""
    return sorted({row.file for row in truth if row.file and not _meant(row, files)})


def thinned(source: Source, per_s: float) -> Source:
    """At most so many of a recording's Frames a second, as a station looks; 0 takes them all."""
    return _Thinned(source, per_s) if per_s else source


class _Thinned:
    """A Source that gives the first Frame of each of its periods."""

    def __init__(self, source: Source, per_s: float) -> None:
        self._source, self._per_s = source, per_s
        self.uri, self.live, self.close = source.uri, source.live, source.close
        self.dropped = 0

    def __iter__(self) -> Iterator[Frame]:
        """The Frames that are due; photos of a folder stand each for itself and all come."""
        due_s, period_s = -math.inf, 1 / self._per_s
        for frame in self._source:
            if not frame.name and frame.elapsed_s < due_s - SLACK_S:
                continue
            due_s += period_s  # from when it was due: a late Frame does not delay all others
            if due_s <= frame.elapsed_s:
                due_s = frame.elapsed_s + period_s
            yield frame


def _meant(row: Interval, files: Sequence[str]) -> list[str]:
    if not row.file:
        if len(files) == 1:
            return list(files)
        raise DataError(
            f"the truth has a row ({row.label} at {row.start_s:g} s) without a file",
            hint="with several recordings it needs a column named file",
        )
    wanted = PurePath(row.file).parts
    found = [file for file in files if PurePath(file).parts[-len(wanted) :] == wanted]
    if len(found) > 1:
        raise DataError(
            f"the truth's {row.file} may be {found[0]} or {found[1]}",
            hint="write more of the path into its column",
        )
    return found


def _without_picture(prediction: Prediction) -> Prediction:
    return replace(prediction, frame=replace(prediction.frame, image=_NO_PICTURE), embedding=None)


def _duration_s(frames: Iterable[Frame]) -> float:
    """From the first frame to the last, and as long as one usually lasts."""
    times = [frame.elapsed_s for frame in frames]
    steps = [later - earlier for earlier, later in pairwise(times) if later > earlier]
    return times[-1] - times[0] + median(steps) if steps else 0.0
