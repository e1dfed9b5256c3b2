"""Which photos there are and what they show: class folders, ready-made splits, or a manifest."""

import csv
import io
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sightpost_edge.errors import DataError, nearest
from sightpost_edge.pixels import PHOTO_SUFFIXES
from sightpost_edge.sources.folder import printable

from .photos import LABEL_SEPARATOR, SPLITS, LeftOut, Listing, Photo

MINIMUM_PER_CLASS = 3
"""Different readable photos of a class: one each to train, validate and test with."""

MANIFEST_COLUMNS = ("path", "label", "group", "split", "sha256")
_NOT_PHOTOS = frozenset({".csv", ".db", ".ini", ".json", ".md", ".txt", ".xml", ".yaml"})
_SPLIT_NAMES = {"train": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validation"), "validation"
)


def read_listing(source: Path, *, group_column: str = "group") -> Listing:
    """Name every photo of a folder or manifest without opening one.

    A folder holds one sub-folder per class, or ``train``, ``validation`` (``val``, ``valid``) and
    ``test`` with class folders in each. A ``.csv`` has the columns path (relative to the CSV) and
    label (several separated by ``|``), and may have ``group_column`` and split; others are
    ignored. Files that are no photos are named in ``left_out``; hidden files and notes are
    passed over.

    Raises:
        DataError: nothing there, no permission, not a manifest, or fewer than two classes.
    """
    try:
        if source.is_dir():
            listing = _read_folder(source)
        elif source.suffix.lower() == ".csv" and source.is_file():
            listing = _read_manifest(source, group_column)
        else:
            raise DataError(
                f"no folder at {source}", hint="give a folder of class folders or a .csv manifest"
            )
    except OSError as exc:
        raise DataError(
            f"cannot read {exc.filename}: {exc.strerror}",
            hint="chmod -R a+rX makes a folder readable",
        ) from exc
    return listing


def manifest_csv(photos: Iterable[Photo]) -> str:
    """The photos as a manifest that ``read_listing`` reads: path, label, group, split, sha256."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(MANIFEST_COLUMNS)
    for photo in photos:
        row = (photo.path, photo.label, photo.group, photo.split, photo.sha256)
        # Pythons before 3.13 leave a lone carriage return unquoted and cannot read it back.
        if any("\r" in word for word in row):
            buffer.write(",".join('"' + word.replace('"', '""') + '"' for word in row) + "\n")
        else:
            writer.writerow(row)
    return buffer.getvalue()


def count_different(listing: Listing, photos: Sequence[Photo]) -> dict[str, int]:
    """How many different photos (by SHA-256) each class has; classes without any count 0."""
    counts = dict.fromkeys(sorted({*listing.labels, *listing.empty_classes}), 0)
    for label, _ in {(label, photo.sha256) for photo in photos for label in photo.labels}:
        counts[label] += 1
    return counts


def _read_folder(root: Path) -> Listing:
    folders = _visible_folders(root)
    splits = {f: _SPLIT_NAMES[f.name.lower()] for f in folders if f.name.lower() in _SPLIT_NAMES}
    ready_made = "train" in splits.values() and len(set(splits.values())) > 1
    found: list[Photo | LeftOut] = [*_strays(root, "lies outside the class folders")]
    classes: list[Path] = []
    if ready_made:
        for folder in folders:
            if folder not in splits:
                reason = "lies beside the train, validation and test folders"
                found.append(LeftOut(printable(folder.name), reason))
                continue
            found += _strays(folder, "lies outside the class folders", root)
            inside = _visible_folders(folder)
            found += [item for c in inside for item in _read_class(c, root, splits[folder])]
            classes += inside
    else:
        found += [item for folder in folders for item in _read_class(folder, root, "")]
        classes = folders
    return _listing(root, found, {printable(folder.name) for folder in classes})


def _listing(root: Path, found: Sequence[Photo | LeftOut], classes: set[str]) -> Listing:
    if len(classes) < 2:
        raise DataError(
            f"{root} holds {len(classes)} class folder(s), at least two are needed",
            hint="make one sub-folder per class, named like the class, and put its photos there",
        )
    if odd := sorted(label for label in classes if LABEL_SEPARATOR in label):
        raise DataError(
            f"the class folder {odd[0]!r} has {LABEL_SEPARATOR!r} in its name",
            hint="rename it: that sign separates labels in manifests",
        )
    photos = tuple(item for item in found if isinstance(item, Photo))
    left_out = tuple(item for item in found if isinstance(item, LeftOut))
    empty = classes - {label for photo in photos for label in photo.labels}
    return Listing(root, photos, left_out, empty_classes=tuple(sorted(empty)))


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))


def _strays(folder: Path, reason: str, root: Path | None = None) -> list[LeftOut]:
    inside = (p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and not p.is_dir())
    return [
        LeftOut(printable(path.relative_to(root or folder).as_posix()), reason)
        for path in inside
        if path.suffix.lower() in PHOTO_SUFFIXES
    ]


def _read_class(folder: Path, root: Path, split: str) -> Iterator[Photo | LeftOut]:
    for path in _entries(folder):
        relative = path.relative_to(root).as_posix()
        if reason := _why_not(path, relative):
            yield LeftOut(printable(relative), reason)
        else:
            yield Photo(relative, (folder.name,), split=split)


def _entries(folder: Path) -> Iterator[Path]:
    """Everything below a class folder that is not hidden, no note and no ordinary folder."""

    def give_up(error: OSError) -> None:
        raise error

    for at, folders, files in os.walk(folder, onerror=give_up):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() not in _NOT_PHOTOS:
                yield Path(at, name)
        for name in folders:
            path = Path(at, name)
            if path.is_symlink() or path.suffix.lower() in PHOTO_SUFFIXES:
                yield path


def _why_not(path: Path, relative: str) -> str:  # noqa: PLR0911 - one sentence for each case
    """Why a path is not taken for a photo; empty when it is. Never opens it: a pipe would hang."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "is a link that leads nowhere"
    except OSError as exc:
        return f"cannot be reached ({exc.strerror})"
    if stat.S_ISDIR(mode):
        return "is a link to a folder" if path.is_symlink() else "is a folder named like a photo"
    if not stat.S_ISREG(mode):
        return "is no file (a pipe, socket or device)"
    if path.suffix.lower() not in PHOTO_SUFFIXES:
        return f"{path.suffix or 'no suffix'}: not a photo format"
    if printable(relative) != relative:
        return "its name is not UTF-8: rename it"
    return ""


def _read_manifest(file: Path, group_column: str) -> Listing:
    rows = _rows(file, {"path", "label"} | ({group_column} - {"group"}))
    multi_label = any(LABEL_SEPARATOR in row.get("label", "") for row in rows)
    found: dict[tuple[str, tuple[str, ...]], Photo] = {}
    left_out: list[LeftOut] = []
    for number, row in enumerate(rows, start=1):
        photo = _photo(row, group_column, f"{file}, photo {number}")
        if "\0" in photo.path or photo.path == ".":
            left_out.append(LeftOut(f"photo {number}", "has no usable path"))
        elif not photo.labels and not multi_label:
            left_out.append(LeftOut(photo.path, "has no label"))
        elif (photo.path, photo.labels) in found:
            left_out.append(LeftOut(photo.path, "is listed twice"))
        else:
            found[photo.path, photo.labels] = photo
    listing = Listing(file.parent, tuple(found.values()), tuple(left_out), multi_label)
    if len(listing.labels) < 2:
        raise DataError(
            f"{file} has {len(listing.labels)} label(s), at least two are needed",
            hint="the label column names the class of each photo",
        )
    return listing


def _rows(file: Path, needed: set[str]) -> list[dict[str, str]]:
    try:
        text = file.read_bytes().decode("utf-8-sig")  # read_text would change line breaks
        table = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = [name.strip() for name in next(table, [])]
        rows = [dict(zip(header, row, strict=False)) for row in table if any(row)]
    except UnicodeDecodeError as exc:
        raise DataError(f"{file} is not UTF-8", hint="save it as CSV UTF-8") from exc
    except csv.Error as exc:
        raise DataError(f"{file} is no CSV table: {exc}") from exc
    if missing := sorted(needed - set(header)):
        raise DataError(
            f"{file} has no column {missing[0]!r}",
            hint=f"its columns, separated by commas: {', '.join(header) or 'none'}",
        )
    return rows


def _photo(row: dict[str, str], group_column: str, where: str) -> Photo:
    labels = (label.strip() for label in row.get("label", "").split(LABEL_SEPARATOR))
    split = row.get("split", "").strip().lower()
    if split and split not in _SPLIT_NAMES:
        raise DataError(f"{where}: unknown split {split!r}", hint=nearest(split, SPLITS))
    photo = Photo(
        posixpath.normpath(row.get("path", "")),
        tuple(dict.fromkeys(label for label in labels if label)),
        group=row.get(group_column, "").strip(),
    )
    return replace(photo, split=_SPLIT_NAMES[split]) if split else photo
