"""Frames become the model's input: what is bad or still is left out before it costs anything."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from .classifier import Classifier
from .errors import PhotoUnreadable
from .judge import FrameJudge
from .motion import MotionGate, MotionSettings
from .pace import Pace
from .pixels import Region
from .records import Frame, Health, Pixels
from .sources import Source
from .sources.live import CONTENT_FAULTS

log = logging.getLogger("sightpost")

STILL_S = 0.06
ILL_S = 0.1
ACCUSE_S = 60.0
"""Between two complaints to the source about the same fault; it decides how often it reopens."""


@dataclass(frozen=True, slots=True)
class Work:
    """One Frame, ready for the model: the input for each region, None where nothing moved."""

    frame: Frame
    fitted: tuple[Pixels | None, ...] = field(repr=False)
    took_s: float


class Preparing:
    """Iterates over Work: Frames judged, gated and fitted to the model's input."""

    def __init__(
        self,
        source: Source,
        classifier: Classifier,
        regions: tuple[Region, ...],
        motion: MotionSettings | None,
        judge: FrameJudge | None,
        pace: Pace | None,
    ) -> None:
        self._source, self._classifier, self._regions = source, classifier, regions
        settings = [motion] if motion is not None and motion.enabled else []
        self._gates = [MotionGate(one, region) for one in settings for region in regions]
        self._judge, self._pace = judge, pace
        self._moved, self._ill = True, False
        self._gated_s = self._judged_s = self._accused_s = -math.inf
        self.live = source.live
        self.awake_until_s = -math.inf
        self.on_withheld: Callable[[str], None] = lambda fault: None
        self.began_s = math.inf
        if judge is not None and source.live:
            judge.accept_size_s = 0.0  # another size is the source's business: it reopens
        self.closing = threading.Event()
        self.tell: Callable[[Health], None] = lambda health: None
        self.took_s = 0.0
        self._fault = self._last_fault = ""

    @property
    def gated(self) -> bool:
        """Whether the model is spared where nothing moves."""
        return bool(self._gates)

    def __iter__(self) -> Iterator[Work]:
        for frame in self._paced():
            if self.closing.is_set():
                return  # it came late: the judge is somebody else's by now
            began = self.began_s = time.perf_counter()
            try:
                fitted = self._prepare(frame)
            except PhotoUnreadable as exc:
                self._unreadable(exc)
                fitted = None
            self.began_s = math.inf
            if fitted is None:
                frame.image.forget()
                continue
            spent_s = time.perf_counter() - began
            self.took_s = steady(self.took_s, spent_s)
            yield Work(frame, fitted, spent_s)

    def _paced(self) -> Iterable[Frame]:
        """The Frames for which it is time; all of a recording's, unless it stands for a camera."""
        if self._pace is not None and self._source.live:
            return self._pace.frames(self._source)
        if self._pace is not None and getattr(self._source, "realtime", False):
            return self._pace.passing(self._source)
        return self._source

    def _prepare(self, frame: Frame) -> tuple[Pixels | None, ...] | None:
        """The input for each region, or None where nothing can be seen.

        Where something moved a moment ago the picture is decoded for the model first: what judge
        and gate look at then costs no decoding of its own. Photos of a folder are neither judged
        nor gated: one has nothing to do with the next.
        """
        if frame.name:
            return tuple(self._classifier.fit(frame, region) for region in self._regions)
        if self._asleep(frame.elapsed_s):
            return (None,) * len(self._regions)
        first: Pixels | None = None
        if self._moved and not self._ill:
            with contextlib.suppress(PhotoUnreadable):  # the judge will say so
                first = self._classifier.fit(frame, self._regions[0])
        if not self._good(frame):
            return None
        return self._gated(frame, first)

    def _asleep(self, now_s: float) -> bool:
        """While nothing moves it is enough to look for motion fifteen times a second."""
        quiet = not self._moved and not self._ill and now_s >= self.awake_until_s
        if quiet and 0 <= now_s - self._gated_s < STILL_S:
            return True
        self._gated_s = now_s
        return False

    def _good(self, frame: Frame) -> bool:
        """Whether anything can be seen; while nothing can, it is enough to ask ten times a second.

        A live source tells of damaged pictures itself once it is accused of them.
        """
        if self._judge is None:
            return True
        if self._ill and 0 <= frame.elapsed_s - self._judged_s < ILL_S:
            return self._withhold("")
        self._judged_s = frame.elapsed_s
        verdict = self._judge.see(frame)
        self._ill = bool(verdict.fault)
        if verdict.health is not None:
            if verdict.health.fault in CONTENT_FAULTS or not self.live:
                self.tell(verdict.health)
            self._accused_s = -math.inf if not verdict.health.ok else math.inf
            self._fault = "" if verdict.health.ok else verdict.health.fault
        if self._fault and frame.elapsed_s - self._accused_s >= ACCUSE_S:
            self._accused_s = frame.elapsed_s
            self._distrust(self._fault, "nothing can be seen")
        return self._withhold(verdict.fault) if verdict.fault else True

    def _withhold(self, fault: str) -> bool:
        self._last_fault = fault or self._last_fault
        self.on_withheld(self._last_fault)
        return False

    def _unreadable(self, exc: PhotoUnreadable) -> None:
        """The gates saw a picture that the model will not: they begin anew."""
        log.warning("%s: a picture %s", self._source.uri, exc)
        self.on_withheld("unreadable")
        self._gates = [MotionGate(gate.settings, gate.region) for gate in self._gates]
        self._moved = True

    def _distrust(self, fault: str, detail: str) -> None:
        if distrust := getattr(self._source, "distrust", None):
            distrust(fault, detail)

    def _gated(self, frame: Frame, first: Pixels | None) -> tuple[Pixels | None, ...]:
        """The input for each region in which something moved; ``first`` is that of the first."""
        moved = [True] * len(self._regions)
        if self._gates:
            luma = frame.image.luma()
            gates = [gate.look(luma, frame.elapsed_s).look for gate in self._gates]
            if frame.elapsed_s >= self.awake_until_s:
                moved = gates
        self._moved = any(moved)
        fitted: list[Pixels | None] = []
        for i, region in enumerate(self._regions):
            if not moved[i]:
                fitted.append(None)
            elif i == 0 and first is not None:
                fitted.append(first)
            else:
                fitted.append(self._classifier.fit(frame, region))
        return tuple(fitted)


def steady(before: float, now: float) -> float:
    """A running mean of about ten values; the first one counts whole."""
    return now if not before else before + 0.1 * (now - before)
