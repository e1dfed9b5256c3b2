"""Where everything of a chart lies: shapes that one module makes a PNG of, another one an SVG."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from .charts import Bars, Chart, Row, Steps, short
from .timeline import Tick

WIDTH = 960
_LEFT, _RIGHT, _TOP = 150, 90, 92
_LARGE, _SMALL, _BETWEEN = 200, 46, 16
_STEPS_HEIGHT, _LINE = 380, 20
_WIDEST, _APART = 48, 4
"""Pixels: of a bar, and of bars below which no gap parts them: it would be half of the drawing."""
_LETTERS = 17
"""That fit beside a row."""


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle; ``role`` is one of "bar", "partly", "gap"; ``tip`` says its figures."""

    left: float
    top: float
    width: float
    height: float
    role: str
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """Straight lines from point to point; ``role`` is "grid", "axis" or "line"."""

    points: tuple[tuple[float, float], ...]
    role: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A disc of 4 pixels' radius."""

    left: float
    top: float
    tip: str


@dataclass(frozen=True, slots=True)
class Word:
    """Text whose baseline is at ``top``; ``anchor`` is "start", "middle" or "end"."""

    left: float
    top: float
    text: str
    role: str = "muted"
    anchor: str = "start"


Shape = Box | Path | Dot | Word
Place = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A whole picture; shapes that come later lie above earlier ones."""

    width: int
    height: int
    shapes: tuple[Shape, ...]


def layout(chart: Chart) -> Drawing:
    """Place a chart that is not empty."""
    shapes: list[Shape] = [
        Word(24, 34, chart.title, "title"), Word(24, 56, chart.subtitle, "muted"),
    ]  # fmt: skip
    made, bottom = _bars(chart) if isinstance(chart, Bars) else _steps(chart)
    shapes += made
    for note in chart.notes:
        bottom += _LINE
        shapes.append(Word(24, bottom, note, "muted"))
    return Drawing(WIDTH, bottom + 20, tuple(shapes))


def _bars(chart: Bars) -> tuple[list[Shape], int]:
    top, shapes = _TOP, list[Shape]()
    for number, row in enumerate(chart.rows):
        height = _LARGE if number == 0 else _SMALL
        shapes += _row(chart, row, top, height)
        if number == 0:
            shapes += _time(chart.ticks, top + height)
            top += _LINE + 6
        top += height + _BETWEEN
    if len(chart.rows) > 1:
        text = "Each row has a scale of its own; left its highest bar, right all its events."
        shapes.append(Word(24, top + 8, text, "muted"))
        top += 8
    return shapes, top


def _row(chart: Bars, row: Row, top: int, height: int) -> Iterator[Shape]:
    most, large = max(1, *row.values), height == _LARGE
    step = (WIDTH - _LEFT - _RIGHT) / len(row.values)
    space = max(min(2.0, step * 0.2), step - _WIDEST) if step >= _APART else 0.0
    scale = ticks_of(most)[-1] if large else most
    bottom = top + height
    if large:
        for mark in ticks_of(most):
            y = bottom - mark / scale * height
            yield Path(((_LEFT, y), (WIDTH - _RIGHT, y)), "grid")
            yield Word(_LEFT - 8, y + 4, f"{mark:,}", "muted", "end")
    for begun, ended in _gaps(chart.watched):
        tip = f"{chart.slots[begun]} to {chart.slots[ended - 1]}: not watched"
        yield Box(_LEFT + begun * step, top, (ended - begun) * step, height, "gap", tip)
    for slot, (value, share) in enumerate(zip(row.values, chart.watched, strict=True)):
        left = _LEFT + slot * step
        if value:
            tall = max(1.0, value / scale * height)
            role = "bar" if share > 0.9 else "partly"
            tip = f"{row.name}, {chart.slots[slot]}: {value:,}"
            yield Box(left + space / 2, bottom - tall, step - space, tall, role, tip)
    yield Path(((_LEFT, bottom), (WIDTH - _RIGHT, bottom)), "axis")
    if large:
        yield Word(_LEFT, top - 8, row.name, "ink")
    else:
        yield Word(24, bottom - 4, short(row.name, _LETTERS), "ink")
        yield Word(_LEFT - 8, top + 10, f"{most:,}", "muted", "end")
    yield Word(WIDTH - _RIGHT + 10, bottom - 4, f"{row.total:,}", "ink")


def _gaps(watched: Sequence[float]) -> Iterator[tuple[int, int]]:
    """From and to before which slot nobody watched."""
    slot = 0
    for dark, group in groupby(share == 0 for share in watched):
        ended = slot + len(list(group))
        if dark:
            yield slot, ended
        slot = ended


def _time(ticks: Sequence[Tick], y: float) -> Iterator[Shape]:
    for tick in ticks:
        x = _LEFT + tick.share * (WIDTH - _LEFT - _RIGHT)
        yield Path(((x, y), (x, y + 5)), "axis")
        yield Word(x, y + 18, tick.text, "muted", "middle")


def _steps(chart: Steps) -> tuple[list[Shape], int]:
    shapes: list[Shape] = []
    bottom, right = _TOP + _STEPS_HEIGHT, WIDTH - _RIGHT
    marks = ticks_of(len(chart.steps))

    def x(share: float) -> float:
        return _LEFT + share * (right - _LEFT)

    def y(count: float) -> float:
        return bottom - count / marks[-1] * _STEPS_HEIGHT

    for begun, ended in chart.gaps:
        wide = x(ended) - x(begun)
        shapes.append(Box(x(begun), _TOP, wide, _STEPS_HEIGHT, "gap", "not watched"))
    for mark in marks:
        shapes.append(Path(((_LEFT, y(mark)), (right, y(mark))), "grid"))
        shapes.append(Word(_LEFT - 8, y(mark) + 4, f"{mark:,}", "muted", "end"))
    points = [(x(0), y(0))]
    for number, step in enumerate(chart.steps, 1):
        points += [(x(step.share), points[-1][1]), (x(step.share), y(number))]
    shapes.append(Path((*points, (right, points[-1][1])), "line"))
    shapes += _named(chart, x, y)
    shapes += [Path(((_LEFT, bottom), (right, bottom)), "axis"), *_time(chart.ticks, bottom)]
    return shapes, bottom + _LINE + 14


def _named(chart: Steps, x: Place, y: Place) -> Iterator[Shape]:
    """A dot for each step; a name beside it where one has room, on the side that has more."""
    free = math.inf
    for number, step in enumerate(chart.steps, 1):
        left, top = x(step.share), y(number)
        yield Dot(left, top, f"{number}. {step.label}, {step.when}")
        if free - top >= 13:
            before = step.share > 0.7
            place, anchor = (left - 8, "end") if before else (left + 8, "start")
            yield Word(
                place, top - 4 if before else top + 14, short(step.label, _LETTERS), "ink", anchor
            )
            free = top


def ticks_of(most: int) -> list[int]:
    """Zero and two to five round figures, the last one not below ``most``."""
    step = 10 ** max(0, math.floor(math.log10(max(most, 1))) - 1)
    step *= next(s for s in (1, 2, 5, 10, 20, 50) if -(-max(most, 1) // (s * step)) <= 5)
    return list(range(0, -(-max(most, 1) // step) * step + 1, step))
