"""What a folder or manifest of photos says: which photo, which labels, which group, which split."""

from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "validation", "test")
LABEL_SEPARATOR = "|"
"""Between the labels of one photo in a manifest's ``label`` column."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo; ``path`` is relative to the listing's root, with forward slashes.

    ``labels`` holds one name, or any number in a multi-label set. Photos with the same ``group``
    (a burst, a camera, a specimen, near duplicates) never straddle splits. ``split`` is one of
    ``SPLITS`` once assigned, ``sha256`` the digest of the file once it was read.
    """

    path: str
    labels: tuple[str, ...]
    group: str = ""
    split: str = ""
    sha256: str = ""

    @property
    def label(self) -> str:
        """The labels as one word, as a manifest's column holds them."""
        return LABEL_SEPARATOR.join(self.labels)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that takes no part, and why. It stays where it is, untouched."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Photos as they are named on disk or in a manifest; nothing has been read yet."""

    root: Path
    photos: tuple[Photo, ...]
    left_out: tuple[LeftOut, ...] = ()
    multi_label: bool = False
    empty_classes: tuple[str, ...] = ()
    """Class folders in which no photo was found."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label, sorted."""
        return tuple(sorted({label for photo in self.photos for label in photo.labels}))
