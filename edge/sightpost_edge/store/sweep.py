"""Pictures that no row names: what a kill or a power cut between file and row left behind."""

import contextlib
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from .dropping import Victim
from .holdings import on_disk

log = logging.getLogger("sightpost")

AT_ONCE = 500
FOUND = "pictures-of-another-database"
"""The note; it is empty."""


class Sweep:
    """Names are listed once, at the start, before anything is written: whatever is being written
    now is not among them, however the clock jumps.

    Every row that is read claims its own; who is left when all rows have been read is an orphan.
    Where another database was set aside as damaged, or was emptied or moved away, the unclaimed
    are no orphans but its pictures: they stay until the room is needed, the oldest first. A note
    beside the database says so to later starts.

    Args:
        folder: the store.
        subfolders: where the pictures are.
        keep: a database was set aside.
        anew: there is no row yet; pictures that are there all the same are another database's.
    """

    def __init__(
        self, folder: Path, subfolders: Sequence[str], *, keep: bool, anew: bool = False
    ) -> None:
        self._folder, self._note = folder, folder / FOUND
        self._unclaimed = {
            f"{name}/{file}" for name in subfolders for file in _listed(folder / name)
        }
        if anew and self._unclaimed:
            log.warning(
                "%d pictures of another database are in %s; they stay until the room is needed",
                len(self._unclaimed), folder,
            )  # fmt: skip
            with contextlib.suppress(OSError):
                self._note.touch()
        self._keep = keep or self._note.exists() or anew
        self._todo: list[str] | None = None
        self._kept: deque[tuple[str, int]] = deque()  # oldest first
        self.bytes = 0

    def claim(self, names: Sequence[str]) -> None:
        """These are named by a row."""
        self._unclaimed.difference_update(names)

    def go_on(self) -> int:
        """To be called in each round after all rows were read; how many orphans were removed."""
        if self._todo is None:
            self._todo = sorted(self._unclaimed, key=os.path.basename, reverse=True)
            self._unclaimed.clear()
        removed = 0
        for _ in range(min(AT_ONCE, len(self._todo))):
            removed += self._take(self._todo.pop())
        if self._keep and not self._todo and not self._kept:
            self._keep = False
            with contextlib.suppress(OSError):
                self._note.unlink(missing_ok=True)
        if removed:
            log.info("%d pictures that no event names were removed", removed)
        return removed

    def give_up(self, wanted: int, most: int) -> list[Victim]:
        """The oldest pictures of another database, until so many bytes come free."""
        found: list[Victim] = []
        while self._kept and wanted > 0 and len(found) < most:
            name, size = self._kept.popleft()
            self.bytes -= size
            wanted -= size
            found.append(Victim("", 0, clip=False, name=name, size=size))
        return found

    def _take(self, name: str) -> bool:
        path = self._folder / name
        with contextlib.suppress(OSError):
            if not self._keep:
                path.unlink()
                return True
            size = on_disk(path.stat().st_size)
            self._kept.append((name, size))
            self.bytes += size
        return False


def names_nothing(connection: sqlite3.Connection) -> bool:
    """Whether a database is new or empty, whatever lies beside it."""
    query = "SELECT EXISTS (SELECT 1 FROM events) OR EXISTS (SELECT 1 FROM samples)"
    return not connection.execute(query).fetchone()[0]


def _listed(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        return []
