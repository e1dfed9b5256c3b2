"""What a station is doing now, as one JSON message: from the run's live file and from the store."""

import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import clock
from ..control import HIGHEST, LOWEST
from ..errors import StoreError
from ..heat import NOW
from ..live import Live
from ..localtime import read_when
from ..machine import throttle_words
from ..polled import Polled
from ..store.database import DATABASE
from ..store.dropping import COUNTERS
from ..store.outbox import UPLINK
from ..store.reading import columns, connected, read_events
from ..store.rows import StoredEvent
from .cursor import Kept, parsed
from .discovery import NO_FAULT

LONGEST = 255
"""Characters of a state in Home Assistant; a longer one is refused there."""
BACKLOG = 20
"""So many messages are on their way at any time; an event that is sent at once is no news twice."""
_PASSING = ("time", "fps", "frames", "skipped", "temperature_c")
"""Figures that always differ; none of them alone is news."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the store says; ``total`` counts all it ever kept, those dropped for room since too,
    ``today`` those of the local day that are still kept."""

    last: StoredEvent | None = None
    today: int = 0
    total: int = 0
    undelivered: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)


class StoreWatch:
    """Reads a store again when it, the uplink's cursor or the day has changed; costs four stats.

    Events are counted once, which takes 40 ms for a million, and from then on only newer ones.
    """

    def __init__(self, folder: Path, *, cursor: str = "mqtt.json") -> None:
        self._folder = folder
        self._cursor = Polled(folder / UPLINK / cursor, parsed, Kept())
        self._mark: tuple[object, ...] = ()
        self._facts = Facts()
        self._counted, self._newest, self._counted_in = 0, 0, ""

    def count_again(self) -> None:
        """From the first event on, in case one came and went between two looks."""
        self._newest, self._mark = 0, ()

    def __call__(self, now: datetime) -> Facts:
        """As it is at ``now``, an aware time; where it cannot be read, as it was."""
        midnight_ms = read_when("today", now=now)
        written = tuple(_mark(self._folder / name) for name in (DATABASE, f"{DATABASE}-wal"))
        mark = (*written, self._cursor(), midnight_ms)
        if mark != self._mark:
            try:
                self._facts = self._read(midnight_ms)
                self._mark = mark
            except StoreError:
                pass  # none yet, or the writer has it to itself just now: next time
        return self._facts

    def _read(self, midnight_ms: int) -> Facts:
        events = read_events(self._folder, last=1)
        last = events[0] if events else None
        with connected(self._folder) as connection:
            connection.execute("BEGIN")  # all of one moment: what is dropped meanwhile counts once
            if not columns(connection, "outbox"):
                return Facts(last=last)  # made by an older release
            drops = dict(connection.execute("SELECT name, value FROM counters ORDER BY name"))
            named = connection.execute("SELECT id FROM store").fetchone()
            store = str(named[0]) if named else ""
            total = self._total(connection, store, drops)
            (today,) = connection.execute(
                "SELECT COUNT(*) FROM events WHERE started_ms >= ?", (midnight_ms,)
            ).fetchone()
            (undelivered,) = connection.execute(
                "SELECT COUNT(*) FROM outbox WHERE id > ?", (self._acked(store),)
            ).fetchone()
        return Facts(last, today, total, undelivered, drops)

    def _total(self, connection: sqlite3.Connection, store: str, drops: Mapping[str, int]) -> int:
        """Dropping moves an event from one summand to the other; numbers are no count: after an
        unclean end up to a hundred are skipped."""
        afresh = self._newest == 0 or store != self._counted_in
        # Without a WHERE an index is enough for it: 40 ms in place of 540 ms.
        newer = "" if afresh else f" WHERE seq > {self._newest}"
        (more,) = connection.execute(f"SELECT COUNT(*) FROM events{newer}").fetchone()
        (newest,) = connection.execute("SELECT MAX(seq) FROM events").fetchone()
        before = drops.get(COUNTERS["events"], 0) if afresh else self._counted
        self._counted, self._counted_in = before + more, store
        self._newest = newest or 0
        return self._counted

    def _acked(self, store: str) -> int:
        """0 where the cursor is another database's."""
        kept = self._cursor()
        return kept.acked if kept.store == store else 0


def state(live: Live | None, facts: Facts, now: clock.Reading) -> dict[str, Any]:
    """The message; what nobody can know is None, and no key is ever missing.

    Without a run that is alive its own figures are None; what the store says holds.
    """
    told = live if live is not None and live.is_fresh(now) else None
    last, drops = facts.last, facts.drops
    return {
        "v": 1,
        "time": clock.iso(now.wall_ms),
        "clock_quality": now.quality,
        "running": told is not None,
        "armed": told and told.armed,
        "threshold": told and _shown(told.threshold),
        "model": told and told.model,
        "last": {
            "seq": last and last.seq,
            "label": last and last.label[:LONGEST],
            "score": last and round(last.score, 4),
            "time": last and last.started_at,
            "clock_quality": last and last.clock_quality,
            "region": last and last.region,
        },
        "events": {"today": facts.today, "total": facts.total},
        "fps": told and round(told.fps, 1),
        "frames": told and told.frames,
        "skipped": told and told.skipped,
        "camera": {
            "problem": told and bool(told.fault),
            "fault": told and (told.fault or NO_FAULT),
            "detail": told and told.detail[:LONGEST],
        },
        "temperature_c": told and told.temperature_c,
        "heat": {
            "throttled": told and bool(told.heat_bits & NOW),
            "why": told and throttle_words(f"{told.heat_bits:x}"),
            "pace": told and told.pace,
        },
        "disk_full": told and told.disk_full,
        "undelivered": facts.undelivered,
        "drops": {"total": sum(drops.values()), "by_name": dict(drops)},
    }


def gist(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """What of a state is news when it is another; of what waits only whether it is a backlog."""
    kept = {key: value for key, value in told.items() if key not in _PASSING}
    return {**kept, "undelivered": told["undelivered"] > BACKLOG}


def as_payload(told: Mapping[str, Any]) -> str:
    """As it travels."""
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def _shown(threshold: float) -> float | None:
    """Home Assistant's slider calls what lies beyond its ends an error, at every message."""
    return round(threshold, 4) if LOWEST <= threshold <= HIGHEST else None


def _mark(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
