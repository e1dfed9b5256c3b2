"""Whether anything moved in front of the camera, so that the model runs only where it may matter.

Every pixel has its own background and its own noise, both learnt all the time: sensor noise at
night and grass in the wind raise their own threshold, and what stops becomes background. Where it
is not sure it looks: a look costs milliwatts, a missed event is lost.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError
from .pixels import WHOLE, Region
from .records import Pixels

Floats = NDArray[np.float32]

REASONS = {
    "gate off": "the motion gate is switched off",
    "first look": "the first picture, or the first of another size",
    "moving": "something differs from the background",
    "just moved": "the motion ended less than a second ago: the subject may only now sit still",
    "new picture": "much changed at once: night mode, a turned camera, or something large",
    "forced": "nothing moved, but the last look is force_s old",
    "still": "nothing moved",
}
"""Why a picture is looked at or not; only "still" is not."""

WORK_WIDTH_PX = 80
"""Pictures are halved to about this width: it averages noise, and a look then costs 40 us."""
HOLD_S = 1.0
BACKGROUND_S = 3.0
"""Time constant of the background: what stops is "moving" for about twice as long."""
NOISE_S = 30.0
"""Time constant of each pixel's noise: grass in the wind is learnt within a minute."""
MOST_NOISE = 0.12
"""However often a pixel changes, 80 % of its brightness is always motion. Without this limit a
conveyor was learnt like grass: of 41 parts 16 % of the pictures were slept through."""
FLOOR = 0.05
"""Changes below 5 % of a pixel's brightness never count: JPEG and video codecs make them."""
DEVIATIONS = 4.5
"""A pixel moves beyond so many mean deviations: of Gaussian noise 1 in 3,000 does."""
NEW_PICTURE = 0.3
"""Beyond this share the background is worth nothing any more and starts from this picture; an
animal that fills so much of it moves on and is seen again at once."""
_DARK = 12.0
"""Added before the logarithm, in grey levels: keeps the noise of black pixels small."""
_LOGARITHM = np.log(np.arange(256, dtype=np.float32) + _DARK)
_TONES = 16


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """When the model may be spared: the ``[motion]`` table of a station's config.

    ``force_s``: a look this often even when nothing moves. ``smallest_share``: how much of the
    picture must change to count as motion; 0.003 is a patch of 5 % of the width by 6 % of the
    height. ``mask``: rectangles to ignore, each [x, y, width, height] in shares of the picture.
    """

    enabled: bool = True
    force_s: float = 2.0
    smallest_share: float = 0.003
    mask: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.force_s > 0:
            raise ConfigError(
                f"motion force_s must be positive, not {self.force_s}",
                hint="a long time, say 3600, all but switches forced looks off",
            )
        if not 0 < self.smallest_share < NEW_PICTURE:
            raise ConfigError(
                f"motion smallest_share must lie in (0, {NEW_PICTURE}), not {self.smallest_share}",
                hint="0.003 finds a bird at ten metres, 0.03 only what is large",
            )
        self.masked()

    def masked(self) -> list[Region]:
        """The rectangles to ignore; ConfigError where one is none."""
        for corners in self.mask:
            if not (
                isinstance(corners, list | tuple)
                and len(corners) == 4
                and all(type(share) in (int, float) for share in corners)
            ):
                raise ConfigError(
                    f"motion mask {corners!r} is not [x, y, width, height]",
                    hint="shares of the picture from the top left: [0, 0.8, 1, 0.2] is its foot",
                )
        return [Region("mask", *map(float, corners)) for corners in self.mask]


@dataclass(frozen=True, slots=True)
class Glance:
    """Whether to ``look`` with the model; ``reason`` is one of ``REASONS``.

    ``share`` is how much of the picture (without its mask) moved.
    """

    look: bool
    reason: str
    share: float


class MotionGate:
    """Decides for each picture of one camera whether the model should see it.

    Args:
        settings: see ``MotionSettings``.
        region: only this part counts; ``look`` is given the whole picture all the same, because
            the mask's rectangles are shares of the whole.
    """

    def __init__(self, settings: MotionSettings, region: Region = WHOLE) -> None:
        self.settings, self.region = settings, region
        self._scene: _Scene | None = None
        self._moved_s = self._looked_s = -math.inf

    def look(self, luma: Pixels, elapsed_s: float) -> Glance:
        """Judge the next picture.

        Args:
            luma: (h, w) uint8, small (80 to 160 wide); another size starts anew.
            elapsed_s: the Frame's time, seconds.
        """
        if not self.settings.enabled:
            return Glance(True, "gate off", 0.0)
        reason, share = self._reason(luma, elapsed_s)
        if reason == "moving":
            self._moved_s = elapsed_s
        look = reason != "still"
        if look:
            self._looked_s = elapsed_s
        return Glance(look, reason, share)

    def _reason(self, luma: Pixels, elapsed_s: float) -> tuple[str, float]:
        if self._scene is None or self._scene.size != luma.shape:
            self._scene = _Scene(luma, elapsed_s, self.settings, self.region)
            return "first look", 0.0
        share = self._scene.changed(luma, elapsed_s)
        if share > NEW_PICTURE:
            self._scene.forget()
            return "new picture", share
        if share >= self.settings.smallest_share:
            return "moving", share
        if elapsed_s - self._moved_s < HOLD_S:
            return "just moved", share
        forced = elapsed_s - self._looked_s >= self.settings.force_s
        return ("forced" if forced else "still"), share


class _Scene:
    """Background and noise of every pixel, as logarithms of brightness: a gain is an offset."""

    def __init__(
        self, luma: Pixels, elapsed_s: float, settings: MotionSettings, region: Region
    ) -> None:
        self.size = luma.shape
        self._region, self._smallest = region, settings.smallest_share
        self._now = self._background = self._shrunk(luma)
        self._noise = np.full_like(self._background, FLOOR / DEVIATIONS)
        self._counts = _counting(luma.shape, region, settings.masked(), self._background.shape)
        self._total = max(1, cv2.countNonZero(self._counts))
        height, width = self._background.shape
        self._surroundings = (width // 3 | 1, height // 3 | 1)
        self._last_s, self._seen = elapsed_s, 1

    def changed(self, luma: Pixels, elapsed_s: float) -> float:
        """The share of pixels that moved; then learn from this picture."""
        self._now = self._shrunk(luma)
        limit = cv2.addWeighted(self._noise, DEVIATIONS, self._noise, 0.0, FLOOR)
        change = cv2.subtract(self._now, self._background)
        share, size = self._moving(change, limit)
        if share >= self._smallest:
            share, size = self._moving(change - self._tone(change, limit), limit)
            if share < self._smallest:
                self.forget()
        self._learn(cv2.min(size, limit), elapsed_s)
        return share

    def forget(self) -> None:
        """The picture as it is now becomes the background: only the light has changed."""
        self._background = self._now.copy()

    def _moving(self, change: Floats, limit: Floats) -> tuple[float, Floats]:
        """Share of moving pixels and the size of all changes, less those of the surroundings.

        A cloud's shadow changes whole surroundings alike. A single pixel is noise: it must have
        four of its eight neighbours with it.
        """
        around = cv2.boxFilter(change, -1, self._surroundings)
        size: Any = cv2.absdiff(change, around)
        beyond = cv2.bitwise_and(cv2.compare(size, limit, cv2.CMP_GT), self._counts)
        solid = (beyond > 0) & (cv2.boxFilter(beyond, -1, (3, 3)) > 255 * 4.5 / 9)
        return float(np.count_nonzero(solid)) / self._total, size

    def _tone(self, change: Floats, limit: Floats) -> Floats:
        """What exposure, gain or a lamp changed: the mean change of equally bright pixels.

        From every second pixel, and twice: the second time without those that moved.
        """
        lowest, highest = float(_LOGARITHM[0]), float(_LOGARITHM[-1]) + 1e-3
        tones = ((self._background - lowest) * (_TONES / (highest - lowest))).astype(np.intp)
        some, changes = tones[:, ::2].ravel(), change[:, ::2].ravel()
        mean = _mean_of_each(some, changes, np.ones_like(changes))
        calm = np.abs(changes - mean[some]) < limit[:, ::2].ravel()
        mean = _mean_of_each(some, changes, calm.astype(np.float32), otherwise=mean)
        return mean[tones]

    def _learn(self, size: Floats, elapsed_s: float) -> None:
        passed_s = max(0.0, elapsed_s - self._last_s)
        self._last_s, self._seen = elapsed_s, self._seen + 1
        # A plain mean at first, so that a noisy night is known after a second.
        early = 1.0 / self._seen if self._seen < 10 else 0.0
        learnt = np.minimum(size, MOST_NOISE)
        cv2.accumulateWeighted(learnt, self._noise, max(early, _weight(passed_s, NOISE_S)))
        weight = max(early, _weight(passed_s, BACKGROUND_S))
        cv2.accumulateWeighted(self._now, self._background, weight)

    def _shrunk(self, luma: Pixels) -> Floats:
        part = self._region.cut(luma)
        step = max(1, round(part.shape[1] / WORK_WIDTH_PX))
        if step > 1:
            size = (part.shape[1] // step, max(1, part.shape[0] // step))
            part = cv2.resize(
                part[: size[1] * step, : size[0] * step], size, interpolation=cv2.INTER_AREA
            )
        return np.asarray(cv2.LUT(part, _LOGARITHM), np.float32)


def _counting(
    whole: tuple[int, ...], region: Region, masked: list[Region], size: tuple[int, ...]
) -> Pixels:
    """255 where a pixel of the shrunk part counts, 0 under the mask."""
    counts = np.full(whole, 255, np.uint8)
    for rectangle in masked:
        rectangle.cut(counts)[:] = 0
    part = np.ascontiguousarray(region.cut(counts))
    return np.asarray(cv2.resize(part, size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def _mean_of_each(
    tones: NDArray[np.intp], changes: Floats, weights: Floats, *, otherwise: Any = 0.0
) -> Floats:
    """(16,) float32: the weighted mean change of each tone, ``otherwise`` where none has weight."""
    weight = np.bincount(tones, weights, _TONES)
    total = np.bincount(tones, changes * weights, _TONES)
    return np.where(weight > 0, total / np.maximum(weight, 1e-6), otherwise).astype(np.float32)


def _weight(passed_s: float, time_constant_s: float) -> float:
    return 1.0 - math.exp(-passed_s / time_constant_s)
