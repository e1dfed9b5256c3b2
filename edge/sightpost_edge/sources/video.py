"""A video file as a source: every frame, as fast as possible or at its own speed, once or over."""

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2

from .. import clock
from ..errors import SourceUnavailable, looking_at
from ..image import RawImage
from ..masking import without_password
from ..records import Frame, Pixels
from . import local_path, say_unused
from .health import Report, log_health
from .settings import DEFAULTS, CameraSettings

BAD_READS = 30
"""A damaged frame is one failed read, and the next one succeeds; at the end they all fail."""


def file_source(
    uri: str, *, camera: CameraSettings = DEFAULTS, report: Report = log_health
) -> "VideoSource":
    """``clip.mp4`` or ``file:///path/clip.mp4``."""
    say_unused(uri, camera, used={"realtime", "loop"})
    return VideoSource(uri, realtime=camera.realtime, loop=camera.loop)


class VideoSource:
    """Every frame of a video file; times are media times, the first one's from the file's date.

    Args:
        uri: its path.
        realtime: each frame is given out when its media time has come, none is left out.
        loop: it starts again at its end, and time goes on.
    """

    live = False

    def __init__(self, uri: str, *, realtime: bool = False, loop: bool = False) -> None:
        self.uri = uri
        self.dropped = 0
        self.realtime, self._loop = realtime, loop
        self._closing = threading.Condition(threading.RLock())
        self._closed = False
        self._capture = _open_file(local_path(uri))

    def __iter__(self) -> Iterator[Frame]:
        began_s = time.monotonic()
        began = clock.now() if self.realtime else _recorded_at(local_path(self.uri), self._capture)
        for index, (elapsed_s, pixels) in enumerate(self._pictures()):
            if self.realtime:
                self._wait_until(began_s + elapsed_s)
            if self._closed:
                break
            when = began + timedelta(seconds=elapsed_s)
            yield Frame(index, elapsed_s, when, time.monotonic_ns(), RawImage(pixels, "bgr"))
        self._capture.release()

    def close(self) -> None:
        """End the iteration."""
        with self._closing:
            self._closed = True
            self._closing.notify_all()

    def _pictures(self) -> Iterator[tuple[float, Pixels]]:
        """Media time and (h, w, 3) uint8 B,G,R, over all passes."""
        offset_s, elapsed_s = 0.0, -1.0
        while True:
            period_s = 1 / (self._capture.get(cv2.CAP_PROP_FPS) or 25.0)
            empty = True
            for media_s, pixels in _frames(self._capture, period_s):
                empty = False
                # Times in damaged files jump back; durations are taken from them.
                elapsed_s = max(offset_s + media_s, elapsed_s + 1e-3)
                yield elapsed_s, pixels
            if empty or self._closed or not self._loop:
                return
            offset_s = elapsed_s + period_s
            # Seeking to the start is not exact in every container, opening is.
            self._capture.release()
            self._capture = _open_file(local_path(self.uri))

    def _wait_until(self, due_s: float) -> None:
        with self._closing:
            while not self._closed and (left_s := due_s - time.monotonic()) > 0:
                self._closing.wait(left_s)


def _frames(capture: Any, period_s: float) -> Iterator[tuple[float, Pixels]]:
    index = bad = 0
    while bad < BAD_READS:
        ok, pixels = capture.read()
        if not ok:
            bad += 1
            continue
        position_ms, bad = capture.get(cv2.CAP_PROP_POS_MSEC), 0
        # Some containers carry no times: then the position stays 0 and the rate must do.
        yield (position_ms / 1000 if position_ms > 0 else index * period_s), pixels
        index += 1


def _recorded_at(path: Path, capture: Any) -> datetime:
    """When the recording began: cameras close their file at its end, which is what it is dated."""
    frames, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    lasts_s = frames / fps if frames > 0 and fps > 0 else 0.0
    return datetime.fromtimestamp(path.stat().st_mtime - min(lasts_s, 86_400.0), UTC)


def _open_file(path: Path) -> Any:
    with looking_at(without_password(str(path)), SourceUnavailable):
        is_file = path.is_file()
    if not is_file:
        raise SourceUnavailable(f"no video file at {without_password(str(path))}")
    if not os.access(path, os.R_OK):
        raise SourceUnavailable(f"no permission to read {path}", hint="chmod a+r makes it readable")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise SourceUnavailable(
            f"{path} is not a video this OpenCV can decode",
            hint="convert it with: ffmpeg -i IN -c:v libx264 OUT.mp4; photos are a folder source",
        )
    return capture
