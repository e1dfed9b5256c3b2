"""The camera over the generated line: a belt, what lies on it, the light and the lens.

Lengths are in frame heights, measured from the frame's centre, x along the belt and y down, so a
square photo shows exactly what the centre square of a wider video frame shows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .conveyor_parts import SPRITE_PX, SPRITE_SCALE, Floats, Part, Pixels

BELT_PERIOD = 4
"""Frame heights after which the belt's weave, stains and splice repeat."""

RAIL = 0.455
"""Frame heights from the middle to the steel rails beside the belt."""

STEEL = (1.0, 1.0, 1.02)
"""The tint of a plate where its coat is gone."""

_TEXTURE_SEED = 70_711
_GRAIN_PX = 1024


@dataclass(frozen=True, slots=True)
class Light:
    """The lamp and what it does to the picture.

    ``level`` scales everything; ``red`` and ``blue`` are gains over green (the colour cast);
    ``fall_x`` and ``fall_y`` are the change of brightness over one frame height; ``azimuth``
    (radians) says where the light comes from; ``shade`` darkens beyond a soft edge that lies
    ``shade_at`` frame heights from the centre, towards ``shade_azimuth``.
    """

    level: float
    red: float
    blue: float
    fall_x: float
    fall_y: float
    azimuth: float
    shade: float
    shade_at: float
    shade_azimuth: float

    def towards(self, other: "Light", weight: float) -> "Light":
        """A light between this one (0) and the other (1)."""
        mixed = {
            f.name: (1 - weight) * getattr(self, f.name) + weight * getattr(other, f.name)
            for f in fields(self)
        }
        return Light(**mixed)


def make_light(rng: np.random.Generator) -> Light:
    """Any light the line is ever seen in: a factor of 1.7 between dim and bright."""
    return Light(
        level=math.exp(rng.uniform(math.log(0.7), math.log(1.2))),
        red=rng.uniform(0.93, 1.08),
        blue=rng.uniform(0.86, 1.10),
        fall_x=rng.uniform(-0.25, 0.25),
        fall_y=rng.uniform(-0.25, 0.25),
        azimuth=rng.uniform(math.radians(190), math.radians(350)),
        shade=rng.uniform(0, 0.28),
        shade_at=rng.uniform(-0.3, 0.5),
        shade_azimuth=rng.uniform(0, 2 * math.pi),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """What stays the same while one line runs: its belt's colour and its camera.

    ``colour`` is (red, green, blue) in grey levels; ``defocus`` the lens blur's standard deviation
    and ``exposure`` the blur along the belt, both in frame heights; ``noise`` the sensor noise at
    mid-grey in levels of a 160 px frame.
    """

    colour: tuple[float, float, float]
    weave: float
    defocus: float
    exposure: float
    noise: float


BELT_COLOURS = ((38, 74, 66), (36, 60, 84), (58, 64, 68), (42, 50, 54))
"""PVC green, PVC blue, grey felt, black rubber."""


def make_line(rng: np.random.Generator) -> Line:
    """A belt between two of the usual colours under a camera that is never quite in focus."""
    first, second = rng.choice(len(BELT_COLOURS), 2, replace=False)
    share = rng.uniform(0, 0.4)
    red, green, blue = (
        (1 - share) * a + share * b
        for a, b in zip(BELT_COLOURS[first], BELT_COLOURS[second], strict=True)
    )
    return Line(
        colour=(red, green, blue),
        weave=rng.uniform(0.6, 1.3),
        defocus=rng.uniform(0.0015, 0.0055),
        exposure=rng.uniform(0.001, 0.012),
        noise=rng.uniform(2.0, 5.0),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A drawn plate (``conveyor_parts.sprite``) with its centre at (x, y)."""

    part: Part
    drawn: Pixels
    x: float
    y: float


def render(
    line: Line,
    light: Light,
    plates: Sequence[Placed],
    *,
    travel: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Pixels:
    """One exposure.

    Args:
        line: the belt and the camera.
        light: the lamp now.
        plates: what lies on the belt within view, or not far from it.
        travel: how far the belt has moved, in frame heights.
        size: (width, height) in pixels.
        rng: the sensor's noise and nothing else.

    Returns:
        (height, width, 3) uint8, R,G,B.
    """
    picture = _belt(line, travel, size)
    for plate in plates:
        _lay(picture, plate, light)
    picture = cv2.multiply(picture, _illumination(light, size))
    return _expose(picture, line, rng)


def _belt(line: Line, travel: float, size: tuple[int, int]) -> Floats:
    """The bare belt between its rails, (height, width, 3) float32 in grey levels."""
    width, height = size
    period = BELT_PERIOD * height
    start = (-travel * height) % period
    shift = np.array([[1, 0, -(start % 1)], [0, 1, 0]], np.float32)
    begin = int(start)
    weave = cv2.warpAffine(
        belt_tile(height)[:, begin : begin + width + 1],
        shift,
        size,
        borderMode=cv2.BORDER_REPLICATE,
    )
    relief = cv2.addWeighted(weave, line.weave, weave, 0, 1 - line.weave)
    picture = np.asarray(cv2.merge([relief * level for level in line.colour]), np.float32)
    rail = round((0.5 - RAIL) * height)
    picture[:rail] = rails(height)[:rail]
    picture[height - rail :] = rails(height)[height - rail :]
    return picture


def _lay(picture: Floats, plate: Placed, light: Light) -> None:
    """Put a plate, its edges' light and its shadow on the belt, within the window it needs."""
    height, width = picture.shape[:2]
    reach = 0.42 * height
    x, y = width / 2 - 0.5 + plate.x * height, height / 2 - 0.5 + plate.y * height
    left, right = max(0, int(x - reach)), min(width, int(x + reach))
    top, bottom = max(0, int(y - reach)), min(height, int(y + reach))
    if left >= right:
        return
    window = picture[top:bottom, left:right]
    place = _placement(plate.part.angle, x - left, y - top, height / SPRITE_SCALE)
    turned = cv2.warpAffine(plate.drawn, place, (right - left, bottom - top))
    reflectance, cover, relief, bare = cv2.split(turned)
    metal = cv2.scaleAdd(_edges(relief, light, height), 1.0, reflectance.astype(np.float32))
    opaque = cover.astype(np.float32) * np.float32(1 / 255)
    metal *= opaque
    steel = metal * (bare * np.float32(1 / 255))
    dimmed = _shadow(cover, light, height) * (1 - opaque)
    for channel, (coat, blank) in enumerate(zip(plate.part.tint, STEEL, strict=True)):
        covered = cv2.addWeighted(metal, coat, steel, blank - coat, 0)
        window[..., channel] = window[..., channel] * dimmed + covered


def _edges(relief: Pixels, light: Light, height_px: int) -> Floats:
    """Grey levels that slopes gain from the lamp's side and lose on the other."""
    slope = cv2.addWeighted(
        cv2.Sobel(relief, cv2.CV_32F, 1, 0),
        math.cos(light.azimuth),
        cv2.Sobel(relief, cv2.CV_32F, 0, 1),
        math.sin(light.azimuth),
        0,
    )
    # A larger picture spreads the same edge over more pixels: the same edge, a smaller slope.
    return np.asarray(slope * np.float32(-0.16 * height_px / 160), np.float32)


def _shadow(cover: Pixels, light: Light, height_px: int) -> Floats:
    """The belt's share of light around a plate: soft, and thrown away from the lamp."""
    throw, soft = 0.022 * height_px, round(0.045 * height_px)
    across, down = -throw * math.cos(light.azimuth), -throw * math.sin(light.azimuth)
    moved = cv2.warpAffine(
        cover, np.array([[1, 0, across], [0, 1, down]]), cover.shape[::-1], flags=cv2.INTER_LINEAR
    )
    return np.asarray(1 - cv2.blur(moved, (soft, soft)) * np.float32(0.6 / 255), np.float32)


def _placement(angle: float, x_px: float, y_px: float, scale: float) -> NDArray[np.float64]:
    """The (2, 3) matrix from sprite pixels to the window's, the sprite's centre at (x_px, y_px)."""
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    middle = SPRITE_PX / 2 - 0.5
    return np.array(
        [[cos, -sin, x_px - middle * (cos - sin)], [sin, cos, y_px - middle * (cos + sin)]]
    )


def _illumination(light: Light, size: tuple[int, int]) -> Floats:
    """Gains of the lamp, (height, width, 3) float32, drawn small: nothing in it has an edge."""
    width, height = size
    columns, rows = 4 * (12 * width // height // 4), 12
    x = ((np.arange(columns, dtype=np.float32) + 0.5) / columns - 0.5) * width / height
    y = ((np.arange(rows, dtype=np.float32) + 0.5) / rows - 0.5)[:, None]
    gain = light.level * (1 + light.fall_x * x + light.fall_y * y)
    along = math.cos(light.shade_azimuth) * x + math.sin(light.shade_azimuth) * y
    gain *= 1 - light.shade / (1 + np.exp((light.shade_at - along) * 18))
    field = cv2.merge([gain * light.red, gain, gain * light.blue])
    return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_CUBIC), np.float32)


def _expose(picture: Floats, line: Line, rng: np.random.Generator) -> Pixels:
    """Lens blur, blur along the belt, noise that grows with the signal, and 8 bits."""
    height, width = picture.shape[:2]
    still = _bell(line.defocus * height)
    smeared = np.convolve(still, _box(line.exposure * height)).astype(np.float32)
    seen = cv2.sepFilter2D(picture, cv2.CV_32F, smeared, still)
    y = int(rng.integers(_GRAIN_PX - height)) if height < _GRAIN_PX else 0
    x = int(rng.integers(_GRAIN_PX - width)) if width < _GRAIN_PX else 0
    grain = sensor_grain(max(_GRAIN_PX, width, height))[y : y + height, x : x + width]
    # A photon counter's noise is the root of its signal: at 128 levels the root is 11.3. Smaller
    # pixels of a larger camera are noisier, so that the scaled picture is equally noisy.
    swing = cv2.sqrt(cv2.max(seen, 9.0)) * np.float32(line.noise / 11.3 * height / 160)
    return np.asarray(cv2.convertScaleAbs(cv2.max(seen + swing * grain, 0.0)), np.uint8)


def _bell(sigma_px: float) -> Floats:
    reach = max(1, math.ceil(2.5 * sigma_px))
    taps = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / max(sigma_px, 0.2)))
    return np.asarray(taps / taps.sum(), np.float32)


def _box(width_px: float) -> Floats:
    """A box of fractional width: whole taps inside, partial ones at both ends."""
    reach = max(1, math.ceil(width_px / 2))
    edges = np.clip(np.arange(-reach, reach + 2) - 0.5, -width_px / 2, width_px / 2)
    taps = np.diff(edges)
    return np.asarray(taps / taps.sum(), np.float32)


@lru_cache(maxsize=4)
def belt_tile(height_px: int) -> Floats:
    """The belt's relief around 1, (height_px, (BELT_PERIOD + 3) * height_px) float32.

    It repeats after BELT_PERIOD frame heights; the rest saves wrapping a frame around.
    """
    rng = np.random.default_rng(_TEXTURE_SEED)
    tall, wide = 320, BELT_PERIOD * 320
    x, y = np.arange(wide, dtype=np.float32), np.arange(tall, dtype=np.float32)[:, None]
    relief = 1 + 0.07 * np.sin(x * (2 * math.pi / 16)) * np.sin(y * (2 * math.pi / 16))
    relief += 0.05 * rng.standard_normal((tall, wide), np.float32)
    blotches = rng.standard_normal((tall // 16, wide // 16), np.float32)
    relief += 0.09 * cv2.resize(blotches, (wide, tall), interpolation=cv2.INTER_CUBIC)
    splice = np.abs((x - wide / 3 - 0.3 * y + wide / 2) % wide - wide / 2)
    relief -= 0.22 * np.exp(-0.5 * np.square(splice / 3))
    for change in (-0.45, 0.7):
        dirt = np.zeros((tall, wide), np.uint8)
        for _ in range(130):
            at = (int(rng.integers(8, wide - 8)), int(rng.integers(tall)))
            cv2.circle(dirt, at, int(rng.integers(1, 5)), rng.uniform(60, 255), -1, cv2.LINE_AA)
        relief += dirt * np.float32(change / 255)
    relief = np.tile(relief, (1, 2))[:, : (BELT_PERIOD + 3) * tall]
    size = ((BELT_PERIOD + 3) * height_px, height_px)
    return np.asarray(cv2.resize(relief, size, interpolation=cv2.INTER_AREA), np.float32)


@lru_cache(maxsize=4)
def rails(height_px: int) -> Floats:
    """The steel rails' grey levels by row, (height_px, 1, 3) float32; only their rows are used."""
    y = np.abs((np.arange(height_px, dtype=np.float32) + 0.5) / height_px - 0.5)
    lip = np.exp(-0.5 * np.square((y - RAIL - 0.012) / 0.006))
    level = 84 + 70 * lip - 40 * np.clip((y - 0.47) / 0.03, 0, 1)
    return np.asarray(np.repeat(level[:, None, None], 3, axis=2), np.float32)


@lru_cache(maxsize=2)
def sensor_grain(side_px: int) -> Floats:
    """White noise of unit deviation, (side_px, side_px, 3) float32: drawn once, cut each frame."""
    grain = np.random.default_rng(_TEXTURE_SEED + 1).standard_normal(
        (side_px, side_px, 3), np.float32
    )
    return np.asarray(grain, np.float32)
