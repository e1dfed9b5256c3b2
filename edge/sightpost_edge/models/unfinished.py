"""A model that is not all there yet: its bytes so far, and a note of where they are from."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..durable import sync_folder
from ..errors import DiskFull, StoreError, writing_to

NOTE = ".from"


def note_of(into: Path) -> Path:
    """Where it says from where the bytes in ``into`` are."""
    return into.with_name(into.name + NOTE)


def discard(into: Path) -> None:
    """Remove what was fetched into ``into`` so far: the next try begins anew."""
    for path in (into, note_of(into)):
        with writing_to(path), suppress(FileNotFoundError):
            path.unlink()


@contextmanager
def opened_partial(into: Path) -> Iterator[BinaryIO]:
    """``into``, open for reading and writing, made where it is not there; never through a link.

    Raises:
        DiskFull, StoreError: see ``errors.writing_to``; or it is no ordinary file of its own.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with writing_to(into):
        file = open(os.open(into, flags, 0o640), "r+b", buffering=0)  # noqa: SIM115
    with file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise StoreError(f"{into} is no ordinary file of its own", hint="remove it")
        yield file


def check_room(into: Path, size: int) -> None:
    """Whether so many bytes more fit, before the first of them comes.

    Raises:
        DiskFull: they do not.
    """
    with writing_to(into):
        free = shutil.disk_usage(into.parent).free
    if free < size:
        raise DiskFull(
            f"{size} bytes of the model are to come, only {free} are free for {into}",
            hint="free some space (df -h shows where)",
        )


def can_go_on(into: Path) -> bool:
    """Whether there is a note of where the bytes in ``into`` are from, so that more may follow."""
    return note_of(into).exists()


def write_all(file: BinaryIO, content: bytes, path: Path, *, sync: bool = False) -> None:
    """Write it whole; with ``sync`` it is on the disk, name and all, on return."""
    with writing_to(path):
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]
        if sync:
            os.fsync(file.fileno())
            sync_folder(path.parent)
