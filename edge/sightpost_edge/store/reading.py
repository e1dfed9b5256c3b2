"""Looking into a store without writing to it; a run may be writing meanwhile."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..records import Moment
from .database import DATABASE, translated
from .inspection import readable
from .rows import (
    StoredEvent,
    StoredHealth,
    StoredRun,
    columns_of,
    event_of,
    health_of,
    run_of,
)
from .traces import expand


def read_events(
    folder: Path, *, label: str = "", last: int | None = None, seq: int | None = None
) -> list[StoredEvent]:
    """The events of a store, oldest first.

    Args:
        folder: the store.
        label: only this label.
        last: only the newest so many.
        seq: only the event of this number.
    """
    wanted = {"label": label or None, "seq": seq}
    return [event_of(row) for row in _select(folder, "events", StoredEvent, wanted, last)]


def read_health(folder: Path, *, last: int | None = None) -> list[StoredHealth]:
    """What happened to the camera, oldest first."""
    return [health_of(row) for row in _select(folder, "health", StoredHealth, {}, last)]


def read_run(folder: Path, run: int) -> StoredRun | None:
    """What a run was started with; None for events written before that was kept."""
    rows = _select(folder, "runs", StoredRun, {"run": run}, None)
    return run_of(rows[0]) if rows else None


def read_trace(folder: Path, seq: int) -> tuple[Moment, ...]:
    """An event's story; empty for events written before it was kept."""
    with connected(folder) as connection:
        if "trace" not in columns(connection, "events"):
            return ()
        found = connection.execute("SELECT trace FROM events WHERE seq = ?", (seq,)).fetchone()
    return expand(found[0]) if found else ()


def _select(
    folder: Path, table: str, record: type, wanted: Mapping[str, Any], last: int | None
) -> list[dict[str, Any]]:
    """Rows as mappings; columns that an older store lacks are left out, their defaults count.

    None where the table is not there: a start on a full disk leaves a database of no bytes.
    """
    given = {name: value for name, value in wanted.items() if value is not None}
    with connected(folder) as connection:
        there = columns(connection, table)
        if not there:
            return []
        names = columns_of(record, there)
        query = f"SELECT {','.join(names)} FROM {table}"
        query += " WHERE " + " AND ".join(f"{name} = ?" for name in given) if given else ""
        query += f" ORDER BY {'run' if table == 'runs' else 'seq'} DESC"
        query += f" LIMIT {int(last)}" if last is not None else ""
        rows = connection.execute(query, list(given.values())).fetchall()
    return [dict(zip(names, row, strict=True)) for row in reversed(rows)]


def columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """Of a table as it is there, which an older release may have made; empty without it."""
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


@contextmanager
def connected(folder: Path) -> Iterator[sqlite3.Connection]:
    """The database, read-only.

    Raises:
        StoreError: there is none, or it may not be read.
    """
    path = folder / DATABASE
    with _permitted(folder):
        there = path.is_file()
    if not there:
        raise StoreError(
            f"no events in {folder}", hint="sightpost run makes a store; --store names another one"
        )
    with translated(folder), closing(_connect_readonly(path)) as connection:
        connection.text_factory = readable
        yield connection


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
def _permitted(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreError(
            f"no permission to read {folder}", hint="repeat the command with sudo"
        ) from exc
