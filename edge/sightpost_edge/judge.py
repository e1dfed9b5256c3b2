"""Whether a picture shows enough to be classified: not black, white, blurred, covered or damaged.

Black and white are told by brightness alone. Covered and blurred are told by comparison with what
this camera usually shows, place by place: a plain wall has never been sharp, so it cannot be
blurred. What a camera shows in its first five seconds counts as usual; one that starts blurred is
therefore not found out until it was sharp once.
"""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from .detail import Finding, Floats, Tiles, Usual, View, half, sharp_in_itself, sharp_picture
from .detail import tiles as measured
from .errors import PhotoUnreadable
from .records import Frame, Health, Pixels

CONFIRM_S = 2.5
"""A fault is reported when it has lasted so long; its pictures are withheld from the first on."""
WELL_S = 1.0
"""So long without a bad picture, and the camera is well again."""
ACCEPT_SIZE_S = 60.0
"""A new picture size that stays so long is no fault any more: regions are shares of any size."""
ACCEPT_VIEW_S = 600.0
"""After so long, another view that is sharp in itself becomes the usual one; a lens cap never."""
LOOK_S = 1.0
"""How often fine detail is measured; coarse detail is in every picture."""
BLACK_LEVEL, WHITE_LEVEL = 30.0, 232.0
"""Grey levels; video encodes black as 16 and white as 235 in some formats."""
FLAT = 0.8
"""Standard deviation between 144 parts of a picture with nothing on it: sensor noise makes 0.5."""
RELIEF = 1.25
"""How much better every figure must be for the fault to end: no flapping at the limit."""


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """Whether pictures are judged by what they show: the ``[health]`` table of a station's config.

    Damaged pictures are withheld in any case.
    """

    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """``fault`` is "" where the Frame may become a Prediction, else one of ``records.FAULTS``.

    ``luma`` is the Frame's small grey picture, decoded once for all who need it; None where it
    cannot be decoded. ``health`` is there on the Frame at which a fault begins or ends.
    """

    fault: str
    luma: Pixels | None = field(default=None, repr=False)
    health: Health | None = None


_WELL = Finding()


class FrameJudge:
    """Judges the pictures of one camera, in their order."""

    def __init__(self, settings: HealthSettings | None = None) -> None:
        self._settings = settings or HealthSettings()
        self._size = (0, 0)
        self.accept_size_s = ACCEPT_SIZE_S
        self._new_size_s = math.inf
        self._alarm = _Alarm()
        self._sight = _Sight()

    def see(self, frame: Frame) -> Verdict:
        """Judge the next Frame."""
        try:
            luma = frame.image.luma()
        except PhotoUnreadable as exc:
            finding = Finding("unreadable", str(exc))
            return Verdict(finding.fault, None, self._alarm.hear(finding, frame))
        finding = self._judge(frame, luma) if self._settings.enabled else _WELL
        return Verdict(finding.fault, luma, self._alarm.hear(finding, frame))

    def _judge(self, frame: Frame, luma: Pixels) -> Finding:
        cells = np.asarray(cv2.resize(luma, (16, 9), interpolation=cv2.INTER_AREA), np.float32)
        relief = RELIEF if self._alarm.fault else 1.0
        return (
            self._other_size(frame)
            or _without_light(cells, relief)
            or self._sight.judge(frame, luma, cells, ill_s=self._alarm.lasts_s(frame))
            or _WELL
        )

    def _other_size(self, frame: Frame) -> Finding | None:
        size = (frame.image.width, frame.image.height)
        if self._size in ((0, 0), size):
            self._size, self._new_size_s = size, math.inf
            return None
        self._new_size_s = min(self._new_size_s, frame.elapsed_s)
        if frame.elapsed_s - self._new_size_s >= self.accept_size_s:
            self._size = size
            self._sight = _Sight()
            return None
        return Finding("shape", "{}x{} pixels instead of {}x{}".format(*size, *self._size))


class _Sight:
    """What is usual for a camera, in coarse detail (every Frame) and in fine (once a second)."""

    def __init__(self) -> None:
        self._looked_s = -math.inf
        self._last_look: Finding | None = None
        self._forget()

    def _forget(self) -> None:
        self._coarse, self._fine, self._view = Usual("covered"), Usual("blurred"), View()

    def judge(self, frame: Frame, luma: Pixels, cells: Floats, *, ill_s: float) -> Finding | None:
        """Covered or blurred, or None; ``ill_s`` is how long a reported fault has been there."""
        relief = RELIEF if ill_s else 1.0
        coarse = measured(half(luma))
        now = self._coarse.compare(coarse, self._view, cells, relief)
        passed_s = frame.elapsed_s - self._looked_s
        if 0 <= passed_s < LOOK_S:
            return now or self._last_look
        self._looked_s = frame.elapsed_s
        fine = measured(sharp_picture(frame.image))
        self._last_look = self._fine.compare(fine, self._view, cells, relief)
        found = now or self._last_look
        if ill_s >= ACCEPT_VIEW_S and found and sharp_in_itself(fine, coarse):
            self._forget()
            self._last_look = found = None
        if not (found or ill_s):
            self._learn(coarse, fine, cells, min(60.0, max(LOOK_S, passed_s)))
        return found

    def _learn(self, coarse: Tiles, fine: Tiles, cells: Floats, passed_s: float) -> None:
        self._coarse.learn(coarse, passed_s)
        self._fine.learn(fine, passed_s)
        self._view.learn(cells, passed_s)


def _without_light(cells: Floats, relief: float) -> Finding | None:
    """Black or white: nothing but one brightness at an end of the scale."""
    low, high = float(cells.min()), float(cells.max())
    if BLACK_LEVEL * relief < high and low < WHITE_LEVEL / relief:
        return None
    spread = float(cells.std())
    if spread > FLAT * relief:
        return None
    figures = f"varies by {spread:.1f} (limit {FLAT})"
    if high <= BLACK_LEVEL * relief:
        return Finding("black", f"brightest part {high:.0f} of 255 (limit 30), {figures}")
    return Finding("white", f"darkest part {low:.0f} of 255 (limit 232), {figures}")


class _Alarm:
    """Turns findings into Health: one when a fault has lasted, one when it is over."""

    def __init__(self) -> None:
        self.fault = ""
        self._bad_since_s = self._good_since_s = math.inf
        self._bad = self._all = 0

    def lasts_s(self, frame: Frame) -> float:
        """How long the reported fault has been there, 0 without one."""
        return frame.elapsed_s - self._bad_since_s if self.fault else 0.0

    def hear(self, finding: Finding, frame: Frame) -> Health | None:
        """Take in what was found on this Frame."""
        now_s = frame.elapsed_s
        self._all += 1
        if finding.fault:
            self._bad += 1
            self._bad_since_s = min(self._bad_since_s, now_s)
            self._good_since_s = math.inf
            return self._perhaps_ill(finding, frame)
        self._good_since_s = min(self._good_since_s, now_s)
        if now_s - self._good_since_s < WELL_S:
            return None
        return self._well(frame)

    def _perhaps_ill(self, finding: Finding, frame: Frame) -> Health | None:
        lasted_s = frame.elapsed_s - self._bad_since_s
        if self.fault or lasted_s < CONFIRM_S or self._bad * 2 < self._all:
            return None
        self.fault = finding.fault
        return _health(frame, finding.fault, finding.detail, ok=False)

    def _well(self, frame: Frame) -> Health | None:
        fault, lasted_s = self.fault, self._good_since_s - self._bad_since_s
        self.fault, self._bad_since_s = "", math.inf
        self._bad = self._all = 0
        if not fault:
            return None
        return _health(frame, fault, f"well again after {lasted_s:.0f} s", ok=True)


def _health(frame: Frame, fault: str, detail: str, *, ok: bool) -> Health:
    return Health(fault, ok, detail, frame.captured_at, frame.monotonic_ns)
