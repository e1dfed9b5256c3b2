"""``sightpost events export``: events for other people's programs."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import ConfigError
from .event_options import (
    Label,
    Last,
    Marked,
    Score,
    Since,
    Store,
    Until,
    check_parent,
    folder_of,
    many,
    nothing_found,
    say,
    wanted_of,
)

if TYPE_CHECKING:
    from ..config import Site
    from ..export.survey import Survey
    from ..store import StoredEvent
    from ..store.queries import EventFilter

Format = Literal["jsonl", "csv", "megadetector", "camtrap-dp"]


def export(
    ctx: typer.Context,
    store: Store = None,
    label: Label = "",
    since: Since = "",
    until: Until = "",
    min_score: Score = None,
    marked: Marked = False,
    last: Last = None,
    format: Annotated[
        Format, typer.Option(help="camtrap-dp makes a folder: it needs --to and --config.")
    ] = "jsonl",
    to: Annotated[
        Path | None,
        typer.Option(
            help="Write there, whole or not at all; else to stdout. A file that is there is "
            "replaced, a folder with something in it is refused."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The station's file: its [deployment], and its store.")
    ] = None,
) -> None:
    """Write events as JSON lines, CSV, MegaDetector's JSON or a Camtrap DP package."""
    from ..config import Site, load

    site = load(Site, config) if config else Site()
    folder = folder_of(ctx, store, Path(site.store) if site.store else None)
    work = _Export(folder, site, wanted_of(label, since, until, min_score, marked, last))
    if to is not None:
        check_parent(to)
    if format != "camtrap-dp":
        work.lines(format, to)
    elif to is None:
        raise ConfigError("a Camtrap DP package is a folder", hint="name it with --to FOLDER")
    else:
        work.package(to)


@dataclass(frozen=True, slots=True)
class _Export:
    """Which events of which store, for whom."""

    store: Path
    site: "Site"
    wanted: "EventFilter"

    def lines(self, form: str, to: Path | None) -> None:
        """To stdout, or to a file that appears when it is whole."""
        events = self._events(visible=to is not None or not sys.stdout.isatty())
        if events.empty:
            nothing_found(self.store, self.wanted)
        if to is None:
            for line in self._lines(form, events):
                sys.stdout.write(line)
            return
        from ..durable import writing

        with writing(to.absolute()) as file:
            for line in self._lines(form, events):
                file.write(line.encode())
        some = f", {events.pictured:,} of them with a picture" if form == "megadetector" else ""
        say(f"{many(events.number, 'event')}{some}: {to}")

    def _events(self, *, visible: bool) -> "_Counted":
        from ..store.queries import iter_events

        return _Counted(iter_events(self.store, self.wanted), visible)

    def _lines(self, form: str, events: "Iterable[StoredEvent]") -> Iterator[str]:
        from ..export.megadetector import megadetector_lines
        from ..export.plain import csv_lines, json_lines
        from ..export.runs import Runs

        if form == "megadetector":
            return megadetector_lines(events, Runs(self.store), self.site.deployment.species)
        return csv_lines(events) if form == "csv" else json_lines(events)

    def package(self, to: Path) -> None:
        """The folder of a Camtrap DP package."""
        from ..export.camtrap import Selection, write_package
        from ..store.queries import check_label

        start_ms, end_ms = self.site.deployment.period_ms
        since_ms = _tighter(max, start_ms, self.wanted.since_ms)
        until_ms = _tighter(min, end_ms, self.wanted.until_ms)
        wanted, events = self.wanted, self._events(visible=True)
        if events.empty:
            check_label(self.store, wanted.label)
        survey = write_package(
            events, self.store, to, self.site.deployment,
            device=_device(self.site), selection=Selection(since_ms, until_ms, _in_words(wanted)),
        )  # fmt: skip
        _report(survey, to, all_labels=not wanted.label)


@dataclass(slots=True)
class _Counted:
    """The same events, the first of them read at once: what is wrong with a store is said before
    anything is written. ``number`` have passed by, ``pictured`` of them with a picture."""

    events: "Iterator[StoredEvent]"
    visible: bool
    number: int = 0
    pictured: int = 0
    empty: bool = False

    def __post_init__(self) -> None:
        first = list(islice(self.events, 1))
        self.empty, self.events = not first, chain(first, self.events)

    def __iter__(self) -> "Iterator[StoredEvent]":
        from .progress import Line

        with closing(Line(shown=self.visible)) as line:
            for event in self.events:
                self.number += 1
                self.pictured += bool(event.snapshot)
                yield event
                line.show(f"{self.number:,} events")


def _tighter(pick: Callable[..., int | None], *bounds: int | None) -> int | None:
    """Of bounds any of which may be open; ``pick`` is min or max."""
    return pick((bound for bound in bounds if bound is not None), default=None)


def _in_words(wanted: "EventFilter") -> str:
    """What an absence in the package does not mean."""
    least = wanted.min_score
    words = [
        f'Only events labelled "{wanted.label}".' if wanted.label else "",
        "" if least is None else f"Only events with a score of {least:g} or more.",
        "Only events that a person marked." if wanted.marked else "",
        "" if wanted.last is None else f"Only the newest {wanted.last:,} events.",
    ]
    return " ".join(filter(None, words))


def _device(site: "Site") -> str:
    import platform

    return site.name or platform.node() or "station"


def _report(survey: "Survey", to: Path, *, all_labels: bool) -> None:
    """What was written, and what would make it better."""
    say(
        f"{many(survey.events, 'event')} in {many(survey.sequences, 'sequence')}, "
        f"{many(survey.media, 'picture or clip', 'pictures and clips')}, "
        f"{many(survey.observations, 'observation')}: {to}"
    )
    if survey.outside:
        say(f"left out: {many(survey.outside, 'event')} that began before or after the deployment")
    if survey.lost:
        say(f"no longer in the store: {many(survey.lost, 'picture')}")
    if survey.doubtful:
        say(f"timestampIssues is true. {survey.clock_report}")
    if survey.unnamed:
        say("no scientific name for these; complete and put them under [deployment.species]:")
        for label, _ in survey.unnamed.most_common():
            print(f'{_toml(label)} = ""', file=sys.stderr)
    strange = [label for label in survey.station.species if label not in survey.labels]
    if strange and all_labels:
        say("[deployment.species] names what no event here is called: "
            + ", ".join(map(_toml, strange)))  # fmt: skip


def _toml(text: str) -> str:
    """A string as TOML writes it, which is JSON's way; nothing in it steers a terminal."""
    return "".join(
        c if c.isprintable() else f"\\U{ord(c):08X}" for c in json.dumps(text, ensure_ascii=False)
    )
