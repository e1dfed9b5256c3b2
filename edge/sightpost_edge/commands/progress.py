"""One line on stderr that says how far long work is; nothing where stderr is no terminal."""

import shutil
import sys
import time
from collections.abc import Callable

LINE_PERIOD_S = 0.1
BAR = 20


class Line:
    """A line that is written over; ``shown`` False keeps it back on a terminal, too."""

    def __init__(self, *, shown: bool = True) -> None:
        self._live = shown and sys.stderr.isatty()
        self._due_s = 0.0
        self._shown = 0

    def show(self, what: object, *, now: bool = False) -> None:
        """Write over what stands there, ten times a second at most, or ``now``."""
        if not self._live or (not now and time.monotonic() < self._due_s):
            return
        self._due_s = time.monotonic() + LINE_PERIOD_S
        text = str(what)[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write("\r" + text.ljust(self._shown))
        sys.stderr.flush()
        self._shown = len(text)

    def say(self, text: str) -> None:
        """A message that stays, above the line."""
        self.close()
        print(text, file=sys.stderr)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._shown:
            sys.stderr.write("\r" + " " * self._shown + "\r")
            sys.stderr.flush()
            self._shown = 0


class Pace:
    """How far a known number of things is, how fast it goes, and how long it will take.

    Args:
        total: of things.
        unit: what they are called, in the plural.
        done: how many were done before this run: they tell nothing about its speed.
    """

    def __init__(
        self, total: int, unit: str, *, done: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.done, self._total, self._unit = done, total, unit
        self._before, self._clock, self._began_s = done, clock, clock()

    @property
    def rate(self) -> float:
        """Things per second in this run."""
        return (self.done - self._before) / max(1e-9, self._clock() - self._began_s)

    def __str__(self) -> str:
        filled = BAR * self.done // max(1, self._total)
        bar = "█" * filled + "·" * (BAR - filled)
        text = f"{bar} {self.done:,} of {self._total:,} {self._unit}"
        if self.done == self._before:
            return text
        return f"{text}, {self.rate:.0f}/s, {_left((self._total - self.done) / self.rate)} left"


def _left(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
