"""What has still to be told to others: rows that go away only when the receiver has acknowledged.

The writer adds a row in the transaction of what it tells of. An uplink, a process of its own,
reads them here and keeps a cursor file, ``uplink/NAME.json``, with the highest number up to which
everything is acknowledged; the writer reads that and deletes.
"""

import logging
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..polled import DAMAGED, read_object
from .reading import columns, connected
from .rows import StoredEvent, StoredHealth, event_of, health_of

log = logging.getLogger("sightpost")

UPLINK = "uplink"
KINDS = ("event", "health", "correction", "drops")
MAX_ROWS = 100_000
"""Beyond so many the oldest are given up and counted: 100,000 events wait in 3 MB."""
GIVEN_UP = "outbox rows given up"


@dataclass(frozen=True, slots=True)
class Parcel:
    """One thing to tell: an event, the same event with its times put right ("correction"), what
    happened to the camera, or what had to be dropped so far, by name."""

    id: int
    kind: str
    event: StoredEvent | None = None
    health: StoredHealth | None = None
    drops: Mapping[str, int] | None = None


def read_outbox(folder: Path, *, after: int, limit: int) -> list[Parcel]:
    """What comes next after number ``after``, in order; at most ``limit`` Parcels.

    An event that was deleted meanwhile has no Parcel; it was counted when it was deleted.

    Raises:
        StoreError: there is no store, or it may not be read.
    """
    with connected(folder) as connection:
        if not columns(connection, "outbox"):
            return []
        connection.row_factory = sqlite3.Row
        with closing(
            connection.execute(
                "SELECT id, kind, ref FROM outbox WHERE id > ? ORDER BY id", (after,)
            )
        ) as rows:
            found = (_parcel(connection, *row) for row in rows)
            # Not LIMIT: a stretch of deleted events must not look like the end.
            return list(islice((parcel for parcel in found if parcel is not None), limit))


def count_waiting(folder: Path) -> int:
    """How many rows some uplink has not acknowledged.

    Raises:
        StoreError: there is no store, or it may not be read.
    """
    with connected(folder) as connection:
        if not columns(connection, "outbox"):
            return 0
        query = "SELECT count(*) FROM outbox WHERE id > ?"
        found = connection.execute(query, (acknowledged(folder, connection),)).fetchone()
    return int(found[0])


def store_id(folder: Path) -> str:
    """Of this database file: another one counts its outbox from the beginning again."""
    with connected(folder) as connection:
        if not columns(connection, "store"):
            return ""
        return _name(connection)


def _parcel(connection: sqlite3.Connection, number: int, kind: str, ref: int) -> Parcel | None:
    if kind == "drops":
        drops = dict(
            connection.execute("SELECT name, value FROM counters ORDER BY name").fetchall()
        )
        return Parcel(number, kind, drops=drops)
    table = "health" if kind == "health" else "events"
    row = connection.execute(f"SELECT * FROM {table} WHERE seq = ?", (ref,)).fetchone()
    if row is None:
        return None
    values: dict[str, Any] = dict(row)
    if kind == "health":
        return Parcel(number, kind, health=health_of(values))
    return Parcel(number, kind, event=event_of(values))


def tell(connection: sqlite3.Connection, kind: str, refs: Sequence[int]) -> None:
    """Add rows; within a transaction of the writer."""
    connection.executemany(
        "INSERT INTO outbox (kind, ref) VALUES (?, ?)", [(kind, ref) for ref in refs]
    )


def acknowledged(folder: Path, connection: sqlite3.Connection) -> int:
    """Up to which number every uplink has what it was told; 0 before any was."""
    store = _name(connection)
    cursors = [_cursor(path, store) for path in sorted((folder / UPLINK).glob("*.json"))]
    known = [cursor for cursor in cursors if cursor is not None]
    return min(known, default=0)


def renew(folder: Path, connection: sqlite3.Connection) -> None:
    """Where a cursor is ahead of the outbox the database went back in time, as a restored copy
    does: it takes a new name, and everything in it is sent again rather than some of it never."""
    (newest,) = connection.execute("SELECT COALESCE(max(id), 0) FROM outbox").fetchone()
    store = _name(connection)
    if not store:  # damage has taken it
        now_ms = time.time_ns() // 1_000_000
        connection.execute("INSERT INTO store VALUES (lower(hex(randomblob(8))), ?)", (now_ms,))
    elif any((_cursor(path, store) or 0) > newest for path in (folder / UPLINK).glob("*.json")):
        log.warning("%s was put back to an older state: what waits in it is sent again", folder)
        connection.execute("UPDATE store SET id = lower(hex(randomblob(8)))")


def prune(connection: sqlite3.Connection, acked: int, *, most: int = MAX_ROWS) -> int:
    """Delete what is acknowledged and, beyond ``most`` rows, the oldest; gives how many of these.

    The newest row stays in any case, so that no number is used twice. Within a transaction.
    """
    connection.execute(
        "DELETE FROM outbox WHERE id <= ? AND id < (SELECT max(id) FROM outbox)", (acked,)
    )
    ends = connection.execute("SELECT min(id), max(id) FROM outbox").fetchone()
    if ends[0] is None or ends[1] - ends[0] < most:
        return 0
    cursor = connection.execute("DELETE FROM outbox WHERE id <= ?", (ends[1] - most,))
    count(connection, GIVEN_UP, cursor.rowcount)
    return cursor.rowcount


def count(connection: sqlite3.Connection, name: str, number: int) -> None:
    """Add to a counter that stays for ever; within a transaction."""
    connection.execute(
        "INSERT INTO counters VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        (name, number),
    )


def read_counters(folder: Path) -> dict[str, int]:
    """Everything that was ever dropped, by name."""
    with connected(folder) as connection:
        if not columns(connection, "counters"):
            return {}
        with closing(connection.execute("SELECT name, value FROM counters ORDER BY name")) as rows:
            return dict(rows.fetchall())


def _name(connection: sqlite3.Connection) -> str:
    found = connection.execute("SELECT id FROM store").fetchone()
    return str(found[0]) if found else ""


def _cursor(path: Path, store: str) -> int | None:
    """The number in a cursor file, 0 where it is about another database; None if it is none."""
    try:
        kept = read_object(path)
        if "acked" not in kept:
            return None
        acked = int(kept["acked"]) if kept.get("store") == store else 0
        return acked if 0 <= acked < 1 << 63 else 0
    except (OSError, OverflowError, *DAMAGED):
        return None
