"""The report's figures as inline SVG and HTML: their colours come from page.css, light or dark."""

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from sightpost_edge.records import Pixels

from .figures import ClassFigures, Curve, Figures, percent
from .results import Calibration, Epoch

DRAWN = 12
"""Classes drawn in a matrix or a plot: more lines cannot be told apart, nor cells read."""

THUMBNAIL_PX = 176

_WIDTH, _HEIGHT = 420, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 22, 44


@dataclass(frozen=True, slots=True)
class Axis:
    """What is drawn along one side, from ``low`` to ``high``."""

    title: str
    low: float = 0.0
    high: float = 1.0

    def ticks(self) -> list[float]:
        """Four to seven round figures."""
        step = 10 ** math.floor(math.log10(self.high - self.low))
        step *= next(s for s in (0.1, 0.2, 0.5, 1, 2) if (self.high - self.low) / (s * step) <= 6)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(step * index, 10) for index in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Plot:
    """Two axes; its methods make marks in their units, ``svg`` puts them together."""

    description: str
    x: Axis
    y: Axis

    def at(self, x: float, y: float) -> str:
        """A place in drawing units."""
        right = (x - self.x.low) / (self.x.high - self.x.low)
        up = (y - self.y.low) / (self.y.high - self.y.low)
        left, bottom = _LEFT, _HEIGHT - _BOTTOM
        return (
            f"{left + right * (_WIDTH - left - _RIGHT):.1f},"
            f"{bottom - up * (bottom - _TOP):.1f}"
        )  # fmt: skip

    def line(self, x: Sequence[float], y: Sequence[float], css: str, *, title: str = "") -> str:
        """A line with a gap at each value that is not finite; a lone point becomes a dot."""
        pen, parts = "M", []
        for place in zip(x, y, strict=True):
            if not all(map(math.isfinite, place)):
                pen = "M"
                continue
            parts.append(f"{pen}{self.at(*place)}" + ("h0" if pen == "M" else ""))
            pen = "L"
        tip = f"<title>{escape(title)}</title>" if title else ""
        return f'<path class="line {css}" d="{"".join(parts)}">{tip}</path>'

    def dot(self, x: float, y: float, radius: float, css: str, *, title: str) -> str:
        """A dot that says its figures when pointed at."""
        left, top = self.at(x, y).split(",")
        return (
            f'<circle class="{css}" cx="{left}" cy="{top}" r="{radius:.1f}">'
            f"<title>{escape(title)}</title></circle>"
        )

    def svg(self, marks: Iterable[str]) -> str:
        """The drawing, to be put into a page that has page.css."""
        return (
            f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
            f'aria-label="{escape(self.description)}">{self._grid()}{"".join(marks)}</svg>'
        )

    def _grid(self) -> str:
        parts = []
        for tick in self.x.ticks():
            left = self.at(tick, self.y.low).split(",")[0]
            parts.append(f'<path class="grid" d="M{left},{_TOP}V{_HEIGHT - _BOTTOM}"/>')
            parts.append(
                f'<text x="{left}" y="{_HEIGHT - _BOTTOM + 16}" class="mid">{tick:g}</text>'
            )
        for tick in self.y.ticks():
            top = self.at(self.x.low, tick).split(",")[1]
            parts.append(f'<path class="grid" d="M{_LEFT},{top}H{_WIDTH - _RIGHT}"/>')
            parts.append(f'<text x="{_LEFT - 7}" y="{top}" dy=".35em" class="end">{tick:g}</text>')
        across, down = (_LEFT + _WIDTH - _RIGHT) / 2, (_TOP + _HEIGHT - _BOTTOM) / 2
        places = (
            f'x="{across}" y="{_HEIGHT - 8}"',
            f'transform="translate(11,{down}) rotate(-90)"',
        )
        for place, axis in zip(places, (self.x, self.y), strict=True):
            parts.append(f'<text {place} class="mid name">{escape(axis.title)}</text>')
        return "".join(parts)


def hardest(figures: Figures, most: int = DRAWN) -> list[int]:
    """Indices of the classes with most wrong answers, in label order; all where they are few."""
    wrong = [c.false_positives + c.false_negatives for c in figures.classes]
    worst = sorted(range(len(wrong)), key=lambda index: -wrong[index])[:most]
    return sorted(worst)


def roc_plot(classes: Sequence[ClassFigures]) -> str:
    """ROC curves, one colour each (Fawcett 2006, doi:10.1016/j.patrec.2005.10.010)."""
    plot = Plot(
        "ROC curves: recall over the share of other photos that raise a false alarm",
        Axis("false alarms among other photos"), Axis("recall"),
    )  # fmt: skip
    guessing = plot.line((0, 1), (0, 1), "guide", title="guessing")
    return plot.svg([guessing, *_curves(plot, [(c.label, c.roc) for c in classes], "AUC")])


def precision_recall_plot(classes: Sequence[ClassFigures]) -> str:
    """Precision-recall curves (Davis & Goadrich 2006, doi:10.1145/1143844.1143874), as steps:
    between two of its points a precision cannot be had by drawing a straight line."""
    plot = Plot(
        "Precision-recall curves: which share of a class's calls is right, over the share found",
        Axis("recall"), Axis("precision"),
    )  # fmt: skip
    named = [(c.label, _stepped(c.precision_recall)) for c in classes]
    return plot.svg(_curves(plot, named, "area"))


def reliability_plot(calibration: Calibration) -> str:
    """Share right over score, before and after scaling; on the diagonal scores mean what they say
    (Guo et al. 2017, arXiv:1706.04599)."""
    plot = Plot(
        "Reliability: share of right answers over the score they came with",
        Axis("mean score"), Axis("share right"),
    )  # fmt: skip
    marks = [plot.line((0, 1), (0, 1), "guide", title="scores that mean what they say")]
    both = (("before", calibration.reliability_before), ("after", calibration.reliability))
    for css, rows in both:
        marks.append(plot.line([r[0] for r in rows], [r[1] for r in rows], css))
        most = max((row[2] for row in rows), default=1)
        for score, right, photos in rows:
            radius = 2.5 + 6 * math.sqrt(photos / most)
            tip = f"{css} scaling: {photos} photos, score {score:.2f}, right {right:.2f}"
            marks.append(plot.dot(score, right, radius, f"dot {css}", title=tip))
    return plot.svg(marks)


def history_plot(history: Sequence[Epoch], name: str) -> str:
    """``loss`` or ``accuracy`` of training and validation photos over the epochs of all phases."""
    train = [float(getattr(row, name)) for row in history]
    validation = [float(getattr(row, f"val_{name}")) for row in history]
    finite = [value for value in (*train, *validation) if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.05
    top = min(1.0, high + margin) if name == "accuracy" else high + margin
    steps = list(range(1, len(history) + 1))
    plot = Plot(
        f"{name.capitalize()} of training and validation photos over {len(history)} epochs",
        Axis("epoch", 0.5, len(history) + 0.5), Axis(name, max(0.0, low - margin), top),
    )  # fmt: skip
    lines = [
        plot.line(steps, train, "before", title="training"),
        plot.line(steps, validation, "after", title="validation"),
    ]
    return plot.svg([*_phases(plot, history), *lines])


def matrix(figures: Figures) -> str:
    """The confusion matrix as a table: counts and shares of the true class, both in every cell."""
    drawn = hardest(figures)
    counts = np.array(figures.confusion, int)
    labels = [figures.classes[index].label for index in drawn]
    folded = _folded(counts, drawn)
    if len(drawn) < len(counts):
        labels.append(f"{len(counts) - len(drawn)} others")
    shares = folded / np.maximum(folded.sum(axis=1, keepdims=True), 1)
    head = "".join(f'<th scope="col" title="{escape(x)}"><b>{escape(x)}</b></th>' for x in labels)
    rows = ""
    for row, label in enumerate(labels):
        cells = [
            _cell(int(folded[row, column]), float(share), _kind(row, column, len(drawn)))
            for column, share in enumerate(shares[row])
        ]
        name = escape(label)
        rows += f'<tr><th scope="row" title="{name}">{name}</th>{"".join(cells)}</tr>'
    return (
        '<table class="matrix"><caption>True class in rows, named class in columns</caption>'
        f'<thead><tr><td><span>true ↓ &nbsp; named →</span></td>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )  # fmt: skip


def thumbnail(photo: Pixels, alt: str) -> str:
    """A photo of (h, w, 3) uint8, R,G,B as an image inside the page."""
    height, width = photo.shape[:2]
    scale = min(1.0, THUMBNAIL_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 82))[1]
    text = base64.b64encode(bytes(encoded)).decode()
    return (
        f'<img src="data:image/jpeg;base64,{text}" alt="{escape(alt)}" '
        f'width="{size[0]}" height="{size[1]}">'
    )


def heated(photo: Pixels, heat: NDArray[np.float32]) -> Pixels:
    """The photo in grey under a glow where ``heat``, (h, w) from 0 to 1, is strong."""
    grey = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    levels = np.clip(heat * 255, 0, 255).astype(np.uint8)
    glow = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = (0.75 * heat)[..., None]
    return np.asarray(np.clip(grey * (1 - weight) * 0.85 + glow * weight, 0, 255), np.uint8)


def _curves(plot: Plot, curves: Sequence[tuple[str, Curve]], name: str) -> list[str]:
    return [
        plot.line(curve.x, curve.y, f"k{index}", title=f"{label}, {name} {curve.area:.3f}")
        for index, (label, curve) in enumerate(curves)
    ]


def _stepped(curve: Curve) -> Curve:
    x = [value for value in curve.x for _ in range(2)][:-1]
    y = [value for value in curve.y for _ in range(2)][1:]
    return Curve(tuple(x), tuple(y), curve.area)


def _phases(plot: Plot, history: Sequence[Epoch]) -> list[str]:
    """A mark and a name where another phase of training begins."""
    marks = []
    for index, row in enumerate(history):
        if index and row.phase == history[index - 1].phase:
            continue
        left = float(plot.at(index + 0.5, plot.y.low).split(",")[0])
        if index:
            marks.append(f'<path class="guide" d="M{left},{_TOP}V{_HEIGHT - _BOTTOM}"/>')
        name = escape(row.phase)
        marks.append(f'<text x="{left:.1f}" y="{_TOP - 7}">{name}</text>')
    return marks


def _folded(counts: NDArray[np.int_], drawn: Sequence[int]) -> NDArray[np.int_]:
    """Rows and columns that are not drawn, added up behind those that are."""
    rest = [index for index in range(len(counts)) if index not in drawn]
    parts = [[index] for index in drawn] + ([rest] if rest else [])
    return np.array([[counts[np.ix_(rows, columns)].sum() for columns in parts] for rows in parts])


def _kind(row: int, column: int, drawn: int) -> str:
    """The others named as others may be right or mixed up among themselves."""
    if row == column == drawn:
        return "rest"
    return "right" if row == column else "wrong"


def _cell(count: int, share: float, kind: str) -> str:
    if not count:
        return '<td class="none"><i>0</i><b>0</b></td>'
    figures = f"<i>{count}</i><b>{percent(share, 0)}</b>"
    if kind == "rest":
        return f'<td class="rest" title="right, or mixed up among themselves">{figures}</td>'
    # A mistake's heat grows with the root: one of ten must be seen beside nine of ten. The others
    # jump over the middle, where neither dark nor light figures have a contrast of 4.5.
    if kind == "wrong":
        heat = math.sqrt(share)
    elif share > 0.75:
        kind, heat = "right strong", 0.9 + 0.4 * (share - 0.75)
    else:
        heat = 0.6 * share
    return f'<td class="{kind}" style="--heat:{heat:.2f}">{figures}</td>'
