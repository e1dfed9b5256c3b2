"""A short clip with each event: from before it began until after it ended."""

import itertools
import threading
from collections import deque
from dataclasses import dataclass, field

from .avi import avi, usual_fps
from .errors import ConfigError
from .reasons import Step
from .records import Frame
from .ring import Ring, RingPicture, shrunk

LONGEST_S = 10.0
"""Of a clip; longer events show their first ten seconds. At 5 pictures a second of 40 KB: 2 MB."""
MOST_AROUND_S = 5.0
EARLIER_S = 1.0
"""So much earlier than it is told an event may have begun, besides ``switch_s``."""
STORED_S = 10.0
"""So long after it closed an event may be on its way to the disk, its pictures still held."""
FEWEST = 2
"""One picture is the snapshot."""


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """A short clip with each event of a camera: the ``[clips]`` table of a station's config.

    ``before_s`` and ``after_s``: how much it shows of what came before the event and after it,
    at most 5 each; both 0: no clips.
    """

    before_s: float = 2.0
    after_s: float = 2.0

    def __post_init__(self) -> None:
        for name in ("before_s", "after_s"):
            if not 0 <= getattr(self, name) <= MOST_AROUND_S:
                raise ConfigError(
                    f"clips: {name} must lie in 0 to {MOST_AROUND_S:g}, not {getattr(self, name)}",
                    hint=f"a clip is at most {LONGEST_S:g} s long; both 0 switches clips off",
                )

    @property
    def enabled(self) -> bool:
        """Whether there are clips at all."""
        return self.before_s > 0 or self.after_s > 0


@dataclass(frozen=True, slots=True)
class Clip:
    """The pictures around the event ``seq``, oldest first, at least ``FEWEST``, of one size."""

    seq: int
    pictures: tuple[RingPicture, ...] = field(repr=False)

    @property
    def held(self) -> int:
        """Bytes of its pictures in memory."""
        return sum(len(picture.jpeg) for picture in self.pictures)

    def as_avi(self) -> bytes:
        """The file: Motion JPEG, at most ``ring.WIDTH_PX`` wide, at the rate that most of the
        pictures came at.

        A camera's large JPEGs are made smaller only here, once for each event: 2.5 ms a picture of
        720p, and a quarter of the bytes that wear the card.
        """
        smaller = [small for picture in self.pictures if (small := shrunk(picture)) is not None]
        shown = smaller if len(smaller) >= FEWEST else self.pictures
        return avi(
            [picture.jpeg for picture in shown],
            width=shown[0].width,
            height=shown[0].height,
            fps=usual_fps(picture.elapsed_s for picture in shown),
        )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A stored event whose clip waits for its last picture."""

    seq: int
    from_s: float
    to_s: float


class ClipMaker:
    """Keeps a ring of pictures and gives out each event's clip once its last one is there.

    May be called from several threads. Memory is the ring's: all clips share its pictures.

    Args:
        settings: see there.
        switch_s: of the ``Rules``: an event may have begun so long before it opens.
        ring: for tests.
    """

    def __init__(
        self, settings: ClipSettings, *, switch_s: float = 0.8, ring: Ring | None = None
    ) -> None:
        self._settings = settings
        self._earlier_s = settings.before_s + switch_s + EARLIER_S
        self.ring = ring or Ring(self._earlier_s)
        self._lock = threading.RLock()
        self._keys = itertools.count()
        self._open: dict[str, int] = {}
        self._closed: deque[tuple[int, float]] = deque()
        self._wanted: list[_Wanted] = []
        self.missed = 0
        """Events whose pictures were gone, or never there."""

    def add(self, frame: Frame) -> None:
        """The next Frame, once, however many regions it has; returns at once."""
        self.ring.add(frame)

    def step(self, step: Step) -> None:
        """Hold the pictures of an event from the moment it opens: it is stored when it closes."""
        now_s = step.frame.elapsed_s
        with self._lock:
            if step.closed and (key := self._open.pop(step.region, None)) is not None:
                if step.event is None:
                    self.ring.release(key)
                else:
                    self._closed.append((key, now_s + STORED_S))
            if step.opened:
                key = self._open[step.region] = next(self._keys)
                self.ring.hold(key, now_s - self._earlier_s, now_s + LONGEST_S)

    def stored(self, seq: int, started_s: float, ended_s: float) -> None:
        """The event ``seq`` is in the store; its times are those of the source."""
        from_s = started_s - self._settings.before_s
        to_s = min(ended_s + self._settings.after_s, from_s + LONGEST_S)
        with self._lock:
            self._wanted.append(_Wanted(seq, from_s, to_s))

    def due(self) -> list[Clip]:
        """The clips that are complete; to be asked after each Frame."""
        with self._lock:
            while self._closed and self.ring.seen_s > self._closed[0][1]:
                self.ring.release(self._closed.popleft()[0])
            # Where the source began again, an event lies in what is the future now.
            ready = [
                one
                for one in self._wanted
                if self.ring.settled(one.to_s) or self.ring.seen_s < one.from_s
            ]
            return self._made(ready)

    def finish(self) -> list[Clip]:
        """All clips, as far as there are pictures: the source ended, or the camera fails."""
        self.ring.drain()
        with self._lock:
            return self._made(list(self._wanted))

    def close(self) -> None:
        """Let all pictures go."""
        self.ring.close()

    def _made(self, ready: list[_Wanted]) -> list[Clip]:
        clips = []
        for one in ready:
            self._wanted.remove(one)
            found = self.ring.pictures(one.from_s, one.to_s)
            # A camera that came back with another size: players know one for all.
            shown = tuple(p for p in found if _size(p) == _size(found[0]))
            if len(shown) < FEWEST:
                self.missed += 1
            else:
                clips.append(Clip(one.seq, shown))
        return clips


def _size(picture: RingPicture) -> tuple[int, int]:
    return picture.width, picture.height
