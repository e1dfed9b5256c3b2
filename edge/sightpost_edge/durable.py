"""Files that are whole or absent after a power cut: temp, fsync, rename, fsync the folder."""

import contextlib
import errno
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from .errors import ConfigError, SightpostError, StoreError, writing_to

_A_PERSONS = {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP,
    errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO, errno.ENODEV,
}  # fmt: skip
"""What waiting does not mend; all else, such as a card that stutters or a full memory, it may."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file object whose content replaces ``path``, durably, when the block ends well.

    On any failure the old file stays as it was.

    Raises:
        DiskFull, StoreError: see ``errors.writing_to``.
    """
    name = _beside(path)
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


def write_files(
    folder: Path, files: Mapping[str, bytes], *, on_file: Callable[[], None] = lambda: None
) -> None:
    """Write all, by their names below ``folder``, or none; each folder is synced once.

    ``on_file`` is called whenever the disk has taken one of them.

    Raises:
        DiskFull, StoreError: see ``errors.writing_to``.
    """
    renamed: list[Path] = []
    torn = {folder / name: _beside(folder / name) for name in files}
    try:
        with writing_to(folder):
            for (path, beside), content in zip(torn.items(), files.values(), strict=True):
                with beside.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                renamed.append(path)
                os.replace(beside, path)
                on_file()
            for parent in {path.parent for path in torn}:
                sync_folder(parent)
                on_file()
    except BaseException:
        for path in (*torn.values(), *renamed):
            with contextlib.suppress(OSError):
                path.unlink()
        raise


def remove_torn(folder: Path) -> None:
    """Remove what a kill between writing and renaming left behind, and nothing else."""
    for path in folder.glob(".*"):
        if _TORN.fullmatch(path.name) and path.is_file():
            with contextlib.suppress(OSError):
                path.unlink()


def keep_private() -> None:
    """From here on nothing that this process makes is open to other users: files 0640, folders
    0750, or less. They are pictures of somebody's garden or workshop.
    """
    os.umask(os.umask(0o077) | 0o027)


def unreadable(
    path: Path, exc: OSError, *, what: str = "cannot read ", hint: str = "",
    theirs: type[SightpostError] = ConfigError,
) -> SightpostError:  # fmt: skip
    """The error for a file of a person's that cannot be read: theirs to mend, or the disk's.

    Not the same exit code: a service is not started again after the former.

    Args:
        what: the message begins with that.
        hint: for the person.
        theirs: what it is where the person is to mend it.
    """
    text = f"{what}{path}: {exc.strerror or exc}"
    if exc.errno in _A_PERSONS:
        return theirs(text, hint=hint)
    return StoreError(text, hint="dmesg says whether the disk fails; it is tried again")


def give_to_owner(folder: Path, *made: Path) -> None:
    """What root made in somebody's folder is theirs: a service could not remove it again."""
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    for path in made:
        with contextlib.suppress(OSError):
            os.lchown(path, owner.st_uid, owner.st_gid)  # a link there may lead to what is root's


_TORN = re.compile(r"\..+\.\d+(\.\d+)?")
"""``.NAME.PID.THREAD``, and the live file's ``.NAME.PID``."""


def _beside(path: Path) -> Path:
    return path.parent / f".{path.name}.{os.getpid()}.{threading.get_ident()}"


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
