"""Giving rows up, once the database itself is beyond its share: a row is 1.5 KiB, a picture 30.

First what the camera's health was long ago; then old runs that saw nothing become one with the run
before; then events without a picture, of the label that has most, oldest first; what was not sent
yet goes last, what a person marked and the newest row never (the numbers of events go on from it).
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from .database import transaction
from .dropping import Dropped, count_all

BATCH = 500
HEALTH_KEPT = 1000
RUNS_KEPT = 1000
"""A crash loop makes 8,640 a day, of 0.6 KB each."""
RESTART_MS = 600_000
"""``watched`` takes a shorter gap for none."""

_OLDEST = """SELECT seq FROM events
    WHERE seq > ? AND seq < ? AND label = ? AND marked = 0 AND snapshot = '' AND clip = ''
    ORDER BY seq LIMIT ?"""
_ADJOINING = """SELECT b.run, gone.ended_ms FROM runs gone JOIN runs b
    ON b.run = (SELECT max(run) FROM runs WHERE run < gone.run)
    WHERE gone.run = :run AND b.source = gone.source AND b.clock_quality = gone.clock_quality
    AND gone.started_ms <= coalesce(b.ended_ms, gone.started_ms) + :restart_ms"""
_JOIN = """UPDATE runs SET ended_ms = CASE WHEN ended_ms IS NULL THEN :ended_ms
    ELSE max(ended_ms, :ended_ms) END WHERE run = :run"""


class Thinning:
    """Made at a start; used once all rows were read.

    Args:
        connection: the one that writes.
        rows: how many events of each label there are; it is kept up to date here.
        named: the runs that any row names.
    """

    def __init__(
        self, connection: sqlite3.Connection, rows: Counter[str],
        named: Sequence[AbstractSet[int]] = (),
    ) -> None:  # fmt: skip
        self._connection, self._rows, self._named = connection, rows, named
        self._passed: dict[tuple[str, bool], int] = {}
        self._this_run = self._newest("runs", "run")
        self._run_passed = self._oldest_run()

    def thin(self) -> Dropped:
        """Up to ``BATCH`` rows of the least value; nothing where nothing may go."""
        if old := self._old_health():
            return self._delete("health", old)
        if self._join_runs():
            return Dropped()
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

    def _join_runs(self) -> bool:
        """Of the next ``BATCH`` runs those that no row names; whether there were any to look at.

        Never the newest: those since this start may have events that wait to be written.
        """
        before = min(self._this_run, self._newest("runs", "run") - RUNS_KEPT)
        found = self._connection.execute(
            "SELECT run FROM runs WHERE run > ? AND run < ? ORDER BY run LIMIT ?",
            (self._run_passed, before, BATCH),
        ).fetchall()
        if not found:
            return False
        self._run_passed = found[-1][0]
        with transaction(self._connection):
            for (run,) in found:
                if not any(run in runs for runs in self._named):
                    self._join(run)
        return True

    def _join(self, run: int) -> None:
        """Nothing is lost: what it watched is told by the run before, where no gap was between.

        The events of other runs lie above their own ``first_seq``, by which a clock that is right
        at last finds them.
        """
        query = {"run": run, "restart_ms": RESTART_MS}
        if before := self._connection.execute(_ADJOINING, query).fetchone():
            self._connection.execute(_JOIN, {"run": before[0], "ended_ms": before[1]})
            self._connection.execute("DELETE FROM runs WHERE run = ?", (run,))

    def _oldest_run(self) -> int:
        return int(self._connection.execute("SELECT min(run) FROM runs").fetchone()[0] or 0)

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

    def _newest(self, table: str, key: str = "seq") -> int:
        return int(self._connection.execute(f"SELECT max({key}) FROM {table}").fetchone()[0] or 0)

    def _unsent(self, table: str = "events") -> int:
        """The oldest row that was not sent yet: the outbox is in the order of the rows."""
        found = self._connection.execute(
            "SELECT ref FROM outbox WHERE kind = ? ORDER BY id LIMIT 1",
            ("event" if table == "events" else table,),
        ).fetchone()
        return int(found[0]) if found else 1 << 62
