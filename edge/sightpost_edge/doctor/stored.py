"""What the checks ask of a station's store, read-only and within seconds on a slow card.

What is wrong with the database itself is ``storage.check_database``'s to say, once: here nothing
raises, and where nothing can be read there is nothing.
"""

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import StoreError
from ..localtime import DAY_MS, HOUR_MS
from ..polled import DAMAGED, read_object
from ..store.reading import columns, connected
from ..store.watched import TRUSTED
from ..uplink.cursor import parsed
from ..uplink.service import CURSOR

T = TypeVar("T")
NEWEST = 5000
"""Events looked at for their times: 8 MB of rows."""
AT_MOST_S = 3.0
_SLICE = 2000
_TRUSTED = json.dumps(sorted(TRUSTED))
_BY_TIME = "FROM events INDEXED BY events_by_time WHERE started_ms >= ? AND started_ms < ?"


@dataclass(frozen=True, slots=True)
class Untrusted:
    """How many of the newest events have a time that cannot be trusted."""

    looked_at: int = 0
    doubtful: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """Events of the last day and of its busiest hour, and what most of those were called."""

    in_day: int = 0
    in_hour: int = 0
    label: str = ""
    of_label: int = 0


@dataclass(frozen=True, slots=True)
class Pictures:
    """Bytes as the rows say; ``complete`` where there was time for all of them."""

    events: int = 0
    samples: int = 0
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the outbox still has to tell; ``oldest_ms`` is when the first of it happened."""

    rows: int = 0
    oldest_ms: int | None = None


def newest_trusted_ms(store: Path) -> int:
    """When the newest event with a time from a set clock began, 0 without any."""

    def question(connection: sqlite3.Connection) -> int:
        (found,) = connection.execute(
            "SELECT max(started_ms) FROM (SELECT started_ms, clock_quality FROM events NOT INDEXED "
            "ORDER BY seq DESC LIMIT ?) WHERE clock_quality IN ('synchronized', 'corrected')",
            (_SLICE,),
        ).fetchone()
        return int(found or 0)

    return _ask(store, "events.started_ms", question, 0)


def untrusted(store: Path) -> Untrusted:
    """Of the newest events."""

    def question(connection: sqlite3.Connection) -> Untrusted:
        number, doubtful = connection.execute(
            "SELECT count(*), sum(clock_quality NOT IN (SELECT value FROM json_each(?))) FROM "
            "(SELECT clock_quality FROM events NOT INDEXED ORDER BY seq DESC LIMIT ?)",
            (_TRUSTED, NEWEST),
        ).fetchone()
        return Untrusted(number, doubtful or 0)

    return _ask(store, "events.started_ms", question, Untrusted())


def rate(store: Path, now_ms: int) -> Rate:
    """How busy the last day was; found in the index of times alone."""

    def question(connection: sqlite3.Connection) -> Rate:
        hours = connection.execute(
            f"SELECT started_ms / {HOUR_MS}, count(*) {_BY_TIME} GROUP BY 1 ORDER BY 2 DESC",
            (now_ms - DAY_MS, now_ms + HOUR_MS),
        ).fetchall()
        if not hours:
            return Rate()
        begun_ms = hours[0][0] * HOUR_MS
        label, number = connection.execute(
            f"SELECT label, count(*) {_BY_TIME} GROUP BY 1 ORDER BY 2 DESC",
            (begun_ms, begun_ms + HOUR_MS),
        ).fetchone()
        return Rate(sum(hour[1] for hour in hours), hours[0][1], label, number)

    return _ask(store, "events.started_ms", question, Rate())


def pictures(store: Path, *, at_most_s: float = AT_MOST_S) -> Pictures:
    """What the rows say that their files take, as far as there is time."""
    end_s = time.monotonic() + at_most_s

    def question(connection: sqlite3.Connection) -> Pictures:
        (samples,) = connection.execute("SELECT COALESCE(sum(bytes), 0) FROM samples").fetchone()
        last = total = 0
        while time.monotonic() < end_s:
            newest, held = connection.execute(
                "SELECT max(seq), sum(picture_bytes) FROM (SELECT seq, picture_bytes FROM events "
                "WHERE seq > ? ORDER BY seq LIMIT ?)", (last, _SLICE)
            ).fetchone()  # fmt: skip
            if newest is None:
                return Pictures(total, samples)
            last, total = newest, total + held
        return Pictures(total, samples, complete=False)

    return _ask(store, "events.picture_bytes", question, Pictures())


def waiting(store: Path) -> Waiting:
    """What no broker has acknowledged yet, as the uplink's cursor file says."""
    of_store, acked = _cursor(store)

    def question(connection: sqlite3.Connection) -> Waiting:
        (name,) = connection.execute("SELECT max(id) FROM store").fetchone()
        after = acked if name == of_store else 0
        rows, first = connection.execute(
            "SELECT count(*), min(id) FROM outbox WHERE id > ?", (after,)
        ).fetchone()
        return Waiting(rows, _happened_ms(connection, first)) if rows else Waiting()

    return _ask(store, "outbox.kind", question, Waiting())


def _happened_ms(connection: sqlite3.Connection, number: int) -> int | None:
    kind, ref = connection.execute(
        "SELECT kind, ref FROM outbox WHERE id = ?", (number,)
    ).fetchone()
    table, column = ("health", "at_ms") if kind == "health" else ("events", "ended_ms")
    found = connection.execute(f"SELECT {column} FROM {table} WHERE seq = ?", (ref,)).fetchone()
    return int(found[0]) if found else None


def _cursor(store: Path) -> tuple[str, int]:
    try:
        kept = parsed(read_object(store / "uplink" / CURSOR))
    except (OSError, *DAMAGED):
        return "", 0
    return kept.store, kept.acked


def _ask(store: Path, needs: str, question: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
    """The answer, or ``otherwise`` where there is no database, or one of an older release."""
    table, _, column = needs.partition(".")
    try:
        with connected(store) as connection:
            return question(connection) if column in columns(connection, table) else otherwise
    except (StoreError, sqlite3.Error):
        return otherwise
