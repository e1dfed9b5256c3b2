"""``sightpost events``: what was logged."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import StoreError

if TYPE_CHECKING:
    from ..store import StoredEvent

events = typer.Typer(rich_markup_mode=None, no_args_is_help=False, add_completion=False)

Store = Annotated[Path | None, typer.Option(help="The store's folder, if not the usual one.")]
Label = Annotated[str, typer.Option(help="Only events with this label.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON line for each event.")]


@events.callback(invoke_without_command=True)
def group(ctx: typer.Context, store: Store = None, json: Json = False) -> None:
    """Show what was logged: list, show, health, export (bare: list the newest)."""
    ctx.obj = (store, json)
    if ctx.invoked_subcommand is None:
        list_(ctx, json=json)


@events.command("list")
def list_(
    ctx: typer.Context,
    store: Store = None,
    label: Label = "",
    last: Annotated[int, typer.Option(min=1, help="Only the newest so many.")] = 50,
    json: Json = False,
) -> None:
    """List the newest events, oldest first."""
    found = _read(_folder(ctx, store), label=label, last=last)
    if json or ctx.obj[1]:
        _print_json(found)
    else:
        _print_table(found)


@events.command()
def show(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(help="The event's number, as listed.")],
    store: Store = None,
    json: Json = False,
) -> None:
    """Show everything that is known about one event."""
    folder = _folder(ctx, store)
    match = _read(folder, seq=number)
    if not match:
        raise StoreError(f"no event {number} in {folder}", hint="sightpost events list shows them")
    if json or ctx.obj[1]:
        _print_json(match)
        return
    for key, value in dataclasses.asdict(match[0]).items():
        shown = folder / value if key == "snapshot" and value else value
        print(f"{key:<14} {shown}")


@events.command()
def health(
    ctx: typer.Context,
    store: Store = None,
    last: Annotated[int, typer.Option(min=1, help="Only the newest so many.")] = 50,
    json: Json = False,
) -> None:
    """List what happened to the camera: faults that began and faults that were over."""
    from ..store import read_health
    from .common import as_json, print_table

    found = read_health(_folder(ctx, store), last=last)
    if json or ctx.obj[1]:
        for row in found:
            print(as_json(row))
    elif found:
        rows = [[h.at, h.fault, "over" if h.ok else "began", h.detail] for h in found]
        print_table(rows, ["time (UTC)", "fault", "", "detail"])
    else:
        print("sightpost: no camera faults so far", file=sys.stderr)


@events.command()
def export(
    ctx: typer.Context,
    store: Store = None,
    label: Label = "",
    csv: Annotated[bool, typer.Option("--csv", help="CSV in place of JSON lines.")] = False,
) -> None:
    """Write all events to stdout, as JSON lines or CSV."""
    found = _read(_folder(ctx, store), label=label)
    if not csv:
        _print_json(found)
        return
    from ..store import StoredEvent
    from .common import print_csv

    print_csv((dataclasses.asdict(e) for e in found), StoredEvent.__dataclass_fields__)


def _folder(ctx: typer.Context, store: Path | None) -> Path:
    from ..store import default_folder

    return store or ctx.obj[0] or default_folder()


def _read(
    folder: Path, *, label: str = "", last: int | None = None, seq: int | None = None
) -> "list[StoredEvent]":
    from ..store import read_events

    return read_events(folder, label=label, last=last, seq=seq)


def _print_json(found: "list[StoredEvent]") -> None:
    from .common import as_json

    for event in found:
        print(as_json(event))


def _print_table(found: "list[StoredEvent]") -> None:
    from .common import print_table

    if not found:
        print("sightpost: no such events yet", file=sys.stderr)
        return
    regions = any(e.region for e in found)
    rows = [
        [
            str(e.seq), e.started_at, e.label, f"{e.score:.2f}", *[e.region] * regions,
            e.frame_name or f"{e.started_s:.1f}-{e.ended_s:.1f} s", e.model, e.source, e.snapshot,
        ]
        for e in found
    ]  # fmt: skip
    heading = ["#", "time (UTC)", "label", "score", *["region"] * regions, "when", "model",
               "source", "snapshot"]  # fmt: skip
    print_table(rows, heading)
