"""Where a model comes in: one installer at a time, and nothing stays that nobody goes on with."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..durable import make_folder, remove_torn
from ..errors import StoreError
from ..lock import held
from .folder import ModelFolder
from .unfinished import can_go_on, discard, note_of

INCOMING = "incoming"
LOCK = "lock"
KEPT_S = 7 * 86_400.0
"""What a broken link left, up to 512 MiB, is gone on with by then, or it will not be."""


@contextmanager
def arriving(folder: ModelFolder, digest: str) -> Iterator[Path]:
    """Where the file with this digest comes in, held against a second installer.

    What others left there is removed, but not what was downloaded of this one; and of this one
    nothing stays but a download, which the next try goes on with.

    Raises:
        StoreBusy: there is another installer.
        DiskFull, StoreError: see ``errors.writing_to``.
    """
    incoming = folder.path / INCOMING
    make_folder(incoming)
    with held(incoming / LOCK, wait_s=0, what="another model is being installed here"):
        with folder.changing():
            folder.clean()
        file = incoming / f"{digest}.tflite"
        _remove(incoming, but=(file.name, note_of(file).name))
        try:
            yield file
        finally:
            if not (file.exists() and can_go_on(file)):
                with suppress(StoreError):
                    discard(file)


def sweep(folder: ModelFolder, *, now_s: Callable[[], float] = time.time) -> None:
    """Remove what a kill left, and a download that nobody went on with for a week.

    For a run's start: where nobody installs anything more it would lie there for good. Never an
    error, and nothing while somebody installs.
    """
    incoming = folder.path / INCOMING
    with suppress(OSError):  # StoreError included
        if not incoming.is_dir():
            return
        with held(incoming / LOCK, wait_s=0, what="a model is being installed"):
            with folder.changing():
                folder.clean()
            files = [f for f in incoming.glob("*.tflite") if can_go_on(f)]
            fresh = [f for f in files if now_s() - f.lstat().st_mtime < KEPT_S]
            _remove(incoming, but=[name for f in fresh for name in (f.name, note_of(f).name)])


def _remove(incoming: Path, *, but: Collection[str]) -> None:
    remove_torn(incoming)
    for path in incoming.iterdir():
        if path.name != LOCK and path.name not in but:
            with suppress(OSError):
                path.unlink()
