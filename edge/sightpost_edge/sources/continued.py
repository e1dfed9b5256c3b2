"""A source that outlives who looks at it: another model takes over, the camera stays open."""

import time
from collections.abc import Iterator
from typing import Any

from ..records import Frame
from . import Source


class Continued:
    """Iterating a second time goes on where the first was left; only one at a time.

    ``pictures`` counts the Frames that came, the last one at ``came_s`` (monotonic).
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._frames: Iterator[Frame] | None = None
        self.uri, self.live = source.uri, source.live
        self.pictures, self.came_s = 0, time.monotonic()

    @property
    def dropped(self) -> int:
        """The source's own count."""
        return self._source.dropped

    def __iter__(self) -> "Continued":
        return self

    def __next__(self) -> Frame:
        if self._frames is None:
            self._frames = iter(self._source)
        frame = next(self._frames)
        self.pictures, self.came_s = self.pictures + 1, time.monotonic()
        return frame

    def close(self) -> None:
        """End the iteration, for good."""
        self._source.close()

    def __getattr__(self, name: str) -> Any:
        """``rest``, ``wake``, ``distrust``: where the source has them."""
        return getattr(self._source, name)
