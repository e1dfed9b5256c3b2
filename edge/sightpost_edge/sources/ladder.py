"""How often a failed camera is opened again, after what wait, before a clean process must help."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds; only tests have reason to change them.

    ``waits_s``: before each reopening; a USB camera is back on its bus after 1 to 3 s.
    ``healthy_s``: a camera that gave pictures for so long starts with a fresh count: a count that
    never resets turned one outage into five times its length elsewhere (BirdNET-Go #4080).
    ``open_s``: for opening and the first picture: RTSP takes 7 s where key frames are rare.
    ``content_s``: between two reopenings for what pictures show. Night is black, too.
    ``close_s``: for a driver to let go before its thread is left behind.
    ``abandoned``: so many threads may hang in a driver before the process must go.
    """

    waits_s: tuple[float, ...] = (1.0, 3.0, 9.0)
    healthy_s: float = 30.0
    open_s: float = 15.0
    content_s: float = 600.0
    close_s: float = 2.0
    abandoned: int = 3


PATIENCE = Patience()


class Ladder:
    """Counts the reopenings of one bad spell."""

    def __init__(
        self,
        patience: Patience,
        jitter: Callable[[float, float], float] = random.uniform,
        *,
        most_s: float = math.inf,
    ) -> None:
        self._patience, self._jitter, self._most_s = patience, jitter, most_s
        self._rung = 0
        self._began_s = 0.0
        self._good_s = 0.0

    def rested(self, lasted_s: float) -> None:
        """A session of good pictures has ended without a fault: it counts towards ``healthy_s``.

        With a duty cycle no session is 30 s long: the fourth hiccup of a life ended the station.
        """
        self._good_s += lasted_s

    def next_wait_s(self, lasted_s: float, now_s: float = 0.0) -> float | None:
        """Seconds to the next attempt; None when there is none left, or ``most_s`` have passed
        since the first: where each attempt hangs, a clean process has to look within a minute.

        ``lasted_s``: from the first to the last good picture since the camera was opened. A
        quarter of jitter keeps stations that share a failing switch from returning as one.
        """
        if self._good_s + lasted_s >= self._patience.healthy_s:
            self._rung = 0
        self._good_s = 0.0
        if self._rung == 0:
            self._began_s = now_s
        if self._rung == len(self._patience.waits_s) or now_s - self._began_s > self._most_s:
            return None
        wait_s = self._patience.waits_s[self._rung] * self._jitter(0.75, 1.25)
        self._rung += 1
        return wait_s
