"""Sources through OpenCV: USB cameras, network streams and video files."""

import os
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2

from .. import clock
from ..errors import SourceUnavailable
from ..image import RawImage
from ..records import Frame
from . import local_path
from .live import LiveSource, Shot

OPEN_TIMEOUT_MS = 5000
READ_TIMEOUT_MS = 5000
"""OpenCV's own default is 30 s, in which a pulled cable looks like a healthy camera."""


class VideoSource:
    """Every frame of a video file, as fast as they are asked for; times are media times."""

    live = False

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.dropped = 0
        self._closing = False
        self._capture = _open_file(local_path(uri))

    def __iter__(self) -> Iterator[Frame]:
        began = clock.now()
        fps = self._capture.get(cv2.CAP_PROP_FPS) or 25.0
        index = 0
        while not self._closing:
            ok, pixels = self._capture.read()
            if not ok:
                break
            position_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            # Some containers carry no times: then the position stays 0 and the rate must do.
            elapsed_s = position_ms / 1000 if position_ms > 0 else index / fps
            when = began + timedelta(seconds=elapsed_s)
            yield Frame(index, elapsed_s, when, time.monotonic_ns(), RawImage(pixels, "bgr"))
            index += 1
        self._capture.release()

    def close(self) -> None:
        """End the iteration."""
        self._closing = True


class OpenCvCamera:
    """A device or network stream behind OpenCV's VideoCapture."""

    def __init__(self, capture: Any) -> None:
        self._capture = capture

    def read(self) -> Shot | None:
        """The next picture, B,G,R."""
        ok, pixels = self._capture.read()
        return Shot(RawImage(pixels, "bgr"), time.monotonic_ns()) if ok else None

    def close(self) -> None:
        """Release the device or connection."""
        self._capture.release()


def file_source(uri: str) -> VideoSource:
    """``clip.mp4`` or ``file:///path/clip.mp4``."""
    return VideoSource(uri)


def device_source(uri: str) -> LiveSource:
    """``0``, ``/dev/video0`` or ``v4l2:///dev/video0``."""
    device = f"/dev/video{uri}" if uri.isdigit() else str(local_path(uri))
    if device.isdigit():
        device = f"/dev/video{device}"
    return LiveSource(uri, lambda: OpenCvCamera(_open_device(device)))


def stream_source(uri: str) -> LiveSource:
    """``rtsp://`` and ``http://`` streams, with timeouts."""
    return LiveSource(without_password(uri), lambda: OpenCvCamera(_open_stream(uri)))


def without_password(uri: str) -> str:
    """The URI as it may appear in logs and events."""
    masked = re.sub(r"(://[^/@:]*):[^/]*@", r"\1:***@", uri)
    return re.sub(r"(?i)\b(pwd|pass|password|token|key)=[^&]*", r"\1=***", masked)


def _open_file(path: Path) -> Any:
    if not path.is_file():
        raise SourceUnavailable(f"no video file at {path}")
    if not os.access(path, os.R_OK):
        raise SourceUnavailable(f"no permission to read {path}", hint="chmod a+r makes it readable")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise SourceUnavailable(
            f"{path} is not a video this OpenCV can decode",
            hint="convert it with: ffmpeg -i IN -c:v libx264 OUT.mp4; photos are a folder source",
        )
    return capture


def _open_device(device: str) -> Any:
    if not os.path.exists(device):
        found = sorted(str(p) for p in Path("/dev").glob("video[0-9]*"))
        raise SourceUnavailable(
            f"no camera at {device}",
            hint=f"found: {', '.join(found)}"
            if found
            else "no video device is connected; a Raspberry Pi camera module is picamera://0",
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceUnavailable(
            f"no permission to use {device}",
            hint="sudo usermod -aG video $USER, then log in again",
        )
    capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise SourceUnavailable(
            f"{device} cannot be opened",
            hint=f"is another program using it? fuser -v {device} shows which",
        )
    return capture


def _open_stream(uri: str) -> Any:
    options = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS,
    ]  # fmt: skip
    capture = cv2.VideoCapture(uri, cv2.CAP_FFMPEG, options)
    if not capture.isOpened():
        raise SourceUnavailable(
            f"no stream at {without_password(uri)}",
            hint="is the camera on, the address right, the password correct?",
        )
    return capture
