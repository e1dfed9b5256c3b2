"""What waits to be written: rows as they will be, and the pictures that go before them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..clock import Reading, to_ms
from ..image import Image, JpegImage, as_jpeg
from ..records import Event, Frame, Health
from .traces import compact

RECORDING = "recording"
"""The clock quality of what was not seen just now: a file's times are what its camera said."""


class Later:
    """A file's content that is made once, when the writer needs it, and not before.

    ``make`` and what it holds on to, ``held`` bytes, are let go then.
    """

    def __init__(self, make: Callable[[], bytes], held: int = 0) -> None:
        self._make: Callable[[], bytes] | None = make
        self._encoded = b""
        self.held = held

    def encoded(self) -> bytes:
        """The bytes."""
        if self._make is not None:
            self._encoded, self._make = self._make(), None
            self.held = len(self._encoded)
        return self._encoded


class Picture(Later):
    """An image until it is a JPEG."""

    def __init__(self, image: Image) -> None:
        pixels = 3 * image.width * image.height
        held = len(image.encoded) if isinstance(image, JpegImage) else pixels
        super().__init__(lambda: as_jpeg(image), held)


@dataclass(slots=True)
class PendingEvent:
    """An Event that is not durable yet; ``row`` lacks its number and its picture's name."""

    row: dict[str, Any]
    trace: bytes = field(repr=False)
    picture: Picture | None = None

    @property
    def size(self) -> int:
        """Of its picture's file, in bytes."""
        return 0 if self.picture is None else len(self.picture.encoded())

    @property
    def held(self) -> int:
        """What its picture takes of the memory now."""
        return 0 if self.picture is None else self.picture.held


@dataclass(frozen=True, slots=True)
class PendingHealth:
    """What happened to the camera."""

    row: dict[str, Any]
    size: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class PendingClip:
    """The frames around the event ``seq``, as an AVI file."""

    seq: int
    film: Later = field(repr=False)

    @property
    def size(self) -> int:
        """Of its file, in bytes."""
        return len(self.film.encoded())

    @property
    def held(self) -> int:
        """What its pictures take of the memory now."""
        return self.film.held


@dataclass(slots=True)
class PendingSample:
    """A frame worth labelling; ``row`` lacks its file."""

    row: dict[str, Any]
    picture: Picture

    @property
    def size(self) -> int:
        """Of its picture's file, in bytes."""
        return len(self.picture.encoded())

    @property
    def held(self) -> int:
        """What its picture takes of the memory now."""
        return self.picture.held


@dataclass(frozen=True, slots=True)
class PendingRun:
    """From here on other rules hold; ``row`` is complete."""

    row: dict[str, Any]
    size: int = 0
    held: int = 0


Pending = PendingEvent | PendingHealth | PendingClip | PendingSample | PendingRun


def pending_event(
    event: Event, reading: Reading, origin: dict[str, Any], *, live: bool, snapshot: bool
) -> PendingEvent:
    """An Event's row; of its pictures only the one that will be kept is held on to.

    Wall times of what was just seen come from one reading of the clocks, so that a clock that is
    set meanwhile cannot turn an event's end before its beginning.
    """
    started_ms, ended_ms = _walls(event, reading, live=live)
    peak = min(event.trace, key=lambda m: abs(m.elapsed_s - event.peak.elapsed_s), default=None)
    row = {
        "label": event.label,
        "score": round(event.score, 6),
        "started_ms": started_ms,
        "ended_ms": ended_ms,
        "started_s": round(event.started.elapsed_s, 6),
        "ended_s": round(event.ended.elapsed_s, 6),
        "peak_s": round(event.peak.elapsed_s, 6),
        "decided_s": round(event.decided.elapsed_s, 6),
        "monotonic_ns": event.peak.monotonic_ns,
        "boot_id": reading.boot_id,
        "clock_quality": reading.quality if live else RECORDING,
        "clock_shift_ms": 0,
        "frames": event.frames,
        "frame_name": event.peak.name,
        "reason": event.reason,
        "region": event.region,
        "named_by": event.named_by,
        "novelty": peak.novelty if peak else None,
        "snapshot": "",
        "clip": "",
        "marked": 0,
        **origin,
    }
    picture = Picture(event.peak.image) if snapshot else None
    return PendingEvent(row, compact(event.trace), picture)


def _walls(event: Event, reading: Reading, *, live: bool) -> tuple[int, int]:
    """When it started and ended, ms since 1970."""
    if not live:
        return to_ms(event.started.captured_at), to_ms(event.ended.captured_at)
    peak_ms = reading.wall_of(event.peak.monotonic_ns)

    def wall(frame: Frame) -> int:
        return peak_ms + round((frame.elapsed_s - event.peak.elapsed_s) * 1000)

    return wall(event.started), wall(event.ended)


def pending_health(health: Health, reading: Reading, run: int, *, live: bool) -> PendingHealth:
    """What happened to the camera, as a row."""
    return PendingHealth({
        "run": run,
        "at_ms": reading.wall_of(health.monotonic_ns) if live else to_ms(health.at),
        "monotonic_ns": health.monotonic_ns,
        "boot_id": reading.boot_id,
        "clock_quality": reading.quality if live else RECORDING,
        "clock_shift_ms": 0,
        "fault": health.fault,
        "ok": int(health.ok),
        "detail": health.detail,
    })  # fmt: skip
