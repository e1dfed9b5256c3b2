"""Pictures for people, drawn with OpenCV alone: the device has no plotting library."""

from collections.abc import Sequence

import cv2
import numpy as np

from .records import Pixels

Color = tuple[int, int, int]
"""B,G,R."""

_INK = (40, 40, 40)
_BAR = (196, 120, 50)  # B,G,R
_BEST = (70, 150, 40)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def photo_with_bars(
    photo: Pixels, *, title: str, labels: Sequence[str], scores: Sequence[float]
) -> bytes:
    """The photo on the left, a bar for each label on the right.

    Args:
        photo: (h, w, 3) uint8, R,G,B.
        title: drawn above both.
        labels, scores: best first.

    Returns:
        A PNG.
    """
    height = 420
    scale = height / photo.shape[0]
    width = min(900, max(160, round(photo.shape[1] * scale)))
    scale = min(scale, width / photo.shape[1])
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    canvas = np.full((height + 60, small.shape[1] + 480, 3), 255, np.uint8)
    canvas[45 : 45 + small.shape[0], 15 : 15 + small.shape[1]] = small[..., ::-1]
    write(canvas, title, (15, 30), scale=0.65)
    _bars(canvas, small.shape[1] + 45, labels, scores)
    return bytes(cv2.imencode(".png", canvas)[1])


def _bars(canvas: Pixels, left: int, labels: Sequence[str], scores: Sequence[float]) -> None:
    for row, (label, score) in enumerate(zip(labels, scores, strict=True)):
        top = 60 + row * 78
        color = _BEST if row == 0 else _BAR
        write(canvas, f"{label}  {score:.1%}", (left, top + 14), scale=0.6)
        cv2.rectangle(canvas, (left, top + 24), (left + 400, top + 50), (232, 232, 232), -1)
        if score > 0:
            cv2.rectangle(
                canvas, (left, top + 24), (left + max(1, round(400 * score)), top + 50), color, -1
            )


def write(
    canvas: Pixels, text: str, at: tuple[int, int], *, scale: float, color: Color = _INK
) -> None:
    """Put text on a canvas, its lower left corner at (x, y)."""
    cv2.putText(canvas, _ascii(text), at, _FONT, scale, color, 1, cv2.LINE_AA)


def width_of(text: str, *, scale: float) -> int:
    """How wide ``write`` makes it, in pixels."""
    return int(cv2.getTextSize(_ascii(text), _FONT, scale, 1)[0][0])


def _ascii(text: str) -> str:
    """OpenCV's built-in letters are ASCII only."""
    return text.encode("ascii", "replace").decode()
