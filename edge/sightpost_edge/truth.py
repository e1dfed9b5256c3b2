"""Scores Events against what really happened, one to one."""

import csv
import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from .errors import DataError

TOLERANCE_S = 0.5
"""How exactly people write down when something came and went."""
BORDERS = (("start_s", "end_s"), ("enter_s", "leave_s"))
"""Names of the two columns; the second pair is that of the generated line's truth."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A row of truth: ``label`` was there between two times of the recording ``file``."""

    label: str
    start_s: float
    end_s: float
    file: str = ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An Event as far as scoring needs it; times in seconds since the source began.

    ``also`` are the groups its label belongs to: truth that says "bird" is met by "jay".
    """

    label: str
    started_s: float
    ended_s: float
    decided_s: float
    also: frozenset[str] = frozenset()
    file: str = ""

    def tells(self, interval: Interval, tolerance_s: float) -> bool:
        """Whether this is what the row of truth says, at a time when it was so."""
        named = interval.label == self.label or interval.label in self.also
        return (
            named
            and interval.file == self.file
            and self.started_s <= interval.end_s + tolerance_s
            and self.ended_s >= interval.start_s - tolerance_s
        )


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One label's share of a score."""

    label: str
    passages: int
    events: int
    matched: int

    @property
    def recall(self) -> float:
        """Share of passages that have their Event."""
        return self.matched / self.passages if self.passages else 1.0

    @property
    def precision(self) -> float:
        """Share of Events that belong to a passage; no Event where there should be some is 0."""
        return self.matched / self.events if self.events else float(not self.passages)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


@dataclass(frozen=True, slots=True)
class EventScore:
    """How well Events tell what happened; a passage is a row of truth.

    ``opening_s`` and ``delay_s`` are medians from a passage's start to its Event's first frame and
    to the verdict, which is when the Event closes and is written: for what stays long, late.
    ``missed`` and ``false`` are indices of what is left over; those of ``false`` that repeat what
    another Event had told are in ``repeated`` too.
    """

    total: LabelScore
    labels: tuple[LabelScore, ...] = field(repr=False)
    opening_s: float
    delay_s: float
    missed: tuple[int, ...]
    false: tuple[int, ...]
    repeated: tuple[int, ...]

    @property
    def precision(self) -> float:
        """That of all labels together."""
        return self.total.precision

    @property
    def recall(self) -> float:
        """That of all labels together."""
        return self.total.recall

    @property
    def alarms(self) -> tuple[int, ...]:
        """Events of something that was not there: false, and no repetition."""
        known = set(self.repeated)
        return tuple(index for index in self.false if index not in known)

    def alarms_per_hour(self, duration_s: float) -> float:
        """False alarms in an hour of recording, NaN for none."""
        return len(self.alarms) * 3600 / duration_s if duration_s else math.nan


def score_events(
    sightings: Sequence[Sighting],
    intervals: Sequence[Interval],
    *,
    tolerance_s: float = TOLERANCE_S,
) -> EventScore:
    """Match as many rows of truth as can be with one Event each that overlaps them.

    A second Event of the same thing is no match: one thing that happened is one Event.
    """
    in_time = sorted(range(len(sightings)), key=lambda i: sightings[i].started_s)
    candidates = [[i for i in in_time if sightings[i].tells(r, tolerance_s)] for r in intervals]
    order = sorted(range(len(intervals)), key=lambda i: intervals[i].start_s)
    taken = _matching(candidates, order)
    told = {index for row in candidates for index in row}
    false = tuple(i for i in in_time if i not in taken.values())
    pairs = [(sightings[i], intervals[row]) for row, i in taken.items()]
    return EventScore(
        total=LabelScore("", len(intervals), len(sightings), len(taken)),
        labels=_by_label(sightings, intervals, taken),
        opening_s=_median([seen.started_s - row.start_s for seen, row in pairs]),
        delay_s=_median([seen.decided_s - row.start_s for seen, row in pairs]),
        missed=tuple(row for row in order if row not in taken),
        false=false,
        repeated=tuple(i for i in false if i in told),
    )


def _matching(candidates: Sequence[Sequence[int]], order: Sequence[int]) -> dict[int, int]:
    """A maximum matching, row to candidate, by shortest augmenting paths; early ones first."""
    taken: dict[int, int] = {}
    holder: dict[int, int] = {}
    for root in order:
        reached: dict[int, int] = {}
        waiting = deque([root])
        while waiting:
            row = waiting.popleft()
            new = [one for one in candidates[row] if one not in reached]
            reached.update(dict.fromkeys(new, row))
            free = next((one for one in new if one not in holder), None)
            if free is not None:
                _shift(free, root, reached, taken, holder)
                break
            waiting.extend(holder[one] for one in new)
    return taken


def _shift(
    free: int, root: int, reached: Mapping[int, int], taken: dict[int, int], holder: dict[int, int]
) -> None:
    """Along the path, every row gives its candidate up for the next one."""
    row = -1
    while row != root:
        row = reached[free]
        before = taken.get(row, -1)
        taken[row], holder[free] = free, row
        free = before


def _by_label(
    sightings: Sequence[Sighting], intervals: Sequence[Interval], taken: Mapping[int, int]
) -> tuple[LabelScore, ...]:
    """A row for each label; a match counts as what truth calls it, a false Event as its group."""
    known = {row.label for row in intervals}
    names = {i: _known_as(seen, known) for i, seen in enumerate(sightings)}
    names |= {i: intervals[row].label for row, i in taken.items()}
    passages = Counter(row.label for row in intervals)
    events, matched = Counter(names.values()), Counter(intervals[row].label for row in taken)
    return tuple(
        LabelScore(label, passages[label], events[label], matched[label])
        for label in sorted(passages | events)
    )


def _known_as(seen: Sighting, known: set[str]) -> str:
    if seen.label in known:
        return seen.label
    return min(seen.also & known, default=seen.label)


def _median(values: Sequence[float]) -> float:
    return median(values) if values else math.nan


def read_truth(path: Path) -> list[Interval]:
    """Read a CSV of ``label``, ``start_s``, ``end_s`` and, for several recordings, ``file``.

    Other columns are ignored; ``enter_s`` and ``leave_s`` will do as well.

    Raises:
        DataError: no such file, a column is missing, or a row makes no sense, with its line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = _columns(path, rows.fieldnames or ())
            return [_interval(row, columns, f"{path}:{rows.line_num}") for row in rows]
    except OSError as exc:
        raise DataError(f"cannot read {path}: {exc.strerror}") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise DataError(f"{path} is no CSV file in UTF-8 ({exc})") from exc


def _columns(path: Path, names: Sequence[str]) -> tuple[str, str]:
    for pair in BORDERS:
        if {"label", *pair} <= set(names):
            return pair
    raise DataError(
        f"{path} lacks columns: label, start_s and end_s are needed",
        hint=f"its first line names {', '.join(names) or 'none'}",
    )


def _interval(row: Mapping[str, str | None], columns: tuple[str, str], where: str) -> Interval:
    label = (row["label"] or "").strip()
    start_s, end_s = (_seconds(row[name], name, where) for name in columns)
    if not label:
        raise DataError(f"{where}: no label", hint="leave out the rows where nothing was there")
    if end_s < start_s:
        raise DataError(f"{where}: it ends at {end_s:g} s, before it starts at {start_s:g} s")
    return Interval(label, start_s, end_s, (row.get("file") or "").strip())


def _seconds(text: str | None, name: str, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise DataError(
            f"{where}: {name} is {text!r}", hint="times are seconds since the recording began: 12.5"
        )
    return value
