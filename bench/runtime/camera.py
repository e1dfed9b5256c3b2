"""A simulated USB camera: JPEG frames through the queue of buffers that a V4L2 driver keeps.

No thread and no second process makes the frames: what the driver has done by now follows from the
clock, so it is worked out when somebody asks, which costs a few microseconds and is exact. Shared
by our loop and its peers, which have nothing of ours in their environment.
"""

import json
import mmap
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BUFFERS = 4
"""What OpenCV asks a driver for (DEFAULT_V4L_BUFFERS in modules/videoio/src/cap_v4l.cpp)."""


class Clip:
    """Encoded frames in one file, with the places where each begins and ends in ``.json``."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._map = mmap.mmap(self._file, 0, prot=mmap.PROT_READ)
        self.ends: list[int] = json.loads(path.with_suffix(".json").read_text())

    def __len__(self) -> int:
        return len(self.ends)

    def _span(self, index: int) -> tuple[int, int]:
        place = index % len(self.ends)
        return (self.ends[place - 1] if place else 0), self.ends[place]

    def view(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index`` where it lies, (bytes,) uint8, without copying."""
        begin, end = self._span(index)
        return np.frombuffer(self._map, np.uint8, end - begin, begin)

    def copy(self, index: int) -> bytes:
        """Frame ``index``, copied by the kernel."""
        begin, end = self._span(index)
        return os.pread(self._file, end - begin, begin)


def write_clip(path: Path, frames: list[bytes]) -> None:
    """Write what ``Clip`` reads; the index last, so that a half-written clip is none."""
    path.write_bytes(b"".join(frames))
    ends = np.cumsum([len(frame) for frame in frames]).tolist()
    path.with_suffix(".json").write_text(json.dumps(ends))


class Driver:
    """Fills free buffers at ``fps`` and hands the oldest filled one out; without one it drops.

    The stream starts with the first ``dequeue``. ``limit`` frames are given, 0 for endless.
    """

    def __init__(self, fps: float, limit: int = 0) -> None:
        self.dropped = 0
        self._period_ns = round(1e9 / fps)
        self._limit = limit
        self._started_ns = 0
        self._next = 0
        self._filled: deque[int] = deque()
        self._held = 0

    def dequeue(self) -> tuple[int, int] | None:
        """Wait for a filled buffer: frame index and capture time in ns; None after the last."""
        if not self._started_ns:
            self._started_ns = time.monotonic_ns()
        self._advance()
        while not self._filled:
            if self._limit and self._next >= self._limit:
                return None
            time.sleep(max(0, self._captured_ns(self._next) - time.monotonic_ns()) / 1e9)
            self._advance()
        self._held = 1
        index = self._filled.popleft()
        return index, self._captured_ns(index)

    def requeue(self) -> None:
        """Give the buffer in hand back to the driver."""
        self._advance()
        self._held = 0

    def _captured_ns(self, index: int) -> int:
        return self._started_ns + (index + 1) * self._period_ns

    def _advance(self) -> None:
        """Let everything happen that the camera has done up to now."""
        now_ns = time.monotonic_ns()
        while self._captured_ns(self._next) <= now_ns:
            if self._limit and self._next >= self._limit:
                return
            if len(self._filled) + self._held < BUFFERS:
                self._filled.append(self._next)
            else:
                self.dropped += 1
            self._next += 1


class VideoCapture:
    """What ``cv2.VideoCapture`` does with an MJPEG camera, as far as the peers' loops use it.

    It decodes straight from the driver's buffer and gives that back after decoding (retrieveFrame
    in cap_v4l.cpp). OpenCV then copies the picture once more, which is left out here.
    """

    def __init__(self, clip: Clip, fps: float) -> None:
        self.captured_ns = 0
        self._clip = clip
        self._driver = Driver(fps)

    def read(self) -> tuple[bool, Any]:
        """Whether there is a picture, and it: (height, width, 3) uint8, B,G,R."""
        taken = self._driver.dequeue()
        if taken is None:
            return False, None
        index, self.captured_ns = taken
        picture = cv2.imdecode(self._clip.view(index), cv2.IMREAD_COLOR)
        self._driver.requeue()
        return True, picture
