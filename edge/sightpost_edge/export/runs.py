"""What the runs of a store were started with, and where in the picture they looked."""

import json
from pathlib import Path

from ..pixels import Region
from ..store import read_run
from ..store.rows import StoredEvent, StoredRun


class Runs:
    """The runs of a store, each read once."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._runs: dict[int, tuple[StoredRun | None, dict[str, Region]]] = {}

    def of(self, event: StoredEvent) -> StoredRun | None:
        """What the event's run was started with; None for events of older releases."""
        return self._known(event.run)[0]

    def region_of(self, event: StoredEvent) -> Region | None:
        """The event's region; None where it is about the whole picture, or cannot be told."""
        return self._known(event.run)[1].get(event.region) if event.region else None

    def _known(self, number: int) -> tuple[StoredRun | None, dict[str, Region]]:
        if number not in self._runs:
            run = read_run(self._store, number) if number else None
            self._runs[number] = (run, _regions(run.rules) if run else {})
        return self._runs[number]


def _regions(rules: str) -> dict[str, Region]:
    """They are kept with the rules, as JSON."""
    found = [Region(**raw) for raw in json.loads(rules).get("regions", [])]
    return {region.name: region for region in found}
