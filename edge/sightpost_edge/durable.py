"""Files that are whole or absent after a power cut: temp, fsync, rename, fsync the folder."""

import contextlib
import os
import tempfile
from pathlib import Path

from .errors import writing_to


def write_file(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``, durably; on any failure the old file stays as it was.

    Raises:
        DiskFull, StoreError: see ``errors.writing_to``.
    """
    with writing_to(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents, or say why not."""
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
