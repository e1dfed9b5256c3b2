"""A camera on the test bench: it plays a script of good and bad pictures over all reopenings."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from sightpost_edge.errors import PhotoUnreadable, SourceError, SourceUnavailable
from sightpost_edge.image import RawImage
from sightpost_edge.records import Frame, Health, Pixels
from sightpost_edge.sources.camera import Camera, Ended, Shot
from sightpost_edge.sources.ladder import Patience
from sightpost_edge.sources.live import LiveSource
from sightpost_edge.sources.settings import CameraSettings

SCALE = 1 / 20
"""The tests' seconds: a stall of 8 s is one of 0.4 s, in those tests that are about one. In all
others it stays 8 s: a busy machine may let a thread wait for half a second."""
BUSY_S = 1.0
"""What a busy test machine may add to any time."""
QUICK = Patience(
    waits_s=(1 * SCALE, 3 * SCALE, 9 * SCALE),
    healthy_s=30 * SCALE,
    open_s=15 * SCALE,
    content_s=600 * SCALE,
    close_s=2 * SCALE,
)
PERIOD_S = 0.01
BAD = 255


def picture(tag: int, *, width: int = 64, flag: int = 0) -> RawImage:
    """Noise with its number in the first pixel; ``flag`` BAD marks one that must never come out."""
    pixels = np.random.default_rng(tag).integers(0, 200, (48, width, 3), dtype=np.uint8)
    pixels[0, 0] = tag // 256, tag % 256, flag
    return RawImage(pixels, "rgb")


def tag(frame: Frame) -> int:
    first = frame.image.decode()[0, 0]
    return int(first[0]) * 256 + int(first[1])


def is_bad(frame: Frame) -> bool:
    return int(frame.image.decode()[0, 0, 2]) == BAD


Item = Shot | Exception | None | Callable[[], Shot | None]


class Rig:
    """``open`` is the camera's opener; after ``script`` it gives good pictures for ever."""

    def __init__(self, script: Callable[["Rig"], Iterable[Item]]) -> None:
        self._tags = itertools.count(1)
        self._items = itertools.chain(script(self), iter(self.good, None))
        self._released = threading.Event()
        self._absent_until_s = 0.0
        self.opened = 0
        self.closed = 0
        self.fault_s = 0.0

    # What a script is made of

    def good(self) -> Shot:
        return Shot(picture(next(self._tags)), time.monotonic_ns())

    def run(self, seconds: float) -> Iterator[Item]:
        """Good pictures for a while, then the fault begins."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            yield self.good()
        self.fault_s = time.monotonic()

    def repeat(self, make: Callable[[], Item], seconds: float) -> Iterator[Item]:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            yield make()

    def hang(self) -> None:
        """As a driver does: for ever, and then it comes back with an old picture."""
        self._released.wait(30)

    def slow(self, seconds: float) -> Shot:
        time.sleep(seconds)
        return Shot(picture(next(self._tags), flag=BAD), time.monotonic_ns())

    def unplug(self, seconds: float) -> None:
        self._absent_until_s = time.monotonic() + seconds

    # What the source sees

    def open(self) -> Camera:
        self.opened += 1
        if time.monotonic() < self._absent_until_s:
            raise SourceUnavailable("no camera at /dev/video0")
        return _RigCamera(self)

    def next_item(self) -> Shot | None:
        if time.monotonic() < self._absent_until_s:
            return None
        item = next(self._items)
        if isinstance(item, Exception):
            raise item
        return item() if callable(item) else item

    def release(self) -> None:
        self._released.set()


class _RigCamera:
    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def read(self) -> Shot | None:
        time.sleep(PERIOD_S)
        return self._rig.next_item()

    def close(self) -> None:
        self._rig.closed += 1


class Station:
    """A LiveSource on a rig, with somebody who takes every Frame and keeps every Health."""

    def __init__(self, open_camera: Callable[[], Camera], **changes: Any) -> None:
        self.frames: list[Frame] = []
        self.health: list[Health] = []
        self.lost: SourceError | None = None
        patience = changes.pop("patience", QUICK)
        self.source = LiveSource(
            "rig://", open_camera, camera=CameraSettings(**changes), report=self.health.append,
            patience=patience,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._consume)
        self._thread.start()

    def _consume(self) -> None:
        try:
            self.frames.extend(self.source)
        except SourceError as exc:
            self.lost = exc

    def wait(self, condition: Callable[[], object], timeout_s: float = 10.0) -> None:
        until_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < until_s, (self.health, self.lost, len(self.frames))
            time.sleep(0.005)

    def wait_for_frames(self, more: int) -> None:
        count = len(self.frames) + more
        self.wait(lambda: len(self.frames) >= count)

    def close(self) -> None:
        self.source.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    @property
    def reports(self) -> list[tuple[str, bool]]:
        return [(health.fault, health.ok) for health in self.health]


def unreadable() -> PhotoUnreadable:
    return PhotoUnreadable("is a truncated JPEG (its end mark is missing)")


class Film:
    """A camera with a clock of its own, in which minutes pass in a second.

    It films a scene picture by picture, ``fps`` times in its own second, each only when the one
    before was taken: nothing is dropped, however busy the machine. Reopening takes ``open_s``.
    """

    def __init__(self, scene: Iterable[Pixels | Exception], *, fps: float, open_s: float) -> None:
        self._scene = iter(scene)
        self._fps, self._open_s = fps, open_s
        self._asked = threading.Semaphore(0)
        self.now_s = 1000.0
        self.opened = 0

    def open(self) -> "Film":
        """It is its own camera."""
        self.opened += 1
        self.now_s += self._open_s if self.opened > 1 else 0.0
        self._asked.release()
        return self

    def read(self) -> Shot:
        self._asked.acquire(timeout=0.5)  # what a fault threw away is asked for by nobody
        self.now_s += 1 / self._fps
        item = next(self._scene, None)
        if item is None:
            raise Ended
        if isinstance(item, Exception):
            raise item
        return Shot(RawImage(item, "bgr"), round(self.now_s * 1e9))

    def close(self) -> None:
        """Nothing to release."""

    def frames_of(self, source: LiveSource) -> "Filmed":
        """The source, whose every Frame that was taken lets the camera film the next."""
        return Filmed(source, self._asked.release)


class Filmed:
    """A LiveSource on a Film."""

    live = True

    def __init__(self, source: LiveSource, ask: Callable[[], None]) -> None:
        self.uri, self.close, self.distrust = source.uri, source.close, source.distrust
        self._source, self._ask = source, ask

    @property
    def dropped(self) -> int:
        return self._source.dropped

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            self._ask()
            yield frame
