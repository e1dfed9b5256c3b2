"""Files on media that may be pulled out, read with care: ordinary files only, no link followed."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import ModelError, SightpostError, SignatureRefused, where_closed
from ..minisign import SUFFIX

GONE = frozenset({errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOMEDIUM})
"""What the kernel says of a stick that is no longer there."""


@contextmanager
def opened_file(path: Path) -> Iterator[BinaryIO]:
    """An ordinary file, open for reading; a pipe would block and a link lead elsewhere.

    Raises:
        SignatureRefused: a signature that is not there.
        ModelError: anything else that is not there, or no ordinary file.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with reading(path):
        file = open(os.open(path, flags), "rb", buffering=0)  # noqa: SIM115 - closed below
    with file:
        with reading(path):
            mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise ModelError(f"{path} is no ordinary file", hint="give the .tflite itself")
        yield file


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Translate what the operating system says about a read into our tree."""
    try:
        yield
    except SightpostError:
        raise
    except FileNotFoundError as exc:
        if str(path).endswith(SUFFIX):
            raise SignatureRefused(
                f"no signature at {path}",
                hint="sightpost keys sign MODEL --key KEY writes one beside the model; copy both",
            ) from exc
        raise ModelError(f"there is no {path}", hint="is the stick mounted? lsblk shows") from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise ModelError(f"{path} is a link", hint="give the file that it leads to") from exc
        if exc.errno in GONE:
            raise _pulled_out(path, exc.strerror or "") from exc
        raise ModelError(
            f"cannot read {path}: {exc.strerror or exc}", hint=where_closed(path, exc)
        ) from exc


def ended_early(path: Path, done: int, size: int) -> ModelError:
    """A file that had ``size`` bytes when it was opened and gives no more than ``done``."""
    return _pulled_out(path, f"it ended after {done} of {size} bytes")


def _pulled_out(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} can no longer be read ({why})",
        hint="was the stick pulled out? Plug it in again, mount it, and repeat the command",
    )
