"""How events, camera health and counts look on a terminal: local time, and how far to trust it."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from ..clock import to_ms
from ..localtime import local
from ..store.watched import TRUSTED, is_live
from ..text import printable
from .common import print_table
from .event_options import say

if TYPE_CHECKING:
    from ..store import StoredEvent, StoredHealth
    from ..store.counts import Count

_CLOCKS = {
    "synchronized": "the clock was synchronized",
    "recording": "the recording's own time",
    "unsynchronized": "the clock had not been synchronized: the time may be wrong",
    "unknown": "nobody could tell whether the clock was right",
}
_PICTURES = ("snapshot", "clip")
_DISPENSABLE = ("snapshot", "source", "model")
"""Columns that a narrow terminal does without, in this order: ``events show`` has them."""


def print_events(
    found: "Sequence[StoredEvent]", *, zone: tzinfo | None = None, columns: int | None = None
) -> None:
    """A line for each; "~" before a time that cannot be trusted, "*" behind a marked number.

    ``columns`` is the terminal's width, None where the output is none and everything is shown.
    """
    regions = any(e.region for e in found)
    heading, cells = times([(e.started_at, e.clock_quality) for e in found], zone)
    rows = [
        [
            f"{e.seq}{'*' * e.marked}", time, printable(e.label), f"{e.score:.2f}",
            *[e.region] * regions, _when(e),
            e.model, e.source, e.snapshot,
        ]
        for e, time in zip(found, cells, strict=True)
    ]  # fmt: skip
    names = ["#", heading, "label", "score", *["region"] * regions, "when", "model", "source",
             "snapshot"]  # fmt: skip
    print_table(*_fitting(rows, names, columns))
    if any(e.marked for e in found):
        say("* marked: kept whatever happens")
    doubtful_legend(e.clock_quality for e in found)


def _when(event: "StoredEvent") -> str:
    """A photo's name, where in a recording, or how long: hours since a camera was switched on are
    nothing to look up."""
    if event.frame_name:
        return printable(event.frame_name)
    if is_live(event.source):
        return f"{event.ended_s - event.started_s:.1f} s"
    return f"{event.started_s:.1f}-{event.ended_s:.1f} s"


def _fitting(
    rows: list[list[str]], names: list[str], columns: int | None
) -> tuple[list[list[str]], list[str]]:
    """The table without the columns that the terminal has no room for."""
    for name in _DISPENSABLE:
        widths = [max(map(len, cells)) for cells in zip(names, *rows, strict=True)]
        if columns is None or sum(widths) + 2 * (len(widths) - 1) <= columns:
            break
        place = names.index(name)
        rows = [[*row[:place], *row[place + 1 :]] for row in rows]
        names = [*names[:place], *names[place + 1 :]]
    return rows, names


def print_health(found: "Sequence[StoredHealth]", *, zone: tzinfo | None = None) -> None:
    """A line for each fault that began and each that was over."""
    heading, cells = times([(h.at, h.clock_quality) for h in found], zone)
    rows = [
        [time, h.fault, "over" if h.ok else "began", h.detail]
        for h, time in zip(found, cells, strict=True)
    ]
    print_table(rows, [heading, "fault", "", "detail"])
    doubtful_legend(h.clock_quality for h in found)


def print_dropped(counters: Mapping[str, int]) -> None:
    """One line: a station without a network shows here what it had to give up."""
    words = [f"{name.removesuffix(' dropped')} {number:,}" for name, number in counters.items()]
    print(f"dropped so far: {', '.join(words) or 'nothing'}")


def print_event(event: "StoredEvent", folder: Path, *, zone: tzinfo | None = None) -> None:
    """All that is known of one."""
    for name, value in dataclasses.asdict(event).items():
        shown = value
        if name in ("started_at", "ended_at"):
            when = local(to_ms(datetime.fromisoformat(value)), zone)
            shown = when.isoformat(" ", "milliseconds")
        elif name in _PICTURES and value:
            shown = folder / value
        elif name == "clock_quality":
            shown = f"{value}: {_clock(event)}"
        elif name == "marked":
            shown = "yes, kept whatever happens" if value else "no"
        print(f"{name:<14} {printable(str(shown))}".rstrip())


def print_counts(found: "Sequence[Count]", what: str) -> None:
    """A line for each, the figures below one another."""
    width = max([len(what), *(len(printable(one.name)) for one in found)])
    digits = max(len("events"), *(len(f"{one.events:,}") for one in found))
    print(f"{what:<{width}}  {'events':>{digits}}")
    for one in found:
        print(f"{printable(one.name):<{width}}  {one.events:>{digits},}")


def times(found: Sequence[tuple[str, str]], zone: tzinfo | None = None) -> tuple[str, list[str]]:
    """A column's heading and its cells; the offset stands in the heading where all have one.

    Args:
        found: times in UTC, ISO 8601, each with its clock quality.
        zone: the system's by default.
    """
    read = [(local(to_ms(datetime.fromisoformat(text)), zone), worth) for text, worth in found]
    offsets = {when.isoformat()[-6:] for when, _ in read}
    one = len(offsets) == 1
    cells = []
    for when, worth in read:
        shown = when.replace(tzinfo=None) if one else when
        mark = " " if worth in TRUSTED else "~"
        cells.append(f"{mark}{shown.isoformat(' ', 'seconds')}")
    if all(cell[0] == " " for cell in cells):
        cells = [cell[1:] for cell in cells]
    return f"time (UTC{offsets.pop()})" if one else "local time", cells


def _clock(event: "StoredEvent") -> str:
    if event.clock_quality == "corrected":
        return f"put right by {event.clock_shift_ms / 1000:+,.1f} s when time arrived"
    return _CLOCKS.get(event.clock_quality, "what this means is not known")


def doubtful_legend(worths: Iterable[str]) -> None:
    """What "~" means, where there is one."""
    if any(worth not in TRUSTED for worth in worths):
        say("~ the clock was not known to be right: the time may be wrong")
