"""``current``: a link to the version in use, replaced by one rename."""

import contextlib
import os
import threading
from pathlib import Path

from ..durable import sync_folder
from ..errors import writing_to
from .versions import VERSIONS, is_id

CURRENT = "current"


def current_id(models: Path) -> str:
    """The id that ``current`` names; "" where it is no link into ``versions``."""
    try:
        folder, _, one = os.readlink(models / CURRENT).partition("/")
    except OSError:
        return ""
    return one if folder == VERSIONS and is_id(one) else ""


def move_current(models: Path, one: str) -> None:
    """Have ``current`` lead to the version ``one``, durably; before or after, never in between.

    Raises:
        DiskFull, StoreError: see ``errors.writing_to``; it leads where it led.
    """
    beside = models / f".{CURRENT}.{os.getpid()}.{threading.get_ident()}"
    with writing_to(models / CURRENT):
        try:
            beside.unlink(missing_ok=True)
            os.symlink(f"{VERSIONS}/{one}", beside)
            os.replace(beside, models / CURRENT)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise
        sync_folder(models)


def remove_torn_links(models: Path) -> None:
    """Remove what a kill in the middle of ``move_current`` left."""
    for path in models.glob(f".{CURRENT}.*"):
        with contextlib.suppress(OSError):
            path.unlink()
