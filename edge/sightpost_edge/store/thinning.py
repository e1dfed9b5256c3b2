"""Giving rows up, once the database itself is beyond its share: a row is 1.5 KiB, a picture 30.

First what the camera's health was long ago, then events without a picture, of the label that has
most, oldest first; what was not sent yet goes last, what a person marked and the newest row never
(the numbers of events go on from it).
"""

import sqlite3
from collections import Counter

from .dropping import Dropped, count_all, transaction

BATCH = 500
HEALTH_KEPT = 1000

_OLDEST = """SELECT seq FROM events
    WHERE seq > ? AND seq < ? AND label = ? AND marked = 0 AND snapshot = '' AND clip = ''
    ORDER BY seq LIMIT ?"""


class Thinning:
    """``rows``: how many events of each label there are; it is kept up to date here."""

    def __init__(self, connection: sqlite3.Connection, rows: Counter[str]) -> None:
        self._connection, self._rows = connection, rows
        self._passed: dict[tuple[str, bool], int] = {}

    def thin(self) -> Dropped:
        """Up to ``BATCH`` rows of the least value; nothing where nothing may go."""
        if old := self._old_health():
            return self._delete("health", old)
        unsent, newest = self._unsent(), self._newest("events")
        for sent_only in (True, False):
            before = min(unsent, newest) if sent_only else newest
            for label, _ in self._rows.most_common():
                if found := self._oldest(label, before, sent_only=sent_only):
                    return self._delete_events(label, found, unsent)
        self._passed.clear()
        return Dropped()

    def _oldest(self, label: str, before: int, *, sent_only: bool) -> list[int]:
        """Where the last search ended it goes on: what was skipped then still has its picture."""
        after = self._passed.get((label, sent_only), 0)
        found = self._connection.execute(_OLDEST, (after, before, label, BATCH)).fetchall()
        if found:
            self._passed[label, sent_only] = found[-1][0]
        return [row[0] for row in found]

    def _old_health(self) -> list[int]:
        kept = self._newest("health") - HEALTH_KEPT
        found = self._connection.execute(
            "SELECT seq FROM health WHERE seq <= min(?, ?) ORDER BY seq LIMIT ?",
            (kept, self._unsent("health") - 1, BATCH),
        )
        return [row[0] for row in found]

    def _delete_events(self, label: str, found: list[int], unsent: int) -> Dropped:
        self._rows[label] -= len(found)
        return self._delete("events", found, [seq for seq in found if seq >= unsent])

    def _delete(self, table: str, found: list[int], unsent: list[int] | None = None) -> Dropped:
        dropped = Dropped(**{table: len(found)}, outbox=len(unsent or ()))
        with transaction(self._connection):
            self._connection.executemany(
                f"DELETE FROM {table} WHERE seq = ?", [(seq,) for seq in found]
            )
            count_all(self._connection, dropped)
        return dropped

    def _newest(self, table: str) -> int:
        return int(self._connection.execute(f"SELECT max(seq) FROM {table}").fetchone()[0] or 0)

    def _unsent(self, table: str = "events") -> int:
        """The oldest row that was not sent yet: the outbox is in the order of the rows."""
        found = self._connection.execute(
            "SELECT ref FROM outbox WHERE kind = ? ORDER BY id LIMIT 1",
            ("event" if table == "events" else table,),
        ).fetchone()
        return int(found[0]) if found else 1 << 62
