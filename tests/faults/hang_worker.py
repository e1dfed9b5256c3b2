"""``sightpost run`` with three taps: a stage stands still while a file of its name exists.

Words: the folder of the taps, then those of the command line.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sightpost_edge import cli
from sightpost_edge.interpreter import Network
from sightpost_edge.sources.continued import Continued
from sightpost_edge.store.events import EventStore

STAGES: dict[str, tuple[type, str]] = {
    "camera": (Continued, "__next__"),
    "inference": (Network, "outputs"),
    "store": (EventStore, "write_all"),
}


def tapped(tap: Path, whole: Callable[..., Any]) -> Callable[..., Any]:
    def held(*given: Any, **named: Any) -> Any:
        while tap.exists():
            time.sleep(0.01)
        return whole(*given, **named)

    return held


if __name__ == "__main__":
    taps = Path(sys.argv.pop(1))
    for stage, (kind, method) in STAGES.items():
        setattr(kind, method, tapped(taps / stage, getattr(kind, method)))
    cli.main()
