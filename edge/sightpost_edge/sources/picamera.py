"""The Raspberry Pi camera through picamera2.

Written against picamera2 0.3.38. Its format names are those of little-endian words: an array of
"RGB888" holds B,G,R and one of "BGR888" holds R,G,B. What was *granted* is what counts.
"""

import time
from typing import Any

import cv2
import numpy as np

from ..errors import ConfigError, MissingExtra, SourceUnavailable
from ..image import RawImage
from ..records import ChannelOrder, Pixels
from .live import LiveSource, Shot

SIZE = (640, 480)
READ_TIMEOUT_S = 5.0
_APT_PACKAGES = {"picamera2": "python3-picamera2", "libcamera": "python3-libcamera",
                 "pykms": "python3-kms++"}  # fmt: skip


def picamera_source(uri: str) -> LiveSource:
    """``picamera://0``: the first camera of ``rpicam-hello --list-cameras``."""
    number = uri.split("://", 1)[1] or "0"
    if not number.isdigit():
        raise ConfigError(f"{uri}: not a camera number", hint="the first camera is picamera://0")
    return LiveSource(uri, lambda: PiCamera(int(number)))


class PiCamera:
    """One camera, video stream only: without ``raw=None`` a raw stream eats contiguous memory."""

    def __init__(self, number: int) -> None:
        camera_class = _picamera2()
        cameras = camera_class.global_camera_info()
        if number >= len(cameras):
            raise SourceUnavailable(
                f"no Raspberry Pi camera {number} ({len(cameras)} found)",
                hint="rpicam-hello --list-cameras shows what the system sees; check the ribbon",
            )
        self._camera: Any = None
        try:
            self._camera = camera_class(camera_num=number)
            self._format = self._start()
        except (RuntimeError, OSError) as exc:
            if self._camera is not None:
                self._camera.close()
            raise SourceUnavailable(
                f"camera {number} cannot be opened ({exc})",
                hint="another program holds it: sudo fuser -v /dev/video* /dev/media*",
            ) from exc

    def _start(self) -> str:
        self._camera.configure(
            self._camera.create_video_configuration(
                main={"format": "RGB888", "size": SIZE}, raw=None, buffer_count=4
            )
        )
        self._camera.start()
        return str(self._camera.camera_configuration()["main"]["format"])

    def read(self) -> Shot | None:
        """The next picture, or None after a time-out."""
        try:
            request = self._camera.capture_request(wait=READ_TIMEOUT_S)
        except TimeoutError:
            # The job stays queued, and stop() would wait for it for ever.
            self._camera.cancel_all_and_flush()
            return None
        try:
            array = request.make_array("main")
            sensor_ns = request.get_metadata().get("SensorTimestamp")
        finally:
            request.release()
        pixels, order = to_rgb_or_bgr(array, self._format, width=SIZE[0])
        return Shot(RawImage(pixels, order), int(sensor_ns or time.monotonic_ns()))

    def close(self) -> None:
        """Stop and release the camera."""
        self._camera.cancel_all_and_flush()
        self._camera.close()


def to_rgb_or_bgr(array: Any, granted: str, *, width: int) -> tuple[Pixels, ChannelOrder]:
    """A picamera2 array in its granted format as (h, w, 3) uint8 and its channel order.

    YUV420 arrays are (h * 3 / 2, stride), padded on the right; NV12 are (h * 3 / 2, width).
    """
    if granted == "RGB888":
        return array, "bgr"
    if granted == "BGR888":
        return array, "rgb"
    if granted in ("XRGB8888", "XBGR8888"):
        return np.ascontiguousarray(array[..., :3]), "bgr" if granted[1] == "R" else "rgb"
    if granted == "YUV420":
        return cv2.cvtColor(array, cv2.COLOR_YUV2BGR_I420)[:, :width], "bgr"
    if granted == "NV12":
        return cv2.cvtColor(array, cv2.COLOR_YUV2BGR_NV12)[:, :width], "bgr"
    raise SourceUnavailable(f"the camera gives {granted}, which this program does not convert")


def _picamera2() -> Any:
    try:
        from picamera2 import Picamera2
    except ModuleNotFoundError as exc:
        package = _APT_PACKAGES.get(exc.name or "", "python3-picamera2")
        raise MissingExtra(
            f"{exc.name} is not visible to this Python",
            hint=f"sudo apt install {package}, and make the venv with --system-site-packages",
        ) from exc
    return Picamera2
