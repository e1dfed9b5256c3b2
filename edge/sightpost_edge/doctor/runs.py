"""Whether a station's run is there: its own word, and the lock that dies with it."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..lock import is_held

if TYPE_CHECKING:
    from ..live import Live

LOCK = "store.lock"


def is_unheld(store: Path) -> bool:
    """Whether for certain no run writes to ``store``; a lock that may not be tried may be held."""
    return is_held(store / LOCK) is False


def told_in(*folders: Path) -> "Live | None":
    """What a run wrote into one of ``folders`` not long ago, whether or not it is there still."""
    from .. import clock
    from ..live import LIVE, read_live_file

    for folder in folders:
        live = read_live_file(folder / LIVE)
        if live is not None and live.is_fresh(clock.read()):
            return live
    return None
