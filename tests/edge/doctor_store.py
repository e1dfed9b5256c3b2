"""A station's store for the doctor's tests: events at any time, with clocks of any worth."""

import json
from contextlib import closing
from pathlib import Path

from sightpost_edge import clock
from sightpost_edge.store import EventStore
from sightpost_edge.store.database import open_or_quarantine

from .test_store import event

HOUR_MS = 3_600_000


def a_store(folder: Path, events: int = 1, *, quality: str = "synchronized", outbox: bool = False,
            wall_ms: int | None = None) -> Path:  # fmt: skip
    """Events of now, or of ``wall_ms``, one after the other."""
    wall_ms = clock.to_ms(clock.now()) if wall_ms is None else wall_ms
    reading = clock.Reading(wall_ms, 10**12, quality, "b00t")
    with closing(
        EventStore(
            folder, source="picamera://0", model="wildlife", model_digest="ab", live=True,
            outbox=outbox, read_clock=lambda: reading,
        )
    ) as store:  # fmt: skip
        store.write_all([store.pending(event(), snapshot=False) for _ in range(events)])
    return folder


def many(folder: Path, number: int, *, label: str = "cat", picture_bytes: int = 0) -> Path:
    """So many events within the last half hour, made by SQL."""
    a_store(folder)
    now_ms = clock.to_ms(clock.now())
    with closing(open_or_quarantine(folder / "events.db")) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO events SELECT i, ?, score, ? - i, ended_ms, started_s, ended_s, peak_s, "
            "decided_s, monotonic_ns, boot_id, clock_quality, 0, frames, '', reason, '', named_by, "
            "NULL, run, source, model, model_digest, '', '', ?, 0, trace FROM n, events "
            "WHERE seq = 1", (number, label, now_ms, picture_bytes),
        )  # fmt: skip
    return folder


def acknowledged(folder: Path, store_id: str, acked: int) -> None:
    """The uplink's cursor."""
    (folder / "uplink").mkdir(exist_ok=True)
    kept = {"v": 1, "store": store_id, "acked": acked, "set_aside": 0}
    (folder / "uplink" / "mqtt.json").write_text(json.dumps(kept))
