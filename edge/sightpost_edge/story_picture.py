"""Draws an Event's story as a picture: the snapshot, the words, and the scores over time."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from .draw import Color, width_of, write
from .pixels import read_photo
from .records import Pixels
from .story import facts, title
from .why import Explanation

_INK, _GREY, _PALE = (40, 40, 40), (150, 150, 150), (205, 205, 205)  # B,G,R
_OWN, _OTHER, _LIMIT = (70, 150, 40), (196, 120, 50), (60, 60, 200)
_SMALL, _LARGE = 0.48, 0.65
_MARGIN, _WIDTH, _PICTURE, _CHART, _LINE, _NAME = 20, 1180, 330, 280, 22, 100
"""Pixels."""


def draw_story(explanation: Explanation) -> bytes:
    """A PNG: the snapshot beside the words, below them scores, limits and turns."""
    snapshot = None if explanation.snapshot is None else _small(explanation.snapshot)
    left = _MARGIN if snapshot is None else snapshot.shape[1] + 2 * _MARGIN
    lines = _wrapped(explanation, _WIDTH - left - _NAME - _MARGIN)
    upper = max(_PICTURE, _LINE * (len(lines) + 1)) + 2 * _MARGIN
    canvas = np.full((upper + _CHART + 2 * _MARGIN, _WIDTH, 3), 255, np.uint8)
    if snapshot is not None:
        canvas[_MARGIN : _MARGIN + snapshot.shape[0], _MARGIN : left - _MARGIN] = snapshot
    _write(canvas, title(explanation), (left, _MARGIN + 16), scale=_LARGE)
    for number, (name, text) in enumerate(lines, 1):
        y = _MARGIN + 20 + number * _LINE
        _write(canvas, name, (left, y), color=_GREY)
        _write(canvas, text, (left + _NAME, y))
    _Chart(canvas, upper, explanation).draw()
    return bytes(cv2.imencode(".png", canvas)[1])


def _wrapped(explanation: Explanation, width: int) -> list[tuple[str, str]]:
    """The facts in lines that fit, the name beside the first one of each."""
    lines: list[tuple[str, str]] = []
    for fact in facts(explanation):
        name, line = fact.name, ""
        for word in fact.text.split():
            longer = f"{line} {word}".lstrip()
            if line and _width(longer) > width:
                lines.append((name, line))
                name, longer = "", word
            line = longer
        lines.append((name, line))
    return lines


def _small(snapshot: Path) -> Pixels:
    """The snapshot as it fits into the corner, B,G,R."""
    photo = read_photo(snapshot)
    height, width = photo.shape[:2]
    scale = min(_PICTURE / height, 480 / width)
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA)[..., ::-1], np.uint8)


def _width(text: str) -> int:
    return width_of(text, scale=_SMALL)


def _write(
    canvas: Pixels, text: str, at: tuple[int, int], *, scale: float = _SMALL, color: Color = _INK
) -> None:
    write(canvas, text, at, scale=scale, color=color)


class _Chart:
    """Scores over time: the surest label's, the runner-up's, the limits, the turns."""

    def __init__(self, canvas: Pixels, top: int, explanation: Explanation) -> None:
        self._canvas, self._top, self._explanation = canvas, top, explanation
        self._left, self._right = 3 * _MARGIN, _WIDTH - 2 * _MARGIN
        self._bottom = top + _CHART - _LINE
        trace = explanation.trace
        self._start_s = trace[0].elapsed_s if trace else 0.0
        self._span_s = max(trace[-1].elapsed_s - self._start_s, 1e-9) if trace else 1.0

    def draw(self) -> None:
        """All of it, or that nothing is known."""
        trace, event = self._explanation.trace, self._explanation.event
        if not trace:
            _write(self._canvas, "how its scores went was not kept", (_MARGIN, self._top))
            return
        self._frame()
        self._turns()
        self._limits()
        self._line([(m.elapsed_s, m.second) for m in trace], _PALE)
        for before, after in pairwise(trace):
            color = _OWN if after.label in self._explanation.kin else _OTHER
            self._line([(m.elapsed_s, m.score) for m in (before, after)], color, 2)
        peak = self._at(event.peak_s, event.score)
        cv2.circle(self._canvas, peak, 5, _OWN, -1, cv2.LINE_AA)
        self._legend()

    def _at(self, elapsed_s: float, score: float) -> tuple[int, int]:
        share = (elapsed_s - self._start_s) / self._span_s
        x = self._left + share * (self._right - self._left)
        return round(x), round(self._bottom - min(1.0, score) * (self._bottom - self._top))

    def _line(self, points: Sequence[tuple[float, float]], color: Color, width: int = 1) -> None:
        placed = np.array([self._at(*point) for point in points], np.int32)
        cv2.polylines(self._canvas, [placed], False, color, width, cv2.LINE_AA)

    def _frame(self) -> None:
        corners = (self._left, self._top), (self._right, self._bottom)
        cv2.rectangle(self._canvas, *corners, _GREY, 1)
        for score in (0.0, 1.0):
            _write(self._canvas, f"{score:.1f}", (_MARGIN, self._at(0, score)[1] + 5), color=_GREY)
        for at_s in (self._start_s, self._start_s + self._span_s):
            x = min(self._at(at_s, 0)[0], self._right - 40)
            _write(self._canvas, f"{at_s:.1f} s", (x, self._bottom + _LINE), color=_GREY)

    def _legend(self) -> None:
        x = self._left
        told = ((_OWN, f"{self._explanation.event.label} leads"), (_OTHER, "another label leads"),
                (_PALE, "the next one"))  # fmt: skip
        for color, words in told:
            x += 90
            cv2.line(self._canvas, (x, self._bottom + 18), (x + 24, self._bottom + 18), color, 2)
            _write(self._canvas, words, (x + 30, self._bottom + _LINE), color=_GREY)
            x += _width(words)

    def _limits(self) -> None:
        figures = self._explanation.figures
        if figures is None or figures.threshold is None:
            return
        names = {figures.threshold: "threshold"}
        if figures.leave is not None:
            both = figures.leave == figures.threshold
            names[figures.leave] = "threshold and leave" if both else "leave"
        for score, name in names.items():
            _, y = self._at(self._start_s, score)
            for x in range(self._left, self._right, 12):
                cv2.line(self._canvas, (x, y), (min(x + 6, self._right), y), _LIMIT, 1)
            _write(self._canvas, f"{name} {score:.2f}", (self._left + 6, y - 5), color=_LIMIT)

    def _turns(self) -> None:
        """A line at which the Event began, another at which it was decided."""
        event = self._explanation.event
        told = (("opened", event.started_s, -1), (event.reason, event.decided_s, 1))
        for words, at_s, side in told:
            (x, _), width = self._at(at_s, 0), _width(words) + 6
            cv2.line(self._canvas, (x, self._top), (x, self._bottom), _INK, 1)
            place = x - width if side > 0 or x + width > self._right else x + 6
            _write(self._canvas, words, (max(self._left + 4, place), self._bottom - 8))
