"""What pictures the store holds, in memory: 25 bytes for each, so that no folder is ever walked.

An index that finds them would cost every event a page of writing. Instead the rows are read once
after the start, a slice in each round, 100,000 in under a minute, and after that the new ones only.
"""

import sqlite3
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .retention import Doubt, Pictures

SLICE = 2000
LATE = 200
"""A clip is written some seconds after its event: so many of the newest rows are read again. Of
changes to older ones the writer tells (``changed``)."""
BLOCK = 4096
SNAPSHOT, CLIP, DOUBTFUL, BLANK, MARKED = 1, 2, 4, 8, 16

_ENTRY = np.dtype(
    [("key", "i8"), ("bytes", "i8"), ("group", "i4"), ("score", "f4"), ("state", "u1")]
)
_EVENTS = """SELECT seq, label, score, run, named_by, marked, snapshot, clip, picture_bytes
    FROM events WHERE seq > ? ORDER BY seq LIMIT ?"""
_SAMPLES = """SELECT id, label, score, run, CASE kind WHEN 'random' THEN 'label' ELSE kind END,
    0, file, '', bytes FROM samples WHERE id > ? ORDER BY id LIMIT ?"""


def on_disk(size: int) -> int:
    """What a file of so many bytes takes: whole blocks."""
    return -(-size // BLOCK) * BLOCK


class Holdings:
    """The pictures that the rows of one table name; ``on_names`` is told each name as it is read.

    ``size_of`` measures a file that an old release left no size for.
    """

    def __init__(
        self, connection: sqlite3.Connection, table: str, *, size_of: Callable[[str], int],
        on_names: Callable[[Sequence[str]], None] = lambda names: None,
    ) -> None:  # fmt: skip
        self._connection, self._size_of, self._on_names = connection, size_of, on_names
        self._query = _EVENTS if table == "events" else _SAMPLES
        self._entries = np.empty(0, _ENTRY)
        self._labels: dict[str, int] = {}
        self._doubts: dict[int, Doubt] = {}
        self._last, self._changes = 0, -1
        self.bytes = 0
        self.complete = False
        self.came = 0  # how many pictures were met, for whoever wants to know about new ones
        self.rows: Counter[str] = Counter()
        self.runs: set[int] = set()  # all that any row named when it was read

    def read_on(self) -> None:
        """The next slice; once all are known, those written since."""
        if self.complete and self._connection.total_changes == self._changes:
            return
        after = max(0, self._last - LATE) if self.complete else self._last
        self._changes = self._connection.total_changes
        found = self._connection.execute(self._query, (after, SLICE)).fetchall()
        self.rows.update(row[1] for row in found if row[0] > self._last)
        self.runs.update(row[3] for row in found)
        if found:
            self._take(found)
            self._last = max(self._last, found[-1][0])
        self.complete = len(found) < SLICE
        if not self.complete:
            self._changes = -1

    def read_again(self) -> None:
        """Forget all and read all: for a table from which others delete as well."""
        came, held = self.came, len(self)
        self._entries, self._last, self.bytes = np.empty(0, _ENTRY), 0, 0
        self.rows.clear()
        self.complete, self._changes = False, -1
        while not self.complete:
            self.read_on()
        self.came = came + (len(self) != held)

    def pictures(self, first_group: int = 0) -> Pictures:
        """All that is held, oldest first; rows fit ``keys``. Groups count from ``first_group``."""
        state = self._entries["state"]
        flags = [state & flag > 0 for flag in (DOUBTFUL, BLANK, MARKED, CLIP, SNAPSHOT)]
        return Pictures(self._entries["group"] + first_group, self._entries["score"], *flags)

    @property
    def groups(self) -> int:
        """How many labels were met."""
        return len(self._labels)

    def keys(self) -> NDArray[np.int64]:
        """The rows' numbers, (n,)."""
        return self._entries["key"]

    def look_again(self, key: int) -> None:
        """At one row, after something was done to it."""
        found = self._connection.execute(self._query, (key - 1, 1)).fetchone()
        place = self._place(key)
        if found and found[0] == key and (found[6] or found[7]):
            self._replace(self._entry(found))
        elif place is not None:
            self.bytes -= int(self._entries[place]["bytes"])
            self._entries[place]["bytes"] = self._entries[place]["state"] = 0

    def changed(self, keys: Iterable[int]) -> None:
        """Others changed these rows, however old: a late clip, a mark set or taken away."""
        for key in keys:
            if key <= self._last:  # the others are still to be read
                self.look_again(key)
                self.came += 1  # the order of what goes may be another one now

    def tidy(self) -> None:
        """Let go of entries without pictures."""
        self._entries = self._entries[self._entries["state"] & (SNAPSHOT | CLIP) > 0]

    def _take(self, found: list[tuple[Any, ...]]) -> None:
        self._on_names([name for row in found for name in row[6:8] if name])
        held = [self._entry(row) for row in found if row[6] or row[7]]
        fresh = [entry for entry in held if entry[0] > self._last]
        for entry in held[: len(held) - len(fresh)]:
            self._replace(entry)
        if fresh:
            self._entries = np.concatenate([self._entries, np.array(fresh, _ENTRY)])
            self.bytes += sum(entry[1] for entry in fresh)
            self.came += len(fresh)

    def _replace(self, entry: tuple[int, int, int, float, int]) -> None:
        """What was read before, and has a clip by now."""
        place = self._place(entry[0])
        if place is None:
            place = bisect_left(self._entries["key"], entry[0])
            self._entries = np.insert(self._entries, place, np.array(entry, _ENTRY))
            self.bytes += entry[1]
            self.came += 1
            return
        self.bytes += entry[1] - int(self._entries[place]["bytes"])
        self._entries[place] = entry

    def _entry(self, row: tuple[Any, ...]) -> tuple[int, int, int, float, int]:
        key, label, score, run, named_by, marked, snapshot, clip, size = row
        doubt = self._doubt(run)
        state = SNAPSHOT * bool(snapshot) | CLIP * bool(clip) | MARKED * bool(marked)
        state |= DOUBTFUL * doubt.doubts(label, score, named_by) | BLANK * doubt.blank(label)
        if size <= 0:
            size = sum(self._size_of(name) for name in (snapshot, clip) if name)
        taken = on_disk(size) + BLOCK * (bool(snapshot) and bool(clip))
        return key, taken, self._labels.setdefault(label, len(self._labels)), score, state

    def _doubt(self, run: int) -> Doubt:
        if run not in self._doubts:
            query = "SELECT rules FROM runs WHERE run = ?"
            found = self._connection.execute(query, (run,)).fetchone()
            self._doubts[run] = Doubt.read(found[0] if found else "{}")
        return self._doubts[run]

    def _place(self, key: int) -> int | None:
        place = bisect_left(self._entries["key"], key)  # searchsorted would copy the column
        there = place < len(self._entries) and self._entries["key"][place] == key
        return place if there else None

    def __len__(self) -> int:
        return len(self._entries)
