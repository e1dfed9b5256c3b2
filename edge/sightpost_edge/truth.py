"""Scores Events against what really passed the camera, one to one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol


class Passage(Protocol):
    """A row of a truth file; ``conveyor.Passing`` is one."""

    @property
    def label(self) -> str:
        """What passed."""

    @property
    def centre_s(self) -> float:
        """When its centre crossed the middle of the picture."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An Event as far as scoring needs it; times in seconds since the source began."""

    label: str
    middle_s: float
    decided_s: float


@dataclass(frozen=True, slots=True)
class EventScore:
    """How well Events tell what happened; ``delay_s`` is from the passage to the verdict."""

    passages: int
    events: int
    matched: int
    delay_s: float
    missed: tuple[int, ...]
    false: tuple[int, ...]

    @property
    def recall(self) -> float:
        """Share of passages that have their Event."""
        return self.matched / self.passages if self.passages else 1.0

    @property
    def precision(self) -> float:
        """Share of Events that belong to a passage; no Event where there should be some is 0."""
        return self.matched / self.events if self.events else float(not self.passages)


def score_events(
    sightings: Sequence[Sighting], passages: Sequence[Passage], *, tolerance_s: float = 0.5
) -> EventScore:
    """Match each passage to at most one Event of its label within ``tolerance_s``.

    With one tolerance for all, taking the earliest free Event for each passage in time order finds
    as many pairs as any other matching.
    """
    free = sorted(range(len(sightings)), key=lambda i: sightings[i].middle_s)
    order = sorted(range(len(passages)), key=lambda i: passages[i].centre_s)
    delays: list[float] = []
    missed: list[int] = []
    for index in order:
        passage = passages[index]
        hit = _first(free, sightings, passage, tolerance_s)
        if hit is None:
            missed.append(index)
            continue
        free.remove(hit)
        delays.append(sightings[hit].decided_s - passage.centre_s)
    return EventScore(
        passages=len(passages),
        events=len(sightings),
        matched=len(delays),
        delay_s=median(delays) if delays else float("nan"),
        missed=tuple(missed),
        false=tuple(free),
    )


def _first(
    free: Iterable[int], sightings: Sequence[Sighting], passage: Passage, tolerance_s: float
) -> int | None:
    for index in free:
        seen = sightings[index]
        if seen.label == passage.label and abs(seen.middle_s - passage.centre_s) <= tolerance_s:
            return index
    return None
