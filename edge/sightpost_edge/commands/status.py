"""One live line on a terminal, a plain log line a minute elsewhere."""

import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .progress import Line

if TYPE_CHECKING:
    from ..station import Station

log = logging.getLogger("sightpost")

LIVE_PERIOD_S = 0.25
PLAIN_PERIOD_S = 60.0


class Status:
    """Says how a watch is doing, on stderr, as often as the reader can use it."""

    def __init__(self, station: "Station") -> None:
        self._station = station
        self._live = sys.stderr.isatty()
        self._period_s = LIVE_PERIOD_S if self._live else PLAIN_PERIOD_S
        self._due_s = 0.0
        self._line = Line()
        self._said = False

    def update(self) -> None:
        """Called for every frame; prints when it is due."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + self._period_s
        station, tally = self._station, self._station.tally
        text = (
            f"{tally.recent_fps:5.1f} fps  {tally.inference_percentile(50):5.1f} ms  "
            f"{tally.frames} frames  {tally.events} events  {station.source.dropped} dropped  "
            f"{tally.last}"
        )
        full = "disk full" if station.keeper.full else ""
        fault = station.fault.fault if station.fault else ""
        text += "".join(f"  [{what}]" for what in (fault, full, station.pace.state) if what)
        if self._live:
            self._line.show(text)
        elif not self._said:
            self._said = True
            log.info("watching %s", station.source.uri)
        else:
            log.info("%s", text)

    def waiting(self) -> None:
        """Called while no frame comes: a stall or a night must not look like a good camera."""
        if self._said:
            self.update()

    def above(self, print_line: Callable[[], None]) -> None:
        """Print something without leaving half of the live line behind it."""
        self.close()
        print_line()

    def close(self) -> None:
        """Wipe the live line."""
        if self._live:
            self._line.close()
            self._due_s = 0.0
