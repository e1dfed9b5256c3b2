"""kill -9 at any moment: every acknowledged event is there, and the store opens by itself."""

import json
import random
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import cv2
import pytest

from sightpost_edge.pixels import read_photo
from sightpost_edge.store import read_events
from sightpost_edge.testing import colour

from ..conftest import command


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Enough photos to keep the writer busy: each one is an event with a snapshot."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(400):
        name = ("red", "green", "blue")[index % 3]
        cv2.imwrite(str(folder / f"{index:04d}.png"), colour(name)[..., ::-1])
    return folder


def run_and_kill(line: list[str], after_lines: int) -> list[dict[str, object]]:
    """Start, read so many acknowledgements, kill -9; return what was acknowledged in all."""
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    with process, closing(process.stdout):
        acknowledged = [process.stdout.readline() for _ in range(after_lines)]
        process.kill()
        acknowledged += process.stdout.readlines()
    return [json.loads(text) for text in acknowledged if text.endswith("\n")]


def rounds(bundle_file: Path, photos: Path, store: Path, count: int) -> None:
    rng = random.Random(1)
    line = command("run", "--model", bundle_file, "--source", photos, "--store", store, "--json")
    expected: dict[object, dict[str, object]] = {}
    for _ in range(count):
        for row in run_and_kill(line, rng.randint(1, 25)):
            assert row["seq"] not in expected, "a number was given out twice"
            expected[row["seq"]] = row
    assert len(expected) >= count
    check(store, expected)


def check(store: Path, expected: dict[object, dict[str, object]]) -> None:
    """Every acknowledged event is in the store, with its picture; the database is sound."""
    kept = {event.seq: event for event in read_events(store)}
    for seq, row in expected.items():
        assert kept[seq].label == row["label"]  # type: ignore[index]
        assert kept[seq].snapshot == row["snapshot"]  # type: ignore[index]
    for event in kept.values():
        assert read_photo(store / event.snapshot).shape == (48, 64, 3)
    with closing(sqlite3.connect(store / "events.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_kill_9_loses_no_acknowledged_event(
    bundle_file: Path, photos: Path, tmp_path: Path
) -> None:
    """Six kills at random moments of one store; each restart goes on by itself."""
    rounds(bundle_file, photos, tmp_path / "store", 6)


@pytest.mark.slow
def test_a_hundred_kills(bundle_file: Path, photos: Path, tmp_path: Path) -> None:
    """The same, longer."""
    rounds(bundle_file, photos, tmp_path / "store", 100)


def test_the_harness_can_see_a_loss(bundle_file: Path, photos: Path, tmp_path: Path) -> None:
    """A store from which one acknowledged row is taken away fails the same check."""
    store = tmp_path / "store"
    line = command("run", "--model", bundle_file, "--source", photos, "--store", store, "--json")
    expected = {row["seq"]: row for row in run_and_kill(line, 5)}
    check(store, expected)
    with closing(sqlite3.connect(store / "events.db")) as connection, connection:
        connection.execute("DELETE FROM events WHERE seq = ?", [next(iter(expected))])
    with pytest.raises(KeyError):
        check(store, expected)
