"""Labelled photos ready to train on: checked, grouped, split, their pixels in the cache."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightpost_edge.errors import DataError
from sightpost_edge.pixels import Geometry
from sightpost_edge.sources.folder import list_photos

from .cache import Stack, read_cached
from .duplicates import near_duplicate_groups
from .listing import MINIMUM_PER_CLASS, count_different, read_listing
from .photos import SPLITS, LeftOut, Listing, Photo
from .recipe import TrainRecipe
from .split import merge_groups, split


@dataclass(frozen=True, slots=True)
class Part:
    """Some photos of a data set: ``truth`` is (n, classes) float32, 1 where a label applies."""

    photos: tuple[Photo, ...]
    stack: Stack = field(repr=False)
    truth: NDArray[np.float32] = field(repr=False)

    def __len__(self) -> int:
        return len(self.photos)

    def at(self, index: Sequence[int] | NDArray[np.int64]) -> "Part":
        """The photos at ``index``."""
        chosen = tuple(self.photos[i] for i in index)
        return Part(chosen, self.stack.part(index), self.truth[np.asarray(index, np.int64)])


@dataclass(frozen=True, slots=True)
class Dataset:
    """Every readable photo with label, group, split and pixels."""

    root: Path
    labels: tuple[str, ...]
    everything: Part
    left_out: tuple[LeftOut, ...] = ()
    multi_label: bool = False
    decoded: int = 0

    def part(self, split: str) -> Part:
        """The photos of one split."""
        photos = self.everything.photos
        return self.everything.at([i for i, photo in enumerate(photos) if photo.split == split])

    @property
    def duplicates(self) -> int:
        """How many photos are byte-for-byte copies of another one."""
        photos = self.everything.photos
        return len(photos) - len({photo.sha256 for photo in photos})

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every path, label and content: the same photos give the same figure."""
        lines = sorted(f"{p.path}\t{p.label}\t{p.sha256}" for p in self.everything.photos)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def key(self) -> str:
        """SHA-256 over what a run's steps depend on: the fingerprint's facts, groups and splits."""
        photos = self.everything.photos
        lines = [f"{p.path}\t{p.label}\t{p.group}\t{p.split}\t{p.sha256}" for p in photos]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_dataset(
    source: Path, geometry: Geometry, *, seed: int, validation_share: float, test_share: float
) -> Dataset:
    """Read class folders, ready-made train/validation/test folders or a CSV manifest.

    Unreadable files are left out and named. Photos of one group, copies and near duplicates share
    a split, so that the test never asks for what was trained on.

    Raises:
        DataError: nothing to read, fewer than two labels, or a class with too few photos.
    """
    listing = read_listing(source)
    cached = read_cached(listing.root, listing.photos, geometry)
    left_out = (*listing.left_out, *cached.left_out)
    refuse_too_few(listing, cached.photos, left_out)
    clusters = near_duplicate_groups(cached.hashes, cached.thumbnails)
    grouped = merge_groups(cached.photos, clusters)
    photos = split(
        grouped, seed=seed, validation_share=validation_share, test_share=test_share
    )  # fmt: skip
    labels = listing.labels
    _refuse_empty_splits(labels, photos)
    truth = np.array([[label in p.labels for label in labels] for p in photos], np.float32)
    everything = Part(tuple(photos), cached.stack, truth)
    return Dataset(
        listing.root, labels, everything, left_out, listing.multi_label, cached.decoded
    )  # fmt: skip


def read_recipe_photos(source: Path, recipe: TrainRecipe) -> Dataset:
    """``read_dataset`` with what the recipe says."""
    return read_dataset(
        source, Geometry(recipe.input_px, recipe.input_px), seed=recipe.seed,
        validation_share=recipe.validation_share, test_share=recipe.test_share,
    )  # fmt: skip


def read_unseen(folder: Path, recipe: TrainRecipe) -> Part:
    """Photos of other things, any below ``folder``; they have no label.

    Raises:
        DataError: no readable photo is there.
    """
    found = [Photo(p.relative_to(folder).as_posix(), ()) for p in list_photos(folder)]
    cached = read_cached(folder, found, Geometry(recipe.input_px, recipe.input_px))
    if not cached.photos:
        raise DataError(f"no readable photo in {folder}", hint="--unseen takes a folder of photos")
    return Part(cached.photos, cached.stack, np.zeros((len(cached.photos), 0), np.float32))


def refuse_too_few(listing: Listing, photos: Sequence[Photo], left_out: Sequence[LeftOut]) -> None:
    """Refuse classes that cannot be trained, validated and tested.

    Raises:
        DataError: names each such class, and files that were left out.
    """
    counts = count_different(listing, photos)
    few = [f"{label} ({count})" for label, count in counts.items() if count < MINIMUM_PER_CLASS]
    if few:
        reasons = "; ".join(f"{item.path} {item.reason}" for item in left_out[:5])
        raise DataError(
            f"too few different readable photos: {', '.join(few)}; each class needs "
            f"{MINIMUM_PER_CLASS} to be trained, validated and tested, a hundred to be any good",
            hint=f"left out: {reasons}" if reasons else "add photos or remove the empty folder",
        )


def _refuse_empty_splits(labels: Sequence[str], photos: Sequence[Photo]) -> None:
    filled = {(label, photo.split) for photo in photos for label in photo.labels}
    if empty := {(label, name) for label in labels for name in SPLITS} - filled:
        label, name = sorted(empty)[0]
        raise DataError(
            f"no photo of {label} is left for the {name} split",
            hint="add photos of that class, lower validation_share and test_share, or give its "
            "photos smaller groups; ready-made splits need train, validation and test",
        )
