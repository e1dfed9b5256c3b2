"""How events, camera health and counts look on a terminal: local time, and how far to trust it."""

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from ..clock import to_ms
from ..localtime import local
from ..store.watched import TRUSTED
from ..text import printable
from .common import print_table

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


def print_events(found: "Sequence[StoredEvent]", *, zone: tzinfo | None = None) -> None:
    """A line for each; "~" before a time that cannot be trusted, "*" behind a marked number."""
    regions = any(e.region for e in found)
    heading, times = _times([(e.started_at, e.clock_quality) for e in found], zone)
    rows = [
        [
            f"{e.seq}{'*' * e.marked}", time, printable(e.label), f"{e.score:.2f}",
            *[e.region] * regions, e.frame_name or f"{e.started_s:.1f}-{e.ended_s:.1f} s",
            e.model, e.source, e.snapshot,
        ]
        for e, time in zip(found, times, strict=True)
    ]  # fmt: skip
    columns = ["#", heading, "label", "score", *["region"] * regions, "when", "model", "source",
               "snapshot"]  # fmt: skip
    print_table(rows, columns)
    if any(e.marked for e in found):
        _say("* marked: kept whatever happens")
    _legend(e.clock_quality for e in found)


def print_health(found: "Sequence[StoredHealth]", *, zone: tzinfo | None = None) -> None:
    """A line for each fault that began and each that was over."""
    heading, times = _times([(h.at, h.clock_quality) for h in found], zone)
    rows = [
        [time, h.fault, "over" if h.ok else "began", h.detail]
        for h, time in zip(found, times, strict=True)
    ]
    print_table(rows, [heading, "fault", "", "detail"])
    _legend(h.clock_quality for h in found)


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


def _times(found: Sequence[tuple[str, str]], zone: tzinfo | None) -> tuple[str, list[str]]:
    """A column's heading and its cells; the offset stands in the heading where all have one."""
    times = [(local(to_ms(datetime.fromisoformat(text)), zone), worth) for text, worth in found]
    offsets = {when.isoformat()[-6:] for when, _ in times}
    one = len(offsets) == 1
    cells = []
    for when, worth in times:
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


def _legend(worths: Iterable[str]) -> None:
    if any(worth not in TRUSTED for worth in worths):
        _say("~ the clock was not known to be right: the time may be wrong")


def _say(text: str) -> None:
    sys.stdout.flush()
    print(f"sightpost: {text}", file=sys.stderr)
