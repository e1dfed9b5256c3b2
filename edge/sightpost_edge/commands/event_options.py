"""What the commands on events share: which events, which store, and where a result may go."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, looking_at

if TYPE_CHECKING:
    from ..store.queries import EventFilter

Store = Annotated[
    # Typer's own check of permission knows neither our exit codes nor sudo.
    Path | None,
    typer.Option(readable=False, help="The store's folder, if not the usual one."),
]
Label = Annotated[str, typer.Option(help="Only events with this label.")]
Since = Annotated[
    str, typer.Option(help="Only events from then on: 2026-11-21, 2026-11-21T18:00, 2h, today.")
]
Until = Annotated[str, typer.Option(help="Only events before then; a day counts whole.")]
Score = Annotated[float | None, typer.Option(min=0, max=1, help="Only events at least this sure.")]
Marked = Annotated[bool, typer.Option("--marked", help="Only events that a person marked.")]
Last = Annotated[int | None, typer.Option(min=1, help="Only the newest so many.")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines, times in UTC.")]


def wanted_of(
    label: str, since: str, until: str, min_score: float | None, marked: bool, last: int | None
) -> "EventFilter":
    """The filter that was typed."""
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


def folder_of(ctx: typer.Context, store: Path | None, otherwise: Path | None = None) -> Path:
    """The store: the command's, else the group's, else ``otherwise``, else the usual one."""
    from ..store import default_folder

    return store or (ctx.obj[0] if ctx.obj else None) or otherwise or default_folder()


def check_parent(to: Path) -> None:
    """A mistyped path makes no folders: one rule for all that is written.

    Raises:
        ConfigError: the folder in which ``to`` shall lie is not there, or closed.
    """
    parent = to.absolute().parent
    with looking_at(parent, ConfigError):
        is_there = parent.is_dir()
    if not is_there:
        raise ConfigError(f"there is no folder {parent}", hint=f"make it: mkdir -p {parent}")


def nothing_found(folder: Path, wanted: "EventFilter") -> None:
    """Say so.

    Raises:
        ConfigError: because no event ever had that label, naming the nearest one.
    """
    from ..store.queries import check_label

    check_label(folder, wanted.label)
    say("no such events yet")


def say(text: str) -> None:
    """A message that is no data, below the data that is there already."""
    sys.stdout.flush()
    print(f"sightpost: {text}", file=sys.stderr)


def many(number: int, one: str, more: str = "") -> str:
    """ "1 event", "2 events"."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"
