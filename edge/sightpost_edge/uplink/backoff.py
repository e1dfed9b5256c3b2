"""How long to wait before the next attempt: twice as long each time, and never with the others."""

import random
from collections.abc import Callable


class Backoff:
    """Exponential waits with full jitter, which start afresh after a healthy spell.

    A wait that never resets turned one outage into five times its length elsewhere (BirdNET-Go
    #4080). Full jitter: a hundred stations behind one broker that restarts come back spread over
    the whole wait instead of all at once.

    Args:
        first_s: the longest first wait.
        most_s: the longest wait ever.
        healthy_s: what lasted so long starts with ``first_s`` again.
        jitter: a number from the first to the second argument.
    """

    def __init__(
        self,
        first_s: float = 1.0,
        most_s: float = 300.0,
        healthy_s: float = 60.0,
        *,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first_s, self._most_s, self._healthy_s = first_s, most_s, healthy_s
        self._jitter = jitter
        self._ceiling_s = first_s

    def next_wait_s(self, lasted_s: float = 0.0) -> float:
        """Seconds to wait now.

        Args:
            lasted_s: how long the attempt that has just ended was good; 0 where it failed.
        """
        if lasted_s >= self._healthy_s:
            self.reset()
        wait_s = self._jitter(0.0, self._ceiling_s)
        self._ceiling_s = min(2 * self._ceiling_s, self._most_s)
        return wait_s

    def reset(self) -> None:
        """All is well: the next wait is a first one again."""
        self._ceiling_s = self._first_s
