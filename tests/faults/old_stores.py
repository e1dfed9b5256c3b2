"""Stores as older releases wrote them, for all that has to cope with them."""

import json
import random
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

from sightpost_edge.store.database import DATABASE
from sightpost_edge.store.schema import MIGRATIONS

from .store_promises import Promise
from .store_worker import LABELS, pictures

_TEXTS = {
    "source": "camera", "model": "m", "model_digest": "abc", "reason": "left",
    "boot_id": "b", "clock_quality": "unknown", "named_by": "label",
}  # fmt: skip


def old_store(folder: Path, version: int, *, events: int, seed: int = 0) -> list[Promise]:
    """A store of schema 1 or 2 with pictures, closed.

    Returns:
        What it had promised; no uplink waits for what was there before there was one.
    """
    (folder / "snapshots").mkdir(parents=True)
    rng = random.Random(seed)
    encoded = pictures(seed)
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript("".join(MIGRATIONS[:version]))
        connection.execute(f"PRAGMA user_version = {version}")
        columns = [row[1:3] for row in connection.execute("PRAGMA table_info(events)")]
        promises = [_promise(folder, seq, rng, encoded) for seq in range(1, events + 1)]
        marks = ",".join("?" * len(columns))
        for given in promises:
            connection.execute(f"INSERT INTO events VALUES ({marks})", _row(columns, given))
    return [*promises, {"told": [given["event"] for given in promises]}]


def _promise(folder: Path, seq: int, rng: random.Random, encoded: list[bytes]) -> Promise:
    name, picture = f"snapshots/20250101T120000000Z-b-{seq}.jpg", rng.choice(encoded)
    (folder / name).write_bytes(picture)
    score = round(rng.random(), 6)
    promise = {"event": seq, "label": rng.choice(LABELS), "score": score, "snapshot": name}
    return {**promise, "crc": zlib.crc32(picture)}


def _row(columns: list[tuple[str, str]], given: Promise) -> list[Any]:
    at = "2025-01-01T12:00:00.000+00:00"
    story = json.dumps([[1.0, given["label"], 0.5, "fox", 0.2, "confirming", None, False]] * 30)
    known = {**_TEXTS, **given, "seq": given["event"], "started_at": at, "ended_at": at}
    known["trace"] = story
    return [known.get(name, "" if kind == "TEXT" else 0) for name, kind in columns]
