"""``sightpost data``: check, split and preview photos before they are trained on."""

import importlib.util
import json as jsonlib
import logging
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightpost_edge.errors import ConfigError, DataError, MissingExtra

if TYPE_CHECKING:
    from .check import Report
    from .photos import Listing, Photo

data = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Look at photos before they are trained on; nothing of them is ever changed or deleted.",
)

Photos = Annotated[
    Path,
    typer.Argument(help="Class folders, train/validation/test folders, or a .csv manifest."),
]
Group = Annotated[
    str,
    typer.Option(
        help="What belongs together: column:NAME, path:REGEX or exif (camera and time); "
        "default: the manifest's column group."
    ),
]

log = logging.getLogger("sightpost")

_SHOWN = 8


@data.command()
def check(
    photos: Photos,
    sheets: Annotated[
        Path | None,
        typer.Option(help="Draw what was found: index.html and PNGs in this folder."),
    ] = None,
    group: Group = "",
    json: Annotated[bool, typer.Option("--json", help="The report as one JSON object.")] = False,
) -> None:
    """Read every file once and name what is broken, doubled, mislabelled or odd.

    Exit code 3 when training would refuse the photos, 0 otherwise, warnings or not.
    """
    _need_tools()
    from .check import check as run_check
    from .grouping import read_grouped

    listing = read_grouped(photos, group)
    if sheets:
        _refuse_inside(sheets, photos, listing)
    report = run_check(listing)
    if sheets:
        from .sheets import write_sheets

        write_sheets(report, sheets)
    if json:
        print(jsonlib.dumps(report.as_row(), indent=1, ensure_ascii=False))
    else:
        _print_report(report)
        if sheets:
            print(f"drawn: {sheets / 'index.html'}")
    if not report.usable:
        raise DataError(
            f"{photos} cannot be trained on yet",
            hint="the findings marked error say what is missing",
        )


@data.command()
def split(
    photos: Photos,
    out: Annotated[Path, typer.Option(help="The manifest to write, a .csv.")],
    group: Group = "",
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 1,
    validation_share: Annotated[float, typer.Option(min=0.01, max=0.5)] = 0.15,
    test_share: Annotated[float, typer.Option(min=0.01, max=0.5)] = 0.15,
) -> None:
    """Write a manifest with train, validation and test: stratified, grouped, the same each time.

    Groups, copies and near duplicates never straddle; splits that are given stay. Paths in the
    manifest are relative to its own folder, so keep it where it is, or move it with the photos.
    """
    _need_tools()
    from sightpost_edge.durable import write_file

    from . import split as splitting
    from .check import check as run_check
    from .grouping import read_grouped
    from .listing import manifest_csv

    if out.suffix.lower() != ".csv":
        raise ConfigError(f"{out}: the manifest's name must end in .csv")
    if out.exists() and photos.exists() and out.samefile(photos):
        raise ConfigError(f"{out} is the manifest that is read", hint="choose another --out")
    report = run_check(read_grouped(photos, group))
    chosen = splitting.split(
        report.readable, seed=seed, validation_share=validation_share, test_share=test_share
    )
    for finding in report.findings:
        if finding.severity == "error":
            log.warning("%s: %s", finding.message, finding.hint)
    root, home = report.listing.root.resolve(), out.parent.resolve()
    moved = [replace(p, path=Path(os.path.relpath(root / p.path, home)).as_posix()) for p in chosen]
    write_file(out, manifest_csv(moved).encode())
    _print_split(chosen, out)
    if left_out := len(report.photos) - len(chosen):
        print(f"unreadable and not in it: {left_out} (sightpost data check names them)")


@data.command()
def preview(
    photos: Photos,
    out: Annotated[Path, typer.Option(help="The picture to write, a .png.")],
    augment: Annotated[
        str, typer.Option(help='A recipe\'s augment, for its random views; "none" for none.')
    ] = "gentle",
) -> None:
    """Draw the first photos of each class, and how training would vary them."""
    _need_tools()
    from sightpost_edge.durable import write_file
    from sightpost_edge.extras import need_workshop

    from .listing import read_listing
    from .recipe import TrainRecipe

    TrainRecipe(augment=augment)  # type: ignore[arg-type] # refuses an unknown name
    listing = read_listing(photos)
    _refuse_inside(out, photos, listing)
    if augment != "none":
        need_workshop()
    from .preview import draw_preview
    from .sheets import png

    write_file(out, png(draw_preview(listing, augment)))
    print(out)


def _need_tools() -> None:
    """These commands need less than training: no TensorFlow, which takes seconds to load."""
    if importlib.util.find_spec("tqdm") is None:
        raise MissingExtra(
            "this command needs the workshop installation (tqdm missing)",
            hint="on a PC: make setup in the project's folder, or pip install 'WHEEL[workshop]'",
        )


def _refuse_inside(out: Path, source: Path, listing: "Listing") -> None:
    """What we draw must not become a photo or a class of the set that it shows."""
    roots = (
        {source}
        if source.is_dir()
        else {(listing.root / photo.path).parent for photo in listing.photos}
    )
    if inside := [root for root in roots if out.resolve().is_relative_to(root.resolve())]:
        raise ConfigError(
            f"{out} lies inside the photos ({inside[0]})", hint="choose a folder outside"
        )


def _print_report(report: "Report") -> None:
    from .sheets import printable_line

    row = report.as_row()
    print(f"{row['root']}: {row['readable']} of {row['photos']} photos readable, different ones:")
    for label, count in row["different_photos"].items():
        print(f"  {count:6,}  {printable_line(label)}")
    for severity, kind in dict.fromkeys((f.severity, f.kind) for f in report.findings):
        found = [f for f in report.findings if (f.severity, f.kind) == (severity, kind)]
        print(f"{severity}: {kind} ({len(found)})")
        for finding in found[:_SHOWN]:
            print(f"  {printable_line(finding.message)}")
        if len(found) > _SHOWN:
            print(f"  ... and {len(found) - _SHOWN} more (--json lists all)")
        if found[0].hint:
            print(f"  hint: {found[0].hint}")
    if not report.findings:
        print("nothing odd was found")


def _print_split(photos: "list[Photo]", out: Path) -> None:
    from .photos import SPLITS
    from .sheets import printable_line

    counts = Counter((label, photo.split) for photo in photos for label in photo.labels)
    print("".join(f"{name:>12}" for name in SPLITS))
    for label in sorted({label for label, _ in counts}):
        figures = "".join(f"{counts[label, name]:12,}" for name in SPLITS)
        print(f"{figures}  {printable_line(label)}")
    sizes = Counter(photo.group for photo in photos if photo.group)
    together = sum(size > 1 for size in sizes.values())
    print(f"{out}: {len(photos)} photos, {together} groups of several kept together")
