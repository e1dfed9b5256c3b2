"""A stretch of time in which something is there: an Event, or a rival that may become one."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .names import Look, Names
from .records import Frame, Moment

KNOWN_SHARE = 0.25
"""Of the weight of "unknown": of 41 parts on a conveyor, each novel at both edges of the picture,
3 were called unknown without this rule and none with it."""
RUNNING = 2
"""Names an Event may still get; each keeps its best Frame, and a Frame is up to 3 MB."""


@dataclass(frozen=True, slots=True)
class Best:
    """The moment in which a name scored best while it counted."""

    score: float
    frame: Frame
    moment: Moment
    novel: bool


@dataclass(slots=True)
class Stretch:
    """Everything that is known of it; ``totals`` are smoothed scores times seconds, (names,).

    At most four Frames are held: the first, the last, and the best of two names.
    """

    names: Names
    started: Frame
    last_alive: Frame
    totals: NDArray[np.float64]
    frames: int = 0
    running: dict[int, Best] = field(default_factory=dict)

    @classmethod
    def begin(cls, names: Names, frame: Frame) -> "Stretch":
        """One of which only the first Frame is known."""
        return cls(names, frame, frame, np.zeros(len(names.texts)))

    @property
    def name(self) -> int:
        """The heaviest name in the running, where a group never stands beside its own label."""
        heaviest = max(self.running, key=self.totals.__getitem__)
        if heaviest == self.names.unknown:
            least = KNOWN_SHARE * self.totals[heaviest]
            known = [n for n in self.running if n != heaviest and self.totals[n] >= least]
            return known[0] if known else heaviest
        return heaviest

    def gather(
        self, look: Look, counted: Iterable[int], moment: Moment, frame: Frame,
        *, novel: bool, weight_s: float,
    ) -> None:  # fmt: skip
        """Take one more Frame in, for which the names in ``counted`` may be called."""
        self.totals += look.row * weight_s
        self.frames += 1
        if look.alive:
            self.last_alive = frame
        self._run(
            {
                name: Best(float(look.row[name]), frame, moment, novel)
                for name in counted
                if look.row[name] > self._score(name)
            }
        )

    def absorb(self, other: "Stretch") -> None:
        """Take a later stretch in: it was no Event of its own after all."""
        self.totals += other.totals
        self.frames += other.frames
        self.last_alive = other.last_alive
        self._run({n: best for n, best in other.running.items() if best.score > self._score(n)})

    def _score(self, name: int) -> float:
        return self.running[name].score if name in self.running else 0.0

    def _run(self, better: dict[int, Best]) -> None:
        if not better:
            return
        running = {**self.running, **better}
        told = {self.names.parents[name] for name in running}
        left = sorted((n for n in running if n not in told), key=lambda n: -self.totals[n])
        self.running = {name: running[name] for name in left[:RUNNING]}
