"""The store's outbox as the sender sees it: looked into only where something was written."""

import time
from collections.abc import Callable
from pathlib import Path

from ..store import outbox
from ..store.database import DATABASE

LOOK_S = 30.0
"""A commit within the same tick of the file system's clock as the last look waits this long."""


class StoreOutbox:
    """Asking whether there is news costs two stats; a look costs opening the database, 1 ms."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._empty_at: object = None
        self._looked_s = 0.0

    def has_news(self) -> bool:
        """False where the last look found nothing and the files are as they were."""
        is_old = self._clock() - self._looked_s >= LOOK_S
        return is_old or self._empty_at is None or self._mark() != self._empty_at

    def store_id(self) -> str:
        """See ``store.outbox.store_id``."""
        return outbox.store_id(self._folder)

    def read(self, *, after: int, limit: int) -> list[outbox.Parcel]:
        """See ``store.outbox.read_outbox``."""
        mark = self._mark()
        self._looked_s = self._clock()
        found = outbox.read_outbox(self._folder, after=after, limit=limit)
        self._empty_at = None if found else mark
        return found

    def _mark(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Of the database and its log: which files, written when, how long."""
        base = self._folder / DATABASE
        return tuple(_stamp(Path(f"{base}{suffix}")) for suffix in ("", "-wal"))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)
