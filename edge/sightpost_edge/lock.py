"""One process at a time: locks on files, which die with whoever holds them."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import StoreBusy, writing_to

RETRY_S = 0.02


@contextmanager
def held(file: Path, *, wait_s: float, what: str) -> Iterator[None]:
    """Hold the lock ``file``, waiting ``wait_s`` for whoever has it; a kill lets go of it.

    Raises:
        StoreBusy: somebody has it still; the message begins with ``what``.
        DiskFull, StoreError: see ``errors.writing_to``.
    """
    with writing_to(file):
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)
    try:
        end = time.monotonic() + wait_s
        while not _taken(handle):
            if time.monotonic() >= end:
                raise StoreBusy(
                    f"{what} ({file} is held)",
                    hint=f"wait for it; fuser -v {file} names the process",
                )
            time.sleep(RETRY_S)
        yield
    finally:
        os.close(handle)


def is_held(file: Path) -> bool | None:
    """Whether a process holds the lock ``file`` at this moment; None where it may not be tried.

    Trying takes the lock for some microseconds: whoever wants it right then finds it taken.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
