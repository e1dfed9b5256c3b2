"""The one writer of a store: events with their pictures, camera health, what each run was."""

import json
import os
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import asdict, astuple, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import clock
from ..durable import make_folder, write_file
from ..image import as_jpeg
from ..records import Event, Health, Moment
from .database import DATABASE, lock, open_or_quarantine, translated
from .rows import StoredEvent, StoredHealth

SNAPSHOTS = "snapshots"


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

    ``rules`` is what decides in this run, as JSON, for ``sightpost why``.

    Raises on opening:
        StoreBusy: another run has it open.
        DiskFull, StoreError: it cannot be written.
    """

    def __init__(
        self, folder: Path, *, source: str, model: str, model_digest: str,
        model_path: str = "", rules: str = "{}",
    ) -> None:  # fmt: skip
        self.folder = folder
        origin = {"source": source, "model": model, "model_digest": model_digest}
        make_folder(folder / SNAPSHOTS)
        with ExitStack() as held:
            held.callback(os.close, lock(folder))
            for torn in (folder / SNAPSHOTS).glob(".*"):
                torn.unlink()  # a kill between writing and renaming left it
            self._connection = held.enter_context(closing(open_or_quarantine(folder / DATABASE)))
            run = self._insert("runs", {
                "started_at": _iso(clock.now()), "model_path": model_path, "rules": rules, **origin
            })  # fmt: skip
            self._held = held.pop_all()
        self._origin = {**origin, "run": run}

    def write(self, event: Event, *, snapshot: bool = True) -> StoredEvent:
        """Keep an Event; when this returns it survives kill -9 and a power cut.

        The picture is written, synced and renamed before its row, so that no row names a picture
        that is not there.
        """
        row = {**self._row(event), "snapshot": self._write_snapshot(event) if snapshot else ""}
        return StoredEvent(
            seq=self._insert("events", {**row, "trace": _compact(event.trace)}), **row
        )

    def write_health(self, health: Health) -> StoredHealth:
        """Keep what happened to the camera, as durably as an Event."""
        row = {
            **asdict(health), "at": _iso(health.at), "run": self._origin["run"],
            "boot_id": clock.boot_id(), "clock_quality": clock.quality(),
        }  # fmt: skip
        return StoredHealth(seq=self._insert("health", row), **row)

    def _insert(self, table: str, row: dict[str, Any]) -> int:
        marks = ",".join("?" * len(row))
        with translated(self.folder):
            cursor = self._connection.execute(
                f"INSERT INTO {table} ({','.join(row)}) VALUES ({marks})", list(row.values())
            )
        return int(cursor.lastrowid or 0)

    def _row(self, event: Event) -> dict[str, Any]:
        peak = min(event.trace, key=lambda m: abs(m.elapsed_s - event.peak.elapsed_s), default=None)
        return {
            "label": event.label,
            "score": round(event.score, 6),
            "started_at": _iso(event.started.captured_at),
            "ended_at": _iso(event.ended.captured_at),
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
            "region": event.region,
            "named_by": event.named_by,
            "novelty": peak.novelty if peak else None,
            **self._origin,
        }

    def close(self) -> None:
        """Checkpoint and let another run have the folder."""
        self._held.close()

    def __enter__(self) -> "EventStore":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write_snapshot(self, event: Event) -> str:
        stamp = event.peak.captured_at.strftime("%Y%m%dT%H%M%S%f")[:-3]
        name = f"{SNAPSHOTS}/{stamp}Z-{clock.boot_id()[:8]}-{event.peak.monotonic_ns}.jpg"
        write_file(self.folder / name, as_jpeg(event.peak.image))
        return name


def _compact(trace: Iterable[Moment]) -> str:
    """A story of 100 Moments in 6 KB; every digit of its floats would make it 11."""
    rows = [
        astuple(
            replace(
                moment,
                elapsed_s=round(moment.elapsed_s, 6),
                score=round(moment.score, 4),
                second=round(moment.second, 4),
                novelty=None if moment.novelty is None else round(moment.novelty, 4),
            )
        )
        for moment in trace
    ]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds")
