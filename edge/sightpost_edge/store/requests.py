"""What other commands want of a store that a run holds: files it picks up and obeys.

One connection writes. A command that wants something changed leaves a request; the run obeys within
a second or two, and where no run holds the store the command does it itself.
"""

import json
import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from ..durable import give_to_owner, make_folder, write_file
from ..errors import StoreBusy, StoreError
from ..polled import DAMAGED, read_object
from .database import DATABASE, lock, open_or_quarantine, transaction, translated

log = logging.getLogger("sightpost")

REQUESTS = "requests"


@dataclass(frozen=True, slots=True)
class Mark:
    """Events that a person wants kept for ever, or no longer (``keep`` False)."""

    events: tuple[int, ...]
    keep: bool = True


def ask(folder: Path, request: Mark) -> bool:
    """Have it done; True at once, False where the run that holds the store will do it.

    Raises:
        StoreError: no store there, or it may not be written.
    """
    if not (folder / DATABASE).exists():
        raise StoreError(f"no events in {folder}", hint="--store names another one")
    try:
        held = lock(folder)
    except StoreBusy:
        make_folder(folder / REQUESTS)
        path = folder / REQUESTS / f"{time.time_ns()}-{os.getpid()}.json"
        write_file(path, json.dumps(asdict(request)).encode())
        give_to_owner(folder, path.parent, path)
        return False
    try:
        with (
            closing(open_or_quarantine(folder / DATABASE)) as connection,
            translated(folder),
            transaction(connection),
        ):
            _obey(connection, request)
    finally:
        os.close(held)
    return True


def waiting(folder: Path) -> list[Path]:
    """Requests in the order in which they were made."""
    return sorted((folder / REQUESTS).glob("[0-9]*.json"))


def obey(connection: sqlite3.Connection, paths: Sequence[Path]) -> list[int]:
    """Do what the files ask for, within a transaction; ``done`` removes them after it.

    Gives the numbers of the events that it changed.
    """
    changed: list[int] = []
    for path in paths:
        try:
            asked = read_object(path)
            numbers = tuple(int(n) for n in asked["events"])
            mark = Mark(tuple(n for n in numbers if 0 < n < 1 << 63), bool(asked["keep"]))
            _obey(connection, mark)
            changed += mark.events
        except (OSError, OverflowError, *DAMAGED) as exc:
            log.warning("request %s makes no sense and is left out: %s", path.name, exc)
    return changed


def done(paths: Sequence[Path]) -> list[Path]:
    """Remove them; gives those that cannot be, as somebody else's: they are not to be met again."""
    stuck = []
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            log.warning("request %s was obeyed and cannot be removed: %s", path, exc.strerror)
            stuck.append(path)
    return stuck


def _obey(connection: sqlite3.Connection, request: Mark) -> None:
    connection.executemany(
        "UPDATE events SET marked = ? WHERE seq = ?",
        [(int(request.keep), seq) for seq in request.events],
    )
