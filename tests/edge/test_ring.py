"""The ring of the last seconds: JPEGs as they came, everything else encoded aside, bounded."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_edge import ring as ring_module
from sightpost_edge.image import Image, JpegImage, RawImage, YuvImage
from sightpost_edge.records import Frame
from sightpost_edge.ring import WAITING, WIDTH_PX, Ring, RingPicture, encoded
from sightpost_edge.sources.picamera_formats import TwinImage
from sightpost_edge.testing import EPOCH, colour


def jpeg(size: int = 0, *, width: int = 64, height: int = 48) -> bytes:
    """A real JPEG, filled up behind its end to so many bytes."""
    made = cv2.imencode(".jpg", colour("red", width=width, height=height))[1].tobytes()
    return made + bytes(max(0, size - len(made)))


def shot(at_s: float, image: Image, *, name: str = "") -> Frame:
    return Frame(0, at_s, EPOCH + timedelta(seconds=at_s), round(at_s * 1e9), image, name)


def jpeg_at(at_s: float, size: int = 0) -> Frame:
    return shot(at_s, JpegImage(jpeg(size), (64, 48)))


def raw_at(at_s: float) -> Frame:
    return shot(at_s, RawImage(colour("green"), "rgb"))


def times(ring: Ring) -> list[float]:
    return [round(picture.elapsed_s, 3) for picture in ring.pictures(-1e9, 1e9)]


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring(2.0)
    yield made
    made.close()


class Gate:
    """Stands in for the encoder: each picture waits until it is let through."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, elapsed_s: float, image: Image) -> RingPicture:
        self.begun.release()
        assert self.go.acquire(timeout=5)
        return RingPicture(elapsed_s, b"jpeg", image.width, image.height)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate()
    monkeypatch.setattr(ring_module, "encoded", made)
    return made


def test_a_cameras_jpeg_is_kept_as_it_came(ring: Ring) -> None:
    """The same bytes object: nothing is decoded, encoded or copied."""
    frame = jpeg_at(1.0)
    ring.add(frame)
    (kept,) = ring.pictures(0, 2)
    assert isinstance(frame.image, JpegImage)
    assert kept.jpeg is frame.image.encoded
    assert (kept.elapsed_s, kept.width, kept.height) == (1.0, 64, 48)


@pytest.mark.parametrize("jitter_s", [0.0, 0.008])
def test_five_pictures_a_second_are_kept_of_thirty(ring: Ring, jitter_s: float) -> None:
    """Over two seconds eleven, evenly, also where the camera's times jitter."""
    rng = np.random.default_rng(1)
    for index in range(61):
        ring.add(jpeg_at(index / 30 + rng.uniform(-jitter_s, jitter_s)))
    kept = times(ring)
    assert len(kept) in ((11,) if jitter_s == 0 else (10, 11))
    assert np.median(np.diff(kept)) == pytest.approx(0.2, abs=0.02)


def test_a_slow_cameras_pictures_are_all_kept(ring: Ring) -> None:
    for second in range(3):
        ring.add(jpeg_at(second * 0.9))
    assert times(ring) == [0.0, 0.9, 1.8]


def test_the_same_frame_counts_once_and_late_ones_not(ring: Ring) -> None:
    """Regions do not multiply a frame; what comes late would put the order wrong."""
    for at_s in (0.0, 0.0, 1.0, 0.5, 2.0):
        ring.add(jpeg_at(at_s))
    assert times(ring) == [0.0, 1.0, 2.0]


def test_photos_of_a_folder_are_left_out(ring: Ring) -> None:
    ring.add(shot(0.0, JpegImage(jpeg(), (64, 48)), name="a.jpg"))
    assert times(ring) == []


def test_what_is_old_goes_unless_it_is_held(ring: Ring) -> None:
    """Of ten seconds the last two remain, and the one that somebody holds."""
    ring.hold(7, 3.0, 4.0)
    for second in range(11):
        ring.add(jpeg_at(float(second)))
    assert times(ring) == [3.0, 4.0, 8.0, 9.0, 10.0]
    ring.release(7)
    ring.add(jpeg_at(11.0))
    assert times(ring) == [9.0, 10.0, 11.0]


def test_bytes_are_bounded_even_for_what_is_held() -> None:
    """Ten pictures of 4 kB into 18,000 bytes: the newest four, and six counted."""
    ring = Ring(60.0, most_bytes=18_000)
    ring.hold(1, 0.0, 60.0)
    for second in range(10):
        ring.add(jpeg_at(float(second), 4000))
        assert ring.bytes_held <= 18_000
    assert times(ring) == [6.0, 7.0, 8.0, 9.0]
    assert ring.dropped == 6


def test_a_source_that_begins_again_begins_a_new_ring(ring: Ring) -> None:
    for at_s in (10.0, 11.0, 0.0, 1.0):
        ring.add(jpeg_at(at_s))
    assert times(ring) == [0.0, 1.0]


def yuv(width: int, height: int) -> YuvImage:
    picture = colour("blue", width=width, height=height)
    return YuvImage(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), "I420", width)


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (RawImage(colour("blue", width=1280, height=720), "rgb"), (640, 360)),
        (RawImage(colour("blue", width=800, height=600)[..., ::-1], "bgr"), (640, 480)),
        (RawImage(colour("blue", width=320, height=240), "rgb"), (320, 240)),
        (yuv(1280, 720), (640, 360)),
        (TwinImage(yuv(1280, 720), yuv(640, 360)), (640, 360)),
    ],
)  # fmt: skip
def test_other_pictures_are_scaled_and_encoded(image: Image, size: tuple[int, int]) -> None:
    """At most 640 wide, in their own proportions and in the right colours."""
    made = encoded(1.0, image)
    picture = cv2.imdecode(np.frombuffer(made.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert (made.width, made.height) == size == picture.shape[1::-1]
    assert made.width <= WIDTH_PX
    # Blue is (20, 30, 220) in R,G,B.
    np.testing.assert_allclose(picture.mean((0, 1)), (220, 30, 20), atol=8)


def test_the_pixels_of_a_raw_picture_are_let_go(ring: Ring) -> None:
    """What stays in RAM is the JPEG: a hundred 720p frames would be 276 MB."""
    frame = raw_at(0.0)
    ring.add(frame)
    ring.drain()
    (kept,) = ring.pictures(0, 1)
    assert kept.jpeg[:2] == b"\xff\xd8"
    assert ring.bytes_held == len(kept.jpeg) < 5000


def test_adding_never_waits_and_the_newest_win(ring: Ring, gate: Gate) -> None:
    """The encoder hangs in the first picture: of ten more the newest three wait, seven are
    counted."""
    ring.add(raw_at(0.0))
    assert gate.begun.acquire(timeout=5)
    for index in range(1, 11):
        ring.add(raw_at(index * 0.2))
    assert ring.dropped == 10 - WAITING
    assert not ring.settled(0.0)
    for _ in range(1 + WAITING):
        gate.go.release()
    ring.drain(5)
    assert times(ring) == [0.0, 1.6, 1.8, 2.0]


def test_pictures_are_settled_when_they_are_encoded(ring: Ring, gate: Gate) -> None:
    """A time is settled when no picture up to it can come any more."""
    ring.add(raw_at(1.0))
    assert gate.begun.acquire(timeout=5)
    assert not ring.settled(1.0)
    assert ring.settled(0.9)
    gate.go.release()
    ring.drain(5)
    assert ring.settled(1.0)
    assert not ring.settled(1.1)


def test_a_picture_of_before_does_not_come_after_the_beginning(ring: Ring, gate: Gate) -> None:
    """It was being encoded when the source began again."""
    ring.add(raw_at(50.0))
    assert gate.begun.acquire(timeout=5)
    ring.add(jpeg_at(0.0))
    gate.go.release()
    ring.drain(5)
    assert times(ring) == [0.0]


def test_an_unreadable_picture_is_counted_and_the_next_one_kept(
    ring: Ring, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(RawImage):
        def decode(self, reduction: int = 1) -> Any:
            return np.zeros((0, 0, 3), np.uint8)

    ring.add(shot(0.0, Broken(colour("red"), "bgr")))
    ring.drain()
    ring.add(raw_at(1.0))
    ring.drain()
    assert times(ring) == [1.0]
    assert ring.dropped == 1
    assert "left out of the clips" in caplog.text


def test_a_closed_ring_takes_nothing_more(ring: Ring) -> None:
    """Frames that are still on their way when a run ends must not start anything."""
    ring.add(raw_at(0.0))
    ring.close()
    ring.add(raw_at(1.0))
    assert times(ring) == []
    assert not [t for t in threading.enumerate() if t.name == "ring"]


def test_the_thread_ends_before_the_interpreter_does() -> None:
    """Nobody closed the ring: a thread that is stopped within OpenCV aborts the process."""
    program = """
import atexit, threading
from sightpost_edge.ring import Ring
from sightpost_edge.testing import colour, frame
alive = lambda: any(thread.name == "ring" for thread in threading.enumerate())
atexit.register(lambda: print("at the end", alive()))
ring = Ring(2.0)
ring.add(frame(colour("red")))
print("before", alive())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["before True", "at the end False"]
