"""Sequences: events so close together that they tell of one visit.

Camtrap DP calls this an event: media that belong together, whose observations share an ``eventID``,
a start and an end. Readers find the media of one by their times, so no two may overlap.
"""

from dataclasses import dataclass, field
from datetime import datetime

from .. import clock
from ..store.rows import StoredEvent

GAP_MS = 120_000
"""A longer pause begins a new visit."""


def probability_of(event: StoredEvent) -> float | None:
    """How sure the model was of the label, 0 to 1; None for what it only found unlike everything
    learnt: that score is no probability. Dequantized scores reach a little beyond 0 and 1."""
    return None if event.named_by == "novelty" else round(min(1.0, max(0.0, event.score)), 4)


@dataclass(frozen=True, slots=True)
class Times:
    """An event's wall times, ms since 1970; the end is never before the start, the peak between
    them: a clock that was set meanwhile may have said otherwise. ``decided_ms`` is the verdict's.
    """

    started_ms: int
    ended_ms: int
    peak_ms: int
    decided_ms: int

    @classmethod
    def of(cls, event: StoredEvent) -> "Times":
        """The start as it was kept; peak and verdict as far after it as in the source's time."""
        started = clock.to_ms(datetime.fromisoformat(event.started_at))
        ended = max(started, clock.to_ms(datetime.fromisoformat(event.ended_at)))
        peak = started + round(max(0.0, event.peak_s - event.started_s) * 1000)
        decided = started + round(max(0.0, event.decided_s - event.started_s) * 1000)
        return cls(started, ended, min(peak, ended), max(decided, ended))


@dataclass(slots=True)
class Sighting:
    """What one label came to in one sequence; ``note`` says what is wrong with its times."""

    first: int
    last: int
    events: int = 0
    probability: float | None = None
    classified: str = ""
    classified_by: str = ""
    note: str = ""

    def add(self, event: StoredEvent, classified: str, by: str, note: str) -> None:
        """One more event of the label; the surest one's probability counts."""
        self.last, self.events = event.seq, self.events + 1
        known = (self.probability, probability_of(event))
        self.probability = max((one for one in known if one is not None), default=None)
        self.classified, self.classified_by, self.note = classified, by, note or self.note


@dataclass(slots=True)
class Sequence:
    """One visit; it holds a Sighting for each label however long it lasts."""

    id: str
    run: int
    started_ms: int
    ended_ms: int
    sightings: dict[str, Sighting] = field(default_factory=dict)

    def takes(self, event: StoredEvent, times: Times) -> bool:
        """Whether an event belongs to it; a clock that jumped begins a new one."""
        near = self.started_ms - GAP_MS <= times.started_ms <= self.ended_ms + GAP_MS
        return near and event.run == self.run

    def sighting(self, event: StoredEvent, times: Times) -> Sighting:
        """The Sighting of an event's label, the sequence being stretched over the event."""
        self.started_ms = min(self.started_ms, times.started_ms)
        self.ended_ms = max(self.ended_ms, times.ended_ms)
        return self.sightings.setdefault(event.label, Sighting(event.seq, event.seq))
