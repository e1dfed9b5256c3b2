"""Events in SQLite: WAL, ``synchronous=FULL``, exactly one connection that writes.

With ``synchronous=NORMAL`` a power cut loses acknowledged rows (measured in 802 of 1,000 simulated
cuts); FULL loses none and costs 1.0-1.3 syncs a commit. SQLite before 3.51.3 can lose commits when
two connections write and checkpoint at once, hence the lock file.
"""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import clock
from ..durable import make_folder, sync_folder, write_file
from ..errors import DiskFull, StoreBusy, StoreError, writing_to
from ..image import as_jpeg
from ..records import Event

log = logging.getLogger("sightpost")

DATABASE = "events.db"
SNAPSHOTS = "snapshots"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
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
PRAGMA user_version = 1;
"""
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of the store; wall times are ISO 8601 in UTC, order is by ``seq``, never by time."""

    seq: int
    label: str
    score: float
    started_at: str
    ended_at: str
    started_s: float
    ended_s: float
    peak_s: float
    decided_s: float
    monotonic_ns: int
    boot_id: str
    clock_quality: str
    frames: int
    frame_name: str
    reason: str
    source: str
    model: str
    model_digest: str
    snapshot: str


_COLUMNS = tuple(StoredEvent.__dataclass_fields__)


def default_folder() -> Path:
    """Where events live unless told otherwise.

    ``$STATE_DIRECTORY`` under systemd, else ``$XDG_DATA_HOME/sightpost``, else
    ``~/.local/share/sightpost``.
    """
    if state := os.environ.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0])
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "sightpost"


class EventStore:
    """The one writer of a store folder: ``events.db`` and ``snapshots/``.

    Raises on opening:
        StoreBusy: another run has it open.
        DiskFull, StoreError: it cannot be written.
    """

    def __init__(self, folder: Path, *, source: str, model: str, model_digest: str) -> None:
        self.folder = folder
        self._origin = {"source": source, "model": model, "model_digest": model_digest}
        make_folder(folder / SNAPSHOTS)
        self._lock = _lock(folder)
        for torn in (folder / SNAPSHOTS).glob(".*"):
            torn.unlink()  # a kill between writing and renaming left it
        try:
            self._connection = _open_or_quarantine(folder / DATABASE)
        except BaseException:
            os.close(self._lock)
            raise

    def write(self, event: Event, *, snapshot: bool = True) -> StoredEvent:
        """Keep an Event; when this returns it survives kill -9 and a power cut.

        The picture is written, synced and renamed before its row, so that no row names a picture
        that is not there.
        """
        row = {**self._row(event), "snapshot": self._write_snapshot(event) if snapshot else ""}
        names = _COLUMNS[1:]
        marks = ",".join("?" * len(names))
        with _translated(self.folder):
            cursor = self._connection.execute(
                f"INSERT INTO events ({','.join(names)}) VALUES ({marks})",
                [row[name] for name in names],
            )
        return StoredEvent(seq=int(cursor.lastrowid or 0), **row)

    def _row(self, event: Event) -> dict[str, Any]:
        return {
            "label": event.label,
            "score": round(event.score, 6),
            "started_at": event.started.captured_at.isoformat(timespec="milliseconds"),
            "ended_at": event.ended.captured_at.isoformat(timespec="milliseconds"),
            "started_s": round(event.started.elapsed_s, 6),
            "ended_s": round(event.ended.elapsed_s, 6),
            "peak_s": round(event.peak.elapsed_s, 6),
            "decided_s": round(event.decided.elapsed_s, 6),
            "monotonic_ns": event.peak.monotonic_ns,
            "boot_id": clock.boot_id(),
            "clock_quality": clock.quality(),
            "frames": event.frames,
            "frame_name": event.peak.name,
            "reason": event.reason,
            **self._origin,
        }

    def close(self) -> None:
        """Checkpoint and let another run have the folder."""
        self._connection.close()
        os.close(self._lock)

    def __enter__(self) -> "EventStore":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write_snapshot(self, event: Event) -> str:
        stamp = event.peak.captured_at.strftime("%Y%m%dT%H%M%S%f")[:-3]
        name = f"{SNAPSHOTS}/{stamp}Z-{clock.boot_id()[:8]}-{event.peak.monotonic_ns}.jpg"
        write_file(self.folder / name, as_jpeg(event.peak.image))
        return name


def read_events(
    folder: Path, *, label: str = "", last: int | None = None, seq: int | None = None
) -> list[StoredEvent]:
    """The events of a store, oldest first, without writing to it; a run may be writing.

    Args:
        folder: the store.
        label: only this label.
        last: only the newest so many.
        seq: only the event of this number.
    """
    path = folder / DATABASE
    with _reading(folder):
        there = path.exists()
    if not there:
        raise StoreError(
            f"no events in {folder}", hint="sightpost run makes a store; --store names another one"
        )
    query = f"SELECT {','.join(_COLUMNS)} FROM events"
    wanted = {"label": label or None, "seq": seq}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    query += " WHERE " + " AND ".join(f"{name} = ?" for name in wanted) if wanted else ""
    query += " ORDER BY seq DESC"
    query += f" LIMIT {int(last)}" if last is not None else ""
    with _translated(folder), closing(_connect_readonly(path)) as connection:
        rows = connection.execute(query, list(wanted.values())).fetchall()
    return [StoredEvent(*row) for row in reversed(rows)]


def _connect_readonly(path: Path) -> sqlite3.Connection:
    """Reading a WAL needs its shared-memory file; where that cannot be made, only a store without
    a WAL can be read as it lies there."""
    uri = path.absolute().as_uri()
    if os.access(path.parent, os.W_OK) or Path(f"{path}-shm").exists():
        return sqlite3.connect(f"{uri}?mode=ro", uri=True)
    log_file = Path(f"{path}-wal")
    if log_file.exists() and log_file.stat().st_size:
        raise StoreError(
            f"the newest events in {path.parent} can only be read by its owner",
            hint="repeat the command as that user, or with sudo",
        )
    return sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True)


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreError(
            f"no permission to read {folder}", hint="repeat the command with sudo"
        ) from exc


def _lock(folder: Path) -> int:
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


def _open_or_quarantine(path: Path) -> sqlite3.Connection:
    """Open for writing; a damaged file is set aside, not deleted, and a new one begun."""
    try:
        return _open(path)
    except sqlite3.DatabaseError as exc:
        if isinstance(exc, sqlite3.OperationalError):
            raise _as_store_error(exc, path.parent) from exc
        aside = f"{path}.damaged-{clock.now():%Y%m%dT%H%M%SZ}"
        log.error("%s is damaged (%s); set aside as %s, starting a new one", path, exc, aside)
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(f"{path}{suffix}"):
                os.replace(f"{path}{suffix}", f"{aside}{suffix}")
        with _translated(path.parent):
            return _open(path)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA busy_timeout = 5000")
        if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"the store in {path.parent} was written by a newer sightpost",
                hint="update sightpost on this device, or give --store another folder",
            )
        connection.executescript(_SCHEMA)
        sync_folder(path.parent)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise _as_store_error(exc, folder) from exc


def _as_store_error(exc: sqlite3.Error, folder: Path) -> StoreError:
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
