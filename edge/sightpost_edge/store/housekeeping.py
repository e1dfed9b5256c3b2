"""What the one writer does beside writing: the clock, the quota, the outbox, others' requests."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from .backfill import Backfill
from .events import EventStore
from .outbox import MAX_ROWS, acknowledged, prune, tell
from .requests import done, obey, waiting

ROOM_S, CLOCK_S, OUTBOX_S, TRIM_S, ALIVE_S = 1.0, 5.0, 5.0, 60.0, 600.0
DROPS_S = 300.0
"""How often others are told what had to be dropped, where anything had."""


class Room(Protocol):
    """Keeps a store within its share of the disk, as ``quota.Quota`` does."""

    def changed(self, events: Sequence[int]) -> None:
        """Look at these again."""

    def enforce(self) -> int:
        """Delete what is over the share; gives how many things were dropped."""

    def make_room(self, bytes_needed: int = 0) -> int:
        """The disk is full: delete something now; gives how many things were dropped."""


class Housekeeping:
    """Called once a second by the thread that writes; each part when it is due."""

    def __init__(
        self,
        store: EventStore,
        *,
        room: Room | None = None,
        outbox: bool = False,
        trim: Callable[[], int] = lambda: 0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._room, self._outbox, self._clock_s = store, room, outbox, clock_s
        self._trim = trim
        self._stuck: set[Path] = set()
        self._backfill = Backfill(store.connection, outbox=outbox)
        self._backfill.expect(store.read_clock())
        self._due_s = dict.fromkeys(
            ("room", "trim", "clock", "outbox", "alive", "drops"), clock_s()
        )
        self._dropped = 0

    def tick(self) -> None:
        """Whatever is due."""
        if self._is_due("clock", CLOCK_S):
            self._backfill.correct(self._store.read_clock(), self._store.transaction)
        if self._is_due("room", ROOM_S):
            self._obey()
            self._dropped += self._room.enforce() if self._room is not None else 0
        if self._is_due("trim", TRIM_S):
            self._dropped += self._trim()
        if self._outbox and self._is_due("outbox", OUTBOX_S):
            self._prune()
        if self._is_due("alive", ALIVE_S):
            self._store.alive()

    def make_room(self, bytes_needed: int = 0) -> bool:
        """The disk is full: whether anything could be done about it."""
        if self._room is None:
            return False
        made = self._room.make_room(bytes_needed)
        self._dropped += made
        return made > 0

    def changed(self, events: Sequence[int]) -> None:
        """What is kept of these events is not what it was: a film came, a person marked them."""
        if self._room is not None and events:
            self._room.changed(events)

    def _is_due(self, name: str, period_s: float) -> bool:
        now_s = self._clock_s()
        if now_s < self._due_s[name]:
            return False
        self._due_s[name] = now_s + period_s
        return True

    def _obey(self) -> None:
        paths = [path for path in waiting(self._store.folder) if path not in self._stuck]
        if paths:
            with self._store.transaction() as connection:
                events = obey(connection, paths)
            self.changed(events)
            self._stuck.update(done(paths))

    def _prune(self) -> None:
        acked = acknowledged(self._store.folder, self._store.connection)
        (oldest,) = self._store.connection.execute("SELECT min(id) FROM outbox").fetchone()
        tells = bool(self._dropped) and self._is_due("drops", DROPS_S)
        if oldest is None or (oldest > acked and not tells and not self._crowded(oldest)):
            return
        with self._store.transaction() as connection:
            self._dropped += prune(connection, acked)
            if tells:
                tell(connection, "drops", [0])
                self._dropped = 0

    def _crowded(self, oldest: int) -> bool:
        (newest,) = self._store.connection.execute("SELECT max(id) FROM outbox").fetchone()
        return bool(newest - oldest >= MAX_ROWS)
