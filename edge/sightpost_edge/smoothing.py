"""Evens scores out over time, not over frames: a frame speaks for the time since the one before.

The first frame, and the first after a break, speaks for all the time before it. So a camera that
slows down from 30 to 2 frames a second is smoothed as much in seconds and less in frames.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float64]
"""(names,) float64 in [0, 1]: index 0 is what speaks for nothing being there; see ``names``."""
ROUNDING = 1e-9
"""A share of the window this small is what adding and taking away has left."""


class Smoother(Protocol):
    """Takes the row of each frame and gives the smoothed one; rows are never written to."""

    def __call__(self, row: Row, passed_s: float | None) -> Row:
        """``passed_s`` since the frame before; None starts afresh."""


class Exponential:
    """What was seen ``time_constant_s`` ago still counts 37 %, twice as long ago 14 %."""

    def __init__(self, time_constant_s: float) -> None:
        self._time_constant_s = time_constant_s
        self._value: Row | None = None

    def __call__(self, row: Row, passed_s: float | None) -> Row:
        """The row itself where it starts afresh or nothing is to be smoothed."""
        if self._value is None or passed_s is None or self._time_constant_s == 0:
            self._value = row
        else:
            weight = -math.expm1(-passed_s / self._time_constant_s)
            self._value = self._value + weight * (row - self._value)
        return self._value


@dataclass(slots=True)
class _Vote:
    leader: int
    score: float
    lasting_s: float


@dataclass(slots=True)
class _Count:
    """What the votes for one label within the window add up to."""

    votes: int = 0
    lasting_s: float = 0.0
    weighed: float = 0.0


class Majority:
    """Each frame votes for its surest label, for as long as it speaks, within the last window.

    The label that led for more than half of the window gets the mean of its scores while it led:
    what others said meanwhile, however surely, is outvoted. Any other label gets that mean times
    its share of the window. So the figure stays a score, and thresholds found on single photos
    fit it; a share alone would say 1 of a label that led with 0.4.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._votes: deque[_Vote] = deque()
        self._counts: dict[int, _Count] = {}

    def __call__(self, row: Row, passed_s: float | None) -> Row:
        """Frames of the same instant have no time to speak for: the first one stands."""
        if self._window_s == 0:
            return row
        if passed_s is None or not self._votes:
            self._votes.clear()
            self._counts.clear()
            passed_s = self._window_s
        leader = int(row.argmax())
        self._cast(_Vote(leader, float(row[leader]), min(passed_s, self._window_s)))
        smoothed = np.zeros_like(row)
        for name, count in self._counts.items():
            share = count.lasting_s / self._window_s
            if share > ROUNDING:
                mean = min(1.0, max(0.0, count.weighed / count.lasting_s))
                smoothed[name] = mean if share > 0.5 + ROUNDING else mean * share
        return smoothed

    def _cast(self, vote: _Vote) -> None:
        if vote.lasting_s <= 0:
            return
        self._expire(vote.lasting_s)
        self._votes.append(vote)
        count = self._counts.setdefault(vote.leader, _Count())
        count.votes += 1
        count.lasting_s += vote.lasting_s
        count.weighed += vote.lasting_s * vote.score

    def _expire(self, needed_s: float) -> None:
        """Make room at the old end; a vote may go in part."""
        while needed_s > 0 and self._votes:
            vote = self._votes[0]
            count = self._counts[vote.leader]
            gone_s = min(vote.lasting_s, needed_s)
            needed_s -= gone_s
            count.lasting_s -= gone_s
            count.weighed -= gone_s * vote.score
            vote.lasting_s -= gone_s
            if vote.lasting_s <= 0:
                self._votes.popleft()
                count.votes -= 1
                if not count.votes:  # with it go the rounding errors of a long run
                    del self._counts[vote.leader]


SMOOTHERS: dict[str, Callable[[float], Smoother]] = {
    "exponential": Exponential,
    "majority": Majority,
}
