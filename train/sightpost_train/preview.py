"""The first photos of each class beside the views of them that training would show."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sightpost_edge.errors import DataError
from sightpost_edge.native import quiet_native
from sightpost_edge.pixels import Geometry, fit
from sightpost_edge.records import Pixels

from .facts import in_parallel, read
from .photos import Listing
from .sheets import TILE_PX, Tile, draw_sheet

log = logging.getLogger("sightpost")

PER_CLASS = 5
MAX_CLASSES = 40
"""Rows of a preview: 7,120 px high, which viewers still open."""
_INPUT = Geometry(TILE_PX - 8, TILE_PX - 8)


def draw_preview(listing: Listing, augment: str, *, seed: int = 1) -> Pixels:
    """A row for each class: its first photos as the model gets them, then views of the same.

    Args:
        listing: at least one photo must be readable.
        augment: a recipe's ``augment``; "none" leaves the right half out.

    Returns:
        (h, w, 3) uint8, R,G,B.
    """
    labels = listing.labels[:MAX_CLASSES]
    if len(labels) < len(listing.labels):
        log.info("%d of %d classes are drawn", len(labels), len(listing.labels))
    paths = {label: _paths(listing, label) for label in labels}
    with quiet_native():
        rows = list(in_parallel(lambda x: _first(paths[x]), labels, what="drawing the preview"))
    if not any(len(row) for row in rows):
        raise DataError(f"no photo in {listing.root} can be read", hint="run: sightpost data check")
    views = [np.zeros((0, *row.shape[1:]), np.uint8) for row in rows]
    if augment != "none":
        from .augment import examples

        seen = examples(np.concatenate(rows), augment, seed=seed)
        views = np.split(seen, np.cumsum([len(row) for row in rows])[:-1])
    columns = PER_CLASS if augment == "none" else 2 * PER_CLASS
    tiles = [
        tile
        for number, (label, row, view) in enumerate(zip(labels, rows, views, strict=True))
        for tile in _row(label, row, view, columns, number)
    ]
    return draw_sheet(tiles, columns=columns)


def _paths(listing: Listing, label: str) -> list[Path]:
    return [listing.root / photo.path for photo in listing.photos if label in photo.labels]


def _first(paths: Sequence[Path]) -> Pixels:
    """The first readable photos, fitted: (n, h, w, 3) uint8."""
    found: list[Pixels] = []
    for path in paths:
        picture = read(path)[1]
        if picture is not None:
            found.append(fit(picture, _INPUT))
        if len(found) == PER_CLASS:
            break
    return np.array(found, np.uint8).reshape(-1, _INPUT.height, _INPUT.width, 3)


def _row(label: str, row: Pixels, view: Pixels, columns: int, number: int) -> list[Tile]:
    blank = np.full((1, 1, 3), 255, np.uint8)
    tiles = [Tile(blank, "", number)] * columns
    for place, picture in enumerate(row):
        tiles[place] = Tile(picture, label, number)
    for place, picture in enumerate(view):
        tiles[PER_CLASS + place] = Tile(picture, f"{label}, augmented", number)
    return tiles
