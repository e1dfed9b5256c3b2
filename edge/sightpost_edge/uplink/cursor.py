"""Up to where the broker has acknowledged: a small file that is never ahead of the truth."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..durable import give_to_owner, make_folder, write_file
from ..errors import StoreError
from ..polled import DAMAGED, read_object

log = logging.getLogger("sightpost")

EVERY = 10
EVERY_S = 1.0
"""A kill repeats what was acknowledged since the last write; a write costs three syncs."""
MOST = 2**63
"""The database counts no further, and refuses to compare with more."""


class Kept(NamedTuple):
    """What the file says; see ``Cursor``."""

    store: str = ""
    acked: int = 0
    set_aside: int = 0


class Cursor:
    """``acked``: every outbox row up to this number is done; ``set_aside``: how many of those the
    broker would never take.

    Only ``sightpost uplink`` writes the file. The store's writer reads it and deletes rows; where
    the file is behind they are sent again, where it is lost all that the outbox still has.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self.store, self.acked, self.set_aside = _read(path)
        self._unsaved = 0
        self._saved_s = clock()
        self._failed = False

    def belongs_to(self, store: str) -> None:
        """Start from the beginning where the database is another one than last time."""
        if store != self.store:
            self.store, self.acked = store, 0
            self._unsaved += 1

    def advance(self, acked: int, *, set_aside: bool = False) -> None:
        """Everything up to ``acked`` is done."""
        self.acked = acked
        self.set_aside += set_aside
        self._unsaved += 1

    def save_when_due(self) -> None:
        """After ten steps, or a second after the first of fewer."""
        if not self._unsaved:
            self._saved_s = self._clock()
        elif self._unsaved >= EVERY or self._clock() - self._saved_s >= EVERY_S:
            self.save()

    def save(self) -> None:
        """Make it survive a power cut; a disk that is full only means that more is sent again."""
        if not self._unsaved:
            return
        self._saved_s = self._clock()
        kept = {"v": 1, "store": self.store, "acked": self.acked, "set_aside": self.set_aside}
        try:
            make_folder(self._path.parent)
            write_file(self._path, json.dumps(kept).encode())
            give_to_owner(self._path.parent.parent, self._path.parent, self._path)
        except StoreError as exc:
            if not self._failed:
                log.warning("%s; a restart would send some events again", exc)
            self._failed = True
            return
        self._unsaved, self._failed = 0, False


def parsed(found: Mapping[str, Any]) -> Kept:
    """The content of a cursor file.

    Raises:
        ValueError, KeyError: it is damaged.
    """
    kept = Kept(found["store"], found["acked"], found.get("set_aside", 0))
    numbers = (kept.acked, kept.set_aside)
    if type(kept.store) is not str or not all(type(n) is int and 0 <= n < MOST for n in numbers):
        raise ValueError("not what was written")
    return kept


def _read(path: Path) -> Kept:
    try:
        return parsed(read_object(path))
    except FileNotFoundError:
        return Kept()
    except (OSError, *DAMAGED) as exc:
        log.warning("%s cannot be read (%s): the whole outbox is sent again", path, exc)
        return Kept()
