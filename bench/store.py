"""What an event costs the card: bytes and syncs, commits a second, and the start after a kill.

    python -m bench.store

Events are like those of a real run (a story of 60 Moments), outbox rows included, pictures left
out. Bytes are what the kernel wrote for this process (``write_bytes`` in /proc/self/io), so the
folder must lie on a real disk: --folder; in a tmpfs nothing is written.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sightpost_edge.records import Event, Moment
from sightpost_edge.store import EventStore, read_events
from sightpost_edge.testing import colour, frame

LABELS = ("badger", "blank", "deer", "dog", "fox", "marten", "wolf")
MOMENTS = 60
"""The mean of 39 events of the demo's run, whose stories take 575 bytes."""


def events(seed: int) -> Iterator[Event]:
    """Endless, each its own."""
    chance = random.Random(seed)
    shown = frame(colour("red"))
    at_s = 0.0
    while True:
        at_s += chance.uniform(5, 500)
        label, other = chance.sample(LABELS, 2)
        score, novelty = chance.uniform(0.7, 0.95), chance.uniform(1, 9)
        story = []
        for i in range(MOMENTS):
            score = min(1.0, max(0.3, score + chance.gauss(0, 0.03)))
            novelty += chance.gauss(0, 0.2)
            story.append(
                Moment(
                    at_s + i / 10 + chance.gauss(0, 0.002), label, score, other,
                    (1 - score) * chance.uniform(0.5, 1), "going on" if i else "opened", novelty,
                    chance.random() < 0.3,
                )
            )  # fmt: skip
        took = replace(shown, elapsed_s=at_s, monotonic_ns=time.monotonic_ns())
        yield Event(label, chance.uniform(0.7, 1), took, took, took, took, MOMENTS, "left",
                    trace=tuple(story))  # fmt: skip


def open_store(folder: Path) -> EventStore:
    return EventStore(
        folder, source="picamera://0", model="wildlife", model_digest="0" * 64, live=True,
        outbox=True,
    )  # fmt: skip


def written() -> int:
    """Bytes that this process has caused to be written to a disk."""
    with open("/proc/self/io") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("write_bytes"))


def cost(folder: Path, count: int, group: int) -> tuple[float, float, float]:
    """Bytes an event, commits a second, and the median commit in ms."""
    source, times = events(group), []
    with open_store(folder) as store:
        before, began = written(), time.perf_counter()
        for _ in range(0, count, group):
            waiting = [store.pending(next(source), snapshot=False) for _ in range(group)]
            start = time.perf_counter()
            store.write_all(waiting)
            times.append(time.perf_counter() - start)
        took_s = time.perf_counter() - began
    return (written() - before) / count, len(times) / took_s, statistics.median(times) * 1000


def fill(folder: Path, count: int) -> None:
    source = events(7)
    with open_store(folder) as store:
        for _ in range(0, count, 1000):
            store.write_all([store.pending(next(source), snapshot=False) for _ in range(1000)])


def recovery(folder: Path) -> tuple[float, int]:
    """Seconds to open a store whose writer was killed, and how much its log held then."""
    line = [sys.executable, "-m", "bench.store", "--worker", str(folder)]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        for _ in range(150):
            worker.stdout.readline()
        worker.send_signal(signal.SIGKILL)
    log_bytes = (folder / "events.db-wal").stat().st_size
    began = time.perf_counter()
    with open_store(folder):
        return time.perf_counter() - began, log_bytes


def work(folder: Path) -> None:
    """Write until killed."""
    source = events(os.getpid())
    with open_store(folder) as store:
        while True:
            print(store.write(next(source), snapshot=False).seq, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="on the disk that is measured")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        work(asked.worker)
        return
    root = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        print("events a commit   bytes an event   commits/s   median commit")
        for group in (1, 4, 16):
            size, rate, median_ms = cost(root / f"cost{group}", asked.count, group)
            print(f"{group:>15}   {size:>14,.0f}   {rate:>9.0f}   {median_ms:>10.2f} ms")
        for count in (1_000, 100_000):
            fill(root / f"fill{count}", count)
            took_s, log_bytes = recovery(root / f"fill{count}")
            kept = len(read_events(root / f"fill{count}", last=10))
            size = (root / f"fill{count}" / "events.db").stat().st_size
            print(
                f"start after a kill with {count:,} events ({size / 1e6:.0f} MB, "
                f"log {log_bytes / 1e6:.1f} MB): {took_s:.2f} s; the newest {kept} are there"
            )
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
