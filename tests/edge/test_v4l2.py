"""V4L2 cameras against a fake of OpenCV's capture: what is granted, and in what form it comes."""

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_edge.image import JpegImage, RawImage, YuvImage
from sightpost_edge.sources import open_source, v4l2
from sightpost_edge.sources.settings import CameraSettings
from sightpost_edge.sources.v4l2 import V4l2Camera
from sightpost_edge.testing import colour

WIDTH, HEIGHT = 64, 48
RED = np.ascontiguousarray(colour("red")[..., ::-1])


def yuyv(bgr: np.ndarray) -> np.ndarray:
    """(h, w, 2) uint8: Y of each pixel, with U and V in turn."""
    yuv = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV)
    packed = np.empty((*bgr.shape[:2], 2), np.uint8)
    packed[..., 0] = yuv[..., 0]
    packed[:, 0::2, 1], packed[:, 1::2, 1] = yuv[:, 0::2, 1], yuv[:, 0::2, 2]
    return packed


class FakeCapture:
    """Grants ``fourcc``; a changed format or size resets nothing else, as in OpenCV 4.5 to 5.0."""

    fourcc = "MJPG"
    padding = 0
    sizes = (WIDTH, HEIGHT)
    present = True

    def __init__(self, device: str, backend: int) -> None:
        assert backend == cv2.CAP_V4L2
        self.asked: list[tuple[int, float]] = []
        self.values: dict[int, float] = {
            cv2.CAP_PROP_FRAME_WIDTH: self.sizes[0], cv2.CAP_PROP_FRAME_HEIGHT: self.sizes[1],
            cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_CONVERT_RGB: 1.0,
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*self.fourcc)),
        }  # fmt: skip
        self.released = False
        self.stamp_ms = lambda: time.monotonic() * 1000 - 20

    def isOpened(self) -> bool:
        return True

    def set(self, key: int, value: float) -> bool:
        self.asked.append((key, value))
        if key == cv2.CAP_PROP_CONVERT_RGB:
            self.values[key] = value
        return True

    def get(self, key: int) -> float:
        return self.stamp_ms() if key == cv2.CAP_PROP_POS_MSEC else self.values[key]

    def read(self) -> tuple[bool, Any]:
        if not self.present:
            return False, None
        if self.values[cv2.CAP_PROP_CONVERT_RGB]:
            return True, RED.copy()
        if self.fourcc == "MJPG":
            jpeg = bytes(cv2.imencode(".jpg", RED)[1]) + bytes(self.padding)
            return True, np.frombuffer(jpeg, np.uint8)[None]
        return True, yuyv(RED)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> type[FakeCapture]:
    fake = type("Capture", (FakeCapture,), {})
    monkeypatch.setattr(v4l2.cv2, "VideoCapture", fake)
    monkeypatch.setenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "5")
    return fake


@pytest.fixture
def device(tmp_path: Path) -> str:
    path = tmp_path / "video0"
    path.touch()
    return str(path)


@pytest.mark.parametrize(
    ("fourcc", "kind"),
    [("MJPG", JpegImage), ("YUYV", YuvImage), ("NV12", RawImage), ("GREY", RawImage)],
)
def test_pictures_stay_as_the_driver_gave_them_where_that_is_granted(
    capture: type[FakeCapture], device: str, fourcc: str, kind: type
) -> None:
    """JPEG and YUYV undecoded, everything else by OpenCV; red is red in each."""
    capture.fourcc = fourcc
    source = open_source(f"v4l2://{device}")
    frame = next(iter(source))
    source.close()
    assert type(frame.image) is kind
    assert (frame.image.width, frame.image.height) == (WIDTH, HEIGHT)
    assert frame.rgb()[..., 0].mean() > 180
    assert frame.rgb()[..., 2].mean() < 80
    grey = cv2.cvtColor(RED, cv2.COLOR_BGR2GRAY)
    assert frame.image.luma().shape == grey.shape
    assert frame.image.luma().mean() == pytest.approx(grey.mean(), abs=6)


def test_a_padded_jpeg_is_cut_to_its_end(capture: type[FakeCapture], device: str) -> None:
    """Drivers give whole pages; a snapshot should not keep them."""
    capture.padding = 4000
    shot = V4l2Camera(device).read()
    assert shot is not None
    assert isinstance(shot.image, JpegImage)
    assert shot.image.encoded.endswith(b"\xff\xd9")


def test_a_driver_that_converts_all_the_same_is_believed(
    capture: type[FakeCapture], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MJPG granted, conversion not to be switched off: the shape of what comes decides."""
    monkeypatch.setattr(capture, "set", lambda self, key, value: False)
    shot = V4l2Camera(device).read()
    assert shot is not None
    assert isinstance(shot.image, RawImage)


def test_what_was_not_granted_is_said(
    capture: type[FakeCapture], device: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The format is asked for first: sizes and rates depend on it."""
    camera = V4l2Camera(device, CameraSettings(width=1280, height=48, fps=60.0))
    assert "width is 64, not 1280" in caplog.text
    assert "fps is 30, not 60" in caplog.text
    assert "height" not in caplog.text
    keys = [key for key, _ in camera._capture.asked]
    assert keys == [
        cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS, cv2.CAP_PROP_CONVERT_RGB,
    ]  # fmt: skip


def test_the_kernel_says_when_a_picture_was_taken(capture: type[FakeCapture], device: str) -> None:
    """20 ms ago; where its clock is another one, the time of reading must do."""
    shot = V4l2Camera(device).read()
    assert shot is not None
    assert 0.02 <= time.monotonic() - shot.monotonic_ns / 1e9 < 1
    camera = V4l2Camera(device)
    camera._capture.stamp_ms = lambda: 5.0
    for _ in range(2):
        shot = camera.read()
        assert shot is not None
        assert 0 <= time.monotonic() - shot.monotonic_ns / 1e9 < 1


def test_a_stamp_that_stands_still_shows(capture: type[FakeCapture], device: str) -> None:
    """Once the kernel's clock is trusted, an old buffer has an old time: no second picture."""
    camera = V4l2Camera(device)
    moment_ms = time.monotonic() * 1000
    camera._capture.stamp_ms = lambda: moment_ms
    shots = [camera.read() for _ in range(2)]
    assert shots[0] is not None
    assert shots[1] is not None
    assert shots[0].monotonic_ns == shots[1].monotonic_ns


def test_an_unplugged_camera_gives_none(capture: type[FakeCapture], device: str) -> None:
    """``isOpened`` stays True then; an empty buffer is none either."""
    camera = V4l2Camera(device)
    camera._capture.present = False
    assert camera.read() is None
    camera.close()
    assert camera._capture.released


def test_a_silent_camera_is_a_time_out(
    capture: type[FakeCapture], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV gives the False of an unplugged one, but only after its whole time-out."""
    now_s = [100.0]
    camera = V4l2Camera(device)

    def after(seconds: float) -> tuple[bool, Any]:
        now_s[0] += seconds
        return False, None

    monkeypatch.setattr(v4l2.time, "monotonic", lambda: now_s[0])
    camera._capture.read = lambda: after(5.0)
    with pytest.raises(TimeoutError, match=r"no picture within 5\.0 s"):
        camera.read()
    camera._capture.read = lambda: after(0.1)
    assert camera.read() is None


@pytest.mark.parametrize(("known", "expected_s"), [("3", 3.0), ("soon", 5.0), (None, 5.0)])
def test_the_time_out_is_the_one_that_opencv_has(
    monkeypatch: pytest.MonkeyPatch,
    capture: type[FakeCapture],
    device: str,
    known: str | None,
    expected_s: float,
) -> None:
    """It reads the variable once in a process: the second camera has that of the first."""
    if known is None:
        monkeypatch.delenv(v4l2.SELECT_TIMEOUT)
    else:
        monkeypatch.setenv(v4l2.SELECT_TIMEOUT, known)
    for stall_s in (8.0, 16.0):
        assert V4l2Camera(device, CameraSettings(stall_s=stall_s))._timeout_s == expected_s


def test_a_read_of_a_stalled_camera_ends_before_the_next_opening(
    monkeypatch: pytest.MonkeyPatch, capture: type[FakeCapture], device: str
) -> None:
    """OpenCV's wait for the driver is shortened, unless somebody has set it."""
    import os

    monkeypatch.delenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT")
    V4l2Camera(device)
    assert float(os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"]) < CameraSettings().stall_s
