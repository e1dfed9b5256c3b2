"""Newest Frame wins: a camera is read in its own thread and only the latest picture is kept.

A queue between camera and model makes every decision late by its length (measured: four buffers
add about four frame periods); here pulling is the back-pressure.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from .. import clock
from ..errors import SourceError, SourceLost, SourceUnavailable
from ..image import Image
from ..records import Frame

log = logging.getLogger("sightpost")


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture from a camera, not decoded yet, and its monotonic time."""

    image: Image = field(repr=False)
    monotonic_ns: int


class Camera(Protocol):
    """What a live source reads: blocks for the next Shot; None when the camera failed."""

    def read(self) -> Shot | None:
        """The next Shot, or None on failure; raises ``Ended`` when there will be no more."""

    def close(self) -> None:
        """Release the device."""


class Ended(Exception):
    """A camera with an end (a synthetic one) has reached it."""


class LiveSource:
    """A Source over any Camera, with reopening: three attempts, then ``SourceLost``.

    Args:
        uri: for messages.
        open_camera: opens the Camera; called again after a failure.
        stall_s: without a new picture for this long the source counts as failed. A read that
            *took* longer counts as failed too: a frozen RTSP stream returns old frames as good.
    """

    live = True

    def __init__(
        self, uri: str, open_camera: Callable[[], Camera], *, stall_s: float = 10.0
    ) -> None:
        self.uri = uri
        self.dropped = 0
        self._open_camera = open_camera
        self._stall_s = stall_s
        self._camera = open_camera()
        self._newest: Shot | None = self._first_shot()
        self._failure: Exception | None = None
        self._alive_s = time.monotonic()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._started_ns = time.monotonic_ns()
        self._thread = threading.Thread(target=self._capture, name="capture", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while (shot := self._take()) is not None:
            elapsed_s = max(0, shot.monotonic_ns - self._started_ns) / 1e9
            age_s = max(0, time.monotonic_ns() - shot.monotonic_ns) / 1e9
            taken = clock.now() - timedelta(seconds=age_s)
            yield Frame(index, elapsed_s, taken, shot.monotonic_ns, shot.image)
            index += 1

    def close(self) -> None:
        """Stop reading; a capture thread that hangs in a driver is left behind, not waited for."""
        self._closing.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=2.0)

    def _first_shot(self) -> Shot:
        """Only a good read proves a camera: OpenCV may claim an absent one is open."""
        try:
            shot = self._camera.read()
        except Ended:
            shot = None
        except BaseException:
            self._camera.close()
            raise
        if shot is None:
            self._camera.close()
            raise SourceUnavailable(
                f"{self.uri} opened but gives no picture",
                hint="is another program using it? check the cable, then try again",
            )
        return shot

    def _take(self) -> Shot | None:
        """Wait for a picture not yet handed out; None when closed or ended."""
        self._alive_s = time.monotonic()
        while not self._closing.is_set():
            with self._changed:
                if self._newest is not None:
                    shot, self._newest = self._newest, None
                    return shot
                if isinstance(self._failure, Ended):
                    return None
                if self._failure is not None:
                    raise self._failure
                if time.monotonic() > self._alive_s + self._stall_s:
                    raise SourceLost(
                        f"{self.uri} gave no picture for {self._stall_s:.0f} s",
                        hint="under systemd the service restarts by itself; by hand, start again",
                    )
                self._changed.wait(0.2)
        return None

    def _capture(self) -> None:
        try:
            while not self._closing.is_set():
                self._put(self._read_or_reopen())
        except (SourceError, Ended) as exc:
            self._fail(exc)
        except Exception as exc:  # noqa: BLE001 - a thread must hand its failure on, whatever it is
            self._fail(SourceLost(f"{self.uri} failed: {exc}"))
        finally:
            self._camera.close()

    def _read_or_reopen(self) -> Shot:
        for wait_s in (0.0, 0.5, 1.0, 2.0):
            if wait_s and not self._reopen(wait_s):
                continue
            began_s = time.monotonic()
            shot = self._camera.read()
            if shot is not None and time.monotonic() - began_s < self._stall_s:
                return shot
            if self._closing.is_set():
                raise Ended
        raise SourceLost(
            f"{self.uri} stopped giving pictures and three attempts to reopen it failed",
            hint="check cable and power; under systemd the service restarts by itself",
        )

    def _reopen(self, wait_s: float) -> bool:
        log.warning("%s failed, reopening in %.1f s", self.uri, wait_s)
        # An attempt is progress: the consumer waits for all of them, each within stall_s.
        self._alive_s = time.monotonic() + wait_s
        self._camera.close()
        if self._closing.wait(wait_s):
            raise Ended
        try:
            self._camera = self._open_camera()
        except SourceError as exc:
            log.warning("%s", exc)
            return False
        self._alive_s = time.monotonic()
        return True

    def _put(self, shot: Shot) -> None:
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = shot
            self._changed.notify_all()

    def _fail(self, exc: Exception) -> None:
        with self._changed:
            self._failure = exc
            self._changed.notify_all()
