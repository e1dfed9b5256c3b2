"""Which photos belong together, by a manifest's column, a pattern in paths, or camera and time."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sightpost_edge.errors import ConfigError, DataError, nearest

from .headers import Header, read_header
from .listing import read_listing
from .photos import Listing, Photo

log = logging.getLogger("sightpost")

BURST_S = 60.0
"""Photos of one camera that follow each other within this are one burst."""

_RULES = "column:NAME, path:REGEX or exif"


def read_grouped(source: Path, rule: str = "") -> Listing:
    """``read_listing`` with the groups that ``rule`` gives; without one, the manifest's own.

    Raises:
        ConfigError: an unknown rule, or one that groups nothing.
        DataError: see ``read_listing``.
    """
    kind, _, argument = rule.partition(":")
    if kind == "column" and argument:
        if source.suffix.lower() != ".csv":
            raise ConfigError(f"{rule}: only a .csv manifest has columns", hint=f"use {_RULES}")
        return read_listing(source, group_column=argument)
    listing = read_listing(source)
    if not rule:
        return listing
    groups = group_by(listing.photos, listing.root, rule)
    photos = (replace(p, group=group) for p, group in zip(listing.photos, groups, strict=True))
    return replace(listing, photos=tuple(photos))


def group_by(photos: Sequence[Photo], root: Path, rule: str) -> list[str]:
    r"""The group of each photo; empty for one that the rule says nothing about.

    ``path:REGEX`` takes the first capture group, or the whole match, of a search in the photo's
    path (``path:^[^/]+/(cam\d+)_``). ``exif`` joins photos of one camera that follow each other
    within ``BURST_S`` seconds.

    Raises:
        ConfigError: an unknown rule, a faulty pattern, or no photo that it fits.
    """
    kind, _, argument = rule.partition(":")
    if kind == "path" and argument:
        groups = _by_path(photos, argument)
    elif rule == "exif":
        groups = _by_exif(photos, root)
    else:
        raise ConfigError(
            f"unknown group rule {rule!r}: use {_RULES}",
            hint=nearest(kind, ("column", "path", "exif")),
        )
    alone = groups.count("")
    if alone == len(photos):
        reason = "no photo carries camera time" if kind == "exif" else f"{photos[0].path} fits not"
        raise ConfigError(f"the group rule {rule!r} groups nothing ({reason})")
    if alone:
        log.info("%d of %d photos fit no group and stand alone", alone, len(photos))
    return groups


def _by_path(photos: Sequence[Photo], pattern: str) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as exc:
        raise ConfigError(f"the pattern {pattern!r} is faulty: {exc}") from exc
    matches = [compiled.search(photo.path) for photo in photos]
    index = 1 if compiled.groups else 0
    return [(match[index] or "") if match else "" for match in matches]


def _by_exif(photos: Sequence[Photo], root: Path) -> list[str]:
    from .facts import in_parallel  # loads OpenCV, which the other rules do without

    headers = list(in_parallel(lambda p: _header(root / p.path), photos, what="reading times"))
    shots = sorted(
        (header.camera, taken, photo.path, index)
        for index, (photo, header) in enumerate(zip(photos, headers, strict=True))
        if (taken := _time(header.exif_time))
    )
    groups = [""] * len(photos)
    camera, before, name = "", datetime.min, ""
    for now_camera, taken, _, index in shots:
        if now_camera != camera or (taken - before).total_seconds() > BURST_S or not name:
            name = f"{now_camera or 'camera'} {taken:%Y-%m-%d %H:%M:%S}"
        groups[index] = name
        camera, before = now_camera, taken
    return groups


def _header(path: Path) -> Header:
    from .facts import bytes_of

    try:
        return read_header(bytes_of(path))
    except (OSError, DataError):
        return Header("")  # what is wrong with it is said when it is decoded


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
