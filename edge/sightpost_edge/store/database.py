"""The store's SQLite file: its tables, how older ones are brought up to date, how it is opened.

WAL, ``synchronous=FULL``, exactly one connection that writes: with NORMAL a power cut loses
acknowledged rows (measured in 802 of 1,000 simulated cuts); FULL loses none and costs 1.0-1.3 syncs
a commit. SQLite before 3.51.3 can lose commits when two connections write and checkpoint at once,
hence the lock file.
"""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import clock
from ..durable import sync_folder
from ..errors import DiskFull, StoreBusy, StoreError, writing_to

log = logging.getLogger("sightpost")

DATABASE = "events.db"

_MIGRATIONS = (
    """
CREATE TABLE events (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    label         TEXT NOT NULL,
    score         REAL NOT NULL,
    started_at    TEXT NOT NULL,   -- wall time, UTC, ISO 8601
    ended_at      TEXT NOT NULL,
    started_s     REAL NOT NULL,   -- seconds since the source began
    ended_s       REAL NOT NULL,
    peak_s        REAL NOT NULL,
    decided_s     REAL NOT NULL,   -- when the event closed and was written
    monotonic_ns  INTEGER NOT NULL,-- of the peak frame, comparable within one boot
    boot_id       TEXT NOT NULL,
    clock_quality TEXT NOT NULL,
    frames        INTEGER NOT NULL,
    frame_name    TEXT NOT NULL,   -- the peak photo's name, for folders
    reason        TEXT NOT NULL,
    source        TEXT NOT NULL,
    model         TEXT NOT NULL,
    model_digest  TEXT NOT NULL,
    snapshot      TEXT NOT NULL    -- path below the store, '' without one
);
""",
    """
ALTER TABLE events ADD COLUMN region TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN named_by TEXT NOT NULL DEFAULT 'label';
ALTER TABLE events ADD COLUMN novelty REAL;                     -- of the peak frame
ALTER TABLE events ADD COLUMN run INTEGER NOT NULL DEFAULT 0;   -- 0: before runs were kept
ALTER TABLE events ADD COLUMN trace TEXT NOT NULL DEFAULT '[]'; -- JSON: a list for each Moment
CREATE TABLE runs (
    run          INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at   TEXT NOT NULL,
    source       TEXT NOT NULL,
    model        TEXT NOT NULL,
    model_path   TEXT NOT NULL,
    model_digest TEXT NOT NULL,
    rules        TEXT NOT NULL     -- JSON: decide.Rules as they were in force
);
CREATE TABLE health (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    run           INTEGER NOT NULL,
    at            TEXT NOT NULL,
    monotonic_ns  INTEGER NOT NULL,
    boot_id       TEXT NOT NULL,
    clock_quality TEXT NOT NULL,
    fault         TEXT NOT NULL,
    ok            INTEGER NOT NULL, -- 0: it began, 1: it is over
    detail        TEXT NOT NULL
);
""",
)
SCHEMA_VERSION = len(_MIGRATIONS)


def open_or_quarantine(path: Path) -> sqlite3.Connection:
    """Open for writing; a damaged file is set aside, not deleted, and a new one begun."""
    try:
        return _open(path)
    except sqlite3.DatabaseError as exc:
        if isinstance(exc, sqlite3.OperationalError):
            raise as_store_error(exc, path.parent) from exc
        aside = f"{path}.damaged-{clock.now():%Y%m%dT%H%M%SZ}"
        log.error("%s is damaged (%s); set aside as %s, starting a new one", path, exc, aside)
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(f"{path}{suffix}"):
                os.replace(f"{path}{suffix}", f"{aside}{suffix}")
        with translated(path.parent):
            return _open(path)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA busy_timeout = 5000")
        if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
        _migrate(connection, path)
        sync_folder(path.parent)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Each step in a transaction of its own: a kill in the middle leaves the version before."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"the store in {path.parent} was written by a newer sightpost",
            hint="update sightpost on this device, or give --store another folder",
        )
    for number, script in enumerate(_MIGRATIONS[version:], version + 1):
        connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")


def lock(folder: Path) -> int:
    """Hold the folder as its one writer; StoreBusy where another run does."""
    with writing_to(folder):
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
def translated(folder: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as exc:
        raise as_store_error(exc, folder) from exc


def as_store_error(exc: sqlite3.Error, folder: Path) -> StoreError:
    """SQLite's "full" may also be an I/O error at the moment the disk fills up."""
    text = str(exc)
    if "full" in text:
        return DiskFull(
            f"no space left for events in {folder}",
            hint="free some space (df -h shows where); every acknowledged event is intact",
        )
    if "no such table" in text:
        return StoreError(f"no events in {folder} yet", hint="sightpost run writes them")
    if "readonly" in text or "unable to open" in text:
        return StoreError(f"no permission to use the store in {folder}", hint="fix it with chown")
    return StoreError(f"the store in {folder} failed: {exc}", hint="check the disk with dmesg")
