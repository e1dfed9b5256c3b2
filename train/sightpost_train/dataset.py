"""A folder of labelled photos, read once: checked, split, fitted by the device's pixels.fit."""

import csv
import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sightpost_edge.errors import DataError, PhotoUnreadable
from sightpost_edge.pixels import PHOTO_SUFFIXES, Geometry, decode, fit
from sightpost_edge.records import Pixels
from sightpost_edge.sources.folder import list_photos, printable

SPLITS = ("train", "validation", "test")
MINIMUM_PER_CLASS = 3
_NOT_PHOTOS = frozenset({".csv", ".db", ".ini", ".json", ".md", ".txt", ".xml", ".yaml"})


@dataclass(frozen=True, slots=True)
class Photo:
    """One readable photo; ``path`` is relative to the data set's root."""

    path: str
    label: str
    sha256: str
    split: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that takes no part, and why. It stays where it is, untouched."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Photos with their fitted pixels, (n, h, w, 3) uint8, R,G,B, row i belonging to photo i."""

    root: Path
    labels: tuple[str, ...]
    photos: tuple[Photo, ...]
    pixels: Pixels = field(repr=False)
    left_out: tuple[LeftOut, ...] = ()

    def select(self, split: str) -> tuple[Pixels, NDArray[np.int64]]:
        """The pixels and label indices of one split."""
        rows = [i for i, photo in enumerate(self.photos) if photo.split == split]
        targets = [self.labels.index(self.photos[i].label) for i in rows]
        return self.pixels[rows], np.array(targets, np.int64)

    @property
    def duplicates(self) -> int:
        """How many photos are byte-for-byte copies of another one."""
        return len(self.photos) - len({photo.sha256 for photo in self.photos})

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every path, label and content: the same photos give the same figure."""
        lines = sorted(f"{p.path}\t{p.label}\t{p.sha256}" for p in self.photos)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_folder(
    root: Path, geometry: Geometry, *, seed: int, validation_share: float, test_share: float
) -> Dataset:
    """Read a folder with one sub-folder per class.

    Unreadable files are left out and named. Byte-identical photos always share a split, so that
    the test never asks for what was trained on.

    Raises:
        DataError: no such folder, fewer than two classes, or a class with too few photos.
    """
    candidates, skipped = _list(root)
    photos, pixels, unreadable = read_photos(root, candidates, geometry, what="reading photos")
    left_out = (*skipped, *unreadable)
    _refuse_too_few(root, photos, left_out)
    shares = {"test": test_share, "validation": validation_share}
    split = _split(photos, seed=seed, shares=shares)
    labels = tuple(sorted({photo.label for photo in split}))
    if empty := {(x, s) for x in labels for s in SPLITS} - {(p.label, p.split) for p in split}:
        label, name = sorted(empty)[0]
        raise DataError(
            f"no photo of {label} is left for the {name} split",
            hint="add photos of that class, or lower validation_share and test_share",
        )
    return Dataset(root, labels, tuple(split), pixels, left_out)


def read_photos(
    root: Path, photos: Sequence[Photo], geometry: Geometry, *, what: str
) -> tuple[list[Photo], Pixels, tuple[LeftOut, ...]]:
    """Read and fit given photos in parallel, in order, with a progress bar titled ``what``."""
    pixels = np.empty((len(photos), geometry.height, geometry.width, 3), np.uint8)
    kept: list[Photo] = []
    left_out: list[LeftOut] = []

    def read(photo: Photo) -> tuple[str, Pixels] | LeftOut:
        try:
            encoded = (root / photo.path).read_bytes()
            return hashlib.sha256(encoded).hexdigest(), fit(decode(encoded), geometry)
        except PhotoUnreadable as exc:
            return LeftOut(photo.path, str(exc))
        except OSError as exc:
            return LeftOut(photo.path, exc.strerror or str(exc))

    with ThreadPoolExecutor() as pool:
        results = pool.map(read, photos)
        bar = tqdm(results, desc=what, total=len(photos), unit=" photos", leave=False, disable=None)
        for photo, result in zip(photos, bar, strict=True):
            if isinstance(result, LeftOut):
                left_out.append(result)
            else:
                pixels[len(kept)] = result[1]
                kept.append(replace(photo, sha256=result[0]))
    return kept, pixels[: len(kept)], tuple(left_out)


def split_csv(photos: Iterable[Photo]) -> str:
    """The text of split.csv: path, label, split, sha256."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("path", "label", "split", "sha256"))
    writer.writerows((p.path, p.label, p.split, p.sha256) for p in photos)
    return buffer.getvalue()


def _list(root: Path) -> tuple[list[Photo], tuple[LeftOut, ...]]:
    try:
        if not root.is_dir():
            raise DataError(f"no folder at {root}")
        folders = sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))
        for folder in folders:
            os.listdir(folder)
    except OSError as exc:
        raise DataError(
            f"no permission to read {exc.filename}", hint="chmod -R a+rX makes it readable"
        ) from exc
    if len(folders) < 2:
        raise DataError(
            f"{root} holds {len(folders)} class folder(s), at least two are needed",
            hint="make one sub-folder per class, named like the class, and put its photos there",
        )
    photos: list[Photo] = []
    skipped = [LeftOut(p.name, "lies outside the class folders") for p in _photos_in(root)]
    for folder in folders:
        wanted = set(list_photos(folder))
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            relative = path.relative_to(root).as_posix()
            if path in wanted and printable(relative) == relative:
                photos.append(Photo(relative, folder.name, ""))
            elif path in wanted:
                skipped.append(LeftOut(printable(relative), "its name is not UTF-8: rename it"))
            elif path.suffix.lower() not in _NOT_PHOTOS and not _hidden(path, folder):
                reason = f"{path.suffix or 'no suffix'}: not a photo format"
                skipped.append(LeftOut(printable(relative), reason))
    return photos, tuple(skipped)


def _photos_in(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if p.suffix.lower() in PHOTO_SUFFIXES]


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _refuse_too_few(root: Path, photos: Sequence[Photo], left_out: Sequence[LeftOut]) -> None:
    counts = {f.name: 0 for f in sorted(root.iterdir()) if f.is_dir() and f.name[0] != "."}
    for label, _ in {(photo.label, photo.sha256) for photo in photos}:
        counts[label] += 1
    few = [f"{label} ({count})" for label, count in counts.items() if count < MINIMUM_PER_CLASS]
    if few:
        reasons = "; ".join(f"{item.path} {item.reason}" for item in left_out[:5])
        raise DataError(
            f"too few different readable photos: {', '.join(few)}; each class needs "
            f"{MINIMUM_PER_CLASS} to be trained, validated and tested, a hundred to be any good",
            hint=f"left out: {reasons}" if reasons else "add photos or remove the empty folder",
        )


def _split(photos: Sequence[Photo], *, seed: int, shares: dict[str, float]) -> list[Photo]:
    """Stratified by label; copies of one file (the group) stay together."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        groups[photo.sha256].append(index)
    by_label: dict[str, list[list[int]]] = defaultdict(list)
    for group in groups.values():
        by_label[photos[group[0]].label].append(group)
    chosen = ["train"] * len(photos)
    rng = np.random.default_rng(seed)
    for label in sorted(by_label):
        members = by_label[label]
        order = rng.permutation(len(members))
        start = 0
        for split, share in shares.items():
            count = max(1, round(share * len(members)))
            for position in order[start : start + count]:
                for index in members[position]:
                    chosen[index] = split
            start += count
    return [replace(photo, split=split) for photo, split in zip(photos, chosen, strict=True)]
