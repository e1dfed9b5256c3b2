"""A full disk: one clear message, nothing acknowledged is lost, nothing half-written stays; and a
camera's run waits it out, however it came to be full."""

import contextlib
import errno
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightpost_edge.durable import write_file
from sightpost_edge.errors import DiskFull
from sightpost_edge.records import Event, Prediction
from sightpost_edge.sinks.log import PredictionLog
from sightpost_edge.store import EventStore, Keeper, read_events
from sightpost_edge.store.ballast import Space
from sightpost_edge.store.database import as_store_error
from sightpost_edge.store.housekeeping import Housekeeping
from sightpost_edge.store.outbox import read_counters
from sightpost_edge.store.quota import Quota, StorageSettings
from sightpost_edge.testing import colour, frame

from ..conftest import command
from ..edge.store_rig import Rig
from .conftest import ReportFault

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A file system of this size."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "small", "1m")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "disk", "2m")


def test_a_full_disk_ends_the_run_and_loses_nothing(
    cli: Cli, bundle_file: Path, small_disk: Path, tmp_path: Path
) -> None:
    """Exit code 7, a hint, and every acknowledged event in a store that opens."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(600):
        name = ("red", "green", "blue")[index % 3]
        cv2.imwrite(
            str(photos / f"{index:04d}.png"), colour(name, width=320, height=240)[..., ::-1]
        )
    result = cli("run", "--model", bundle_file, "--source", photos, "--store",
                 small_disk / "store", "--json")  # fmt: skip
    assert result.returncode == 7, result.stderr
    assert "no space left" in result.stderr
    assert "hint:" in result.stderr
    acknowledged = [json.loads(line)["seq"] for line in result.stdout.splitlines()]
    assert acknowledged
    assert set(acknowledged) <= {event.seq for event in read_events(small_disk / "store")}
    assert not list((small_disk / "store" / "snapshots").glob(".*"))


def test_a_file_is_replaced_whole_or_not_at_all(small_disk: Path) -> None:
    """The old content survives a write that does not fit, and no temporary file is left."""
    target = small_disk / "model.tflite"
    write_file(target, b"old")
    with pytest.raises(DiskFull):
        write_file(target, b"x" * 4_000_000)
    assert target.read_bytes() == b"old"
    assert os.listdir(small_disk) == ["model.tflite"]


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv"])
def test_a_station_s_log_is_no_reason_to_stop(
    small_disk: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Lines are left out and counted while the disk is full, and whole ones follow when it is not;
    a recording's log says that it is full."""
    now_s = [1.0]
    shown = Prediction(frame(colour("red")), "fox", 0.9, np.array([0.9], np.float32))
    filler = small_disk / "filler"
    with PredictionLog(small_disk / name, patient=True, clock_s=lambda: now_s[0]) as log:
        log.write(shown)
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        for _ in range(200):
            now_s[0] += 0.5
            log.write(shown)
        assert log.lost > 100
        kept = 201 - log.lost
        filler.unlink()
        now_s[0] += 5
        log.write(shown)
    lines = (small_disk / name).read_text().splitlines()
    assert len(lines) == kept + 1 + (name == "p.csv")
    assert len({len(line.split(",")) for line in lines}) == 1, "none is torn"
    assert caplog.text.count("left out of the log") == 1


# A camera's run on a disk of 2 MiB

SITE = """
[camera]
realtime = true
loop = true
[motion]
enabled = false
[rules]
smoothing_s = 0.0
switch_s = 0.1
[clips]
before_s = {clip_s}
after_s = {clip_s}
"""


class OtherProgram:
    """Fills the disk to the last byte; a runaway one takes what comes free at once."""

    def __init__(self, disk: Path, *, runaway: bool) -> None:
        self._path = disk / "other.log"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, args=(runaway,), daemon=True)

    def _write(self, runaway: bool) -> None:
        with self._path.open("ab", buffering=0) as file:
            while not self._ended.wait(0.01):
                for size in (65536, 4096, 1):
                    with contextlib.suppress(OSError):
                        while file.write(b"x" * size) == size:
                            pass
                if not runaway:
                    return

    def __enter__(self) -> "OtherProgram":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()
        self._path.unlink()


class Station:
    """``sightpost run`` on a recording at its own speed, as if it were a camera: 2.5 events a
    second, told by picture after picture whether it goes on."""

    def __init__(self, disk: Path, beside: Path, bundle_file: Path, *, clips: bool) -> None:
        self.store, self._log = disk / "store", beside / "predictions.jsonl"
        config, clip = beside / "site.toml", beside / "line.avi"
        config.write_text(SITE.format(clip_s=1.0 if clips else 0.0))
        write_recording(clip)
        self._errors = (beside / "errors.txt").open("w+")
        self.process = subprocess.Popen(
            command("run", "--config", config, "--model", bundle_file, "--source", clip,
                    "--store", self.store, "--log", self._log, "--json"),
            stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip
        self.acknowledged: list[tuple[float, int]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.acknowledged.append((time.monotonic(), json.loads(line)["seq"]))

    def wait_for(self, count: int, *, within_s: float = 30.0) -> float:
        """Until so many events are acknowledged; the seconds that took."""
        began_s = time.monotonic()
        while len(self.acknowledged) < count:
            assert self.process.poll() is None, self.errors()
            assert time.monotonic() - began_s < within_s, self.errors()
            time.sleep(0.02)
        return time.monotonic() - began_s

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.errors()
        self._reader.join()

    def errors(self) -> str:
        self._errors.flush()
        return Path(self._errors.name).read_text()

    def longest_pause_s(self) -> float:
        """Between two pictures that were classified, from the first to the last."""
        rows = [json.loads(line) for line in self._log.read_text().splitlines()]
        times = [datetime.fromisoformat(row["time"]).timestamp() for row in rows]
        return max(later - earlier for earlier, later in pairwise(times))

    def __enter__(self) -> "Station":
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()

    def check(self) -> int:
        """How many promises are broken: acknowledged events missing, a damaged database, rows
        that name missing files."""
        with closing(sqlite3.connect(self.store / "events.db")) as connection:
            sound = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        kept = read_events(self.store)
        names = [name for event in kept for name in (event.snapshot, event.clip) if name]
        missing = {seq for _, seq in self.acknowledged} - {event.seq for event in kept}
        return (not sound) + len(missing) + sum(not (self.store / name).is_file() for name in names)


def write_recording(path: Path) -> None:
    """Sixty seconds; another colour every 0.4 s, each picture with noise of its own: 13 KB."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (160, 120))
    rng = np.random.default_rng(1)
    shown = [colour(name, width=160, height=120) for name in ("red", "green", "blue")]
    for index in range(1200):
        noise = rng.integers(-40, 41, (120, 160, 3))
        pixels = np.clip(shown[index // 8 % 3] + noise, 0, 255).astype(np.uint8)
        writer.write(pixels[..., ::-1])
    writer.release()


@pytest.mark.parametrize(
    "runaway", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["static", "runaway"]
)
def test_a_camera_s_run_waits_a_full_disk_out(
    runaway: bool, disk: Path, tmp_path: Path, bundle_file: Path, report_fault: ReportFault
) -> None:
    """Pictures are classified throughout, what was acknowledged is there, and events are kept
    again soon after there is space, without anybody's help."""
    with Station(disk, tmp_path, bundle_file, clips=False) as station:
        station.wait_for(5)
        with OtherProgram(disk, runaway=runaway):
            time.sleep(15 if runaway else 3)
            meanwhile = len(station.acknowledged)
        recovery_s = station.wait_for(meanwhile + 1)
        station.wait_for(meanwhile + 4)
        station.end()
        broken = station.check()
        report_fault(
            f"5 disk full, {'runaway' if runaway else 'static'}", 1, broken, recovery_s,
            f"longest pause of looking {station.longest_pause_s():.2f} s",
        )  # fmt: skip
        assert "waits in memory" in station.errors(), "the disk was never full"
        numbers = [seq for _, seq in station.acknowledged]
        assert broken == 0, station.errors()
        assert numbers == sorted(set(numbers))
        assert station.longest_pause_s() < 1.0
        assert recovery_s < 30


def test_a_run_starts_on_a_full_disk(
    disk: Path, tmp_path: Path, bundle_file: Path, report_fault: ReportFault
) -> None:
    """What the last run left as ballast is what this one starts with; then room is made."""
    with Station(disk, tmp_path, bundle_file, clips=False) as station:
        station.wait_for(4)
        station.end()
    fill(disk)
    assert Space.of(disk).free == 0
    with Station(disk, tmp_path, bundle_file, clips=False) as again:
        took_s = again.wait_for(2)
        again.acknowledged[:0] = station.acknowledged
        again.end()
        broken = again.check()
    report_fault("5 start on a full disk", 1, broken, took_s)
    assert broken == 0


@pytest.mark.slow
def test_a_burst_that_does_not_fit_is_kept_bit_by_bit(disk: Path) -> None:
    """300 KB are free for 900 KB of pictures: every row is kept, and the newest pictures."""
    kept: list[object] = []
    store = EventStore(disk / "store", source="camera", model="m", model_digest="abc", live=True)
    quota = Quota(store.folder, store.connection, StorageSettings())
    house = Housekeeping(store, room=quota)
    with Keeper(store, on_kept=kept.append, patient=True, housekeeping=house) as keeper:
        (disk / "other").write_bytes(b"x" * (Space.of(disk).free - 300_000))
        rng = np.random.default_rng(1)
        for _ in range(64):
            shown = frame(rng.integers(0, 255, (120, 160, 3)).astype(np.uint8))
            keeper.put(Event("fox", 0.93, shown, shown, shown, shown, 5, "left"))
        until_s = time.monotonic() + 60
        while len(kept) < 64 and time.monotonic() < until_s:
            time.sleep(0.2)
            keeper.deliver()
    assert len(kept) == 64
    with_picture = [event.seq for event in read_events(disk / "store") if event.snapshot]
    assert with_picture
    assert max(with_picture) >= 60


@pytest.mark.slow
def test_its_own_data_never_fill_the_disk(
    disk: Path, tmp_path: Path, bundle_file: Path, report_fault: ReportFault
) -> None:
    """With clips, 2 MB of pictures are seen in less than half a minute; half a disk of 2 MiB is all
    it takes, rows stay, and nobody ever meets a full disk."""
    lowest = 1 << 40
    with Station(disk, tmp_path, bundle_file, clips=True) as station:
        while len(station.acknowledged) < 25:
            time.sleep(0.05)
            assert station.process.poll() is None, station.errors()
            lowest = min(lowest, Space.of(disk).free)
        station.end()
        broken = station.check()
        full = "no space" in station.errors()
    report_fault("5 the store's own data on 2 MiB", 1, broken + full)
    assert not full
    assert broken == 0
    assert lowest >= Space.of(disk).reserve
    assert read_counters(station.store)["clips dropped"] > 0, "the test is too short"


# What SQLite calls an I/O error


def io_error(code: int) -> sqlite3.OperationalError:
    """As SQLite raises it."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


def test_a_full_disk_that_sqlite_calls_an_io_error_is_a_full_disk(disk: Path) -> None:
    """Its index finds no room: SQLITE_IOERR_SHMSIZE, not SQLITE_FULL."""
    with closing(full_rig(disk).connection):
        pass
    (disk / "store" / "events.db-shm").unlink(missing_ok=True)
    fill(disk)
    with (
        closing(sqlite3.connect(disk / "store" / "events.db")) as connection,
        pytest.raises(sqlite3.OperationalError, match="I/O") as caught,
    ):
        connection.execute("DELETE FROM events")
    assert isinstance(as_store_error(caught.value, disk / "store"), DiskFull)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC])
@pytest.mark.parametrize(
    ("call", "number", "full"),
    [
        ("pwrite", errno.EDQUOT, True),
        ("fsync", errno.ENOSPC, True),
        ("pwrite", errno.EIO, False),
        ("fsync", errno.EIO, False),
        ("close", 0, False),
    ],
)
def test_what_fails_tells_a_user_s_quota_from_a_broken_disk(
    code: int, call: str, number: int, full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EDQUOT of a write and ENOSPC of a sync leave the disk with room, as far as it says; only what
    is really broken ends a run."""

    def fails(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        if number:
            patch.setattr(os, call, fails)
        error = as_store_error(io_error(code), tmp_path)
    assert isinstance(error, DiskFull) is full
    assert os.listdir(tmp_path) == []


# Deleting where there is no room for it


def full_rig(disk: Path) -> Rig:
    """Events with pictures until the disk is full, and a log that is not empty."""
    rig = Rig(disk / "store")
    for seq in range(1, 61):
        rig.event(seq, picture=0, trace=500)
        (disk / "store" / "snapshots" / f"{seq:06d}.jpg").write_bytes(b"x" * 12_000)
        rig.connection.execute(
            "UPDATE events SET snapshot = ?, picture_bytes = 12000 WHERE seq = ?",
            (f"snapshots/{seq:06d}.jpg", seq),
        )
    rig.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return rig


def fill(disk: Path) -> None:
    with (disk / "other").open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass


def test_without_ballast_even_deleting_fails(disk: Path) -> None:
    """The reason for it."""
    rig = full_rig(disk)
    with closing(rig.connection):
        fill(disk)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            rig.connection.execute("DELETE FROM events WHERE seq < 30")


def test_with_ballast_room_is_made(disk: Path) -> None:
    """Pictures go, their rows say so, the ballast is back."""
    rig = full_rig(disk)
    rig.space = Space.of  # type: ignore[method-assign]
    with closing(rig.connection):
        quota = rig.quota(StorageSettings(max_share=1.0))
        rig.settle(quota)
        rig.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        held = len(rig.with_picture())
        fill(disk)
        assert Space.of(disk).free == 0
        assert quota.make_room(100_000) > 0
        assert Space.of(disk).free >= 100_000
        assert quota.ballast.size == Space.of(disk).ballast
        assert 0 < len(rig.with_picture()) < held
        rig.check()
