"""``sightpost classify``: what the model says about photos."""

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, DataError, looking_at

if TYPE_CHECKING:
    from ..bulk import Answer
    from ..bundle import Bundle
    from ..classifier import BundleClassifier
    from ..results import Format

SUFFIXES = {".jsonl": "json", ".csv": "csv", ".json": "megadetector"}
"""Which format a file's name asks for."""


def classify(
    model: Annotated[Path, typer.Argument(help="A Bundle, or a .tflite with --labels.")],
    photos: Annotated[list[Path], typer.Argument(help="Photos and folders of photos.")],
    labels: Annotated[
        Path | None, typer.Option(help="Label file, for a .tflite that is not a Bundle.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line for each photo.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="CSV: path, label, score.")] = False,
    megadetector: Annotated[
        bool, typer.Option("--megadetector", help="MegaDetector's JSON, for Timelapse, AddaxAI.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write to this .jsonl, .csv or .json (MegaDetector); goes on if stopped."
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Draw the photo and its bars to this PNG (one photo).")
    ] = None,
) -> None:
    """Classify photos: five bars for one photo, one line each for several or for folders.

    A photo that cannot be read is named on stderr and left out; the exit code is then 3.
    """
    from ..classifier import BundleClassifier
    from .common import open_bundle

    flags = {"json": json, "csv": csv, "megadetector": megadetector}
    wanted = _format_name([name for name, given in flags.items() if given], out)
    files = _files(photos)
    if save and len(files) != 1:
        raise ConfigError(f"--save draws one photo, {len(files)} were given")
    if save and out:
        raise ConfigError("--save and --out exclude each other")
    classifier = BundleClassifier(open_bundle(model, labels))
    form = _format(wanted, photos, classifier.bundle)
    work = _Work(files, classifier)
    if out:
        work.to_file(out, form)
    else:
        work.to_stdout(form, save)
    if work.failed:
        raise DataError(f"{work.failed} of {len(files)} photos could not be read")


def _format_name(given: list[str], out: Path | None) -> str:
    """ "json", "csv", "megadetector" or, without any wish, nothing."""
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(f'--{name}' for name in given)} exclude each other")
    if given or out is None:
        return given[0] if given else ""
    if out.suffix not in SUFFIXES:
        raise ConfigError(
            f"--out {out}: the name does not say which format is meant",
            hint="end it in .jsonl, .csv or .json (MegaDetector), or add --json or --csv",
        )
    return SUFFIXES[out.suffix]


def _format(wanted: str, photos: list[Path], bundle: "Bundle") -> "Format":
    from .. import results

    if wanted == "megadetector":
        folder = photos[0] if len(photos) == 1 and photos[0].is_dir() else None
        return results.MegaDetector(bundle, folder)
    if not wanted and len(photos) == 1 and not photos[0].is_dir():
        return results.Bars(bundle.contract.labels)
    kinds = {"": results.Lines, "json": results.JsonLines, "csv": results.Csv}
    return kinds[wanted](bundle.contract.labels)


def _files(photos: list[Path]) -> list[Path]:
    """Each photo once, folders in the order of their paths."""
    from ..sources.folder import list_photos

    files: list[Path] = []
    for path in photos:
        with looking_at(path, DataError):
            if not path.exists():
                raise DataError(f"no photo or folder at {path}")
            found = list_photos(path) if path.is_dir() else [path]
        if not found:
            raise DataError(f"no photos in {path}", hint="photos are .jpg, .png, .webp, .bmp, .tif")
        files.extend(found)
    return list(dict.fromkeys(files))


@dataclass(slots=True)
class _Work:
    """Photos to be classified; ``failed`` counts those that could not be read."""

    files: list[Path]
    classifier: "BundleClassifier"
    failed: int = 0

    def to_stdout(self, form: "Format", save: Path | None) -> None:
        """Every photo's line; progress goes to stderr unless the lines themselves show it."""
        first = True
        sys.stdout.write(form.head)
        for answer in self._answers(0, shown=not sys.stdout.isatty()):
            if text := form.line(answer, first=first):
                sys.stdout.write(text)
                first = False
                if save:
                    _draw(answer, self.classifier.labels, save)
        sys.stdout.write(form.foot)

    def to_file(self, out: Path, form: "Format") -> None:
        """Go on where a stopped run left the file, or begin it."""
        from ..resultfile import Job, ResultFile

        job = Job.of(self.files, self.classifier.bundle, form)
        with ResultFile(out, form, self.files, job) as file:
            self.failed = file.failed
            if file.done:
                print(f"sightpost: {file.done} photos were done before", file=sys.stderr)
            try:
                for answer in self._answers(file.done, shown=True):
                    if text := form.line(answer, first=file.first):
                        file.write(text)
            except KeyboardInterrupt:
                print("sightpost: the same command goes on from here", file=sys.stderr)
                raise
            file.finish()
        print(f"sightpost: {len(self.files)} photos: {out}", file=sys.stderr)

    def _answers(self, done: int, *, shown: bool) -> Iterator["Answer"]:
        """The photos from ``done`` on; the unreadable ones are named."""
        from ..bulk import classify_files
        from .progress import Line, Pace

        line, pace = Line(shown=shown), Pace(len(self.files), "photos", done=done)
        with closing(classify_files(self.files[done:], self.classifier)) as answers, closing(line):
            for answer in answers:
                if answer.failure:
                    line.say(f"sightpost: left out: {answer.path}: {answer.failure}")
                    self.failed += 1
                yield answer
                pace.done += 1
                line.show(pace)


def _draw(answer: "Answer", labels: tuple[str, ...], save: Path) -> None:
    from ..draw import photo_with_bars
    from ..durable import write_file
    from ..pixels import read_photo
    from ..results import verdict_of

    verdict = verdict_of(answer, labels)
    assert verdict is not None
    picture = photo_with_bars(
        read_photo(answer.path), title=answer.path.name,
        labels=verdict.labels, scores=verdict.scores,
    )  # fmt: skip
    write_file(save, picture)
    print(f"sightpost: drawn to {save}", file=sys.stderr)
