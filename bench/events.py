"""Times what `sightpost events` asks of a store with a million events.

    python -m bench.events [--events 1000000] [--store FOLDER]

A year of a station in Europe/Berlin, twelve labels of which the commonest are blank shots and deer,
rows as a run writes them (a zlib story of about 1.2 KB in each). Times are medians of seven in a
process that runs already. "cold" is the first time after the file was dropped from the page cache,
with whatever the disk keeps itself. Writes nothing but the store, in a temporary folder.
"""

import argparse
import json
import os
import random
import sqlite3
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from sightpost_edge.localtime import DAY_MS, HOUR_MS
from sightpost_edge.store.counts import count_by, first_seen
from sightpost_edge.store.queries import EventFilter, find_events
from sightpost_edge.store.schema import migrate

ZONE = ZoneInfo("Europe/Berlin")
BEGUN_MS = 1_767_222_000_000  # 2026-01-01 in Berlin
LABELS = ("deer", "blank", "fox", "wild boar", "badger", "hare", "roe deer", "marten", "person",
          "wolf", "lynx", "bear")  # fmt: skip
NIGHTLY = {"fox", "wild boar", "badger", "hare", "marten", "wolf", "lynx"}
STORIES, MOMENTS = 400, 96
REPEATS = 7

PLAIN = {
    "count by hour, GROUP BY": "SELECT started_ms / 3600000 h, count(*) FROM events GROUP BY h",
    "count by hour, strftime": "SELECT strftime('%Y-%m-%dT%H', started_ms / 1000, 'unixepoch') h, "
    "count(*) FROM events GROUP BY h",
    "count by label, GROUP BY": "SELECT label, count(*) FROM events INDEXED BY events_by_time "
    "GROUP BY label",
    "frequent score, ORDER BY seq": "SELECT seq FROM events INDEXED BY events_by_time "
    "WHERE score >= 0.5 ORDER BY seq DESC LIMIT 50",
    "rare label, no index": "SELECT seq FROM events NOT INDEXED WHERE label = 'none' "
    "ORDER BY seq DESC LIMIT 50",
}
"""What the queries are compared with: the same asked of SQLite in the plainest way."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--store", type=Path, help="kept, and used again when it is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sightpost-events-") as scratch:
        folder = given.store or Path(scratch)
        if not (folder / "events.db").exists():
            folder.mkdir(parents=True, exist_ok=True)
            fill(folder, given.events)
        report(folder)


def fill(folder: Path, events: int) -> None:
    """Write the store in one go; how long its real writer takes is measured elsewhere."""
    began = time.perf_counter()
    with closing(sqlite3.connect(folder / "events.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        migrate(connection, folder / "events.db")
        connection.execute("BEGIN")
        rows = _rows(events)
        first = next(rows)
        insert = f"INSERT INTO events ({','.join(first)}) VALUES ({','.join('?' * len(first))})"
        connection.execute(insert, list(first.values()))
        connection.executemany(insert, (list(row.values()) for row in rows))
        connection.execute("COMMIT")
    print(f"filled with {events:,} events in {time.perf_counter() - began:.0f} s")


def _rows(events: int) -> Iterator[dict[str, Any]]:
    random_ = np.random.default_rng(6)
    weights = 1 / np.arange(1, len(LABELS) + 1)
    labels = random_.choice(len(LABELS), events, p=weights / weights.sum())
    days = np.sort(random_.integers(0, 365, events))
    hours = _hours(random_, labels)
    started = BEGUN_MS + days * DAY_MS + (hours * HOUR_MS).astype(np.int64)
    started.sort()
    scores = 1 - 0.8 * random_.beta(1.2, 5, events)
    novelty = random_.gamma(2, 0.2, events)
    stories = [_story(random.Random(seed)) for seed in range(STORIES)]
    for index in range(events):
        begun_ms, score = int(started[index]), round(float(scores[index]), 6)
        stamp = time.strftime("%Y%m%dT%H%M%S000Z", time.gmtime(begun_ms // 1000))
        yield {
            "label": LABELS[labels[index]], "score": score, "started_ms": begun_ms,
            "ended_ms": begun_ms + 4200, "started_s": index * 31.5, "ended_s": index * 31.5 + 4.2,
            "peak_s": index * 31.5 + 1.7, "decided_s": index * 31.5 + 5.2,
            "monotonic_ns": index * 31_500_000_000, "clock_quality": "synchronized",
            "boot_id": "5e1f9c9a-6a2b-4c39-9a55-0d4c86f1b7aa", "clock_shift_ms": 0, "frames": 42,
            "frame_name": "", "reason": "left", "region": "", "named_by": "label",
            "novelty": round(float(novelty[index]), 4), "run": 1 + index // 20_000,
            "source": "picamera://0", "model": "forest-v3", "model_digest": "9c" * 32,
            "snapshot": f"snapshots/{stamp}-{index + 1:06d}.jpg", "clip": "",
            "picture_bytes": 48_213, "marked": int(index % 1000 == 0),
            "trace": stories[index % STORIES],
        }  # fmt: skip


def _hours(random_: np.random.Generator, labels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """(events,) float, hours of the day: some are about at night, the others twice a day."""
    nightly = np.isin(labels, [LABELS.index(name) for name in NIGHTLY])
    twice = random_.choice([6.5, 19.0], len(labels))
    return (np.where(nightly, 0.5, twice) + random_.normal(0, 2.2, len(labels))) % 24


def _story(random_: random.Random) -> bytes:
    """As a run keeps it: a list for each moment, compressed; 1.2 KB."""
    moments = [
        [round(i / 7.3, 6), random_.choice(LABELS[:3]), round(random_.random(), 4),
         random_.choice(LABELS[:3]), round(random_.random() / 3, 4), "opened", None, False]
        for i in range(MOMENTS)
    ]  # fmt: skip
    return zlib.compress(json.dumps(moments, separators=(",", ":")).encode())


def report(folder: Path) -> None:
    path = folder / "events.db"
    with closing(sqlite3.connect(path)) as connection:
        (events, story) = connection.execute(
            "SELECT count(*), (SELECT avg(length(trace)) FROM events WHERE seq <= 400) FROM events"
        ).fetchone()
    print(f"{events:,} events, {path.stat().st_size / events:.0f} bytes each (story {story:.0f}); "
          f"file {path.stat().st_size / 1e6:.0f} MB; SQLite {sqlite3.sqlite_version}")  # fmt: skip
    print(f"{'query':<36}{'cold ms':>9}{'warm ms':>9}{'cpu ms':>9}  found")
    for name, query in _queries(folder).items():
        _line(path, name, query)
    print("the same in plain SQL")
    for name, text in PLAIN.items():
        _line(path, name, lambda text=text: _plain(path, text))  # type: ignore[misc]


def _queries(folder: Path) -> dict[str, Callable[[], int]]:
    def listed(**wanted: Any) -> Callable[[], int]:
        return lambda: len(find_events(folder, EventFilter(**wanted, last=50)))

    def counted(what: str, **options: Any) -> Callable[[], int]:
        return lambda: len(count_by(folder, what, zone=ZONE, **options))

    spring, summer = BEGUN_MS + 90 * DAY_MS, BEGUN_MS + 180 * DAY_MS
    window = {"since_ms": spring, "until_ms": summer}
    fox = EventFilter(label="fox", min_score=0.9)
    return {
        "list newest 50": listed(),
        "list a frequent label": listed(label="deer"),
        "list a rare label": listed(label="bear"),
        "list a label that never was": listed(label="none"),
        "list a quarter of the year": listed(**window),
        "list by score, many": listed(min_score=0.5),
        "list by score, few": listed(min_score=0.9999),
        "list by label, time, score": listed(label="lynx", min_score=0.97, **window),
        "list marked": listed(marked=True),
        "count by hour": counted("hour"),
        "count by hour, foxes over 0.9": counted("hour", wanted=fox),
        "count by day": counted("day"),
        "count by label": counted("label"),
        "count by hour of day": counted("hour-of-day"),
        "chart: hour of day and label": counted("hour-of-day", each_label=True),
        "chart: day and label": counted("day", each_label=True),
        "chart: first of each label": lambda: len(first_seen(folder)),
    }


def _line(path: Path, name: str, query: Callable[[], int]) -> None:
    _drop(path)
    cold_ms, _, found = _timed(query)
    rounds = [_timed(query) for _ in range(REPEATS)]
    warm_ms, cpu_ms = (statistics.median(r[column] for r in rounds) for column in (0, 1))
    print(f"{name:<36}{cold_ms:>9.0f}{warm_ms:>9.1f}{cpu_ms:>9.1f}  {found:,}", flush=True)


def _timed(query: Callable[[], int]) -> tuple[float, float, int]:
    """Wall and processor milliseconds, and what came out."""
    began, began_cpu = time.perf_counter(), time.process_time()
    found = query()
    return (time.perf_counter() - began) * 1e3, (time.process_time() - began_cpu) * 1e3, found


def _plain(path: Path, text: str) -> int:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return len(connection.execute(text).fetchall())


def _drop(path: Path) -> None:
    """The file's pages leave the page cache; they are all on disk already."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


if __name__ == "__main__":
    main()
