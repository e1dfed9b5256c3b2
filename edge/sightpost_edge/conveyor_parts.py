"""The machined plates of the generated line: what one looks like from above, sound or defective.

Lengths are in sides of the plate here and in frame heights everywhere else; y points down.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

SPRITE_PX = 224
"""A sprite's width and height: the largest plate's diagonal is 213 px at ``SPRITE_SCALE``."""

SPRITE_SCALE = 315.0
"""Sprite pixels per frame height, whatever the camera: the same scratch at every resolution."""

PLATE_SIDE = (0.54, 0.58)
"""Frame heights. At 96 px a plate is about 54 px wide and a bolt hole 10 px."""

BORE_RADIUS = 0.14
HUB_RADIUS = 0.22
SOUND_HOLES = tuple((x, y, 0.092) for x in (-0.29, 0.29) for y in (-0.29, 0.29))
SIBLING_HOLES = tuple(
    (0.36 * math.cos(math.radians(a)), 0.36 * math.sin(math.radians(a)), 0.055)
    for a in range(0, 360, 60)
)
"""The wrong part belongs to another order: six small holes on a circle, rounder corners."""

Curve = tuple[tuple[float, float], ...]
Circles = tuple[tuple[float, float, float], ...]
"""(x, y, radius) of each."""

_SHIFT = 4
_TEXTURE_SEED = 20_240


@dataclass(frozen=True, slots=True)
class Part:
    """One plate: everything that is drawn of it follows from these values.

    ``side`` is in frame heights and ``angle`` in radians; ``holes`` are (x, y, radius),
    ``undrilled`` the places of forgotten ones and ``scratches`` curves of (x, y), all in sides;
    ``tone`` is the coat's reflectance in grey levels and ``tint`` its gains over that for red,
    green and blue; ``grain`` seeds the brush marks and the specks, which are no defects.
    """

    label: str
    side: float
    angle: float
    tone: float
    tint: tuple[float, float, float]
    corner: float
    holes: Circles
    undrilled: Circles
    scratches: tuple[Curve, ...]
    scratch_width: float
    scratch_levels: float
    grain: int

    def half_extent(self) -> float:
        """How far the turned plate reaches along the belt from its centre, in frame heights."""
        along = _outline(self.corner) @ (math.cos(self.angle), -math.sin(self.angle))
        return float(along.max()) * self.side


def make_part(label: str, rng: np.random.Generator) -> Part:
    """A plate of the given condition; ``label`` is one of the line's labels but ``empty``."""
    wrong = label == "wrong_part"
    holes = SIBLING_HOLES if wrong else SOUND_HOLES
    undrilled: Circles = ()
    if label == "missing_hole":
        gone = int(rng.integers(len(holes)))
        holes, undrilled = holes[:gone] + holes[gone + 1 :], holes[gone : gone + 1]
    rich = rng.uniform(0.85, 1.15)
    return Part(
        label=label,
        side=rng.uniform(*PLATE_SIDE),
        angle=rng.uniform(0, 2 * math.pi),
        tone=rng.uniform(120, 165),
        tint=(1 + 0.22 * rich, 1 - 0.04 * rich, 1 - 0.62 * rich),
        corner=0.40 if wrong else 0.28,
        holes=holes,
        undrilled=undrilled,
        scratches=_scratches(holes, rng) if label == "scratch" else (),
        scratch_width=rng.uniform(0.048, 0.066),
        scratch_levels=rng.uniform(70, 110),
        grain=int(rng.integers(2**31)),
    )


def _scratches(holes: Circles, rng: np.random.Generator) -> tuple[Curve, ...]:
    """A drag mark: two or three bent lines side by side, half a side or longer on metal."""
    along = np.linspace(0, 1, 16)[:, None]
    for _ in range(200):
        start, heading = rng.uniform(-0.45, 0.45, 2), rng.uniform(0, 2 * math.pi)
        length, bow = rng.uniform(0.6, 1.0), rng.uniform(-0.25, 0.25)
        ahead = np.array([math.cos(heading), math.sin(heading)])
        across = np.array([-ahead[1], ahead[0]])
        curve = start + length * (along * ahead + along * (1 - along) * bow * across)
        if length * _share_on_metal(curve, holes) >= 0.5 and np.abs(curve).max() < 0.46:
            break
    beside = np.array([0.0, 0.1, -0.1])[: rng.integers(2, 4)]
    shift = rng.uniform(-0.06, 0.06, len(beside))
    lines = [curve + b * across + s * ahead for b, s in zip(beside, shift, strict=True)]
    return tuple(tuple((float(x), float(y)) for x, y in line) for line in lines)


def _share_on_metal(curve: NDArray[np.float64], holes: Circles) -> float:
    on = np.abs(curve).max(axis=1) < 0.44
    on &= np.abs(curve).sum(axis=1) < 0.75
    for x, y, radius in (*holes, (0.0, 0.0, BORE_RADIUS)):
        on &= np.hypot(curve[:, 0] - x, curve[:, 1] - y) > radius
    return float(on.mean())


def sprite(part: Part) -> Pixels:
    """Draw a plate, unturned.

    Returns:
        (SPRITE_PX, SPRITE_PX, 4) uint8: reflectance in grey levels, cover (255 = metal, 0 =
        nothing or a hole), height (for the light on the edges) and bareness (255 = steel without
        its coat).
    """
    rng = np.random.default_rng(part.grain)
    scale = part.side * SPRITE_SCALE
    cover, height = _cover(part, scale), _height(part, scale)
    surface, bare = _brushed(part, rng), np.zeros((SPRITE_PX, SPRITE_PX), np.uint8)
    _machine(surface, part, scale)
    _speck(surface, scale, rng)
    if part.scratches:
        _score(surface, bare, part, scale)
    for x, y, radius in part.undrilled:
        _disc(bare, (x, y), radius * 1.3, scale, 225)
    return np.asarray(cv2.merge([surface, cover, height, bare]), np.uint8)


def _cover(part: Part, scale: float) -> Pixels:
    cover = np.zeros((SPRITE_PX, SPRITE_PX), np.uint8)
    cv2.fillPoly(cover, [_fixed(_outline(part.corner), scale)], 255, cv2.LINE_AA, _SHIFT)
    for x, y, radius in (*part.holes, (0.0, 0.0, BORE_RADIUS)):
        _disc(cover, (x, y), radius, scale, 0)
    return cover


def _height(part: Part, scale: float) -> Pixels:
    height = np.zeros((SPRITE_PX, SPRITE_PX), np.uint8)
    cv2.fillPoly(height, [_fixed(_outline(part.corner), scale)], 150, cv2.LINE_AA, _SHIFT)
    _disc(height, (0.0, 0.0), HUB_RADIUS, scale, 215)
    for x, y, radius in part.undrilled:
        _disc(height, (x, y), radius * 1.3, scale, 205)
    for x, y, radius in (*part.holes, (0.0, 0.0, BORE_RADIUS)):
        _disc(height, (x, y), radius * 1.1, scale, 40)
    return np.asarray(cv2.blur(height, (5, 5)), np.uint8)


def _brushed(part: Part, rng: np.random.Generator) -> Pixels:
    """Metal with brush marks and one broad sheen across it, (SPRITE_PX, SPRITE_PX) uint8.

    OpenCV smooths the edges of what it draws on uint8 only.
    """
    y, x = rng.integers(0, 512 - SPRITE_PX, 2)
    strong = np.float32(rng.uniform(0.5, 1.2))
    metal = brush_marks()[y : y + SPRITE_PX, x : x + SPRITE_PX] * strong
    heading, place, strength = rng.uniform(0, 2 * math.pi), rng.uniform(-50, 50), rng.uniform(0, 40)
    ramp = np.arange(2, SPRITE_PX, 4, dtype=np.float32) - SPRITE_PX / 2
    across = ramp * math.cos(heading) + (ramp * math.sin(heading))[:, None] - place
    sheen = part.tone + strength * np.exp(-0.5 * np.square(across / rng.uniform(25, 60)))
    broad = cv2.resize(sheen.astype(np.float32), (SPRITE_PX, SPRITE_PX))
    return np.asarray(cv2.add(metal, broad, dtype=cv2.CV_8U), np.uint8)


def _machine(surface: Pixels, part: Part, scale: float) -> None:
    """The turned hub and the bright chamfers of the holes, which every plate has."""
    for radius, levels in ((HUB_RADIUS, 14), (0.19, -8), (0.165, 8)):
        _ring(surface, (0.0, 0.0), radius, scale, part.tone + levels)
    for x, y, radius in part.holes:
        _ring(surface, (x, y), radius * 1.2, scale, part.tone + 30)
    for x, y, radius in part.undrilled:
        _disc(surface, (x, y), radius * 1.3, scale, part.tone + 45)


def _speck(surface: Pixels, scale: float, rng: np.random.Generator) -> None:
    """Dirt and oil: round spots, so that only a scratch is long and thin."""
    for _ in range(rng.integers(0, 6)):
        place, radius = rng.uniform(-0.42, 0.42, 2), rng.uniform(0.006, 0.022)
        _disc(surface, (place[0], place[1]), radius, scale, rng.uniform(50, 130))
    if rng.random() < 0.5:
        stain = np.zeros((SPRITE_PX // 4, SPRITE_PX // 4), np.float32)
        x, y = rng.integers(14, SPRITE_PX // 4 - 14, 2).tolist()
        axes = tuple(rng.integers(3, 9, 2).tolist())
        cv2.ellipse(stain, (x, y), axes, rng.uniform(0, 180), 0, 360, 1.0, -1)
        stain = cv2.GaussianBlur(stain, (0, 0), 2.0) * -rng.uniform(8, 28)
        cv2.add(surface, cv2.resize(stain, (SPRITE_PX, SPRITE_PX)), surface, dtype=cv2.CV_8U)


def _score(surface: Pixels, bare: Pixels, part: Part, scale: float) -> None:
    """The defect: grooves that taper towards their ends and shine where the coat is gone."""
    mark = np.zeros((SPRITE_PX, SPRITE_PX), np.uint8)
    for curve in part.scratches:
        line = np.array(curve)
        forward = np.gradient(line, axis=0)
        forward /= np.linalg.norm(forward, axis=1, keepdims=True)
        across = np.stack([-forward[:, 1], forward[:, 0]], axis=1)
        taper = np.sin(np.linspace(0.25, math.pi - 0.25, len(line)))[:, None]
        half = across * taper * part.scratch_width / 2
        ribbon = _fixed(np.concatenate([line + half, (line - half)[::-1]]), scale)
        cv2.fillPoly(mark, [ribbon], 255, cv2.LINE_AA, _SHIFT)
    cv2.addWeighted(surface, 1.0, mark, part.scratch_levels / 255, 0.0, surface)
    cv2.max(bare, mark, bare)


def _disc(
    canvas: NDArray[np.generic], at: tuple[float, float], radius: float, scale: float, value: float
) -> None:
    centre, span = _fixed(np.array(at), scale), round(radius * scale * 2**_SHIFT)
    cv2.circle(canvas, centre.tolist(), span, value, -1, cv2.LINE_AA, _SHIFT)


def _ring(
    canvas: NDArray[np.generic], at: tuple[float, float], radius: float, scale: float, value: float
) -> None:
    centre, span = _fixed(np.array(at), scale), round(radius * scale * 2**_SHIFT)
    cv2.circle(canvas, centre.tolist(), span, value, 2, cv2.LINE_AA, _SHIFT)


def _fixed(points: NDArray[np.float64], scale: float) -> NDArray[np.int32]:
    """Sides of the plate to sprite pixels with four fractional bits, as OpenCV draws them."""
    fixed = np.rint((points * scale + SPRITE_PX / 2 - 0.5) * 2**_SHIFT)
    return np.asarray(fixed, np.int32)


@lru_cache(maxsize=4)
def _outline(corner: float) -> NDArray[np.float64]:
    """A square of side 1 with round corners of radius ``corner``, (36, 2)."""
    points = [
        (
            math.copysign(0.5 - corner, math.cos(math.radians(quarter + 45)))
            + corner * math.cos(math.radians(quarter + turn)),
            math.copysign(0.5 - corner, math.sin(math.radians(quarter + 45)))
            + corner * math.sin(math.radians(quarter + turn)),
        )
        for quarter in (0, 90, 180, 270)
        for turn in np.linspace(0, 90, 9)
    ]
    return np.array(points)


@lru_cache(maxsize=1)
def brush_marks() -> Floats:
    """Brush marks of a milled face, (512, 512) float32, about ±9 grey levels, zero mean."""
    grain = np.random.default_rng(_TEXTURE_SEED).standard_normal((512, 512), np.float32)
    marks = cv2.blur(grain, (61, 1)) * 7 + cv2.blur(grain[::-1], (9, 1)) * 1.2
    return np.asarray(marks * (6.0 / float(marks.std())), np.float32)
