"""The Raspberry Pi camera against a fake of picamera2's API, as of 0.3.38."""

import sys
import types
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_edge.errors import ConfigError, MissingExtra, SourceUnavailable
from sightpost_edge.sources import open_source
from sightpost_edge.sources.picamera import PiCamera, to_rgb_or_bgr
from sightpost_edge.testing import colour

WIDTH, HEIGHT = 640, 480


class FakeRequest:
    """One completed request; it must be released."""

    outstanding = 0

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        FakeRequest.outstanding += 1

    def make_array(self, name: str) -> np.ndarray:
        assert name == "main"
        return self._array

    def get_metadata(self) -> dict[str, int]:
        return {"SensorTimestamp": 123_000_000_000}

    def release(self) -> None:
        FakeRequest.outstanding -= 1


class FakePicamera2:
    """Grants ``granted``; after a time-out its stop hangs unless the queue was flushed."""

    cameras: list[dict[str, Any]] = [{"Model": "imx708", "Num": 0}]  # noqa: RUF012
    granted = "RGB888"
    busy = False
    silent = False
    frame: np.ndarray

    def __init__(self, camera_num: int = 0) -> None:
        if self.busy:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.job_queued = False
        self.started = False

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        return cls.cameras

    def create_video_configuration(self, **kw: Any) -> dict[str, Any]:
        assert kw["raw"] is None, "a raw stream eats contiguous memory"
        return kw

    def configure(self, config: dict[str, Any]) -> None:
        self.config = config

    def camera_configuration(self) -> dict[str, Any]:
        return {"main": {"format": self.granted, "size": (WIDTH, HEIGHT)}}

    def start(self) -> None:
        self.started = True

    def capture_request(self, wait: float | None = None) -> FakeRequest:
        assert wait, "without a number picamera2 waits for ever"
        if self.silent:
            self.job_queued = True
            raise TimeoutError
        return FakeRequest(self.frame)

    def cancel_all_and_flush(self) -> None:
        self.job_queued = False

    def close(self) -> None:
        assert not self.job_queued, "close() would hang for ever here"


@pytest.fixture
def picamera2(monkeypatch: pytest.MonkeyPatch) -> type[FakePicamera2]:
    module = types.ModuleType("picamera2")
    fake = type("Picamera2", (FakePicamera2,), {"frame": bgr("red")})
    module.Picamera2 = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    FakeRequest.outstanding = 0
    return fake


def bgr(name: str) -> np.ndarray:
    return np.ascontiguousarray(colour(name, width=WIDTH, height=HEIGHT)[..., ::-1])


def test_frames_come_with_the_sensors_time(picamera2: type[FakePicamera2]) -> None:
    """RGB888 is B,G,R in memory; the time is the sensor's; every request is released."""
    source = open_source("picamera://0")
    frame = next(iter(source))
    source.close()
    assert frame.monotonic_ns == 123_000_000_000
    assert frame.rgb()[..., 0].mean() > 180
    assert FakeRequest.outstanding == 0


def test_a_time_out_does_not_hang_the_close(picamera2: type[FakePicamera2]) -> None:
    """The queued job is flushed before anything else is asked of the camera."""
    picamera2.silent = True
    camera = PiCamera(0)
    assert camera.read() is None
    camera.close()


@pytest.mark.parametrize(
    ("granted", "array"),
    [
        ("RGB888", bgr("red")),
        ("BGR888", colour("red", width=WIDTH, height=HEIGHT)),
        ("XRGB8888", cv2.cvtColor(bgr("red"), cv2.COLOR_BGR2BGRA)),
        ("XBGR8888", cv2.cvtColor(bgr("red"), cv2.COLOR_BGR2RGBA)),
        (
            "YUV420",
            cv2.cvtColor(
                cv2.copyMakeBorder(bgr("red"), 0, 0, 0, 64, cv2.BORDER_REPLICATE),
                cv2.COLOR_BGR2YUV_I420,
            ),
        ),
    ],
)
def test_whatever_format_is_granted_arrives_red(granted: str, array: np.ndarray) -> None:
    """The names are those of little-endian words, and YUV rows are padded to a stride."""
    pixels, order = to_rgb_or_bgr(array, granted, width=WIDTH)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    red, blue = (0, 2) if order == "rgb" else (2, 0)
    assert pixels[..., red].mean() > 170
    assert pixels[..., blue].mean() < 90


def test_nv12_is_converted() -> None:
    """The only format libcamera's virtual camera grants: luma, then interleaved chroma."""
    planar = cv2.cvtColor(bgr("red"), cv2.COLOR_BGR2YUV_I420)
    u, v = planar[HEIGHT:].reshape(2, -1)
    nv12 = np.vstack([planar[:HEIGHT], np.dstack([u, v]).reshape(HEIGHT // 2, WIDTH)])
    pixels, order = to_rgb_or_bgr(nv12, "NV12", width=WIDTH)
    assert order == "bgr"
    assert pixels[..., 2].mean() > 170


def test_an_unknown_format_is_refused() -> None:
    """Guessing at bytes would give colours that are wrong in silence."""
    with pytest.raises(SourceUnavailable, match="MJPEG"):
        to_rgb_or_bgr(bgr("red"), "MJPEG", width=WIDTH)


def test_no_camera(picamera2: type[FakePicamera2]) -> None:
    """An unplugged ribbon: no IndexError, a hint instead."""
    picamera2.cameras = []
    with pytest.raises(SourceUnavailable, match="no Raspberry Pi camera 0") as caught:
        open_source("picamera://0")
    assert "ribbon" in caught.value.hint


def test_a_busy_camera(picamera2: type[FakePicamera2]) -> None:
    """Another program holds it; the hint finds out which."""
    picamera2.busy = True
    with pytest.raises(SourceUnavailable, match="cannot be opened") as caught:
        open_source("picamera://0")
    assert "fuser" in caught.value.hint


def test_a_name_is_not_a_number(picamera2: type[FakePicamera2]) -> None:
    """picamera://front is a mistake."""
    with pytest.raises(ConfigError, match="not a camera number"):
        open_source("picamera://front")


def test_without_picamera2_the_apt_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest trap: a virtual environment that cannot see apt's packages."""
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingExtra) as caught:
        open_source("picamera://0")
    assert "python3-picamera2" in caught.value.hint
    assert "--system-site-packages" in caught.value.hint
