"""Events by time, label, score and mark: found in one index, also where there are a million.

The index holds the time, label, score and number of each event (30 bytes), its row 1.5 KB: what is
asked for is found in the index alone, and only the rows that are shown are read.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import clock
from ..errors import ConfigError, nearest
from .reading import columns, connected, read_events
from .rows import StoredEvent, columns_of, event_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INDEXED = "events INDEXED BY events_by_time"
"""The planner would read all rows for a frequent label; these queries may not."""
_BY_NUMBER = "events NOT INDEXED"
_RECENT = 2000
"""Rows of the newest events (3 MB) looked at before the index (30 MB at a million events)."""
_CHUNK = 500
"""Rows read in one statement: a reader that goes on for minutes would keep the log from being
written back, and it would grow."""
_FOREVER_MS = 2**62
_LISTED = 20
"""Labels that are named in a hint."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events: all that is given must hold.

    Attributes:
        label: this one only.
        since_ms, until_ms: begun at or after, and before; milliseconds since 1970.
        min_score: at least.
        marked: by a person, or not.
        last: the newest so many of those, by number.
    """

    label: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    min_score: float | None = None
    marked: bool | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        if self.last is not None and self.last < 1:
            raise ConfigError("last must be 1 or more")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise ConfigError("a score lies from 0 to 1", hint="for example --min-score 0.8")
        if None not in (self.since_ms, self.until_ms) and self.from_ms >= self.to_ms:
            raise ConfigError("nothing lies between --since and --until", hint="swap them")

    @property
    def from_ms(self) -> int:
        """The first moment that counts."""
        return -_FOREVER_MS if self.since_ms is None else self.since_ms

    @property
    def to_ms(self) -> int:
        """The first moment that counts no more."""
        return _FOREVER_MS if self.until_ms is None else self.until_ms


EVERYTHING = EventFilter()


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter in SQL, without its times; ``values`` are those of its named parameters."""

    text: str
    values: dict[str, Any]


def condition(wanted: EventFilter, *, first: int | None = None) -> Condition:
    """Everything but times and ``last``; ``first`` is the lowest number."""
    parts = {
        "label": ("label = :label", wanted.label or None),
        "min_score": ("score >= :min_score", wanted.min_score),
        "first": ("seq >= :first", first),
        "marked": (
            f"seq {'IN' if wanted.marked else 'NOT IN'} "
            "(SELECT seq FROM events WHERE marked = 1)", wanted.marked,
        ),
    }  # fmt: skip
    given = {name: part for name, part in parts.items() if part[1] is not None}
    text = "".join(f" AND {text}" for text, _ in given.values())
    return Condition(text, {name: value for name, (_, value) in given.items()})


def find_events(folder: Path, wanted: EventFilter = EVERYTHING) -> list[StoredEvent]:
    """Events in the order of their numbers, never of their times.

    Raises:
        StoreError: there is no store, or it cannot be read.
    """
    return list(iter_events(folder, wanted))


def iter_events(folder: Path, wanted: EventFilter = EVERYTHING) -> Iterator[StoredEvent]:
    """The same one after another, with 8 bytes of memory for each event.

    Each chunk is a read of its own, so that a run is not held up. What is deleted meanwhile is
    left out, what comes meanwhile is not in it.
    """
    with connected(folder) as connection:
        there = columns(connection, "events")
        if not there:
            return
        if "started_ms" not in there:
            yield from _of_an_older_release(folder, wanted)
            return
        found = numbers(connection, wanted)
        names = columns_of(StoredEvent, there)
        for start in range(0, len(found), _CHUNK):
            chunk = json.dumps(found[start : start + _CHUNK].tolist())
            rows = connection.execute(
                f"SELECT {','.join(names)} FROM events "
                "WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq", (chunk,)
            ).fetchall()  # fmt: skip
            yield from (event_of(dict(zip(names, row, strict=True))) for row in rows)


def check_label(folder: Path, label: str) -> None:
    """Whether any event ever had a label; asked where nothing was found, at most one look at the
    index. A store that has no events at all, or an older release's, says nothing.

    Raises:
        ConfigError: none had, naming the nearest label.
    """
    with connected(folder) as connection:
        if not label or "started_ms" not in columns(connection, "events"):
            return
        rows = connection.execute(f"SELECT DISTINCT label FROM {INDEXED}").fetchall()
    labels = sorted(name for (name,) in rows)
    if labels and label not in labels:
        raise ConfigError(f"no event has the label {label!r}", hint=_nearest_label(label, labels))


def _nearest_label(label: str, labels: list[str]) -> str:
    """A label that has the word in it, else one that looks like it; never a list of a thousand."""
    within = [name for name in labels if label.casefold() in name.casefold()]
    hint = f"did you mean {within[0]!r}?" if within else nearest(label, labels)
    many = len(labels) > _LISTED and hint.startswith("valid")
    return "sightpost events count lists the labels" if many else hint


def numbers(
    connection: sqlite3.Connection, wanted: EventFilter, *, most: int = -1
) -> "NDArray[np.int64]":
    """Of the events that are wanted, ascending; (events,) int64; any ``most`` of them."""
    import numpy as np

    if wanted.last is not None:
        return np.array(newest(connection, wanted, wanted.last)[::-1], np.int64)
    found = condition(wanted)
    rows = connection.execute(
        f"SELECT seq FROM {_source(wanted)} "
        f"WHERE started_ms >= :from AND started_ms < :to{found.text} LIMIT :most",
        {"from": wanted.from_ms, "to": wanted.to_ms, "most": most, **found.values},
    )
    return np.sort(np.fromiter((seq for (seq,) in rows), np.int64))


def newest(connection: sqlite3.Connection, wanted: EventFilter, most: int) -> list[int]:
    """The numbers of the newest events that are wanted, at most so many, newest first.

    Mostly they are among the last ones written; reading those is quick also from a card that has
    not been read yet. Where they are not, the index is gone through backwards in time, in which
    nearly every number is lower than those found already (forwards: twice the time).
    """
    found = condition(wanted)
    values = {"from": wanted.from_ms, "to": wanted.to_ms, "most": most, **found.values}
    where = f"started_ms >= :from AND started_ms < :to{found.text}"
    if most <= _RECENT:
        recent = connection.execute(
            f"SELECT seq FROM {_BY_NUMBER} WHERE seq > (SELECT max(seq) FROM events) - "
            f"{_RECENT} AND {where} ORDER BY seq DESC LIMIT :most", values
        ).fetchall()  # fmt: skip
        if len(recent) == most:
            return [seq for (seq,) in recent]
    rows = connection.execute(
        f"SELECT seq FROM (SELECT seq FROM {_source(wanted)} WHERE {where} "
        "ORDER BY started_ms DESC LIMIT -1) ORDER BY seq DESC LIMIT :most", values
    )  # fmt: skip
    return [seq for (seq,) in rows]


def _source(wanted: EventFilter) -> str:
    """Marked ones are few, and an index of their own lists them."""
    return _BY_NUMBER if wanted.marked else INDEXED


def lowest(connection: sqlite3.Connection, wanted: EventFilter) -> int | None:
    """The number with which the newest ``last`` begin; None where all are wanted."""
    if wanted.last is None:
        return None
    return min(newest(connection, wanted, wanted.last), default=0)


def _of_an_older_release(folder: Path, wanted: EventFilter) -> list[StoredEvent]:
    """Of a store that no run has brought up to date yet, and which is small."""
    plain = replace(wanted, last=None)
    found = [e for e in read_events(folder, label=wanted.label) if _matches(e, plain)]
    return found if wanted.last is None else found[-wanted.last :]


def _matches(event: StoredEvent, wanted: EventFilter) -> bool:
    started_ms = clock.to_ms(datetime.fromisoformat(event.started_at))
    return (
        wanted.from_ms <= started_ms < wanted.to_ms
        and event.score >= (wanted.min_score or 0)
        and wanted.marked in (None, event.marked)
    )
