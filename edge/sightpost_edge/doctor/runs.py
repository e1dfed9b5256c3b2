"""Whether a station's run is there: its own word, and the lock that dies with it."""

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..live import Live

LOCK = "store.lock"


def is_unheld(store: Path) -> bool:
    """Whether for certain no run writes to ``store``; a lock that may not be tried may be held.

    Trying takes the lock for some microseconds: a run that began right then would end with code 7,
    and be started again.
    """
    try:
        handle = os.open(store / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def told_in(*folders: Path) -> "Live | None":
    """What a run wrote into one of ``folders`` not long ago, whether or not it is there still."""
    from .. import clock
    from ..live import LIVE, read_live_file

    for folder in folders:
        live = read_live_file(folder / LIVE)
        if live is not None and live.is_fresh(clock.read()):
            return live
    return None
