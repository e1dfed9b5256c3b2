"""What a store's charts show, before anything is drawn: who comes when, since when, how often."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, tzinfo
from itertools import pairwise
from pathlib import Path

from . import timeline
from .errors import ConfigError, nearest
from .localtime import local
from .rules import UNKNOWN
from .store.counts import Count, count_all, count_by, count_doubtful, ends, first_seen
from .store.queries import EVERYTHING, EventFilter
from .store.watched import Watched, read_watched
from .timeline import Tick

LABELS = 8
"""Labels drawn by themselves, the commonest ones; the others share a row."""
SLOTS = 400
"""Bars drawn side by side; see ``timeline.slots``."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of bars: what is counted, a count for each slot."""

    name: str
    values: tuple[int, ...]

    @property
    def total(self) -> int:
        """All its events."""
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Bars:
    """Rows of bars over the same slots of time, the first row being all events.

    Attributes:
        title, subtitle: what it shows, and of which events.
        axis: what a slot is.
        slots: the name of each.
        watched: which share of each slot the station watched; 0 makes a gap of it, no zero.
        rows, ticks, notes: see there; what else must be said.
    """

    title: str
    subtitle: str
    axis: str
    slots: tuple[str, ...]
    watched: tuple[float, ...]
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.rows or not self.rows[0].total


@dataclass(frozen=True, slots=True)
class Step:
    """A label that was new: where on the axis of time, and when, in local time."""

    share: float
    label: str
    when: str


@dataclass(frozen=True, slots=True)
class Steps:
    """How many labels had been seen by when; ``gaps`` are shares of the axis, from and to."""

    title: str
    subtitle: str
    steps: tuple[Step, ...]
    gaps: tuple[tuple[float, float], ...]
    ticks: tuple[Tick, ...]
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.steps


Chart = Bars | Steps


def short(name: str, most: int) -> str:
    """A label in the room there is: up to its first comma, where other names for it follow, before
    a word is cut."""
    if len(name) <= most:
        return name
    first = name.partition(",")[0]
    return f"{first[: most - 1]}…"


def chart_of(
    folder: Path, what: str, wanted: EventFilter = EVERYTHING, *,
    most: int = SLOTS, zone: tzinfo | None = None,
) -> Chart:  # fmt: skip
    """One of the charts.

    Args:
        folder: the store.
        what: "activity", "accumulation" or "yield".
        wanted: of which events.
        most: slots that can be drawn side by side.
        zone: the system's by default.

    Raises:
        ConfigError: there is no such chart.
        StoreError: there is no store, or an older release wrote it.
    """
    if what not in CHARTS:
        raise ConfigError(f"no chart {what!r}", hint=nearest(what, CHARTS))
    notes = list[str]()
    watched = read_watched(folder, from_ms=wanted.from_ms, to_ms=wanted.to_ms)
    if wanted.since_ms is None and wanted.until_ms is None:
        everything, wanted = wanted, replace(
            wanted, since_ms=timeline.FIRST_MS, until_ms=timeline.LAST_MS
        )  # fmt: skip
        if left_out := count_all(folder, everything) - count_all(folder, wanted):
            notes.append(f"{_many(left_out, 'event')} left out: the clock had not been set")
    doubtful = count_doubtful(folder, wanted)
    clock = f"{doubtful:,} timed by a clock that was not known to be right" if doubtful else ""
    if watched.doubtful and (doubtful is None or what != "activity"):
        notes.append(
            f"in {watched.doubtful} of {_many(watched.runs, 'run')} the clock was not known to be "
            "right: times may be wrong"
        )
    drawn: Chart
    if what == "activity":
        drawn = _activity(folder, wanted, zone, notes, watched)
    elif what == "accumulation":
        drawn = _accumulation(folder, wanted, zone, notes, watched)
    else:
        drawn = _yield(folder, wanted, zone, notes, watched, most)
    return replace(drawn, subtitle=", ".join(filter(None, (drawn.subtitle, clock))))


CHARTS = ("activity", "accumulation", "yield")


def _activity(
    folder: Path, wanted: EventFilter, zone: tzinfo | None, notes: list[str], watched: Watched
) -> Bars:
    counts = count_by(folder, "hour-of-day", wanted, each_label=True, zone=zone)
    hours = tuple(f"{hour:02d}:00" for hour in range(24))
    rows = _rows(counts, {name: slot for slot, name in enumerate(hours)}, 24)
    ticks = tuple(Tick((hour + 0.5) / 24, f"{hour}") for hour in range(0, 24, 3))
    span = timeline.span(ends(folder, wanted), wanted, watched.watches)
    return Bars(
        "Activity by hour of day", f"{_of(rows, wanted)}, {timeline.period(*span, zone)}", "hour",
        hours, (1.0,) * 24, rows, ticks, tuple(notes),
    )  # fmt: skip


def _yield(
    folder: Path, wanted: EventFilter, zone: tzinfo | None, notes: list[str], watched: Watched,
    most: int,
) -> Bars:  # fmt: skip
    counts = count_by(folder, "day", wanted, each_label=True, zone=zone)
    days = [date.fromisoformat(one.name) for one in counts]
    seen = [one.started_ms for one in counts if one.started_ms is not None]
    span = timeline.span(seen, wanted, watched.watches)
    first, last = (local(end, zone).date() for end in span)
    slots = timeline.slots(first, last, most)
    rows = _rows(counts, {day.isoformat(): slots.of(day) for day in days}, len(slots.starts) - 1)
    borders = slots.borders(zone)
    shares = timeline.shares(watched.watches, borders)
    if rows:  # it watched, whatever is known of its runs
        shares = [a or float(b > 0) for a, b in zip(shares, rows[0].values, strict=True)]
    if 0.0 in shares:
        notes = [*notes, f"shaded: {slots.unit}s not watched, or not known to have been"]
    return Bars(
        f"Events per {slots.unit}", f"{_of(rows, wanted)}, {timeline.period(*span, zone)}",
        slots.unit,
        tuple(day.isoformat() for day in slots.starts[:-1]), tuple(shares), rows,
        timeline.ticks(borders[0], borders[-1], zone), tuple(notes),
    )  # fmt: skip


def _accumulation(
    folder: Path, wanted: EventFilter, zone: tzinfo | None, notes: list[str], watched: Watched
) -> Steps:
    every = first_seen(folder, wanted)
    found = [one for one in every if one.label != UNKNOWN]
    if len(found) < len(every):
        notes = [*notes, f'"{UNKNOWN}" is left out: it is no label']
    seen = ends(folder, wanted)
    from_ms, to_ms = timeline.span(seen, wanted, watched.watches)
    length = max(1, to_ms - from_ms)
    steps = tuple(
        Step((one.started_ms - from_ms) / length, one.label,
             local(one.started_ms, zone).isoformat(" ", "minutes"))
        for one in found
    )  # fmt: skip
    gaps = [(a.to_ms - from_ms, b.from_ms - from_ms) for a, b in pairwise(watched.watches)]
    drawn = tuple(
        (max(0.0, a / length), min(1.0, b / length)) for a, b in gaps if b > 0 and a < length
    )
    if drawn:
        notes = [*notes, "shaded: not watched"]
    return Steps(
        "Labels found so far",
        f"{_many(len(steps), 'label')}{_limits(wanted)}, {timeline.period(from_ms, to_ms, zone)}",
        steps, drawn, timeline.ticks(from_ms, to_ms, zone), tuple(notes),
    )  # fmt: skip


def _rows(counts: Iterable[Count], place: dict[str, int], slots: int) -> tuple[Row, ...]:
    """All events, then the commonest labels, then the others together."""
    by_label: dict[str, list[int]] = {}
    for one in counts:
        by_label.setdefault(one.label, [0] * slots)[place[one.name]] += one.events
    ordered = sorted(by_label.items(), key=lambda item: (-sum(item[1]), item[0]))
    if len(ordered) > LABELS:
        rest = ordered[LABELS - 1 :]
        ordered = [*ordered[: LABELS - 1], (f"{len(rest)} more labels", _sum(r for _, r in rest))]
    if not ordered:
        return ()
    whole = Row("all", tuple(_sum(by_label.values())))
    if len(ordered) == 1:
        return (replace(whole, name=ordered[0][0]),)
    return (whole, *(Row(name, tuple(values)) for name, values in ordered))


def _sum(rows: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _of(rows: Sequence[Row], wanted: EventFilter) -> str:
    return f"{_many(rows[0].total if rows else 0, 'event')}{_limits(wanted)}"


def _limits(wanted: EventFilter) -> str:
    """What the filter says, as words."""
    words = [
        f"newest {wanted.last:,}" if wanted.last else "",
        f"label {wanted.label}" if wanted.label else "",
        f"score {wanted.min_score:g} or more" if wanted.min_score else "",
        {None: "", True: "marked", False: "not marked"}[wanted.marked],
    ]
    return "".join(f", {word}" for word in words if word)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
