"""Databases that were set aside as damaged: kept for a rescue by hand, within a bound."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from .. import clock
from ..durable import sync_folder
from .ballast import size_of
from .holdings import on_disk
from .inspection import NOTE

log = logging.getLogger("sightpost")

ASIDE = ".damaged-"
_BESIDE = ("-wal", "-shm")


def set_aside(path: Path, reason: str) -> None:
    """Out of the way, whatever it is, under a name that nothing has yet: clocks go back."""
    stamp = f"{path}{ASIDE}{clock.now():%Y%m%dT%H%M%SZ}"
    aside = next(name for name in _names(stamp) if not _taken(name))
    log.error("%s cannot be used (%s); set aside as %s, starting a new one", path, reason, aside)
    for suffix in ("", *_BESIDE):
        if os.path.lexists(f"{path}{suffix}"):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    sync_folder(path.parent)
    Path(f"{path}{NOTE}").unlink(missing_ok=True)


def held(path: Path) -> dict[str, int]:
    """What was set aside, each with the bytes it takes on the disk, its log included."""
    found: dict[str, int] = {}
    for one in path.parent.glob(f"{path.name}{ASIDE}*"):
        if one.is_file():
            name = one.name
            for suffix in _BESIDE:
                name = name.removesuffix(suffix)
            found[name] = found.get(name, 0) + on_disk(size_of(one))
    return found


def trim(path: Path, most_bytes: int) -> int:
    """Keep all that fit, the largest first, and the largest in any case; the bytes that stay.

    However many there are: each has events of its own. Where there is no room for all, what is
    worth rescuing is in the largest: a crash loop on a failing card makes many small ones.
    """
    found = sorted(held(path).items(), key=lambda item: item[1], reverse=True)
    total = 0
    for place, (name, size) in enumerate(found):
        if place == 0 or total + size <= most_bytes:
            total += size
            continue
        log.warning("%s (%.1f MB) is deleted: no room beside larger ones", name, size / 1e6)
        for suffix in ("", *_BESIDE):
            (path.parent / f"{name}{suffix}").unlink(missing_ok=True)
    return total


def _names(stamp: str) -> Iterator[str]:
    yield stamp
    number = 1
    while True:
        number += 1
        yield f"{stamp}-{number}"


def _taken(name: str) -> bool:
    return any(os.path.lexists(f"{name}{suffix}") for suffix in ("", *_BESIDE))
