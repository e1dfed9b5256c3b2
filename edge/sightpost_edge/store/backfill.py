"""When time arrives, what was seen before it arrived is put right.

A board without a battery-backed clock boots in the past. Its monotonic clock counts on, so one
look at both clocks after the first synchronisation dates everything that the same boot has seen.
Earlier boots cannot be dated: nobody knows how long the board was off; their times stay marked.
"""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager

from ..clock import Reading
from .outbox import tell

log = logging.getLogger("sightpost")

LATE = 2_000
"""So many rows at most are on their way to the disk (``backlog.MOST_WAITING``)."""
BATCH = 500
"""Rows corrected in one transaction: a second's work on a slow card."""


class Backfill:
    """Corrects the times of this boot, a batch at a time, as soon as the clock can be trusted."""

    def __init__(self, connection: sqlite3.Connection, *, outbox: bool) -> None:
        self._connection, self._outbox = connection, outbox
        self._open: dict[str, int] = {}

    def expect(self, reading: Reading) -> None:
        """Look from the first event of this boot on."""
        (first,) = self._connection.execute(
            "SELECT min(first_seq) FROM runs WHERE boot_id = ? AND first_seq > 0",
            (reading.boot_id,),
        ).fetchone()
        self._open = {"events": first or 0, "health": 0, "samples": 0, "runs": 0}

    def correct(
        self,
        reading: Reading,
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
    ) -> int:
        """One batch; gives how many rows were put right."""
        if reading.quality != "synchronized" or not reading.boot_id:
            return 0
        return sum(self._correct(table, reading, transaction) for table in self._open)

    def _correct(
        self,
        table: str,
        reading: Reading,
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
    ) -> int:
        key = {"runs": "run", "samples": "id"}.get(table, "seq")
        rows = self._connection.execute(
            f"SELECT {key}, * FROM {table} WHERE {key} >= ? AND boot_id = ? "
            f"AND clock_quality IN ('unsynchronized', 'unknown') ORDER BY {key} LIMIT {BATCH}",
            (self._open[table], reading.boot_id),
        )
        rows.row_factory = sqlite3.Row
        found = rows.fetchall()
        if not found:
            # What was dated before the clock was right may still be on its way: look from here on.
            query = f"SELECT COALESCE(max({key}), 0) FROM {table}"
            (newest,) = self._connection.execute(query).fetchone()
            self._open[table] = max(self._open[table], newest - LATE)
            return 0
        with transaction() as connection:
            for row in found:
                _put_right(connection, table, key, row, reading)
            if table == "events" and self._outbox:
                # Also those that wait: an uplink may have read them ahead, with the old times.
                tell(connection, "correction", [row[0] for row in found])
        self._open[table] = found[-1][0] + 1
        log.info("the clock is right now: %d %s dated anew", len(found), table)
        return len(found)


def _put_right(
    connection: sqlite3.Connection, table: str, key: str, row: sqlite3.Row, reading: Reading
) -> None:
    """Shift all wall times of a row by what its monotonic time says they are off."""
    right_ms = reading.wall_of(row["monotonic_ns"])
    if table == "events":
        right_ms -= round((row["peak_s"] - row["started_s"]) * 1000)
    columns = ("at_ms",) if "at_ms" in row.keys() else ("started_ms", "ended_ms")  # noqa: SIM118
    shift_ms = right_ms - row[columns[0]]
    moved = ", ".join(f"{name} = {name} + :shift" for name in columns)
    connection.execute(
        f"UPDATE {table} SET {moved}, clock_shift_ms = clock_shift_ms + :shift, "
        f"clock_quality = 'corrected' WHERE {key} = :key",
        {"shift": shift_ms, "key": row[key]},
    )
