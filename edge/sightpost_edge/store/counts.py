"""Events counted by hour, day, label or hour of day, and when each label was first seen."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path

from ..errors import ConfigError, StoreError, nearest
from ..localtime import DAY_MS, HOUR_MS, Stretch, plain, stretches
from ..localtime import to_ms as local_ms
from .queries import EVERYTHING, INDEXED, EventFilter, condition, lowest, numbers
from .reading import columns, connected
from .watched import TRUSTED

STEPS_MS = {"hour": HOUR_MS, "hour-of-day": HOUR_MS, "day": DAY_MS, "label": DAY_MS}
"""What can be counted by, and the length of the pieces in which that is done."""

_CENTURY_MS = 36_525 * DAY_MS
"""Added before dividing: SQLite rounds towards zero, a board without a clock starts at zero."""
_ROWS = 10_000
"""Rows read to tell how many times cannot be trusted (15 MB)."""

# Grouping by a computed hour sorts a million rows; the index has them sorted already. From one
# hour that has events to the next it takes one search, counting within it no memory.
_BUCKETS = f"""
WITH RECURSIVE bucket(n) AS (
    SELECT (min(started_ms) + :shift) / :step FROM events
        WHERE started_ms >= :from AND started_ms < :to
    UNION ALL
    SELECT ((SELECT min(started_ms) FROM events WHERE started_ms >= (n + 1) * :step - :shift
        AND started_ms < :to) + :shift) / :step FROM bucket WHERE n IS NOT NULL
)
SELECT n, (
    SELECT {{what}} FROM {INDEXED}
        WHERE started_ms >= max(n * :step - :shift, :from)
        AND started_ms < min((n + 1) * :step - :shift, :to){{condition}}
) FROM bucket WHERE n IS NOT NULL
"""
_COUNT, _LABELS = "count(*)", "json_group_array(label)"
"""Labels go to Python as they are: SQLite's GROUP BY label would sort them (twice the time)."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many events of something.

    Attributes:
        name: "2026-11-21 18:00+01:00", "2026-11-21", "fox" or "18:00", in local time.
        events: at least one.
        label: where they were counted label by label, else "".
        started_ms: when the hour or day began, in milliseconds since 1970, UTC; else None.
    """

    name: str
    events: int
    label: str = ""
    started_ms: int | None = None


@dataclass(frozen=True, slots=True)
class FirstSeen:
    """The first event of a label, by time; milliseconds since 1970."""

    label: str
    started_ms: int
    seq: int


_Name = tuple[str, int | None]
"""What a piece of time or a label is called, and when it began."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of local time that has events; ``number`` counts pieces of local time since 1970."""

    number: int
    stretch: Stretch
    events: Mapping[str, int]


def count_by(
    folder: Path, what: str, wanted: EventFilter = EVERYTHING, *,
    each_label: bool = False, zone: tzinfo | None = None,
) -> list[Count]:  # fmt: skip
    """Count events; hours and days are those of local time, also where its offset changes.

    Args:
        folder: the store.
        what: one of ``STEPS_MS``.
        wanted: which events.
        each_label: a Count for each label in each.
        zone: the system's by default.

    Raises:
        ConfigError: ``what`` is something else.
        StoreError: there is no store, or an older release wrote it.
    """
    if what not in STEPS_MS:
        raise ConfigError(f"events cannot be counted by {what!r}", hint=nearest(what, STEPS_MS))
    found: dict[_Name, dict[str, int]] = {}
    labels = each_label or what == "label"
    with connected(folder) as connection:
        for piece in _pieces(connection, folder, STEPS_MS[what], wanted, labels, zone):
            for label, events in piece.events.items():
                name = (label, None) if what == "label" else _named(what, piece, zone)
                row, column = found.setdefault(name, {}), label if each_label else ""
                row[column] = row.get(column, 0) + events
    counts = [
        Count(name, events, label, started_ms)
        for (name, started_ms), by_label in found.items()
        for label, events in sorted(by_label.items())
    ]
    if what == "label":
        return sorted(counts, key=lambda one: (-one.events, one.name))
    return sorted(counts, key=lambda one: one.name) if what == "hour-of-day" else counts


def _named(what: str, piece: _Piece, zone: tzinfo | None) -> _Name:
    """The name of an hour, a day or an hour of day, and when it began."""
    if what == "hour-of-day":
        return f"{piece.number % 24:02d}:00", None
    begun = plain(piece.number * STEPS_MS[what])
    if what == "day":
        return begun.date().isoformat(), local_ms(begun, zone)
    name = begun.isoformat(" ", "minutes") + piece.stretch.offset_name
    return name, piece.number * HOUR_MS - piece.stretch.offset_ms


def _pieces(
    connection: sqlite3.Connection, folder: Path, step_ms: int, wanted: EventFilter,
    labels: bool, zone: tzinfo | None,
) -> Iterator[_Piece]:  # fmt: skip
    """All that have events, in the order of time."""
    span = _span(connection, folder, wanted)
    if span is None:
        return
    found = condition(wanted, first=lowest(connection, wanted))
    query = _BUCKETS.format(what=_LABELS if labels else _COUNT, condition=found.text)
    for stretch in stretches(*span, zone):
        shift_ms = stretch.offset_ms + _CENTURY_MS
        values = {"from": stretch.from_ms, "to": stretch.to_ms, "shift": shift_ms, "step": step_ms}
        for number, counted in connection.execute(query, {**values, **found.values}):
            events = Counter(_texts(counted)) if labels else {"": counted} if counted else {}
            if events:
                yield _Piece(number - _CENTURY_MS // step_ms, stretch, events)


def _texts(array: str) -> list[str]:
    """A JSON array of texts. Without escapes no text has a quote in it: splitting is enough, and
    takes two thirds of the time."""
    if "\\" in array or array == "[]":
        return list(json.loads(array))
    return array[2:-2].split('","')


def _span(
    connection: sqlite3.Connection, folder: Path, wanted: EventFilter
) -> tuple[int, int] | None:
    """From the first event within the wanted times to after the last; None without any."""
    there = columns(connection, "events")
    if not there:
        return None
    if "started_ms" not in there:
        raise StoreError(
            f"the store in {folder} is from an older release",
            hint="sightpost run brings it up to date; sightpost events list reads it as it is",
        )
    times = {"from": wanted.from_ms, "to": wanted.to_ms}
    found = [
        connection.execute(
            f"SELECT {end}(started_ms) FROM events WHERE started_ms >= :from AND started_ms < :to",
            times,
        ).fetchone()[0]
        for end in ("min", "max")
    ]
    return None if None in found else (found[0], found[1] + 1)


def count_all(folder: Path, wanted: EventFilter = EVERYTHING) -> int:
    """How many there are."""
    return sum(one.events for one in count_by(folder, "day", wanted, zone=UTC))


def ends(folder: Path, wanted: EventFilter = EVERYTHING) -> list[int]:
    """When the first and the last event within the wanted times began, whatever they were: the
    station watched. Of the newest so many their own times; empty without any."""
    with connected(folder) as connection:
        span = _span(connection, folder, wanted)
        if wanted.last is None or span is None:
            return [] if span is None else [span[0], span[1] - 1]
        found = condition(wanted, first=lowest(connection, wanted))
        row = connection.execute(
            f"SELECT min(started_ms), max(started_ms) FROM {INDEXED} "
            f"WHERE started_ms >= :from AND started_ms < :to{found.text}",
            {"from": span[0], "to": span[1], **found.values},
        ).fetchone()
    return [] if row[0] is None else list(row)


def count_doubtful(folder: Path, wanted: EventFilter = EVERYTHING) -> int | None:
    """How many have a time that cannot be trusted; None where that would take long.

    Only their rows say so, a page of the disk each.
    """
    with connected(folder) as connection:
        if _span(connection, folder, wanted) is None:
            return 0
        found = numbers(connection, wanted, most=_ROWS + 1)
        if len(found) > _ROWS:
            return None
        query = (
            "SELECT count(*) FROM events WHERE seq IN (SELECT value FROM json_each(:seqs)) "
            "AND clock_quality NOT IN (SELECT value FROM json_each(:trusted))"
        )
        values = {"seqs": json.dumps(found.tolist()), "trusted": json.dumps(sorted(TRUSTED))}
        return int(connection.execute(query, values).fetchone()[0])


def first_seen(folder: Path, wanted: EventFilter = EVERYTHING) -> list[FirstSeen]:
    """The first event of each label, in the order of time.

    Before the first event of a label that is new only known ones lie, so that each search goes on
    where the last one ended: all of them together read the index once.
    """
    seen: list[FirstSeen] = []
    with connected(folder) as connection:
        span = _span(connection, folder, wanted)
        if span is None:
            return []
        found = condition(wanted, first=lowest(connection, wanted))
        from_ms = span[0]
        query = (
            f"SELECT label, started_ms, seq FROM {INDEXED} WHERE started_ms >= :from "
            "AND started_ms < :to AND label NOT IN (SELECT value FROM json_each(:seen))"
            f"{found.text} ORDER BY started_ms, label LIMIT 1"
        )
        while True:
            known = json.dumps([one.label for one in seen])
            values = {"from": from_ms, "to": span[1], "seen": known, **found.values}
            row = connection.execute(query, values).fetchone()
            if row is None:
                return seen
            seen.append(FirstSeen(*row))
            from_ms = seen[-1].started_ms
