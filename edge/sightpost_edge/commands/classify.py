"""``sightpost classify``: what the model says about photos."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, DataError, PhotoUnreadable

if TYPE_CHECKING:
    from ..classifier import BundleClassifier
    from ..records import Scores

TOP = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """One photo's labels, best first, with their scores.

    ``novel``: whether it is unlike all that the model was trained on; None where it cannot tell.
    """

    path: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    novel: bool | None = None


def classify(
    model: Annotated[Path, typer.Argument(help="A Bundle, or a .tflite with --labels.")],
    photos: Annotated[list[Path], typer.Argument(help="Photos and folders of photos.")],
    labels: Annotated[
        Path | None, typer.Option(help="Label file, for a .tflite that is not a Bundle.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line for each photo.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="CSV: path, label, score.")] = False,
    save: Annotated[
        Path | None, typer.Option(help="Draw the photo and its bars to this PNG (one photo).")
    ] = None,
) -> None:
    """Classify photos: five bars for one photo, one line each for several or for folders.

    A photo that cannot be read is named on stderr and left out; the exit code is then 3.
    """
    from ..classifier import BundleClassifier
    from .common import open_bundle

    if json and csv:
        raise ConfigError("--json and --csv exclude each other")
    files = _files(photos)
    if save and len(files) != 1:
        raise ConfigError(f"--save draws one photo, {len(files)} were given")
    classifier = BundleClassifier(open_bundle(model, labels))
    unreadable: list[str] = []
    verdicts: Iterable[Verdict] = _verdicts(files, classifier, unreadable)
    if save:
        verdicts = list(verdicts)
    if len(photos) == 1 and not photos[0].is_dir() and not (json or csv):
        _show_bars(verdicts)
    else:
        _show_lines(verdicts, json=json, csv=csv)
    if save:
        for verdict in verdicts:
            _draw(verdict, save)
    if unreadable:
        raise DataError(f"{len(unreadable)} of {len(files)} photos could not be read")


def _files(photos: list[Path]) -> list[Path]:
    from ..sources.folder import list_photos

    files: list[Path] = []
    for path in photos:
        try:
            if not path.exists():
                raise DataError(f"no photo or folder at {path}")
            found = list_photos(path) if path.is_dir() else [path]
        except OSError as exc:
            raise DataError(f"cannot look at {path}: {exc.strerror}") from exc
        if not found:
            raise DataError(f"no photos in {path}", hint="photos are .jpg, .png, .webp, .bmp, .tif")
        files.extend(found)
    return files


def _verdicts(
    files: list[Path], classifier: "BundleClassifier", unreadable: list[str]
) -> Iterator[Verdict]:
    from ..pixels import read_photo

    for path in files:
        try:
            outputs = classifier.outputs(read_photo(path))
        except PhotoUnreadable as exc:
            print(f"sightpost: left out: {exc}", file=sys.stderr)
            unreadable.append(str(path))
            continue
        _, novel = classifier.novelty(outputs)
        yield _verdict(path, outputs.scores, classifier.labels, novel)


def _verdict(path: Path, scores: "Scores", labels: tuple[str, ...], novel: bool | None) -> Verdict:
    order = (-scores).argsort(kind="stable")[:TOP]
    named = tuple(labels[i] for i in order)
    return Verdict(str(path), named, tuple(round(float(scores[i]), 4) for i in order), novel)


def _show_bars(verdicts: Iterable[Verdict]) -> None:
    for verdict in verdicts:
        width = max(len(label) for label in verdict.labels)
        print(verdict.path)
        for label, score in zip(verdict.labels, verdict.scores, strict=True):
            bar = "█" * round(score * 40)
            print(f"  {label.ljust(width)}  {score:6.1%}  {bar}")
        if verdict.novel:
            print("  unlike everything it was trained on (novel): do not trust the label")


def _show_lines(verdicts: Iterable[Verdict], *, json: bool, csv: bool) -> None:
    from .common import as_json, print_csv

    if csv:
        rows = ({"path": v.path, "label": v.labels[0], "score": v.scores[0]} for v in verdicts)
        print_csv(rows, ("path", "label", "score"))
        return
    for verdict in verdicts:
        print(as_json(verdict) if json else _line(verdict))


def _line(verdict: Verdict) -> str:
    return f"{verdict.labels[0]}\t{verdict.scores[0]:.3f}\t{verdict.path}"


def _draw(verdict: Verdict, save: Path) -> None:
    from ..draw import photo_with_bars
    from ..durable import write_file
    from ..pixels import read_photo

    path = Path(verdict.path)
    picture = photo_with_bars(
        read_photo(path), title=path.name, labels=verdict.labels, scores=verdict.scores
    )
    write_file(save, picture)
    print(f"sightpost: drawn to {save}", file=sys.stderr)
