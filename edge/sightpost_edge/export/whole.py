"""A folder that appears when all of it is there."""

import ctypes
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..durable import make_folder, sync_folder
from ..errors import ConfigError, StoreBusy, writing_to


@contextmanager
def whole_folder(to: Path) -> Iterator[Path]:
    """A folder to write into that becomes ``to`` when the block ends well, and vanishes else.

    What a killed run left is taken away by the next one. All of it is on the disk before it gets
    its name.

    Raises:
        ConfigError: ``to`` is there already and not an empty folder.
        StoreBusy: another run writes it.
        DiskFull, StoreError: it cannot be written.
    """
    to = to.absolute()
    part = to.with_name(f"{to.name}.part")
    with ExitStack() as held, writing_to(to):
        _refuse_used(to)
        make_folder(to.parent)
        part.mkdir(exist_ok=True)
        handle = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
        held.callback(os.close, handle)
        _lock(handle, part)
        try:
            _empty(part)
            yield part
            sync_disk(handle)
            _refuse_used(to)
            os.rename(part, to)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        sync_folder(to.parent)


def sync_disk(handle: int) -> None:
    """Write back the file system on which an open folder lies: once for 100,000 files."""
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
    elif syncfs(handle):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _refuse_used(to: Path) -> None:
    if not to.exists():
        return
    if not to.is_dir() or any(to.iterdir()):
        raise ConfigError(
            f"{to} is there already", hint="give --to another folder, or delete this one"
        )


def _lock(handle: int, part: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise StoreBusy(
            f"another export writes {part}", hint="wait for it, or give --to another folder"
        ) from exc


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
