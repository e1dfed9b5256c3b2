"""Tells an Event's story in words and, on a terminal, as a chart of scores over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from .reasons import REASONS
from .records import Moment
from .why import ROUNDING_S, Explanation

ROWS, COLUMNS = 8, 64
_EIGHTHS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known, or not, under its name."""

    name: str
    text: str


def title(explanation: Explanation) -> str:
    """The event in a line."""
    event = explanation.event
    where = event.frame_name or f"{event.started_s:.1f}-{event.ended_s:.1f} s"
    region = f" in {event.region}" if event.region else ""
    source = PurePath(event.source).name or event.source
    return f"event {event.seq}: {event.label} {event.score:.2f}{region}, {where} of {source}"


def facts(explanation: Explanation) -> list[Fact]:
    """Everything that is known, in the order in which one would ask for it."""
    event = explanation.event
    frames = "one frame" if event.frames == 1 else f"{event.frames} frames"
    lasted = f"{event.ended_s - event.started_s:.1f} s in {frames}"
    return [
        Fact("named by", f"{event.named_by}. {explanation.named}"),
        *_opening(explanation),
        *_peak(explanation),
        _closing(explanation),
        Fact("lasted", lasted),
        *_before(explanation),
        *_novelty(explanation),
        *_picture(explanation),
        *(Fact("not known", gap) for gap in explanation.gaps),
    ]


def _opening(explanation: Explanation) -> list[Fact]:
    opening, figures = explanation.opening, explanation.figures
    if opening is None:
        return []
    started_s = explanation.event.started_s
    limit = f", threshold {figures.threshold:.2f}" if figures else ""
    sure = f"at {opening.elapsed_s:.1f} s with {opening.label} {opening.score:.2f}{limit}"
    if opening.elapsed_s > started_s + ROUNDING_S:
        text = f"{sure}: it had led from {started_s:.1f} s on, and took over."
    else:
        text = f"{sure}. {REASONS.get(opening.reason, '')}".rstrip()
    return [Fact("opened", text)]


def _peak(explanation: Explanation) -> list[Fact]:
    peak, margin = explanation.peak, explanation.margin
    if peak is None:
        return []
    text = f"at {peak.elapsed_s:.1f} s: {peak.label} {peak.score:.2f}"
    if margin is not None:
        text += f", {margin:.2f} ahead of {peak.runner_up} {peak.second:.2f}"
    elif explanation.second_is_its_own:
        text += f", of which {peak.runner_up} {peak.second:.2f}"
    return [Fact("peak", text)]


def _closing(explanation: Explanation) -> Fact:
    event, figures = explanation.event, explanation.figures
    limit = f", leave {figures.leave:.2f}" if figures and event.reason == "left" else ""
    text = f"at {event.decided_s:.1f} s, {event.reason}{limit}. {explanation.closing}"
    return Fact("closed", text.rstrip())


def _before(explanation: Explanation) -> list[Fact]:
    """Why there was no Event yet, a line for each reason that held."""
    found = []
    for part in explanation.before:
        span = f"{part.from_s:.1f}-{part.to_s:.1f} s"
        found.append(Fact("before", f"{span}, {part.title}. {part.sentence}".rstrip()))
    return found


def _novelty(explanation: Explanation) -> list[Fact]:
    novelty, limit = explanation.event.novelty, explanation.seen.novelty_threshold
    if novelty is None:
        return []
    if limit is None:
        return [Fact("novelty", f"{novelty:.3g}, against a threshold that is not known")]
    word = "over" if novelty > limit else "not over"
    return [Fact("novelty", f"{novelty:.3g} at the peak, {word} the threshold of {limit:.3g}")]


def _picture(explanation: Explanation) -> list[Fact]:
    """What the model says of the snapshot now, and the training photos it is most like."""
    seen, found = explanation.seen, []
    if seen.scores:
        scores = ", ".join(f"{label} {score:.2f}" for label, score in seen.scores)
        found.append(Fact("picture", f"the snapshot by itself: {scores}"))
    for one in seen.nearest:
        found.append(Fact("most like", f"{one.name} ({one.label}), distance {one.distance:.2f}"))
    return found


def chart(explanation: Explanation, *, columns: int = COLUMNS, rows: int = ROWS) -> list[str]:
    """Lines of text: the surest score over time, its height in blocks.

    Below it stands when the Event began (``[``), peaked (``^``) and was gone (``]``), and with
    ``x`` where another label led. The threshold is a dashed row.
    """
    trace, event = explanation.trace, explanation.event
    if not trace:
        return []
    start_s, end_s = trace[0].elapsed_s, trace[-1].elapsed_s
    bins = _binned(trace, start_s, end_s, columns)
    limit = explanation.figures.threshold if explanation.figures else None
    lines = [_row(bins, row, rows, limit) for row in range(rows - 1, -1, -1)]
    marks = ["x" if m is not None and m.label not in explanation.kin else " " for m in bins]
    for sign, at_s in (("^", event.peak_s), ("]", event.ended_s), ("[", event.started_s)):
        marks[_column(at_s, start_s, end_s, columns)] = sign
    first, last = f"{start_s:.1f} s", f"{end_s:.1f} s"
    ends = first.ljust(max(columns - len(last), len(first) + 1)) + last
    return [*lines, f"      {''.join(marks)}".rstrip(), f"      {ends}"]


def _column(at_s: float, start_s: float, end_s: float, columns: int) -> int:
    share = (at_s - start_s) / max(end_s - start_s, 1e-9)
    return int(min(columns - 1, max(0, share * columns)))


def _binned(
    trace: Sequence[Moment], start_s: float, end_s: float, columns: int
) -> list[Moment | None]:
    """The best moment of each column; one without any shows the moment before it."""
    found: list[Moment | None] = [None] * columns
    for moment in trace:
        place = _column(moment.elapsed_s, start_s, end_s, columns)
        held = found[place]
        if held is None or moment.score > held.score:
            found[place] = moment
    for place in range(1, columns):
        found[place] = found[place] or found[place - 1]
    return found


def _row(bins: Sequence[Moment | None], row: int, rows: int, limit: float | None) -> str:
    at_limit = limit is not None and int(min(limit, 0.999) * rows) == row
    name = "1.0 " if row == rows - 1 else "0.0 " if row == 0 else "    "
    name = f"{limit:.2f}" if at_limit and limit is not None else name
    empty = "-" if at_limit else " "
    cells = (_cell(moment, row, rows, empty) for moment in bins)
    return f"{name} |{''.join(cells)}".rstrip()


def _cell(moment: Moment | None, row: int, rows: int, empty: str) -> str:
    filled = 0.0 if moment is None else moment.score * rows - row
    eighths = int(np.clip(round(filled * 8), 0, 8))
    return _EIGHTHS[eighths] if eighths else empty
