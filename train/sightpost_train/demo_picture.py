"""The demo's result as a picture: what the camera saw, what was logged, and the truth beside it."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from sightpost_edge.pixels import read_photo

if TYPE_CHECKING:
    from .demo import DemoResult

COLORS = {"ok": "#2e8b57", "scratch": "#d62728", "missing_hole": "#ff7f0e", "wrong_part": "#9467bd"}
TILES = 10


def draw_result(result: "DemoResult", store: Path) -> bytes:
    """A PNG: snapshots of events above, the time line of truth and events below."""
    figure = Figure(figsize=(13, 6.4), dpi=110, layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    upper, lower = parts
    _tiles(upper, result, store)
    _timeline(lower.subplots(), result)
    score = result.score
    figure.suptitle(
        f"{score.total.passages} parts passed the camera: precision {score.precision:.2f}, "
        f"recall {score.recall:.2f}, verdict {score.delay_s:.1f} s after the part",
        fontsize=14,
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _tiles(figure: Any, result: "DemoResult", store: Path) -> None:
    """Snapshots with verdict and score, every label as often as the others where it can be."""
    wrong = set(result.score.false)
    grid = figure.subplots(2, TILES // 2, squeeze=False).reshape(-1)
    for axes in grid:
        axes.set_axis_off()
    for axes, index in zip(grid, _picked(result), strict=False):
        event = result.events[index]
        axes.imshow(read_photo(store / event.snapshot))
        mark = " (false)" if index in wrong else ""
        axes.set_title(
            f"{event.peak_s:.1f} s  {event.label} {event.score:.2f}{mark}",
            color=COLORS.get(event.label, "black"), fontsize=10,
        )  # fmt: skip


def _picked(result: "DemoResult") -> list[int]:
    """Indices of events to show: the mistakes first, then each label in turn, in order of time."""
    turns: list[tuple[bool, int, int]] = []
    seen: dict[str, int] = {}
    for index, event in enumerate(result.events):
        seen[event.label] = seen.get(event.label, 0) + 1
        turns.append((index not in result.score.false, seen[event.label], index))
    return sorted(index for _, _, index in sorted(turns)[:TILES])


def _timeline(axes: Any, result: "DemoResult") -> None:
    """Truth in the upper row, events in the lower one; black crosses are mistakes."""
    for passing in result.passings:
        axes.barh(1, 0.9, left=passing.centre_s - 0.45, color=COLORS[passing.label], height=0.7)
    for event in result.events:
        axes.barh(
            0, max(0.1, event.ended_s - event.started_s), left=event.started_s,
            color=COLORS.get(event.label, "grey"), height=0.7,
        )  # fmt: skip
    for index in result.score.missed:
        axes.plot(result.passings[index].centre_s, 1, "kx")
    for index in result.score.false:
        event = result.events[index]
        axes.plot((event.started_s + event.ended_s) / 2, 0, "kx")
    axes.set_yticks((0, 1), ("events", "truth"))
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds of video")
    axes.spines[["top", "right"]].set_visible(False)
    handles = [axes.bar(0, 0, color=color, label=label) for label, color in COLORS.items()]
    axes.legend(handles=handles, ncol=len(handles), loc="upper center", bbox_to_anchor=(0.5, 1.22))
