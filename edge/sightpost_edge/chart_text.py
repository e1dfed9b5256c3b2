"""Draws a chart with characters, as wide as the terminal: blocks, or plain ASCII."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import wrap

from .charts import Bars, Chart, Row, Steps, short
from .text import printable
from .timeline import Tick

ROWS = 8
"""Lines of the large drawing; every other row of bars is one line high."""
_NAME, _COUNT = 16, 11
"""Columns left of the bars, and right of them."""
_WHEN = 30
"""Columns left of a label that was new."""


@dataclass(frozen=True, slots=True)
class Inks:
    """Characters, from nothing to full; what an unwatched time looks like; the axis."""

    levels: str
    gap: str
    line: str


BLOCKS = Inks(" ▁▂▃▄▅▆▇█", "░", "─")
ASCII = Inks(" .:-=+*%#", "/", "-")


def room(width: int) -> int:
    """How many slots fit side by side into so many columns."""
    return max(1, width - _NAME - _COUNT)


def draw_text(chart: Chart, *, width: int, ascii_only: bool = False) -> list[str]:
    """Lines of at most ``width`` columns; a narrower one than 56 would not hold a day."""
    width, inks = max(56, width), ASCII if ascii_only else BLOCKS
    lines = _bars(chart, width, inks) if isinstance(chart, Bars) else _steps(chart, width, inks)
    head = [chart.title, *wrap(printable(chart.subtitle), width), ""]
    foot = ["", *(f"  {note}" for note in chart.notes)] if chart.notes else []
    whole = [printable(line).rstrip() for line in [*head, *lines, *foot]]
    return [_plain(line) for line in whole] if ascii_only else whole


def _bars(chart: Bars, width: int, inks: Inks) -> list[str]:
    each = max(1, min(4, room(width) // len(chart.slots)))
    gaps = [share == 0 for share in chart.watched]
    lines = [*_large(chart.rows[0], gaps, each, inks), *_axis(chart.ticks, len(gaps) * each, inks)]
    for row in chart.rows[1:]:
        name = short(row.name, _NAME - 2).ljust(_NAME)
        lines.append(f"{name}{_line(row, gaps, each, inks)} {row.total:>{_COUNT - 1},}")
    if len(chart.rows) > 1:
        lines += ["", "  each line to a scale of its own; its events at its end"]
    return lines


def _large(row: Row, gaps: Sequence[bool], each: int, inks: Inks) -> list[str]:
    most = max(row.values)
    lines = []
    for level in range(ROWS - 1, -1, -1):
        cells = []
        for value, gap in zip(row.values, gaps, strict=True):
            filled = round(value / max(most, 1) * ROWS * 8)
            filled = max(filled, 1) if value else 0  # a single event is seen beside a thousand
            ink = inks.levels[min(8, max(0, filled - level * 8))]
            cells.append((inks.gap if gap and level == 0 else ink) * each)
        mark = f"{most:,}" if level == ROWS - 1 else "0" if level == 0 else ""
        name = short(row.name, _NAME - 2) if level == ROWS // 2 else ""
        lines.append(f"{name or mark.rjust(_NAME - 1):<{_NAME}}{''.join(cells)}")
    return lines


def _line(row: Row, gaps: Sequence[bool], each: int, inks: Inks) -> str:
    most = max(1, *row.values)
    cells = [
        inks.gap if gap else inks.levels[max(1, round(value / most * 8)) if value else 0]
        for value, gap in zip(row.values, gaps, strict=True)
    ]
    return "".join(cell * each for cell in cells)


def _axis(ticks: Sequence[Tick], columns: int, inks: Inks) -> list[str]:
    """A line, and below it the words: all, or every second, or every fourth has room."""
    line, stride = None, 1
    while line is None:
        line, stride = _words(ticks[::stride], columns), stride * 2
    return [" " * _NAME + inks.line * columns, " " * _NAME + line]


def _words(ticks: Sequence[Tick], columns: int) -> str | None:
    """Each below its place and two columns apart; None where they do not fit. A word alone may be
    longer than the axis."""
    line = ""
    for tick in ticks:
        end = max(columns, len(tick.text))
        start = int(tick.share * columns) - len(tick.text) // 2
        start = min(max(start, 0), end - len(tick.text))
        if line and start < len(line) + 2:
            return None
        line = line.ljust(start) + tick.text
    return line


def _steps(chart: Steps, width: int, inks: Inks) -> list[str]:
    columns = min(room(width), 72)
    ends = [(column + 1) / columns for column in range(columns)]
    counts = [sum(step.share < end for step in chart.steps) for end in ends]
    counts[-1] = len(chart.steps)
    middles = [(a + b) / 2 for a, b in pairwise([0.0, *ends])]
    lines = _large(Row("labels", tuple(counts)), [False] * columns, 1, inks)
    if chart.gaps:
        dark = [any(a <= middle < b for a, b in chart.gaps) for middle in middles]
        shade = "".join(inks.gap if one else " " for one in dark)
        lines.append(f"{'not watched':>{_NAME - 1}} {shade}")
    lines += [*_axis(chart.ticks, columns, inks), ""]
    return lines + [
        f"{number:>4}  {step.when}  {short(step.label, width - _WHEN)}"
        for number, step in enumerate(chart.steps, 1)
    ]


def _plain(line: str) -> str:
    return line.replace("…", ".").encode("ascii", "replace").decode()
