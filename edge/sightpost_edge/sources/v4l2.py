"""USB and other V4L2 cameras through OpenCV; their JPEGs stay undecoded where the driver allows."""

import logging
import os
import time
from pathlib import Path
from typing import Any

import cv2

from ..errors import SourceUnavailable
from ..image import Image, RawImage, YuvImage
from ..masking import without_password
from ..records import Pixels
from . import local_path, say_unused
from .camera import READ_SHARE, Shot
from .health import Report, log_health
from .jpeg import JpegReader
from .live import LiveSource
from .settings import DEFAULTS, CameraSettings

log = logging.getLogger("sightpost")

SELECT_TIMEOUT = "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"
"""OpenCV's own time-out is 10 s, and CAP_PROP_READ_TIMEOUT_MSEC does nothing for V4L2."""
CLOCK_TOLERANCE_NS = 2_000_000_000


def device_source(
    uri: str, *, camera: CameraSettings = DEFAULTS, report: Report = log_health
) -> LiveSource:
    """``0``, ``/dev/video0`` or ``v4l2:///dev/video0``."""
    device = f"/dev/video{uri}" if uri.isdigit() else str(local_path(uri))
    if device.isdigit():
        device = f"/dev/video{device}"
    say_unused(uri, camera, used={"width", "height", "fps"})
    return LiveSource(uri, lambda: V4l2Camera(device, camera), camera=camera, report=report)


class V4l2Camera:
    """One device: JPEG or YUYV as it came where that is granted, else B,G,R from OpenCV."""

    def __init__(self, device: str, settings: CameraSettings = DEFAULTS) -> None:
        # Read by OpenCV, in whole seconds, when it first waits for a picture.
        asked_s = max(1, int(settings.stall_s * READ_SHARE))
        self._timeout_s = _select_timeout_s(asked_s)
        self._capture = _open_device(device)
        _ask(self._capture, device, settings)
        self._format = _undecoded(self._capture)
        self._jpegs = JpegReader()
        self._kernel_time: bool | None = None

    def read(self) -> Shot | None:
        """The next picture; None when the device is gone, which OpenCV says at once.

        A device that is there and silent gives the same False, after OpenCV's whole time-out.
        """
        began_s = time.monotonic()
        ok, data = self._capture.read()
        if not ok or not data.size:
            took_s = time.monotonic() - began_s
            if took_s >= 0.9 * self._timeout_s:
                raise TimeoutError(f"no picture within {took_s:.1f} s")
            return None
        return Shot(self._image(data), self._stamp_ns())

    def close(self) -> None:
        """Release the device."""
        self._capture.release()

    def _image(self, data: Pixels) -> Image:
        """``data`` is (1, bytes) for a JPEG, (h, w, 2) for YUYV, else (h, w, 3) B,G,R."""
        if self._format == "MJPG" and data.ndim == 2:
            return self._jpegs.image(data.tobytes())
        if self._format == "YUYV" and data.ndim == 3 and data.shape[2] == 2:
            return YuvImage(data, "YUYV", data.shape[1])
        return RawImage(data, "bgr")

    def _stamp_ns(self) -> int:
        """The kernel's time of the picture where its clock is ours, as with UVC, else now."""
        now_ns = time.monotonic_ns()
        stamp_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        if self._kernel_time is None:
            self._kernel_time = 0 <= now_ns - stamp_ns < CLOCK_TOLERANCE_NS
        return stamp_ns if self._kernel_time else now_ns


def _select_timeout_s(asked_s: int) -> float:
    """OpenCV's time-out: the owner's or the first camera's, for it is read once in a process."""
    try:
        return float(os.environ.setdefault(SELECT_TIMEOUT, str(asked_s)))
    except ValueError:
        os.environ[SELECT_TIMEOUT] = str(asked_s)
        return asked_s


def _ask(capture: Any, device: str, settings: CameraSettings) -> None:
    """Ask for JPEG and the settings; the format first, because sizes and rates depend on it."""
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    for name, key in (
        ("width", cv2.CAP_PROP_FRAME_WIDTH),
        ("height", cv2.CAP_PROP_FRAME_HEIGHT),
        ("fps", cv2.CAP_PROP_FPS),
    ):
        if asked := getattr(settings, name):
            capture.set(key, asked)
    for name, key in (
        ("width", cv2.CAP_PROP_FRAME_WIDTH),
        ("height", cv2.CAP_PROP_FRAME_HEIGHT),
        ("fps", cv2.CAP_PROP_FPS),
    ):
        asked, granted = getattr(settings, name), capture.get(key)
        if asked and abs(granted - asked) > 0.5:
            log.warning("%s: %s is %g, not %g as asked", device, name, granted, asked)


def _undecoded(capture: Any) -> str:
    """The granted format, with OpenCV's conversion off where we convert later ourselves."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    granted = "".join(chr(code >> shift & 0xFF) for shift in (0, 8, 16, 24))
    capture.set(cv2.CAP_PROP_CONVERT_RGB, 0 if granted in ("MJPG", "YUYV") else 1)
    return granted


def _open_device(device: str) -> Any:
    if not os.path.exists(device):
        found = sorted(str(p) for p in Path("/dev").glob("video[0-9]*"))
        raise SourceUnavailable(
            f"no camera at {without_password(device)}",
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
