"""The court as a picture: accuracy against latency, and who is beaten by nobody."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightpost_edge.errors import writing_to

from .court import Ruling
from .judge import Judgement

CHOSEN, GOOD, OUT = "#1b7f4d", "#2d6cb5", "#b5523a"
"""Told apart by marker as well: not everybody sees red and green."""
MEANINGS = (("*", CHOSEN, "chosen"), ("o", GOOD, "within budget"), ("X", OUT, "out of budget"))
LEAST_SPAN = 0.05
"""Of the accuracy axis: a difference of one photo shall not look like an abyss."""


def pareto_front(rows: Sequence[Judgement]) -> list[Judgement]:
    """Those that nobody beats in both time and accuracy, the fastest first."""
    front: list[Judgement] = []
    for row in sorted(rows, key=lambda r: (r.median_ms, -r.accuracy)):
        if not front or row.accuracy > front[-1].accuracy:
            front.append(row)
    return front


def draw_court(ruling: Ruling, path: Path) -> None:
    """Write a PNG; nothing where no candidate was both judged and measured."""
    rows = [row for row in ruling.rows if row.timings and row.accuracy == row.accuracy]
    if not rows:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    front = pareto_front(rows)
    axes.plot(
        [r.median_ms for r in front], [r.accuracy for r in front],
        color="#999999", linewidth=1, zorder=1, label="beaten by nobody",
    )  # fmt: skip
    best = max(row.accuracy for row in rows)
    least = min(row.accuracy for row in rows)
    room = max(best - least, LEAST_SPAN)
    axes.set_ylim(best - 1.15 * room, best + 0.6 * room)
    axes.set_xscale("log")
    axes.margins(x=0.1)
    rows.sort(key=lambda row: row.median_ms)
    for place, row in enumerate(rows):
        _mark(axes, row, chosen=row is ruling.chosen)
        _label(axes, row, (place + 0.5) / len(rows), chosen=row is ruling.chosen)
    axes.set_xlabel(f"median ms for one inference, 1 thread\n{ruling.report.measured_on}")
    axes.set_ylabel(f"accuracy on {max(row.photos for row in rows)} held-out photos")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    for marker, colour, meaning in MEANINGS:
        axes.scatter([], [], marker=marker, c=colour, s=60, label=meaning)
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    with writing_to(path):
        figure.savefig(path, dpi=130)


def _colour(row: Judgement, *, chosen: bool) -> str:
    return CHOSEN if chosen else GOOD if row.within_budget else OUT


def _mark(axes: Any, row: Judgement, *, chosen: bool) -> None:
    marker = MEANINGS[0 if chosen else 1 if row.within_budget else 2][0]
    axes.scatter(
        [row.median_ms], [row.accuracy], s=220 if chosen else 70, marker=marker,
        c=_colour(row, chosen=chosen), edgecolors="white", zorder=2,
    )  # fmt: skip


def _label(axes: Any, row: Judgement, place: float, *, chosen: bool) -> None:
    """Side by side above the points, each with a line to its own: points may coincide."""
    colour = _colour(row, chosen=chosen)
    axes.annotate(
        f"{row.kind}\n{row.accuracy:.3f}\n{row.median_ms:.2f} ms\n{row.size_bytes / 1024:.0f} KiB",
        (row.median_ms, row.accuracy), xytext=(place, 0.98), textcoords="axes fraction",
        ha="center", va="top", fontsize=8, color=colour,
        fontweight="bold" if chosen else "normal",
        arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.6},
    )  # fmt: skip
