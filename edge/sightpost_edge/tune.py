"""How many threads the interpreter gets: measured on this model and machine, in 200 ms at a start.

A second thread costs 9-34 % more CPU always and gives nothing while its core is busy with the
camera's pictures; so one core is left for these, and more threads must pay for themselves.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np

from .interpreter import Network
from .machine import cores_here

BUDGET_S = 0.2
MOST_THREADS = (2, 3, 4)
PAYS = 0.75
"""Twice the threads must bring three quarters of twice the speed, or they only make heat."""


def tuned_network(
    load: Callable[[int], Network],
    *,
    cores: int = 0,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.perf_counter,
) -> Network:
    """The network with as many threads as pay.

    Args:
        load: makes the network with so many threads.
        cores: default: those that this process may use. Up to ``cores - 1`` threads are tried.
        budget_s: for all measurements together, loading included.
    """
    best, threads = load(1), 1
    more = [n for n in MOST_THREADS if n < (cores or cores_here())]
    if not more:
        return best
    end_s = clock() + budget_s
    best_s = _invoke_s(best, budget_s / (len(more) + 1), clock)
    for n in more:
        # However slow the board, two threads are tried: there they matter most.
        if n > more[0] and clock() >= end_s:
            break
        network = load(n)
        taken_s = _invoke_s(network, (end_s - clock()) / 2, clock)
        if taken_s * (n / threads) * PAYS > best_s:
            break
        best, best_s, threads = network, taken_s, n
    return best


def _invoke_s(network: Network, budget_s: float, clock: Callable[[], float]) -> float:
    """Median seconds of one run after a first one, within the budget but at least once."""
    pixels = np.zeros((*network.input_shape, 3), np.uint8)
    network.outputs(pixels, mean=127.5, std=127.5)
    end_s = clock() + budget_s
    taken: list[float] = []
    while not taken or clock() < end_s:
        began_s = clock()
        network.outputs(pixels, mean=127.5, std=127.5)
        taken.append(clock() - began_s)
    return statistics.median(taken)
