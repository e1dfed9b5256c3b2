"""Giving pictures up: the row first, then the file, each one counted.

No row may ever name a missing file; a file that no row names is swept at the next start.
"""

import contextlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from .ballast import size_of
from .database import transaction
from .outbox import count

GONE = -1
"""``picture_bytes`` of an event whose pictures were given up; 0: it never had one."""

COUNTERS = {
    "pictures": "pictures dropped", "clips": "clips dropped", "samples": "samples dropped",
    "events": "events dropped", "health": "health records dropped",
    "outbox": "unsent events dropped",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dropped:
    """How much was given up, by kind; ``bytes`` is what came free on the disk."""

    pictures: int = 0
    clips: int = 0
    samples: int = 0
    events: int = 0
    health: int = 0
    outbox: int = 0
    bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.counts())

    def __int__(self) -> int:
        return sum(self.counts().values())

    def __add__(self, other: "Dropped") -> "Dropped":
        return Dropped(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def counts(self) -> dict[str, int]:
        """By the name of the counter, without the bytes and without zeros."""
        numbers = {name: getattr(self, kind) for kind, name in COUNTERS.items()}
        return {name: number for name, number in numbers.items() if number}

    def __str__(self) -> str:
        return ", ".join(f"{name}: {number}" for name, number in self.counts().items())


@dataclass(frozen=True, slots=True)
class Victim:
    """One file that goes, and what its row says afterwards; ``table`` "": no row names it."""

    table: str
    key: int
    clip: bool
    name: str
    size: int
    left: int = 0
    """Bytes of the row's other picture."""


def find(
    folder: Path, connection: sqlite3.Connection, table: str, key: int, *, clip: bool
) -> Victim | None:
    """What would go, as the row and the disk say now; None where a person marked it meanwhile, or
    somebody else was quicker."""
    if table == "samples":
        query = "SELECT file, '', 0 FROM samples WHERE id = ?"
    else:
        query = "SELECT snapshot, clip, marked FROM events WHERE seq = ?"
    row = connection.execute(query, (key,)).fetchone()
    if row is None or row[2] or not row[clip]:
        return None
    left = size_of(folder / row[not clip]) if row[not clip] else 0
    return Victim(table, key, clip, row[clip], size_of(folder / row[clip]), left)


def remove(folder: Path, connection: sqlite3.Connection, victims: Iterable[Victim]) -> Dropped:
    """All in one transaction, then the files."""
    victims = list(victims)
    samples = sum(one.table == "samples" for one in victims)
    clips = sum(one.clip for one in victims)
    dropped = Dropped(
        pictures=len(victims) - samples - clips,
        clips=clips,
        samples=samples,
        bytes=sum(one.size for one in victims),
    )
    with transaction(connection):
        for one in victims:
            _forget(connection, one)
        count_all(connection, dropped)
    for one in victims:
        with contextlib.suppress(OSError):
            (folder / one.name).unlink()
    return dropped


def _forget(connection: sqlite3.Connection, victim: Victim) -> None:
    if victim.table == "samples":
        connection.execute("DELETE FROM samples WHERE id = ?", (victim.key,))
    elif victim.table == "events":
        column = "clip" if victim.clip else "snapshot"
        connection.execute(
            f"UPDATE events SET {column} = '', picture_bytes = ? WHERE seq = ?",
            (victim.left or GONE, victim.key),
        )


def count_all(connection: sqlite3.Connection, dropped: Dropped) -> None:
    """Add to the counters; within the caller's transaction."""
    for name, number in dropped.counts().items():
        count(connection, name, number)
