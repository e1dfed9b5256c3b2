"""The store's SQLite file: its tables, how older ones are brought up to date, how it is opened.

WAL, ``synchronous=FULL``, exactly one connection that writes: with NORMAL a power cut loses
acknowledged rows (measured in 802 of 1,000 simulated cuts); FULL loses none and costs 1.0-1.3 syncs
a commit. SQLite before 3.51.3 can lose commits when two connections write and checkpoint at once,
hence the lock file.
"""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..durable import sync_folder
from ..errors import DiskFull, StoreBusy, StoreError, writing_to
from .ballast import START_BYTES
from .inspection import is_damage, readable, why_unusable
from .quarantine import set_aside
from .schema import migrate

DATABASE = "events.db"

PAGE_BYTES = 2048
"""Of a new database: an event writes four pages, and 4096 bytes each made 21 KB of it, not 14."""
SYNCHRONOUS = "FULL"
"""The power-cut tests show what OFF would lose."""
_WAL_RESET_FIXED = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7)}
"""Branches into which the repair of 3.51.3 was carried back."""


def open_or_quarantine(path: Path) -> sqlite3.Connection:
    """Open for writing; what cannot be used is set aside, not deleted, and a new one begun."""
    try:
        if reason := why_unusable(path):
            set_aside(path, reason)
        return _open(path)
    except sqlite3.DatabaseError as exc:
        if isinstance(exc, sqlite3.OperationalError) and not is_damage(exc):
            raise as_store_error(exc, path.parent) from exc
        set_aside(path, str(exc))
        with translated(path.parent):
            return _open(path)


def _open(path: Path) -> sqlite3.Connection:
    # Opened by the thread that starts a run, used by the one that writes.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.text_factory = readable
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        connection.execute("PRAGMA busy_timeout = 5000")
        migrate(connection, path)
        sync_folder(path.parent)
    except BaseException:
        connection.close()
        raise
    return connection


def wal_reset_bug(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> bool:
    """Whether this SQLite loses commits when two connections write and checkpoint at once."""
    repaired = _WAL_RESET_FIXED.get(version[:2], (3, 51, 3))
    return (3, 7, 0) <= version < repaired


def lock(folder: Path) -> int:
    """Hold the folder as its one writer; StoreBusy where another run does."""
    with writing_to(folder / "store.lock"):
        handle = os.open(folder / "store.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(handle)
        raise StoreBusy(
            f"another run writes to {folder}",
            hint="stop it, or give this one a folder of its own with --store",
        ) from exc
    return handle


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, durable at its end."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def translated(folder: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except UnicodeDecodeError as exc:  # SQLite quotes what it could not make sense of
        raise _damaged(folder, "its list of tables") from exc
    except sqlite3.Error as exc:
        raise as_store_error(exc, folder) from exc


def as_store_error(exc: sqlite3.Error, folder: Path) -> StoreError:
    """What SQLite calls an I/O error may be a full disk: ENOSPC of a sync, EDQUOT of a write."""
    text = str(exc)
    if is_damage(exc):
        return _damaged(folder, text)
    if "full" in text or (_is_io_error(exc) and _takes_nothing(folder)):
        return DiskFull(
            f"no space left for events in {folder}",
            hint="free some space (df -h shows where); every acknowledged event is intact",
        )
    if "no such table" in text:
        return StoreError(f"no events in {folder} yet", hint="sightpost run writes them")
    if "readonly" in text or "unable to open" in text:
        return StoreError(f"no permission to use the store in {folder}", hint="fix it with chown")
    return StoreError(f"the store in {folder} failed: {exc}", hint="check the disk with dmesg")


def _is_io_error(exc: sqlite3.Error) -> bool:
    code = getattr(exc, "sqlite_errorcode", None)  # only where SQLite itself raised it
    return code is not None and code & 0xFF == sqlite3.SQLITE_IOERR


def _takes_nothing(folder: Path) -> bool:
    """Whether a file like SQLite's log finds no room here; how full a disk is says nothing of a
    user's quota, nor of files that can no longer be made."""
    name = folder / f"{DATABASE}-wal-probe"
    try:
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.unlink(name)
            wanting = START_BYTES
            while wanting > 0:
                wanting -= os.pwrite(handle, os.urandom(wanting), START_BYTES - wanting)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as exc:
        return exc.errno in (errno.ENOSPC, errno.EDQUOT)
    return False


def _damaged(folder: Path, what: str) -> StoreError:
    return StoreError(
        f"the database in {folder} is damaged: {what}",
        hint="sightpost run sets it aside and begins a new one; "
        "sightpost doctor says how to read the rest",
    )
