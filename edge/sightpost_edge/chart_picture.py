"""Makes a PNG of a chart's shapes, with OpenCV alone."""

import cv2
import numpy as np

from .chart_layout import Box, Dot, Drawing, Path, Shape, Word
from .draw import Color, width_of, write
from .records import Pixels

SCALE = 2
"""Pixels for each pixel of the layout: sharp on today's screens."""

_COLOURS: dict[str, Color] = {
    "bar": (158, 107, 31), "partly": (214, 188, 148), "gap": (226, 226, 226),
    "grid": (230, 230, 230), "axis": (130, 130, 130), "line": (158, 107, 31),
    "ink": (40, 40, 40), "title": (40, 40, 40), "muted": (105, 105, 105),
}  # fmt: skip
"""B,G,R."""
_SIZES = {"title": 0.62}
_SIZE = 0.42
_FINE = 4
"""OpenCV takes points as integers with so many binary digits after the point."""


def draw_picture(drawing: Drawing) -> bytes:
    """A PNG."""
    size = (drawing.height * SCALE, drawing.width * SCALE, 3)
    canvas: Pixels = np.full(size, 255, np.uint8)
    for shape in drawing.shapes:
        _put(canvas, shape)
    return bytes(cv2.imencode(".png", canvas)[1])


def _put(canvas: Pixels, shape: Shape) -> None:
    if isinstance(shape, Word):
        _word(canvas, shape)
    elif isinstance(shape, Dot):
        centre = (_fine(shape.left), _fine(shape.top))
        cv2.circle(canvas, centre, _fine(4), _COLOURS["line"], -1, cv2.LINE_AA, _FINE)
    elif isinstance(shape, Box):
        left, top = round(shape.left * SCALE), round(shape.top * SCALE)
        right = max(left + 1, round((shape.left + shape.width) * SCALE))
        bottom = max(top + 1, round((shape.top + shape.height) * SCALE))
        canvas[top:bottom, left:right] = _COLOURS[shape.role]
    else:
        _path(canvas, shape)


def _path(canvas: Pixels, path: Path) -> None:
    points = np.array([[_fine(x), _fine(y)] for x, y in path.points], np.int32)
    width = 4 if path.role == "line" else 1 if path.role == "grid" else 2
    cv2.polylines(canvas, [points], False, _COLOURS[path.role], width, cv2.LINE_AA, _FINE)


def _word(canvas: Pixels, word: Word) -> None:
    scale = _SIZES.get(word.role, _SIZE) * SCALE
    text = word.text.replace("…", "..")  # OpenCV's letters are ASCII
    shift = {"start": 0.0, "middle": 0.5, "end": 1.0}[word.anchor]
    left = round(word.left * SCALE - shift * width_of(text, scale=scale))
    write(
        canvas, text, (left, round(word.top * SCALE)), scale=scale,
        color=_COLOURS[word.role],
    )  # fmt: skip


def _fine(place: float) -> int:
    return round(place * (SCALE << _FINE))
