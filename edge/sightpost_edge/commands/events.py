"""``sightpost events``: what was logged."""

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, StoreError
from .event_options import (
    Json,
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
from .export import export
from .samples import samples

if TYPE_CHECKING:
    from ..charts import Chart

events = typer.Typer(rich_markup_mode=None, no_args_is_help=False, add_completion=False)

Numbers = Annotated[list[int], typer.Argument(help="Events by their numbers, as listed.")]


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

    folder = folder_of(ctx, store)
    wanted = wanted_of(label, since, until, min_score, marked, last)
    found = find_events(folder, wanted)
    if not found:
        nothing_found(folder, wanted)
    if json or ctx.obj[1]:
        for event in found:
            print(as_json(event))
    elif found:
        from .event_tables import print_events

        print_events(found, columns=_columns() if sys.stdout.isatty() else None)


@events.command()
def show(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(help="The event's number, as listed.")],
    store: Store = None,
    json: Json = False,
) -> None:
    """Show everything that is known about one event."""
    from ..store import read_events

    folder = folder_of(ctx, store)
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
    """List what happened to the camera, and count what the store had to drop so far.

    With --json a line for each fault that began or was over, and last {"dropped": {...}}.
    """
    from ..store import read_health
    from ..store.outbox import read_counters
    from .common import as_json

    folder = folder_of(ctx, store)
    found, dropped = read_health(folder, last=last), read_counters(folder)
    if json or ctx.obj[1]:
        for row in [*found, {"dropped": dropped}]:
            print(as_json(row))
        return
    from .event_tables import print_dropped, print_health

    if found:
        print_health(found)
    else:
        say("no camera faults so far")
    print_dropped(dropped)


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

    folder = folder_of(ctx, store)
    wanted = wanted_of(label, since, until, min_score, marked, last)
    found = count_by(folder, by.value, wanted)
    if not found:
        nothing_found(folder, wanted)
    if json or ctx.obj[1]:
        for one in found:
            began = {} if one.started_ms is None else {"started_at": iso(one.started_ms)}
            print(as_json({by.value: one.name, **began, "events": one.events}))
    elif found:
        from .event_tables import print_counts

        print_counts(found, by.value)


@events.command()
def chart(
    ctx: typer.Context,
    what: Annotated[What, typer.Argument(help="Which one.")] = What.ACTIVITY,
    store: Store = None,
    save: Annotated[
        Path | None,
        typer.Option(help="Draw to this .png or .html, replacing it, instead of the terminal."),
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
    if save:
        check_parent(save)
    from ..chart_text import room
    from ..charts import SLOTS, chart_of

    folder, columns = folder_of(ctx, store), _columns()
    wanted = wanted_of(label, since, until, min_score, marked, last)
    most = SLOTS if save else room(columns)
    drawn = chart_of(folder, what.value, wanted, most=most)
    if drawn.empty:
        nothing_found(folder, wanted)
        for note in drawn.notes:
            say(note)
    elif save:
        _save(drawn, save)
    else:
        from ..chart_text import draw_text

        print("\n".join(draw_text(drawn, width=columns, ascii_only=_ascii_only())))


@events.command()
def mark(ctx: typer.Context, numbers: Numbers, store: Store = None) -> None:
    """Keep events for ever: neither a full disk nor age deletes them."""
    _mark(folder_of(ctx, store), numbers, keep=True)


@events.command()
def unmark(ctx: typer.Context, numbers: Numbers, store: Store = None) -> None:
    """Treat events like all others again."""
    _mark(folder_of(ctx, store), numbers, keep=False)


events.command()(samples)
events.command()(export)


def _mark(folder: Path, numbers: list[int], *, keep: bool) -> None:
    """One process writes a store: where a run does, it is asked to."""
    from ..models.owner import become_owner
    from ..store import read_events
    from ..store.requests import Mark, ask

    become_owner(folder)
    if unknown := [n for n in numbers if not read_events(folder, seq=n)]:
        raise StoreError(
            f"no event {unknown[0]} in {folder}", hint="sightpost events list shows them"
        )
    done = ask(folder, Mark(tuple(numbers), keep=keep))
    which = many(len(numbers), "event")
    word = "marked" if keep else "unmarked"
    say(f"{which} {word}" if done else f"{which} will be {word} by the run that writes there")


def _save(drawn: "Chart", path: Path) -> None:
    from ..durable import write_file

    if path.suffix.lower() == ".html":
        from ..chart_page import page

        write_file(path.absolute(), page(drawn).encode())
    else:
        from ..chart_layout import layout
        from ..chart_picture import draw_picture

        write_file(path.absolute(), draw_picture(layout(drawn)))
    say(f"drawn to {path}")


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
