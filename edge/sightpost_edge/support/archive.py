"""The archive as a file: whole or absent, and its owner's only."""

import contextlib
import io
import os
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

from ..durable import sync_folder
from ..errors import writing_to

FOLDER = "sightpost-support"


def packed(files: Mapping[str, bytes]) -> bytes:
    """A .tar.gz of some 100 kB, with all files in one folder."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(content))
    return held.getvalue()


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path``, durably; nobody but its owner may read it at any moment. Made with sudo it
    belongs to whoever called that.

    Raises:
        DiskFull, StoreError: see ``errors.writing_to``.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with writing_to(path):
        try:
            with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
                _give_to_caller(file.fileno())
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise
        sync_folder(path.parent)


def _give_to_caller(handle: int) -> None:
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and user.isdecimal() and group.isdecimal():
        os.fchown(handle, int(user), int(group))
