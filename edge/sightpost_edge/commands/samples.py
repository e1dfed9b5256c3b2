"""``sightpost events samples``: frames that were kept to be labelled."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, nearest
from ..text import printable
from .event_options import Store, check_parent, folder_of, many, say

if TYPE_CHECKING:
    from ..samples import StoredSample


def samples(
    ctx: typer.Context,
    store: Store = None,
    kind: Annotated[str, typer.Option(help="Only uncertain, novel or random ones.")] = "",
    label: Annotated[str, typer.Option(help="Only those that the model called so.")] = "",
    to: Annotated[
        Path | None, typer.Option(help="Copy the pictures here, into a folder for each label.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line for each sample.")] = False,
) -> None:
    """List the frames kept for labelling, or copy them with --to.

    Move the copies that are in a wrong folder into the right one; sightpost train then takes the
    folder as it is.
    """
    from ..samples import read_samples
    from ..sampling import KINDS
    from .common import as_json

    if kind and kind not in KINDS:
        raise ConfigError(f"unknown kind of sample {kind!r}", hint=nearest(kind, KINDS))
    if to is not None:
        check_parent(to)
    folder = folder_of(ctx, store)
    found = read_samples(folder, kind=kind, label=label)
    if to is not None:
        _copy(folder, found, to)
    elif json or (ctx.obj and ctx.obj[1]):
        for one in found:
            print(as_json(one))
    else:
        _print_table(found)


def _copy(folder: Path, found: "Sequence[StoredSample]", to: Path) -> None:
    from ..samples import LISTING, copy_samples

    copied = copy_samples(folder, found, to)
    lost = f", {copied.gone:,} gone from the store" if copied.gone else ""
    say(f"{many(copied.new, 'picture')} copied, {copied.there:,} there already{lost}")
    if found:
        say(f"move what is in a wrong folder; what the model said is in {to / LISTING}")


def _print_table(found: "Sequence[StoredSample]") -> None:
    from .common import print_table
    from .event_tables import doubtful_legend, times

    if not found:
        say("no such samples yet")
        return
    heading, cells = times([(one.at, one.clock_quality) for one in found])
    rows = []
    for one, time in zip(found, cells, strict=True):
        others = list(one.scores.items())[1:2]
        second = " ".join(f"{label} {score:.2f}" for label, score in others)
        rows.append([
            str(one.id), time, one.kind, printable(one.label), f"{one.score:.2f}",
            printable(second), one.region, one.file,
        ])  # fmt: skip
    print_table(rows, ["#", heading, "kind", "label", "score", "next", "region", "file"])
    doubtful_legend(one.clock_quality for one in found)
