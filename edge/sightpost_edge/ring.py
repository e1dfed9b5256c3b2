"""What the camera saw in the last seconds, as JPEGs in RAM: clips are made from it."""

import atexit
import contextlib
import logging
import math
import os
import threading
from collections import deque
from dataclasses import dataclass, field

import cv2

from .errors import PhotoUnreadable, first_line
from .image import Image, JpegImage
from .records import Frame

log = logging.getLogger("sightpost")

FPS = 5.0
MOST_BYTES = 16 * 1024 * 1024
"""Half a minute of 720p JPEGs at ``FPS``, and 3 % of the memory of the smallest board."""
WIDTH_PX = 640
QUALITY = 80
WAITING = 3
"""Pictures that may wait for the encoder: 4 MB of 720p, and more would only come later."""
NICENESS = 10
EARLY = 0.1
"""Share of the interval by which a picture may come early: jitter would make it the next one."""
AGAIN_S = 1.0
"""Times that jump back by more begin anew; what is late by less is left out."""


@dataclass(frozen=True, slots=True)
class RingPicture:
    """One picture, encoded, and when it was taken in seconds of the source."""

    elapsed_s: float
    jpeg: bytes = field(repr=False)
    width: int
    height: int


class Ring:
    """Keeps about ``FPS`` pictures a second of the last ``keep_s``, longer those somebody holds.

    A camera's own JPEGs are kept as they came, which costs nothing. Other pictures are scaled to
    at most ``WIDTH_PX`` and encoded by a thread that gives way to all others, so that no decision
    waits for it; where it does not keep up, the newest win.

    Args:
        keep_s: so far back it reaches.
        fps: pictures a second, fewer where the camera gives fewer.
        most_bytes: beyond it the oldest pictures go first, held or not.
    """

    def __init__(self, keep_s: float, *, fps: float = FPS, most_bytes: int = MOST_BYTES) -> None:
        self._keep_s, self._period_s, self._most_bytes = keep_s, 1 / fps, most_bytes
        self._changed = threading.Condition()
        self._pictures: list[RingPicture] = []
        self._held: dict[int, tuple[float, float]] = {}
        self._bytes = 0
        self._seen_s = self._due_s = -math.inf
        self._waiting: deque[tuple[float, Image]] = deque()
        self._encoding_s = math.inf
        self._thread: threading.Thread | None = None
        self._closed = False
        self.dropped = 0
        """Pictures that were lost: too many at once, too many bytes, or unreadable."""

    @property
    def seen_s(self) -> float:
        """The newest time of the source that it knows of."""
        return self._seen_s

    @property
    def bytes_held(self) -> int:
        """What all pictures weigh."""
        return self._bytes

    def add(self, frame: Frame) -> None:
        """Keep this Frame's picture, if it is time for one; returns at once.

        Photos of a folder are left out: one has nothing to do with the next.
        """
        if frame.name:
            return
        with self._changed:
            if self._is_due(frame.elapsed_s):
                if isinstance(frame.image, JpegImage):
                    image = frame.image
                    self._keep(
                        RingPicture(frame.elapsed_s, image.encoded, image.width, image.height)
                    )
                else:
                    self._queue(frame.elapsed_s, frame.image)

    def pictures(self, from_s: float, to_s: float) -> list[RingPicture]:
        """Those between two times, both included, oldest first; nothing is copied."""
        with self._changed:
            return [p for p in self._pictures if from_s <= p.elapsed_s <= to_s]

    def hold(self, key: int, from_s: float, to_s: float) -> None:
        """Keep what lies between two times until ``release``, or until bytes run out."""
        with self._changed:
            self._held[key] = (from_s, to_s)

    def release(self, key: int) -> None:
        """These pictures may go."""
        with self._changed:
            self._held.pop(key, None)

    def settled(self, to_s: float) -> bool:
        """Whether ``pictures`` up to ``to_s`` are all there will be."""
        with self._changed:
            first_s = self._waiting[0][0] if self._waiting else math.inf
            return self._seen_s >= to_s and min(first_s, self._encoding_s) > to_s

    def drain(self, timeout_s: float = 1.0) -> None:
        """Wait until every picture is encoded, or long enough."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._waiting and self._encoding_s == math.inf, timeout_s
            )

    def close(self) -> None:
        """Let the thread end, and everything go."""
        with self._changed:
            self._closed = True
            self._begin_again()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=1.0)
            atexit.unregister(self.close)

    def _is_due(self, now_s: float) -> bool:
        """Evenly, for a film has one rate: every third of a camera's, not the 2nd, 5th and 7th."""
        if now_s < self._seen_s - AGAIN_S:
            self._begin_again()
        if self._closed or now_s <= self._seen_s:
            return False
        self._seen_s = now_s
        if now_s < self._due_s:
            return False
        self._due_s = now_s + self._period_s * (1 - EARLY)
        return True

    def _begin_again(self) -> None:
        self._seen_s = self._due_s = -math.inf
        self._pictures, self._bytes = [], 0
        self._held.clear()
        self._waiting.clear()

    def _keep(self, picture: RingPicture) -> None:
        self._pictures.append(picture)
        self._bytes += len(picture.jpeg)
        old_s = picture.elapsed_s - self._keep_s
        windows = list(self._held.values())
        kept = [
            p
            for p in self._pictures
            if p.elapsed_s >= old_s or any(a <= p.elapsed_s <= b for a, b in windows)
        ]
        self._bytes = sum(len(p.jpeg) for p in kept)
        first = 0
        while self._bytes > self._most_bytes:
            self._bytes -= len(kept[first].jpeg)
            first += 1
        self.dropped += first
        self._pictures = kept[first:]

    # The encoder

    def _queue(self, elapsed_s: float, image: Image) -> None:
        if self._thread is None:
            # Ended by the interpreter's own end, a thread within OpenCV aborts the process.
            atexit.register(self.close)
            self._thread = threading.Thread(target=self._work, name="ring", daemon=True)
            self._thread.start()
        if len(self._waiting) >= WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append((elapsed_s, image))
        self._changed.notify_all()

    def _work(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # on Linux each thread has its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                elapsed_s, image = self._waiting.popleft()
                self._encoding_s = elapsed_s
            picture = _picture(elapsed_s, image)
            del image
            with self._changed:
                self._encoding_s = math.inf
                if picture is None:
                    self.dropped += 1
                elif elapsed_s <= self._seen_s:  # else time went back meanwhile
                    self._keep(picture)
                self._changed.notify_all()


def _picture(elapsed_s: float, image: Image) -> RingPicture | None:
    try:
        return encoded(elapsed_s, image)
    except (PhotoUnreadable, cv2.error, MemoryError) as exc:
        log.warning("a picture was left out of the clips: %s", first_line(exc))
        return None


def shrunk(picture: RingPicture) -> RingPicture | None:
    """At most ``WIDTH_PX`` wide, itself where it is; None where it cannot be decoded."""
    if picture.width <= WIDTH_PX:
        return picture
    size = picture.width, picture.height
    return _picture(picture.elapsed_s, JpegImage(picture.jpeg, size))


def encoded(elapsed_s: float, image: Image) -> RingPicture:
    """Any image, at most ``WIDTH_PX`` wide, as a JPEG."""
    reduction = max((n for n in image.reductions if image.width // n >= WIDTH_PX), default=1)
    pixels = image.decode(reduction)
    image.forget()
    height, width = pixels.shape[:2]
    if width > WIDTH_PX:
        height, width = max(1, round(height * WIDTH_PX / width)), WIDTH_PX
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    if image.order == "rgb":
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return RingPicture(elapsed_s, jpeg.tobytes(), width, height)
