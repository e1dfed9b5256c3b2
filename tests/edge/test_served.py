"""A run under a service manager: what it says while it starts, looks, rests and ends."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Semaphore

import cv2
import numpy as np
import pytest

from sightpost_edge.bundle import Bundle
from sightpost_edge.config import Site
from sightpost_edge.errors import SourceLost, SourceUnavailable
from sightpost_edge.image import RawImage
from sightpost_edge.lives import FREE, Life, read_lives
from sightpost_edge.pace import RateSettings
from sightpost_edge.served import Served
from sightpost_edge.sources.continued import Continued
from sightpost_edge.sources.ladder import Patience
from sightpost_edge.sources.live import LiveSource, Shot
from sightpost_edge.sources.settings import CameraSettings
from sightpost_edge.station import Station
from sightpost_edge.systemd import Notifier
from sightpost_edge.testing import colour
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
        assert said[-2:] == ["EXTEND_TIMEOUT_USEC=90000000", "STATUS=starting: opening the model"]
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


def test_a_camera_that_is_being_opened_is_waited_for(bundle_file: Path, tmp_path: Path) -> None:
    """Its own attempts come first: they may take longer than the watchdog waits."""
    clip = write_clip(tmp_path / "clip.avi", frames_each=8, fps=15)
    station = watched(site(bundle_file, clip, tmp_path), 5)
    assert not counters(station).rests
    station.source._source.opening = True  # type: ignore[attr-defined]
    assert counters(station).rests


class Opening:
    """A camera that says when it is opened and closed, once it ``works`` or when it is ``broken``;
    the first time it works."""

    def __init__(self) -> None:
        self.opened, self.closed = Semaphore(0), Semaphore(0)
        self.works, self.broken = Semaphore(1), False

    def open(self) -> "Opening":
        self.opened.release()
        assert self.works.acquire(timeout=10)
        if self.broken:
            raise SourceUnavailable("no such device")
        return self

    def read(self) -> Shot:
        time.sleep(0.005)
        if self.broken:
            raise OSError("unplugged")
        return Shot(RawImage(colour("red"), "rgb"), time.monotonic_ns())

    def close(self) -> None:
        self.closed.release()

    def source(self, *waits_s: float) -> Continued:
        patience = Patience(waits_s=waits_s, close_s=1.0)
        live = LiveSource("x://", self.open, camera=CameraSettings(frozen_s=0.0), patience=patience)
        assert self.opened.acquire(timeout=5)
        return Continued(live)


def becomes(opening: bool, source: Continued) -> bool:
    end_s = time.monotonic() + 5
    while source.opening is not opening and time.monotonic() < end_s:
        time.sleep(0.002)
    return source.opening is opening


def test_a_camera_is_opened_after_a_planned_rest() -> None:
    """Until its first good picture."""
    camera = Opening()
    source = camera.source()
    next(source)
    assert not source.opening
    source.rest()
    assert camera.closed.acquire(timeout=5)
    source.wake()
    assert camera.opened.acquire(timeout=5)
    assert becomes(True, source)
    camera.works.release()
    next(source)
    assert becomes(False, source)
    source.close()


def test_a_camera_will_be_opened_after_a_fault() -> None:
    """From the moment on at which it is known."""
    camera = Opening()
    source = camera.source(30.0)
    camera.broken = True
    assert becomes(True, source)
    assert not camera.opened.acquire(blocking=False)
    source.close()


def test_a_camera_that_stays_away_will_be_opened_no_more() -> None:
    camera = Opening()
    source = camera.source(0.01)
    camera.broken = True
    camera.works.release()
    with pytest.raises(SourceLost):
        list(source)
    assert not source.opening
    source.close()


def test_a_camera_that_never_opens_is_not_waited_for_for_ever() -> None:
    """Where whoever opens it hangs itself: one attempt has its time, and no more."""
    live = LiveSource("x://", Opening().open, patience=Patience(close_s=0.05))
    live.close()
    live._opens_within(0.1)
    assert live.opening
    assert becomes(False, Continued(live))


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
    assert not slept
    with Served(tmp_path / "store", notifier):
        said = heard(manager)
    assert slept == [5.0]
    assert said[2] == "EXTEND_TIMEOUT_USEC=95000000"
    assert "SourceLost: unplugged" in said[3]


def test_by_hand_nothing_is_counted(tmp_path: Path) -> None:
    with pytest.raises(SourceLost), Served(tmp_path / "store", Notifier()):
        raise SourceLost("unplugged")
    assert not (tmp_path / "store").exists()
