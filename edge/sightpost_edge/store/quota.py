"""The store within its share of the disk: never fill the card, keep what is worth most.

Three rules. The store takes at most its share. A reserve stays free for others: where they use it
up, the store gives way with blank and confident common pictures, and beyond these it only stops
growing (whatever a runaway program would be given, it would take). Rows go only when the database
itself takes more than half of the share.
"""

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from .ballast import Ballast, Space, size_of
from .database import DATABASE, translated
from .dropping import Dropped, Victim, find, remove
from .holdings import BLOCK, Holdings
from .inspection import noted
from .leaving import Leaving
from .quarantine import trim
from .retention import Value
from .sweep import Sweep, names_nothing
from .thinning import Thinning

log = logging.getLogger("sightpost")

BATCH = 64
AT_MOST_S = 0.2
"""So long a round may hold up the writer."""
SAY_S = 300.0
WAIT_S = (1.0, 3600.0)
"""Between attempts to make room where others took what the last had freed: doubled each time."""
FEW_FILES = 64
LEAST_MB = 10
"""Less would be ballast and log rather than events."""
WAL_PAGES = (16, 1000)


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """The ``[storage]`` table: how much of its disk a store may take.

    ``max_share`` is of the file system's size, ``max_mb`` an absolute limit in MB (0: none); the
    smaller one holds. Whatever they say, a twentieth of the disk, 1 GiB at most, stays free.
    """

    max_share: float = 0.5
    max_mb: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.max_share <= 1:
            raise ConfigError(f"storage: max_share ({self.max_share:g}) must lie in (0, 1]")
        if self.max_mb and not LEAST_MB <= self.max_mb < math.inf:
            raise ConfigError(
                f"storage: max_mb ({self.max_mb:g}) must be 0 (no limit) or at least {LEAST_MB}"
            )

    def limit(self, space: Space) -> int:
        """Bytes that the store may take on this disk."""
        share = max(int(space.total * self.max_share), 4 * space.ballast)
        share = min(share, space.total - space.reserve)
        return min(share, int(self.max_mb * 1e6)) if self.max_mb else share


@dataclass(frozen=True, slots=True)
class _Need:
    """Bytes to free: of whatever goes first, and, ``low``, of what is worth least only."""

    any: int = 0
    low: int = 0

    def of(self, value: int) -> int:
        return max(self.any, self.low) if value <= Value.COMMON else self.any

    def __bool__(self) -> bool:
        return self.any > 0 or self.low > 0


class Quota:
    """Made by the writer before anything is written, called by it about once a second.

    Args:
        folder: the store.
        connection: the one that writes.
        pictures: the subfolders with files that rows name.
        measure: how full the disk is; a test has a disk of its own.
        clock_s: monotonic seconds.
    """

    def __init__(
        self, folder: Path, connection: sqlite3.Connection, settings: StorageSettings, *,
        pictures: tuple[str, ...] = ("snapshots", "clips", "samples"),
        measure: Callable[[Path], Space] = Space.of, clock_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._folder, self._connection = folder, connection
        self._measure, self._clock_s = measure, clock_s
        space = measure(folder)
        self.limit = settings.limit(space)
        self.ballast = Ballast(folder)
        self._damaged = trim(folder / DATABASE, self.limit // 4)
        with translated(folder):
            anew = names_nothing(connection)
        self._sweep = Sweep(folder, pictures, keep=self._damaged > 0, anew=anew)
        self._tables = {
            table: Holdings(
                connection, table, size_of=lambda name: size_of(folder / name),
                on_names=self._sweep.claim,
            )
            for table in ("events", "samples")
        }  # fmt: skip
        with translated(folder):
            named = [table.runs for table in self._tables.values()]
            self._thinning = Thinning(connection, self._tables["events"].rows, named)
        self._leaving = Leaving(self._tables, clock_s)
        self._before: int | None = None
        self._wait_s, self._again_s = WAIT_S[0], 0.0
        self.dropped = Dropped()
        self._said, self._said_s = Dropped(), -SAY_S
        self._log_bytes = self._bound_log()
        self.ballast.restore(space)

    @property
    def used(self) -> int:
        """Bytes that the store takes on its disk, as far as its rows have been read."""
        own = sum(size_of(self._folder / name) for name in (DATABASE, f"{DATABASE}-shm"))
        written = size_of(self._folder / f"{DATABASE}-wal")
        beside = self.ballast.size + self._sweep.bytes + self._damaged
        return own + max(written, self._log_bytes) + self._held + beside

    @property
    def _held(self) -> int:
        return sum(table.bytes for table in self._tables.values())

    def enforce(self) -> int:
        """Bring the store back within its share; how many things had to be dropped.

        Where nothing is to be done it asks for the sizes of a few files: 0.1 ms.

        Raises:
            DiskFull: there is no room even for deleting; ``make_room`` makes some.
        """
        with translated(self._folder), noted(self._folder / DATABASE):
            self._read_on()
            space = self._measure(self._folder)
            self.ballast.restore(space)
            if need := self._need(space):
                self._tables["samples"].read_again()  # their own budget deletes from them as well
                need = self._need(space)
            dropped = self._drop(need, BATCH) if need else Dropped()
            dropped += self._thin()
        self._before = self.used if self._all_read else None
        others = space.free < space.reserve
        return self._account(dropped, "others need the disk" if others else "its share is used")

    def make_room(self, bytes_needed: int = 0) -> int:
        """The disk is full: give the ballast up and delete; how many things were dropped.

        Where others take at once what is freed it waits longer each time, up to an hour: the
        pictures of a station are not fed to a runaway log.
        """
        if self._clock_s() < self._again_s:
            return 0
        had_ballast = self.ballast.release()
        with translated(self._folder), noted(self._folder / DATABASE):
            self._checkpoint()
            self._read_on()
            space = self._measure(self._folder)
            wanted = bytes_needed + 2 * space.ballast
            # Full again though there is room: a quota of the user's, which no disk tells of.
            free = space.free if had_ballast or space.free < wanted else 0
            dropped = self._drop(_Need(any=wanted - free), BATCH // 4)
            self._checkpoint()
        after = self._measure(self._folder)
        self.ballast.restore(after)
        self._hold_back(made=after.free >= max(bytes_needed, BLOCK))
        return self._account(dropped, "the disk is full")

    def give_up(self, table: str, keys: Sequence[int]) -> int:
        """Delete what has a budget of its own and is beyond it; how many there were."""
        dropped = Dropped()
        with translated(self._folder), noted(self._folder / DATABASE):
            for start in range(0, len(keys), BATCH):
                batch = keys[start : start + BATCH]
                found = [find(self._folder, self._connection, table, k, clip=False) for k in batch]
                dropped += self._remove([one for one in found if one is not None])
        self.dropped += dropped
        return int(dropped)

    def changed(self, events: Sequence[int]) -> None:
        """These events were changed, not only added: a clip came, a mark was set or taken away.

        To be called by the writer after its transaction; of the newest it would be noticed anyway.
        """
        with translated(self._folder), noted(self._folder / DATABASE):
            self._tables["events"].changed(events)

    def _remove(self, victims: list[Victim]) -> Dropped:
        dropped = remove(self._folder, self._connection, victims) if victims else Dropped()
        for one in victims:
            if one.table:
                self._tables[one.table].look_again(one.key)
        return dropped

    def _hold_back(self, *, made: bool) -> None:
        self._again_s = 0.0 if made else self._clock_s() + self._wait_s
        self._wait_s = WAIT_S[0] if made else min(2 * self._wait_s, WAIT_S[1])

    def _read_on(self) -> None:
        for table in self._tables.values():
            table.read_on()
        if self._all_read:
            self._sweep.go_on()

    @property
    def _all_read(self) -> bool:
        return all(table.complete for table in self._tables.values())

    def _need(self, space: Space) -> _Need:
        used = self.used
        over = used - self.limit
        if over > 0:
            over += self.limit // 256  # some hundred pictures at a time, not one each second
        short = space.reserve - space.free
        if space.files < FEW_FILES:
            short = max(short, FEW_FILES * BLOCK)
        if short <= 0:
            self._hold_back(made=True)
            return _Need(any=over)
        grown = 0 if self._before is None else used - self._before
        return _Need(any=max(over, grown), low=short)

    def _drop(self, need: _Need, batch: int) -> Dropped:
        """Pictures, lowest value first, until enough is free or the time is over."""
        until_s = self._clock_s() + AT_MOST_S
        while not self._all_read and self._held < need.any and self._clock_s() < until_s:
            self._read_on()
        dropped = Dropped()
        while need.of(Value.BLANK) > dropped.bytes and self._clock_s() < until_s:
            victims = self._choose(need, dropped.bytes, batch)
            if not victims:
                break
            dropped += self._remove(victims)
        return dropped

    def _choose(self, need: _Need, freed: int, batch: int) -> list[Victim]:
        """The next that go; files are measured here and nowhere else."""
        self._leaving.refresh()
        victims = self._sweep.give_up(need.of(Value.BLANK) - freed, batch)
        freed += sum(one.size for one in victims)
        while len(victims) < batch and (head := self._leaving.head()) is not None:
            if freed >= need.of(head.value):
                break
            self._leaving.pop()
            one = find(self._folder, self._connection, head.table, head.key, clip=head.clip)
            if one is None:
                self._tables[head.table].look_again(head.key)
                continue
            victims.append(one)
            freed += one.size
        return victims

    def _thin(self) -> Dropped:
        """Rows, once the database is beyond half of the share: it does not shrink, but its empty
        pages are used again."""
        if not self._all_read or size_of(self._folder / DATABASE) <= self.limit // 2:
            return Dropped()
        pages, empty, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return self._thinning.thin() if (pages - empty) * size > self.limit // 2 else Dropped()

    def _bound_log(self) -> int:
        """SQLite's log of 4 MB would fill a small disk by itself."""
        with translated(self._folder):
            (size,) = self._connection.execute("PRAGMA page_size").fetchone()
            pages = min(max(self.limit // 16 // size, WAL_PAGES[0]), WAL_PAGES[1])
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")
            self._connection.execute(f"PRAGMA journal_size_limit = {pages * size}")
        return int(pages * size)

    def _checkpoint(self) -> None:
        """What can be: the log's own blocks are then used again, which no other program can take
        away as it could those of a truncated one. It waits for no reader."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.OperationalError as exc:
            log.debug("no checkpoint: %s", exc)

    def _account(self, dropped: Dropped, why: str) -> int:
        """Say it, every few minutes at most."""
        self.dropped += dropped
        self._said += dropped
        if self._said and self._clock_s() - self._said_s >= SAY_S:
            log.warning(
                "room was made in %s, as %s: %s (%.1f MB of %.1f MB used)",
                self._folder, why, self._said, self.used / 1e6, self.limit / 1e6,
            )  # fmt: skip
            self._said, self._said_s = Dropped(), self._clock_s()
        return int(dropped)
