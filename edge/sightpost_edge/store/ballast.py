"""A file that is given up when the disk is full, so that there is room for deleting.

SQLite writes to its log before it deletes anything: on a full disk DELETE fails like INSERT does.
"""

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreError, writing_to

BALLAST = "ballast"
MIB = 1 << 20
START_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Space:
    """A file system's size and what is free of it for this user, in bytes.

    ``files``: how many more files it can hold; it may say that it does not know, as a high number.
    """

    total: int
    free: int
    files: int = 1 << 60

    @classmethod
    def of(cls, folder: Path) -> "Space":
        """Ask the operating system: microseconds, no disk is read."""
        try:
            found = os.statvfs(folder)
        except OSError as exc:
            raise StoreError(f"cannot ask how full {folder} is: {exc.strerror}") from exc
        files = found.f_favail if found.f_files else 1 << 60
        return cls(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, files)

    @property
    def ballast(self) -> int:
        """A twentieth, at most 1 MiB: room for the deletion of some hundred rows."""
        return min(self.total // 20, MIB)

    @property
    def reserve(self) -> int:
        """What stays free for others: a twentieth, at most 1 GiB."""
        return min(self.total // 20, 1024 * MIB)


class Ballast:
    """The file beside the database."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / BALLAST

    @property
    def size(self) -> int:
        """Bytes that it holds now."""
        return size_of(self._path)

    def release(self) -> bool:
        """Give it up; whether there was any."""
        held = self.size > 0
        with writing_to(self._path):
            self._path.unlink(missing_ok=True)
        return held

    def make_way(self, space: Space) -> None:
        """Before a start: on a full disk SQLite's log and its index find no room otherwise."""
        if space.free < START_BYTES:
            self.release()

    def restore(self, space: Space) -> None:
        """Have it again as soon as there is twice the room for it; quiet where there is not."""
        if self.size >= space.ballast or space.free < 2 * space.ballast:
            return
        with contextlib.suppress(OSError):
            self._allocate(space.ballast)

    def _allocate(self, size: int) -> None:
        """Blocks that are really its own: a hole in a sparse file would give nothing back."""
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                self.release()  # half of it would look like a whole one
                raise
            os.pwrite(handle, os.urandom(size), 0)
        finally:
            os.close(handle)


def size_of(path: Path) -> int:
    """Bytes of a file, 0 where it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
