"""Whether a run makes progress: what the service manager's watchdog is told, and nothing else is.

Mosquitto pings from its main loop, and so does this; a timer's thread would go on pinging beside a
loop that hangs. Two counters must have moved since the last ping: looks by the model and turns of
the thread that writes the store. A third, pictures from the camera, tells why no look was made: one
picture may take the model longer than the watchdog waits, a look at each of its regions. The uplink
is none of them: a bad network must not restart a camera.
"""

import faulthandler
import logging
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from .systemd import Notifier

log = logging.getLogger("sightpost")

START_S = 90.0
"""For each step of a start: a camera takes 15 s, a model's trial and its golden frames on a Pi Zero
longer."""
STATUS_S = 5.0
SHARE = 0.1
"""Of the watchdog's time between two pings, so that the last one comes soon after a hang began;
sd_watchdog_enabled(3) asks for half or less."""
LATE = 0.5
"""From this share of the watchdog's time on it is said what stands still."""
LAST = 0.9
"""At this share all threads' stacks are written down: soon nobody can ask any more."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What a run has done by now: ``pictures`` that came, ``looks`` by the model or, where nothing
    could be seen or nothing had moved, without it; ``turns`` of the store's writer.

    ``rests``: no picture is due now, by plan or because the camera is being opened.
    """

    pictures: int
    looks: int
    turns: int
    rests: bool = False


class Supervisor:
    """Called from the loop as often as it goes round; tells the manager what it has to know.

    Args:
        notifier: the manager.
        counters: read at each beat.
        status: one line for people, asked for every five seconds.
        clock_s: monotonic seconds.
        stacks: where all threads' stacks go shortly before the watchdog bites; None leaves it out.
    """

    def __init__(
        self,
        notifier: Notifier,
        counters: Callable[[], Counters],
        status: Callable[[], str] = lambda: "",
        *,
        clock_s: Callable[[], float] = time.monotonic,
        stacks: TextIO | None = sys.stderr,
    ) -> None:
        self._notifier, self._counters, self._status = notifier, counters, status
        self._clock_s, self._stacks = clock_s, stacks
        self._before = Counters(0, 0, 0)
        self._pinged_s = clock_s()
        self._told_s = -math.inf
        self.ready = False
        self.late = self._bitten = ""

    ready: bool
    """Whether the first picture has been looked at, and the manager was told so."""
    late: str
    """What stands still by now, "" where nothing does; for good where the watchdog has bitten."""

    def beat(self) -> None:
        """The loop goes round."""
        if not self._notifier.heard:
            return
        now_s = self._clock_s()
        if now_s - self._told_s >= STATUS_S:
            self._told_s = now_s
            self._notifier.status(self._status())
        if not self.ready:
            self._wait_for_the_first()
        elif self._notifier.watchdog_s:
            self._watch(now_s)

    def close(self) -> None:
        """The loop is over; for what is left to do the manager has another time limit."""
        self._look_back(self._clock_s())
        faulthandler.cancel_dump_traceback_later()
        self._notifier.stopping()

    def _wait_for_the_first(self) -> None:
        counters = self._counters()
        if counters.looks and self._notifier.ready():
            self._ping(counters)
            self.ready = True

    def _watch(self, now_s: float) -> None:
        if now_s - self._pinged_s < self._notifier.watchdog_s * SHARE:
            return
        counters = self._counters()
        stuck = _standing_still(self._before, counters)
        if not stuck:
            self._ping(counters)
        elif now_s - self._pinged_s > self._notifier.watchdog_s * LATE:
            self._say(stuck, now_s - self._pinged_s)

    def _look_back(self, now_s: float) -> None:
        """A process that was stopped wakes up to its own end: whoever stopped it, it was silent."""
        silent_s = now_s - self._pinged_s
        if self.ready and 0 < self._notifier.watchdog_s <= silent_s:
            self._bitten = f"{self.late or 'no sign of life'} for {silent_s:.0f} s"
            self.late = self._bitten

    def _ping(self, counters: Counters) -> None:
        now_s = self._clock_s()
        self._look_back(now_s)
        self._before, self._pinged_s = counters, now_s
        self._notifier.alive()
        self.late = self._bitten
        if self._stacks is not None and self._notifier.watchdog_s:
            # In a thread of its own that needs no lock of Python's: also where the loop hangs.
            late_s = self._notifier.watchdog_s * LAST
            faulthandler.dump_traceback_later(late_s, file=self._stacks)

    def _say(self, stuck: str, since_s: float) -> None:
        if stuck != self.late:
            self.late = stuck
            left_s = self._notifier.watchdog_s - since_s
            log.warning("%s for %.0f s: to be started anew in %.0f s", stuck, since_s, left_s)


def _standing_still(before: Counters, now: Counters) -> str:
    """What has not moved, in words; "" where all has that should."""
    if now.turns == before.turns:
        return "nothing was written to the store nor could have been"
    if now.rests or now.looks != before.looks:
        return ""  # without pictures there are no looks, but for the few that were on their way
    came = now.pictures != before.pictures
    return "no picture was classified" if came else "no new picture came"
