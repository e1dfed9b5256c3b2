"""Counts one contestant's decisions: how many, how late, at what cost of processor time."""

import os
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

WARM_S = 0.4
"""Not counted: first runs of the model, worker threads that start, a queue that fills."""


@dataclass(frozen=True, slots=True)
class Round:
    """One contestant in one scenario, once.

    ``cpu_ms`` is processor time of the whole process per decision, all threads together.
    ``total_cpu_s`` covers the warm-up as well. ``foreign_cores`` is how much of the machine others
    had meanwhile, in cores.
    """

    decisions: int
    seconds: float
    cpu_ms: float
    latency_ms: float
    latency_p95_ms: float
    total_cpu_s: float
    foreign_cores: float = 0.0

    @property
    def per_s(self) -> float:
        """Decisions per second."""
        return self.decisions / self.seconds

    def as_row(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "per_s": round(self.per_s, 2)}


class Meter:
    """Told of each decision as it is made; measures for ``seconds`` after the warm-up."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._total_cpu_s = time.process_time()
        self._first_ns = self._began_ns = self._last_ns = 0
        self._cpu_s = self._last_cpu_s = 0.0
        self._late_ns: list[int] = []

    def decided(self, captured_ns: int) -> bool:
        """Note the decision about a frame captured then; False when there are enough."""
        now_ns = time.monotonic_ns()
        self._first_ns = self._first_ns or now_ns
        if not self._began_ns:
            if now_ns - self._first_ns >= WARM_S * 1e9:
                self._began_ns, self._cpu_s = now_ns, time.process_time()
            return True
        self._late_ns.append(now_ns - captured_ns)
        self._last_ns, self._last_cpu_s = now_ns, time.process_time()
        return now_ns - self._began_ns < self._seconds * 1e9

    def result(self) -> Round:
        """The Round measured."""
        count = len(self._late_ns)
        median, p95 = np.percentile(self._late_ns, (50, 95)) / 1e6
        return Round(
            decisions=count,
            seconds=(self._last_ns - self._began_ns) / 1e9,
            cpu_ms=(self._last_cpu_s - self._cpu_s) * 1000 / count,
            latency_ms=float(median),
            latency_p95_ms=float(p95),
            total_cpu_s=time.process_time() - self._total_cpu_s,
        )


def busy_s() -> float:
    """Processor seconds that the whole machine has spent, steal by its host included."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _wait, irq, soft, steal = map(int, stat.readline().split()[1:9])
    ticks = user + nice + system + irq + soft + steal
    return ticks / os.sysconf("SC_CLK_TCK")
