"""kill -9 at any moment: every acknowledged event is there, and the store opens by itself."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import pytest

from sightpost_edge.store.dropping import COUNTERS
from sightpost_edge.store.outbox import read_counters
from sightpost_edge.testing import colour

from ..conftest import command
from .conftest import ReportFault
from .old_stores import old_store
from .store_promises import Promise, boot, broken, understood
from .store_worker import Work

WORKER = Path(__file__).parent / "store_worker.py"
OPENING_S, MIGRATION_S = 0.03, 0.01
"""From a writer's first line until its store of 100 events is open, and until it is brought up to
date: a kill up to then comes before, within or after it, each in a third of the rounds."""
Outcome = tuple[list[str], float]
"""What is wrong; how long the slowest start took, in seconds."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Enough photos to keep the writer busy: each one is an event with a snapshot."""
    return made(tmp_path / "photos", ".png")


def made(folder: Path, suffix: str, **size: int) -> Path:
    """So many that no process comes to the last of them before it is killed."""
    folder.mkdir()
    shown = [colour(name, **size)[..., ::-1] for name in ("red", "green", "blue")]
    for index in range(400):
        cv2.imwrite(str(folder / f"{index:04d}{suffix}"), shown[index % 3])
    return folder


@dataclass(frozen=True, slots=True)
class Killed:
    """What a process printed in all, and how long after its start the first of it came."""

    printed: list[Promise]
    first_s: float


def run_and_kill(line: Sequence[str], after_lines: int, after_s: float = 0.0) -> Killed:
    """Start, read so many acknowledgements, wait, kill -9."""
    start = time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    with process, closing(process.stdout):
        printed = [process.stdout.readline()]
        first_s = time.perf_counter() - start
        printed += [process.stdout.readline() for _ in range(after_lines - 1)]
        time.sleep(after_s)
        process.kill()
        printed += process.stdout.readlines()
    assert process.returncode == -9, "it ended by itself"
    return Killed([json.loads(text) for text in printed if text.endswith("\n")], first_s)


def run_line(bundle_file: Path, photos: Path, store: Path) -> list[str]:
    """The whole device, on photos as fast as it can."""
    return command("run", "--model", bundle_file, "--source", photos, "--store", store, "--json")


def rounds(line: list[str], store: Path, promises: list[Promise], count: int) -> Outcome:
    """Run and kill again and again; what is wrong in the end."""
    rng, slowest_s = random.Random(1), 0.0
    for _ in range(count):
        killed = run_and_kill(line, rng.randint(1, 25))
        promises += understood(killed.printed)
        slowest_s = max(slowest_s, killed.first_s)
    return list(broken(store, promises)), slowest_s


def test_kill_9_loses_no_acknowledged_event(
    bundle_file: Path, photos: Path, tmp_path: Path, report_fault: ReportFault
) -> None:
    """Six kills at random moments of one store; each restart goes on by itself."""
    store = tmp_path / "store"
    wrong, took_s = rounds(run_line(bundle_file, photos, store), store, [], 6)
    report_fault("6 kill -9, sightpost run", 6, len(wrong), took_s)
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 2])
def test_fifty_kills_of_a_device_that_was_updated(
    bundle_file: Path, place: Path, report_fault: ReportFault, version: int
) -> None:
    """The same, longer, on a store that an older release left, with pictures of 30 KB; 10 MB hold
    a third of what is seen."""
    store, config = place / "store", place / "site.toml"
    photos = made(place / "photos", ".jpg", width=320, height=240)
    config.write_text("[storage]\nmax_mb = 10\n")
    promises = old_store(store, version, events=100)
    line = [*run_line(bundle_file, photos, store), "--config", str(config)]
    wrong, took_s = rounds(line, store, promises, 50)
    name = f"6 kill -9, sightpost run on schema {version}"
    report_fault(name, 50, len(wrong), took_s, "time until the next event")
    assert not wrong
    assert read_counters(store)[COUNTERS["pictures"]] > 0


def writer(store: Path, seed: int) -> list[str]:
    """A process that does nothing but write; every fourth seed on a small disk."""
    work = Work(events=0, seed=seed, disk_mb=0.5 if seed % 4 == 3 else 0.0)
    return [sys.executable, str(WORKER), str(store), "/dev/stdout", json.dumps(asdict(work))]


def writer_rounds(store: Path, promises: list[Promise], count: int, seed: int) -> Outcome:
    """Kill a writer at one of its first promises, in a third of the rounds before any."""
    rng, wrong, slowest_s = random.Random(seed), list[str](), 0.0
    for number in range(count):
        early = rng.random() < 1 / 3
        wait_s = rng.uniform(0, OPENING_S) if early else 0.0
        lines = 1 if early else rng.randint(2, 40)
        promises += run_and_kill(writer(store, seed), lines, wait_s).printed
        if number % 5 == 4 or number == count - 1:
            found, took_s = boot(store, promises)
            wrong += found
            slowest_s = max(slowest_s, took_s)
    return wrong, slowest_s


def migration_rounds(place: Path, count: int) -> Outcome:
    """Kill a writer while it brings an old store up to date, a new one in each round."""
    rng, wrong, slowest_s = random.Random(2), list[str](), 0.0
    for number in range(count):
        store = place / f"old-{number}"
        promises = old_store(store, 1 + number % 2, events=100, seed=number)
        promises += run_and_kill(writer(store, number), 1, rng.uniform(0, MIGRATION_S)).printed
        found, took_s = boot(store, promises)
        wrong += found
        slowest_s = max(slowest_s, took_s)
        shutil.rmtree(store)
    return wrong, slowest_s


def test_kills_of_a_writer(place: Path, report_fault: ReportFault) -> None:
    """Bursts, clips, marks, an outbox, a quota: what was promised of each is there."""
    wrong, took_s = writer_rounds(place / "store", [], 5, seed=3)
    report_fault("6 kill -9, writer", 5, len(wrong), took_s)
    assert not wrong


def test_kills_while_an_old_store_is_brought_up_to_date(
    place: Path, report_fault: ReportFault
) -> None:
    """Whatever it was killed at, the next start ends what it began."""
    wrong, took_s = migration_rounds(place, 4)
    report_fault("6 kill -9, migration", 4, len(wrong), took_s)
    assert not wrong


@pytest.mark.slow
def test_three_hundred_kills_of_a_writer(place: Path, report_fault: ReportFault) -> None:
    """Fifteen stores, a third of each schema, every fourth on a small disk."""
    wrong, slowest_s = list[str](), 0.0
    for seed in range(15):
        store = place / f"store-{seed}"
        promises = old_store(store, seed % 3, events=50, seed=seed) if seed % 3 else []
        found, took_s = writer_rounds(store, promises, 20, seed)
        wrong += found
        slowest_s = max(slowest_s, took_s)
        shutil.rmtree(store)
    report_fault("6 kill -9, writer, long", 300, len(wrong), slowest_s)
    assert not wrong


@pytest.mark.slow
def test_a_hundred_kills_while_old_stores_are_brought_up_to_date(
    place: Path, report_fault: ReportFault
) -> None:
    """The same, longer."""
    wrong, took_s = migration_rounds(place, 100)
    report_fault("6 kill -9, migration, long", 100, len(wrong), took_s)
    assert not wrong


def test_the_harness_can_see_a_loss(bundle_file: Path, photos: Path, tmp_path: Path) -> None:
    """A store from which one acknowledged row is taken away fails the same check."""
    store = tmp_path / "store"
    promises = understood(run_and_kill(run_line(bundle_file, photos, store), 5).printed)
    assert not list(broken(store, promises))
    seq = promises[0]["event"]
    with closing(sqlite3.connect(store / "events.db")) as connection, connection:
        connection.execute("DELETE FROM events WHERE seq = ?", [seq])
    assert list(broken(store, promises)) == [f"event {seq} is lost"]
