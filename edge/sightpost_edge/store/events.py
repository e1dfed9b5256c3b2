"""The one writer of a store: events with their pictures, camera health, what each run was."""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from .. import clock
from ..durable import make_folder, remove_torn, write_files
from ..errors import DiskFull
from ..records import Event, Health
from .ballast import Ballast, Space
from .database import DATABASE, lock, open_or_quarantine, transaction, translated, wal_reset_bug
from .inspection import noted
from .numbers import Numbers
from .outbox import renew, tell
from .pending import (
    Pending,
    PendingClip,
    PendingEvent,
    PendingHealth,
    PendingRun,
    PendingSample,
    pending_event,
    pending_health,
)
from .quarantine import set_aside
from .requests import REQUESTS
from .rows import StoredEvent, StoredHealth, event_of, health_of

log = logging.getLogger("sightpost")

SNAPSHOTS, CLIPS, SAMPLES = "snapshots", "clips", "samples"


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
    """The one writer of a store folder: ``events.db`` and the pictures beside it.

    ``run`` is the number of this run; ``on_file`` is called whenever a file was made for
    ``write_all`` or the disk has taken one. It may be used from one thread at a time; a running
    device does so through ``Keeper``.

    Args:
        folder: made where it is missing.
        source, model, model_digest, model_path: where its events come from.
        rules: what decides in this run, as JSON, for ``sightpost why``.
        live: what is seen is seen now; else the Frames say when.
        outbox: somebody wants to be told of every event.
        read_clock: all clocks at one moment.

    Raises on opening:
        StoreBusy: another run has it open.
        DiskFull, StoreError: it cannot be written.
    """

    def __init__(
        self, folder: Path, *, source: str, model: str, model_digest: str,
        model_path: str = "", rules: str = "{}", live: bool = False, outbox: bool = False,
        read_clock: Callable[[], clock.Reading] = clock.read,
    ) -> None:  # fmt: skip
        self.folder, self.live, self.read_clock = folder, live, read_clock
        self._outbox = outbox
        self.on_file: Callable[[], None] = lambda: None
        origin: dict[str, Any] = {"source": source, "model": model, "model_digest": model_digest}
        make_folder(folder)
        with ExitStack() as held:
            held.callback(os.close, lock(folder))
            for name in (SNAPSHOTS, CLIPS, SAMPLES):
                if os.path.lexists(folder / name) and not (folder / name).is_dir():
                    set_aside(folder / name, "it is no folder")
                make_folder(folder / name)
            Ballast(folder).make_way(Space.of(folder))
            for name in ("", SNAPSHOTS, CLIPS, SAMPLES, REQUESTS):
                remove_torn(folder / name)
            self._connection = held.enter_context(closing(open_or_quarantine(folder / DATABASE)))
            with translated(folder):
                self._numbers = Numbers(folder, self._connection)
                renew(folder, self._connection)
                self._whole = {**origin, "model_path": model_path}
                self.run = insert(self._connection, "runs", self._run_row(rules))
            if wal_reset_bug() and self._numbers.next == 1:  # once for each store
                log.info(
                    "SQLite %s can lose events when a second program writes to the store; "
                    "reading is safe", sqlite3.sqlite_version,
                )  # fmt: skip
            self._held = held.pop_all()
        self._origin = {**origin, "run": self.run}

    def pending(self, event: Event, *, snapshot: bool = True) -> PendingEvent:
        """What ``write_all`` will write, with the times of now; lets the event's Frames go."""
        return pending_event(
            event, self.read_clock(), self._origin, live=self.live, snapshot=snapshot
        )

    def pending_health(self, health: Health) -> PendingHealth:
        """What ``write_all`` will write."""
        return pending_health(health, self.read_clock(), self.run, live=self.live)

    def pending_run(self, rules: str, **model: str) -> PendingRun:
        """Other rules from now on: what follows belongs to a run of its own, which says so.

        ``model``, ``model_digest`` and ``model_path`` where it is another model, too.
        """
        self.run += 1
        self._whole = {**self._whole, **model}
        of_events = {name: text for name, text in model.items() if name in self._origin}
        self._origin = {**self._origin, **of_events, "run": self.run}
        return PendingRun({"run": self.run, **self._run_row(rules)})

    def write(self, event: Event, *, snapshot: bool = True) -> StoredEvent:
        """Keep an Event; when this returns it survives kill -9 and a power cut."""
        stored = self.write_all([self.pending(event, snapshot=snapshot)])[0]
        assert isinstance(stored, StoredEvent)
        return stored

    def write_health(self, health: Health) -> StoredHealth:
        """Keep what happened to the camera, as durably as an Event."""
        stored = self.write_all([self.pending_health(health)])[0]
        assert isinstance(stored, StoredHealth)
        return stored

    def write_all(self, waiting: Sequence[Pending]) -> list[StoredEvent | StoredHealth]:
        """Keep all or nothing, in order, in one transaction: a burst costs few syncs.

        Pictures are written, synced and renamed before any row names them.

        Returns:
            What was kept, without clips and samples.
        """
        events = [one for one in waiting if isinstance(one, PendingEvent)]
        with translated(self.folder):
            numbers = self._numbers.take(len(events))
        files: dict[str, bytes] = {}
        for name, content in self._files(waiting, numbers):
            files[name] = content
            self.on_file()
        write_files(self.folder, files, on_file=self.on_file)
        try:
            with self.transaction() as connection:
                stored = [
                    kept
                    for one, seq in _numbered(waiting, numbers)
                    if (kept := self._write_one(connection, one, seq, files)) is not None
                ]
        except BaseException:
            for name in files:
                (self.folder / name).unlink(missing_ok=True)
            raise
        self._numbers.used(numbers)
        return stored

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is done within is durable at its end, or undone."""
        with (
            translated(self.folder),
            noted(self.folder / DATABASE),
            transaction(self._connection),
        ):
            yield self._connection

    @property
    def connection(self) -> sqlite3.Connection:
        """The one connection that writes, for the store's own parts."""
        return self._connection

    def close(self) -> None:
        """Note the end of the run, checkpoint, let another run have the folder."""
        with self._held, suppress(DiskFull):
            self.alive()
            self._numbers.close()

    def alive(self) -> None:
        """Note that the run goes on: what it did not see after this it did not watch for.

        On the clock that its beginning is told by, right or wrong: both are put right together.
        """
        now_ns = self.read_clock().monotonic_ns
        with self.transaction() as connection:
            connection.execute(
                "UPDATE runs SET ended_ms = started_ms + (? - monotonic_ns) / 1000000 "
                "WHERE run = ?", (now_ns, self.run),
            )  # fmt: skip

    def __enter__(self) -> "EventStore":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _run_row(self, rules: str) -> dict[str, Any]:
        now = self.read_clock()
        return {
            "first_seq": self._numbers.next, "started_ms": now.wall_ms,
            "monotonic_ns": now.monotonic_ns, "boot_id": now.boot_id,
            "clock_quality": now.quality, "clock_shift_ms": 0, "rules": rules, **self._whole,
        }  # fmt: skip

    def _files(self, waiting: Sequence[Pending], numbers: range) -> Iterator[tuple[str, bytes]]:
        """The pictures by their names below the store."""
        for one, seq in _numbered(waiting, numbers):
            if isinstance(one, PendingEvent):
                name = f"{SNAPSHOTS}/{_stamp(one.row['started_ms'])}-{seq:06d}.jpg"
                one.row["snapshot"] = name if one.picture is not None else ""
                if one.picture is not None:
                    yield name, one.picture.encoded()
            elif isinstance(one, PendingClip):
                yield f"{CLIPS}/{seq:06d}.avi", one.film.encoded()
            elif isinstance(one, PendingSample):
                row = one.row
                place = f"{SAMPLES}/{row['kind']}-{_stamp(row['at_ms'])}-{row['monotonic_ns']}"
                row["file"] = f"{place}.jpg"
                yield row["file"], one.picture.encoded()

    def _write_one(
        self, connection: sqlite3.Connection, one: Pending, seq: int, files: Mapping[str, bytes]
    ) -> StoredEvent | StoredHealth | None:
        if isinstance(one, PendingEvent):
            size = len(files.get(one.row["snapshot"], b""))
            row = {"seq": seq, **one.row, "picture_bytes": size}
            insert(connection, "events", {**row, "trace": one.trace})
            self._tell(connection, "event", seq)
            return event_of(row)
        if isinstance(one, PendingHealth):
            number = insert(connection, "health", one.row)
            self._tell(connection, "health", number)
            return health_of({"seq": number, **one.row})
        if isinstance(one, PendingRun):
            connection.execute(
                "UPDATE runs SET ended_ms = started_ms + (? - monotonic_ns) / 1000000 "
                "WHERE run = ?", (one.row["monotonic_ns"], one.row["run"] - 1),
            )  # fmt: skip
            insert(connection, "runs", one.row)
            return None
        if isinstance(one, PendingSample):
            insert(connection, "samples", {**one.row, "bytes": len(files[one.row["file"]])})
            return None
        name = f"{CLIPS}/{seq:06d}.avi"
        changed = connection.execute(
            "UPDATE events SET clip = ?, picture_bytes = picture_bytes + ? WHERE seq = ?",
            (name, one.size, seq),
        )
        if not changed.rowcount:  # deleted meanwhile
            (self.folder / name).unlink(missing_ok=True)
        return None

    def _tell(self, connection: sqlite3.Connection, kind: str, ref: int) -> None:
        if self._outbox:
            tell(connection, kind, [ref])


def insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    """Add a row; gives its number."""
    marks = ",".join("?" * len(row))
    cursor = connection.execute(
        f"INSERT INTO {table} ({','.join(row)}) VALUES ({marks})", list(row.values())
    )
    return int(cursor.lastrowid or 0)


def _numbered(waiting: Sequence[Pending], numbers: range) -> Iterator[tuple[Pending, int]]:
    """Each with its event's number; 0 for what has none."""
    fresh = iter(numbers)
    for one in waiting:
        if isinstance(one, PendingEvent):
            yield one, next(fresh)
        else:
            yield one, one.seq if isinstance(one, PendingClip) else 0


def _stamp(wall_ms: int) -> str:
    return clock.from_ms(wall_ms).strftime("%Y%m%dT%H%M%S%f")[:-3] + "Z"
