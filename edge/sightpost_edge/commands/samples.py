"""``sightpost events samples``: frames that were kept to be labelled."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, nearest

if TYPE_CHECKING:
    from ..samples import StoredSample


def samples(
    ctx: typer.Context,
    store: Annotated[
        Path | None, typer.Option(help="The store's folder, if not the usual one.")
    ] = None,
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
    from ..store import default_folder
    from .common import as_json

    if kind and kind not in KINDS:
        raise ConfigError(f"unknown kind of sample {kind!r}", hint=nearest(kind, KINDS))
    above = ctx.obj or (None, False)
    folder = store or above[0] or default_folder()
    found = read_samples(folder, kind=kind, label=label)
    if to is not None:
        _copy(folder, found, to)
    elif json or above[1]:
        for one in found:
            print(as_json(one))
    else:
        _print_table(found)


def _copy(folder: Path, found: "Sequence[StoredSample]", to: Path) -> None:
    from ..samples import LISTING, copy_samples

    copied = copy_samples(folder, found, to)
    lost = f", {copied.gone} are gone from the store" if copied.gone else ""
    print(f"{copied.new} pictures copied, {copied.there} were there already{lost}")
    if found:
        print(f"move what is in a wrong folder; what the model said is in {to / LISTING}")


def _print_table(found: "Sequence[StoredSample]") -> None:
    from .common import print_table

    if not found:
        print("sightpost: no such samples yet", file=sys.stderr)
        return
    rows = []
    for one in found:
        others = list(one.scores.items())[1:2]
        second = " ".join(f"{label} {score:.2f}" for label, score in others)
        rows.append([
            str(one.id), one.at, one.kind, one.label, f"{one.score:.2f}", second, one.region,
            one.file,
        ])  # fmt: skip
    print_table(rows, ["#", "time (UTC)", "kind", "label", "score", "next", "region", "file"])
