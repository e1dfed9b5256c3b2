"""``sightpost events``: what was logged."""

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, StoreError
from .export import export
from .samples import samples

if TYPE_CHECKING:
    from ..charts import Chart
    from ..store.queries import EventFilter

events = typer.Typer(rich_markup_mode=None, no_args_is_help=False, add_completion=False)

Store = Annotated[Path | None, typer.Option(help="The store's folder, if not the usual one.")]
Label = Annotated[str, typer.Option(help="Only events with this label.")]
Since = Annotated[
    str, typer.Option(help="Only events from then on: 2026-11-21, 2026-11-21T18:00, 2h, today.")
]
Until = Annotated[str, typer.Option(help="Only events before then; a day counts whole.")]
Score = Annotated[float | None, typer.Option(min=0, max=1, help="Only events at least this sure.")]
Marked = Annotated[bool, typer.Option("--marked", help="Only events that a person marked.")]
Last = Annotated[int | None, typer.Option(min=1, help="Only the newest so many.")]
Numbers = Annotated[list[int], typer.Argument(help="Events by their numbers, as listed.")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines, times in UTC.")]


class By(enum.StrEnum):
    """What events are counted by; see store.counts.STEPS_MS."""

    HOUR = "hour"
    DAY = "day"
    LABEL = "label"
    HOUR_OF_DAY = "hour-of-day"


class What(enum.StrEnum):
    """The charts; see charts.CHARTS."""

    ACTIVITY = "activity"
    ACCUMULATION = "accumulation"
    YIELD = "yield"


@events.callback(invoke_without_command=True)
def group(ctx: typer.Context, store: Store = None, json: Json = False) -> None:
    """Show what was logged (bare: list the newest)."""
    ctx.obj = (store, json)
    if ctx.invoked_subcommand is None:
        list_(ctx, json=json)


@events.command("list")
def list_(
    ctx: typer.Context,
    store: Store = None,
    label: Label = "",
    since: Since = "",
    until: Until = "",
    min_score: Score = None,
    marked: Marked = False,
    last: Annotated[int, typer.Option(min=1, help="Only the newest so many.")] = 50,
    json: Json = False,
) -> None:
    """List the newest events, oldest first, in the order in which they were logged."""
    from ..store.queries import find_events
    from .common import as_json

    wanted = _wanted(label, since, until, min_score, marked, last)
    found = find_events(_folder(ctx, store), wanted)
    if json or ctx.obj[1]:
        for event in found:
            print(as_json(event))
    elif found:
        from .event_tables import print_events

        print_events(found)
    else:
        _none()


@events.command()
def show(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(help="The event's number, as listed.")],
    store: Store = None,
    json: Json = False,
) -> None:
    """Show everything that is known about one event."""
    from ..store import read_events

    folder = _folder(ctx, store)
    found = read_events(folder, seq=number)
    if not found:
        raise StoreError(f"no event {number} in {folder}", hint="sightpost events list shows them")
    if json or ctx.obj[1]:
        from .common import as_json

        print(as_json(found[0]))
    else:
        from .event_tables import print_event

        print_event(found[0], folder)


@events.command()
def health(
    ctx: typer.Context,
    store: Store = None,
    last: Annotated[int, typer.Option(min=1, help="Only the newest so many.")] = 50,
    json: Json = False,
) -> None:
    """List what happened to the camera: faults that began and faults that were over."""
    from ..store import read_health
    from .common import as_json

    found = read_health(_folder(ctx, store), last=last)
    if json or ctx.obj[1]:
        for row in found:
            print(as_json(row))
    elif found:
        from .event_tables import print_health

        print_health(found)
    else:
        print("sightpost: no camera faults so far", file=sys.stderr)


@events.command()
def count(
    ctx: typer.Context,
    store: Store = None,
    by: Annotated[By, typer.Option(help="What to count by.")] = By.LABEL,
    label: Label = "",
    since: Since = "",
    until: Until = "",
    min_score: Score = None,
    marked: Marked = False,
    last: Last = None,
    json: Json = False,
) -> None:
    """Count events; hours and days are those of local time."""
    from ..clock import iso
    from ..store.counts import count_by
    from .common import as_json

    wanted = _wanted(label, since, until, min_score, marked, last)
    found = count_by(_folder(ctx, store), by.value, wanted)
    if json or ctx.obj[1]:
        for one in found:
            began = {} if one.started_ms is None else {"started_at": iso(one.started_ms)}
            print(as_json({by.value: one.name, **began, "events": one.events}))
    elif found:
        from .event_tables import print_counts

        print_counts(found, by.value)
    else:
        _none()


@events.command()
def chart(
    ctx: typer.Context,
    what: Annotated[What, typer.Argument(help="Which one.")] = What.ACTIVITY,
    store: Store = None,
    save: Annotated[
        Path | None, typer.Option(help="Draw to this .png or .html instead of the terminal.")
    ] = None,
    label: Label = "",
    since: Since = "",
    until: Until = "",
    min_score: Score = None,
    marked: Marked = False,
    last: Last = None,
) -> None:
    """Draw who comes at what hour, how many labels were found by when, or events over time."""
    if save and save.suffix.lower() not in (".png", ".html"):
        raise ConfigError(f"cannot draw to {save}", hint="name a file that ends in .png or .html")
    from ..chart_text import room
    from ..charts import SLOTS, chart_of

    columns = _columns()
    wanted = _wanted(label, since, until, min_score, marked, last)
    most = SLOTS if save else room(columns)
    drawn = chart_of(_folder(ctx, store), what.value, wanted, most=most)
    if drawn.empty:
        _none()
    elif save:
        _save(drawn, save)
    else:
        from ..chart_text import draw_text

        print("\n".join(draw_text(drawn, width=columns, ascii_only=_ascii_only())))


@events.command()
def mark(ctx: typer.Context, numbers: Numbers, store: Store = None) -> None:
    """Keep events for ever: neither a full disk nor age deletes them."""
    _mark(_folder(ctx, store), numbers, keep=True)


@events.command()
def unmark(ctx: typer.Context, numbers: Numbers, store: Store = None) -> None:
    """Treat events like all others again."""
    _mark(_folder(ctx, store), numbers, keep=False)


events.command()(samples)
events.command()(export)


def _mark(folder: Path, numbers: list[int], *, keep: bool) -> None:
    """One process writes a store: where a run does, it is asked to."""
    from ..store import read_events
    from ..store.requests import Mark, ask

    if unknown := [n for n in numbers if not read_events(folder, seq=n)]:
        raise StoreError(
            f"no event {unknown[0]} in {folder}", hint="sightpost events list shows them"
        )
    done = ask(folder, Mark(tuple(numbers), keep=keep))
    which = f"{len(numbers)} event{'s' * (len(numbers) > 1)}"
    word = "marked" if keep else "unmarked"
    print(f"{which} {word}" if done else f"{which} will be {word} by the run that writes there")


def _save(drawn: "Chart", path: Path) -> None:
    from ..durable import write_file

    if path.suffix.lower() == ".html":
        from ..chart_page import page

        write_file(path.absolute(), page(drawn).encode())
    else:
        from ..chart_layout import layout
        from ..chart_picture import draw_picture

        write_file(path.absolute(), draw_picture(layout(drawn)))
    print(f"sightpost: drawn to {path}", file=sys.stderr)


def _columns() -> int:
    """The terminal's width; 80 where there is none."""
    import shutil

    return shutil.get_terminal_size((80, 24)).columns


def _ascii_only() -> bool:
    try:
        "█░─".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def _wanted(
    label: str, since: str, until: str, min_score: float | None, marked: bool, last: int | None
) -> "EventFilter":
    from ..localtime import read_when
    from ..store.queries import EventFilter

    return EventFilter(
        label=label,
        since_ms=read_when(since) if since else None,
        until_ms=read_when(until, whole_day=True) if until else None,
        min_score=min_score,
        marked=marked or None,
        last=last,
    )


def _folder(ctx: typer.Context, store: Path | None) -> Path:
    from ..store import default_folder

    return store or ctx.obj[0] or default_folder()


def _none() -> None:
    print("sightpost: no such events yet", file=sys.stderr)
