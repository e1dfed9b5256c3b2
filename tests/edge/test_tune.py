"""Threads: more of them only where they pay, and never the last core."""

from types import SimpleNamespace
from typing import Any

import pytest

from sightpost_edge.tune import tuned_network


class Board:
    """A clock that moves on by what one run takes with so many threads."""

    def __init__(self, **run_ms: float) -> None:
        self.now_s = 0.0
        self.run_s = {int(name[1:]): ms / 1000 for name, ms in run_ms.items()}
        self.loaded: list[int] = []

    def clock(self) -> float:
        return self.now_s

    def load(self, threads: int) -> Any:
        self.loaded.append(threads)

        def outputs(*_: object, **__: object) -> None:
            self.now_s += self.run_s[threads]

        return SimpleNamespace(input_shape=(4, 4), outputs=outputs, threads=threads)


@pytest.mark.parametrize(
    ("cores", "run_ms", "chosen"),
    [
        (1, {"t1": 10}, 1),
        (2, {"t1": 10}, 1),
        (4, {"t1": 10, "t2": 5.5, "t3": 4.6}, 3),
        (4, {"t1": 10, "t2": 5.5, "t3": 5.2}, 2),
        (4, {"t1": 10, "t2": 7, "t3": 4}, 1),
        (8, {"t1": 10, "t2": 5, "t3": 3.5, "t4": 2.7}, 4),
    ],
)
def test_threads_must_pay(cores: int, run_ms: dict[str, float], chosen: int) -> None:
    """Twice the threads for less than 1.5 times the speed only make heat; a core stays free."""
    board = Board(**run_ms)
    assert tuned_network(board.load, cores=cores, clock=board.clock).threads == chosen


def test_it_takes_a_fifth_of_a_second() -> None:
    """On a board where a run takes 5 ms."""
    board = Board(t1=5, t2=2.6, t3=1.9)
    tuned_network(board.load, cores=4, clock=board.clock)
    assert 0.1 < board.now_s < 0.25


def test_a_slow_board_is_not_denied_its_second_core() -> None:
    """150 ms a run: the budget is gone after one look, and two threads are tried all the same."""
    board = Board(t1=150, t2=80, t3=60)
    assert tuned_network(board.load, cores=4, clock=board.clock).threads == 2
    assert board.loaded == [1, 2]
