"""How much detail a picture shows at each place, compared with what its camera usually shows there.

A plain wall has never been sharp, so it cannot be blurred; a lens cap hides what was sharp before.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .image import Image
from .records import Pixels

Floats = NDArray[np.float32]

PLACES = (8, 6)
_UPPER = 36
"""Index of the upper quartile of 48 places."""
LOOK_WIDTH_PX = 320
"""Sharpness is measured on a picture so wide: for a 720p JPEG that costs a decode at 1/4."""
LEARNING_LOOKS = 5
LOST = 0.4
"""A place is lost when it has less than this of its usual detail: blur of 4 px in 640 leaves 0.2,
a cover 0.1."""
LOST_SHARE = 0.65
"""Share of the places with detail that must be lost; printed dates and logos stay sharp."""
ENOUGH_DETAIL = 4.0
"""Grey levels, root mean square: quantisation and little noise seem to have 1 to 3."""
ENOUGH_OVER_NOISE = 2.0
"""Detail below so many deviations of the noise cannot be told from it within one place."""
ENOUGH_PLACES = 0.12
GLARE = 245.0
"""Brighter places are over-exposed: they show no detail, whatever is there."""
SAME_VIEW = 0.8
"""Correlation above which a picture without detail shows the usual view, blurred."""
SELF_SHARP = 0.4
"""Detail at 320 px over detail at 80 px: in many places of sharp scenes more, of blurred ones
nowhere."""
DRIFT_PER_S = 0.015
"""The usual detail follows by 1.5 % a second: dusk and fog pass, a hand does not."""
VIEW_S = 120.0
NIGHT = 8.0
"""Grey levels added to brightness before it is compared: below, noise and black level rule."""
_SECOND = np.array([1, -2, 1], np.float32)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one picture, with the figure and its limit; nothing without a name."""

    fault: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Detail, noise and brightness of 8 x 6 places, each (6, 8) float32, in grey levels."""

    detail: Floats
    noise: Floats
    light: Floats


def tiles(grey: Pixels) -> Tiles:
    """Measure a grey picture, (h, w) uint8.

    Detail is the energy of the Laplacian less that of white noise, which is estimated from the
    product of both second derivatives (Immerkaer 1996, doi:10.1006/cviu.1996.0060): the gain of a
    night does not pass for detail. White noise of variance 1 has energy 20 in the one, 36 in the
    other.
    """
    edges = _energy(cv2.Laplacian(grey, cv2.CV_32F))
    noise = _energy(cv2.sepFilter2D(grey, cv2.CV_32F, _SECOND, _SECOND))
    light = cv2.resize(grey, PLACES, interpolation=cv2.INTER_AREA)
    return Tiles(
        np.sqrt(np.maximum(edges - noise * np.float32(20 / 36), 0.0)),
        np.sqrt(noise * np.float32(1 / 36)),
        np.asarray(light, np.float32),
    )


def _energy(derivative: Any) -> Floats:
    squares = cv2.multiply(derivative, derivative)
    return np.asarray(cv2.resize(squares, PLACES, interpolation=cv2.INTER_AREA), np.float32)


def half(grey: Pixels) -> Pixels:
    """At half its size, by averaging."""
    size = (max(1, grey.shape[1] // 2), max(1, grey.shape[0] // 2))
    even = grey[: size[1] * 2, : size[0] * 2]
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.uint8)


def sharp_picture(image: Image) -> Pixels:
    """Grey, 320 wide or less, by averaging; of what is decoded, or decoded as small as will do."""
    fitting = [n for n in image.reductions if image.width >= LOOK_WIDTH_PX * n]
    at_hand = image.at_hand if image.at_hand in (1, *fitting) else 0
    pixels: Any = image.decode(at_hand or max(fitting, default=1))
    height, width = pixels.shape[:2]
    if width > LOOK_WIDTH_PX:
        size = (LOOK_WIDTH_PX, max(1, round(height * LOOK_WIDTH_PX / width)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    code = cv2.COLOR_BGR2GRAY if image.order == "bgr" else cv2.COLOR_RGB2GRAY
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def sharp_in_itself(fine: Tiles, coarse: Tiles) -> bool:
    """Whether a view has fine detail by any measure; its edges do not count, dates stand there."""
    inner, mid = fine.detail[1:-1], coarse.detail[1:-1]
    real = (inner >= 2 * ENOUGH_DETAIL) & (inner >= SELF_SHARP * mid)
    return float(real.mean()) >= ENOUGH_PLACES


class View:
    """What the camera usually looks at, (9, 16) grey levels: a blurred picture still shows it."""

    def __init__(self) -> None:
        self._cells: Floats | None = None

    def learn(self, cells: Floats, passed_s: float) -> None:
        """Follow what is seen with a time constant of ``VIEW_S``."""
        if self._cells is None:
            self._cells = cells
        weight = 1.0 - math.exp(-passed_s / VIEW_S)
        self._cells = self._cells + np.float32(weight) * (cells - self._cells)

    def contrast(self, cells: Floats) -> float | None:
        """How strong the usual view is, 1 as usual, less in fog or dusk; None for another view.

        Without the top and bottom row, where cameras print the date.
        """
        if self._cells is None:
            return None
        now, usual = cells[1:-1] - cells[1:-1].mean(), self._cells[1:-1] - self._cells[1:-1].mean()
        common, own = float((now * usual).sum()), float((usual * usual).sum())
        if common <= SAME_VIEW * math.sqrt(own * float((now * now).sum())) or own == 0:
            return None
        return min(1.0, common / own)


class Usual:
    """The detail a camera usually shows at each place, and how bright it is there.

    ``fault``: what its loss is called where the picture does not resemble the usual view.
    """

    def __init__(self, fault: str) -> None:
        self._fault = fault
        self._first: list[Tiles] = []
        self._detail: Floats | None = None
        self._light = np.zeros(PLACES[::-1], np.float32)
        self._greatest = 0.0

    def learn(self, now: Tiles, passed_s: float) -> None:
        """The median of the first looks, then a slow walk towards what is seen."""
        if self._detail is None:
            self._first.append(now)
            if len(self._first) == LEARNING_LOOKS:
                self._keep(
                    np.median([t.detail for t in self._first], axis=0),
                    np.median([t.light for t in self._first], axis=0),
                )
                self._first.clear()
            return
        self._keep(
            _walk(self._detail, now.detail, 1.0, passed_s),
            _walk(self._light, now.light, NIGHT, passed_s),
        )

    def _keep(self, detail: Any, light: Any) -> None:
        self._detail, self._light = np.asarray(detail, np.float32), np.asarray(light, np.float32)
        self._greatest = float(detail.max())

    def compare(self, now: Tiles, view: View, cells: Floats, relief: float) -> Finding | None:
        """Blurred or covered, where most places and the picture as a whole have lost their detail.

        Less light and less contrast explain less detail; what then remains below noise or
        ``ENOUGH_DETAIL``, or is over-exposed, cannot be judged.

        Args:
            now: measured on this picture.
            view: tells how much contrast of the usual view is left in ``cells``, (9, 16).
            relief: 1, or more to demand as much more for the end of a fault.
        """
        most = float(np.partition(now.detail.ravel(), _UPPER)[_UPPER])
        if self._detail is None or most >= LOST * relief * self._greatest:
            return None
        contrast = view.contrast(cells)
        expected = self._expected(now, contrast)
        floor = np.maximum(ENOUGH_OVER_NOISE * now.noise, ENOUGH_DETAIL)
        judged = (expected >= floor) & (now.light < GLARE)
        if judged.mean() < ENOUGH_PLACES:
            return None
        left = now.detail[judged] / expected[judged]
        share = float((left < LOST * relief).mean())
        elsewhere = most / float(np.quantile(expected[judged], 0.75))
        if share < LOST_SHARE / relief or elsewhere >= LOST * relief:
            return None
        return Finding(
            self._fault if contrast is None else "blurred",
            f"{np.median(left):.0%} of the usual detail (limit {LOST:.0%}), "
            f"lost in {share:.0%} of the picture (limit {LOST_SHARE:.0%})",
        )

    def _expected(self, now: Tiles, contrast: float | None) -> Floats:
        """The usual detail in the light of this picture."""
        dimmed = np.minimum((now.light + NIGHT) / (self._light + NIGHT), 1.0)
        if contrast is not None:
            dimmed = np.minimum(dimmed, contrast)
        return np.asarray(self._detail * dimmed, np.float32)


def _walk(old: Floats, new: Floats, offset: float, passed_s: float) -> Floats:
    """A step from ``old`` towards ``new``; equal ones for detail and light, which dim together."""
    step = DRIFT_PER_S * passed_s
    change = np.clip(np.log((new + offset) / (old + offset)), -step, step)
    return np.asarray((old + offset) * np.exp(change) - offset, np.float32)
