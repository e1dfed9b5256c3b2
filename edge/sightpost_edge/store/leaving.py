"""The pictures of a store in the order in which they go."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .holdings import Holdings
from .retention import Pictures, Value, leaving

AHEAD = 5000
"""So many of the first are kept ready: 65 KB, where the order of a million takes a second."""
GOOD_FOR_S, AT_MOST_EVERY_S = 60.0, 1.0


@dataclass(frozen=True, slots=True)
class Next:
    """One picture, and what it is worth."""

    table: str
    key: int
    clip: bool
    value: int


class Leaving:
    """A queue that is made again when it is old or used up, and when what came since may be worth
    less than its head."""

    def __init__(self, tables: Mapping[str, Holdings], clock_s: Callable[[], float]) -> None:
        self._tables, self._clock_s = tables, clock_s
        self._names = tuple(tables)
        self._made_s = -GOOD_FOR_S
        self._size = 0
        self._at = 0
        self._more = False
        self._table: NDArray[np.int8] = np.empty(0, np.int8)
        self._key: NDArray[np.int64] = np.empty(0, np.int64)
        self._clip: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._value: NDArray[np.int8] = np.empty(0, np.int8)

    def refresh(self) -> None:
        """Look for what came since, where that matters; not while what was taken out of the queue
        is still there: it would be taken twice."""
        if self._is_stale():
            self._make()

    def head(self) -> Next | None:
        """What goes next; None where nothing may go."""
        if self._at >= len(self._key):
            return None
        at = self._at
        return Next(
            self._names[self._table[at]], int(self._key[at]), bool(self._clip[at]),
            int(self._value[at]),
        )  # fmt: skip

    def pop(self) -> None:
        """The head is dealt with."""
        self._at += 1

    def _is_stale(self) -> bool:
        age_s = self._clock_s() - self._made_s
        if age_s >= GOOD_FOR_S:
            return True
        over = self._at >= len(self._key)
        if over and self._more:
            return True
        dear = over or self._value[self._at] > Value.COMMON
        return dear and age_s >= AT_MOST_EVERY_S and self._held() != self._size

    def _held(self) -> int:
        return sum(table.came for table in self._tables.values())

    def _make(self) -> None:
        first_group, parts = 0, []
        for table in self._tables.values():
            table.tidy()
            parts.append(table.pictures(first_group))
            first_group += table.groups
        columns = ([getattr(one, f.name) for one in parts] for f in fields(Pictures))
        rows, clips, values = leaving(Pictures(*map(np.concatenate, columns)))
        self._more = len(rows) > AHEAD
        rows, self._clip, self._value = rows[:AHEAD], clips[:AHEAD], values[:AHEAD]
        sizes = [len(table) for table in self._tables.values()]
        self._table = np.repeat(np.arange(len(sizes), dtype=np.int8), sizes)[rows]
        self._key = np.concatenate([table.keys() for table in self._tables.values()])[rows]
        self._made_s, self._size, self._at = self._clock_s(), self._held(), 0
