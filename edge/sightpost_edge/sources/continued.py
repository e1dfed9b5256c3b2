"""A source that outlives who looks at it: another model takes over, the camera stays open."""

import threading
import time
from collections.abc import Iterator
from typing import Any

from ..records import Frame
from . import Source


class Continued:
    """Iterating a second time goes on where the first was left.

    A thread that was left behind while it waits for a Frame gets that one; what ends the Frames is
    told to whoever asks. ``pictures`` counts the Frames that came, the last one at ``came_s``
    (monotonic).
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._frames: Iterator[Frame] | None = None
        self._turn = threading.Lock()
        self._error: Exception | None = None
        self.uri, self.live = source.uri, source.live
        self.pictures, self.came_s = 0, time.monotonic()

    @property
    def dropped(self) -> int:
        """The source's own count."""
        return self._source.dropped

    @property
    def opening(self) -> bool:
        """Whether no picture is due because its camera is being opened; see ``LiveSource``."""
        return bool(getattr(self._source, "opening", False))

    def __iter__(self) -> "Continued":
        return self

    def __next__(self) -> Frame:
        with self._turn:
            if self._error is not None:
                raise self._error  # an iterator that has raised would just be at its end
            if self._frames is None:
                self._frames = iter(self._source)
            try:
                frame = next(self._frames)
            except StopIteration:
                raise
            except Exception as exc:
                self._error = exc
                raise
            self.pictures, self.came_s = self.pictures + 1, time.monotonic()
            return frame

    def close(self) -> None:
        """End the iteration, for good."""
        self._source.close()

    def __getattr__(self, name: str) -> Any:
        """``rest``, ``wake``, ``distrust``, ``realtime``: where the source has them."""
        return getattr(self._source, name)
