"""A run under a service manager: what it says while it starts, looks, rests and ends."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightpost_edge.bundle import Bundle
from sightpost_edge.config import Site
from sightpost_edge.errors import SourceLost
from sightpost_edge.lives import FREE, Life, read_lives
from sightpost_edge.pace import RateSettings
from sightpost_edge.served import Served
from sightpost_edge.sources.settings import CameraSettings
from sightpost_edge.station import Station
from sightpost_edge.systemd import Notifier
from sightpost_edge.vitals import counters, line

from .test_sources import write_clip


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gate:
        gate.bind(str(tmp_path / "notify"))
        gate.setblocking(False)
        yield gate


def heard(gate: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(gate.recv(4096).decode())
        except BlockingIOError:
            return found


def site(bundle_file: Path, clip: Path, folder: Path, **more: object) -> Site:
    return Site(
        model=str(bundle_file), source=str(clip), store=str(folder / "store"), snapshots=False,
        camera=CameraSettings(realtime=True, loop=True), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def watched(asked: Site, frames: int, served: Served | None = None) -> Station:
    """So many pictures; those on which nothing can be seen count."""
    end_s = time.monotonic() + 20

    def beat() -> None:
        if served is not None:
            served.beat()
        if station.source.pictures >= frames or time.monotonic() > end_s:
            station.source.close()

    with ExitStack() as held:
        station = Station(asked, Bundle.open(Path(asked.model)), held)
        if served is not None:
            served.watches(station)
        station.watch(beat, beat)
    return station


def test_it_is_ready_when_it_has_looked(
    bundle_file: Path, tmp_path: Path, manager: socket.socket
) -> None:
    """First patience is asked for, step by step; the status tells people."""
    clip = write_clip(tmp_path / "clip.avi", frames_each=8, fps=15)
    with Served(tmp_path / "store", Notifier(str(tmp_path / "notify"), 10.0)) as served:
        said = heard(manager)
        assert said == ["EXTEND_TIMEOUT_USEC=90000000", "STATUS=starting: opening the model"]
        watched(site(bundle_file, clip, tmp_path), 20, served)
        served.over()
    said = heard(manager)
    assert "READY=1" in said
    assert "WATCHDOG=1" in said
    assert said[-1] == "STOPPING=1"
    assert any(text.startswith("STATUS=") and "fps" in text for text in said)
    assert not read_lives(tmp_path / "store").bad


def test_a_station_that_boots_at_night_is_ready(bundle_file: Path, tmp_path: Path) -> None:
    """Pictures too dark for the model have been looked at all the same."""
    writer = cv2.VideoWriter(
        str(tmp_path / "night.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 15, (64, 48)
    )
    for _ in range(15):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    station = watched(site(bundle_file, tmp_path / "night.avi", tmp_path), 60)
    assert station.tally.withheld["black"]
    assert counters(station).looks > 0


def test_a_rest_by_plan_is_told_as_one(bundle_file: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", frames_each=8, fps=15)
    station = watched(site(bundle_file, clip, tmp_path, rate=RateSettings(per_s=5.0)), 5)
    station.pace._idle_until_s = time.monotonic() + 3600
    assert counters(station).rests
    assert "fps" in line(station)
    station.pace._wake_at_s = time.monotonic() + 3600
    assert line(station).startswith("resting")
    station.pace._idle_until_s = 0.0
    assert not counters(station).rests


def test_an_owner_who_expects_few_pictures_is_believed(bundle_file: Path, tmp_path: Path) -> None:
    """A camera that gives one a minute has ``stall_s`` set to more than that."""
    clip = write_clip(tmp_path / "clip.avi", frames_each=8, fps=15)
    asked = site(bundle_file, clip, tmp_path)
    slow = CameraSettings(realtime=True, loop=True, stall_s=120.0)
    object.__setattr__(asked, "camera", slow)
    station = watched(asked, 5)
    assert counters(station).rests
    station.source.came_s -= 121
    assert not counters(station).rests


def test_bad_ends_are_kept_and_waited_for(
    tmp_path: Path, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manager is told how long, so that it does not take the wait for a start that hangs."""
    slept: list[float] = []
    monkeypatch.setattr(Life.__init__, "__kwdefaults__", {
        **(Life.__init__.__kwdefaults__ or {}), "sleep": slept.append,
    })  # fmt: skip
    notifier = Notifier(str(tmp_path / "notify"))
    for _ in range(FREE + 1):
        with pytest.raises(SourceLost), Served(tmp_path / "store", notifier):
            raise SourceLost("unplugged")
        heard(manager)
    assert read_lives(tmp_path / "store").bad == FREE + 1
    assert read_lives(tmp_path / "store").ends[-1].why == "SourceLost: unplugged"
    assert slept == [5.0]
    with Served(tmp_path / "store", notifier):
        said = heard(manager)
    assert said[0] == "EXTEND_TIMEOUT_USEC=100000000"
    assert "SourceLost: unplugged" in said[1]


def test_by_hand_nothing_is_counted(tmp_path: Path) -> None:
    with pytest.raises(SourceLost), Served(tmp_path / "store", Notifier()):
        raise SourceLost("unplugged")
    assert not (tmp_path / "store").exists()
