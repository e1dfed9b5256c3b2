"""``sightpost events export``: events for other people's programs."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..config import Site
    from ..export.survey import Survey
    from ..store import StoredEvent
    from ..store.queries import EventFilter

Format = Literal["jsonl", "csv", "megadetector", "camtrap-dp"]
SHOWN_LABELS = 5


def export(
    ctx: typer.Context,
    store: Annotated[
        Path | None, typer.Option(help="The store's folder, if not the usual one.")
    ] = None,
    label: Annotated[str, typer.Option(help="Only events with this label.")] = "",
    since: Annotated[
        str, typer.Option(help="Only events from then on: 2026-11-21, 2026-11-21T18:00, 2h, today.")
    ] = "",
    until: Annotated[str, typer.Option(help="Only events before then; a day counts whole.")] = "",
    min_score: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Only events at least this sure.")
    ] = None,
    format: Annotated[
        Format, typer.Option(help="camtrap-dp makes a folder: it needs --to and --config.")
    ] = "jsonl",
    to: Annotated[
        Path | None, typer.Option(help="Write there, whole or not at all; else to stdout.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The station's file: its [deployment], and its store.")
    ] = None,
) -> None:
    """Write events as JSON lines, CSV, MegaDetector's JSON or a Camtrap DP package."""
    from ..config import Site, load
    from ..localtime import read_when
    from ..store import default_folder
    from ..store.queries import EventFilter

    site = load(Site, config) if config else Site()
    kept = Path(site.store) if site.store else default_folder()
    wanted = EventFilter(
        label=label,
        since_ms=read_when(since) if since else None,
        until_ms=read_when(until, whole_day=True) if until else None,
        min_score=min_score,
    )
    work = _Export(store or (ctx.obj[0] if ctx.obj else None) or kept, site, wanted)
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
        if to is None:
            for line in self._lines(form, shown=not sys.stdout.isatty()):
                sys.stdout.write(line)
            return
        from ..durable import make_folder, writing

        make_folder(to.absolute().parent)
        with writing(to.absolute()) as file:
            for line in self._lines(form, shown=True):
                file.write(line.encode())

    def _lines(self, form: str, *, shown: bool) -> Iterator[str]:
        from ..export.megadetector import megadetector_lines
        from ..export.plain import csv_lines, json_lines
        from ..export.runs import Runs
        from ..store.queries import iter_events

        events = _counted(iter_events(self.store, self.wanted), shown=shown)
        if form == "megadetector":
            return megadetector_lines(events, Runs(self.store), self.site.deployment.species)
        return csv_lines(events) if form == "csv" else json_lines(events)

    def package(self, to: Path) -> None:
        """The folder of a Camtrap DP package."""
        from ..export.camtrap import Selection, write_package
        from ..store.queries import iter_events

        start_ms, end_ms = self.site.deployment.period_ms
        since_ms = _tighter(max, start_ms, self.wanted.since_ms)
        until_ms = _tighter(min, end_ms, self.wanted.until_ms)
        wanted = self.wanted
        survey = write_package(
            _counted(iter_events(self.store, wanted), shown=True),
            self.store, to, self.site.deployment,
            device=_device(self.site), selection=Selection(since_ms, until_ms, _in_words(wanted)),
        )  # fmt: skip
        _say(survey, to)


def _counted(events: "Iterable[StoredEvent]", *, shown: bool) -> "Iterator[StoredEvent]":
    """The same events; a line on stderr says how many there have been."""
    from .progress import Line

    with closing(Line(shown=shown)) as line:
        for number, event in enumerate(events, 1):
            yield event
            line.show(f"{number:,} events")


def _tighter(pick: Callable[..., int | None], *bounds: int | None) -> int | None:
    """Of bounds any of which may be open; ``pick`` is min or max."""
    return pick((bound for bound in bounds if bound is not None), default=None)


def _in_words(wanted: "EventFilter") -> str:
    """What an absence in the package does not mean."""
    label = f'Only events labelled "{wanted.label}".' if wanted.label else ""
    least = wanted.min_score
    score = "" if least is None else f"Only events with a score of {least:g} or more."
    return " ".join(filter(None, (label, score)))


def _device(site: "Site") -> str:
    import platform

    return site.name or platform.node() or "station"


def _say(survey: "Survey", to: Path) -> None:
    """What was written, and what would make it better."""
    say = [
        f"{_count(survey.events, 'event')} in {_count(survey.sequences, 'sequence')}, "
        f"{_count(survey.media, 'picture or clip', 'pictures and clips')}, "
        f"{_count(survey.observations, 'observation')}: {to}"
    ]
    if survey.outside:
        before = _count(survey.outside, "event")
        say.append(f"left out: {before} that began before or after the deployment")
    if survey.lost:
        say.append(f"no longer in the store: {_count(survey.lost, 'picture')}")
    if survey.doubtful:
        say.append(f"timestampIssues is true. {survey.clock_report}")
    if survey.unnamed:
        labels = [label for label, _ in survey.unnamed.most_common(SHOWN_LABELS)]
        more = ", ..." if len(survey.unnamed) > SHOWN_LABELS else ""
        say.append(f"no scientific name for {', '.join(labels)}{more}: [deployment.species]")
    for line in say:
        print(f"sightpost: {line}", file=sys.stderr)


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"
