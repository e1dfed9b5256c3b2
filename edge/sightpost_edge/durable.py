"""Files that are whole or absent after a power cut: temp, fsync, rename, fsync the folder."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import writing_to


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file object whose content replaces ``path``, durably, when the block ends well.

    On any failure the old file stays as it was.

    Raises:
        DiskFull, StoreError: see ``errors.writing_to``.
    """
    name = path.parent / f".{path.name}.{os.getpid()}.{threading.get_ident()}"
    with writing_to(path):
        try:
            with name.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                name.unlink()
            raise
        sync_folder(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``; see ``writing``."""
    with writing(path) as file:
        file.write(content)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents so that they survive a power cut, or say why not."""
    with writing_to(folder):
        missing = [f for f in (folder, *folder.parents) if not f.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            sync_folder(made.parent)
