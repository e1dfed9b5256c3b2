"""Plays contestants against each other: round by round in random order, and who else was busy."""

import json
import random
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from .contestant import IN_PEERS
from .meter import Round, busy_s

CONTENDED_CORES = 0.2
"""Of two cores a tenth for others: from there on throughput suffers visibly."""
LOADING_S = 60
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Result:
    """A contestant's Rounds in one scenario, and the medians that count.

    ``quiet`` tells whether the medians are over undisturbed Rounds; fewer than two of them, and
    all count.
    """

    name: str
    rounds: tuple[Round, ...] = ()
    failure: str = ""

    @property
    def quiet(self) -> bool:
        """See the class."""
        return len(self._quiet) >= 2

    @property
    def _quiet(self) -> tuple[Round, ...]:
        return tuple(r for r in self.rounds if r.foreign_cores <= CONTENDED_CORES)

    def median(self, figure: str) -> float:
        """The median of one of Round's figures."""
        chosen = self._quiet if self.quiet else self.rounds
        figures: list[float] = [getattr(r, figure) for r in chosen]
        return statistics.median(figures)

    def as_row(self) -> dict[str, Any]:
        """JSON-ready: the medians and every Round."""
        if self.failure:
            return {"failure": self.failure}
        figures = ("per_s", "latency_ms", "latency_p95_ms", "cpu_ms", "foreign_cores")
        medians = {figure: round(self.median(figure), 3) for figure in figures}
        return {**medians, "quiet": self.quiet, "rounds": [r.as_row() for r in self.rounds]}


class Player:
    """A contestant's process."""

    def __init__(self, name: str, files: Path, peers: Path | None) -> None:
        self.name = name
        python = str(peers / "bin" / "python") if name in IN_PEERS and peers else sys.executable
        self._process = subprocess.Popen(
            [python, "-m", "bench.runtime.contestant", name, str(files)], cwd=REPOSITORY,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def play(self, clip: Path, fps: float, seconds: float) -> Round | str:
        """One Round, or why there is none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = json.dumps({"clip": str(clip), "fps": fps, "seconds": seconds})
        before_s, began_s = busy_s(), time.monotonic()
        try:
            print(order, file=self._process.stdin, flush=True)
            ready, _, _ = select.select([self._process.stdout], [], [], seconds + LOADING_S)
            if not ready:
                self._process.kill()
                return f"no answer within {seconds + LOADING_S:.0f} s"
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line or '{"error": "its process died"}')
        if "error" in answer:
            return str(answer["error"])
        spent_s, took_s = busy_s() - before_s, time.monotonic() - began_s
        known = {field.name for field in fields(Round)}
        found = Round(**{key: value for key, value in answer.items() if key in known})
        foreign_s = max(0.0, spent_s - found.total_cpu_s)
        return replace(found, foreign_cores=round(foreign_s / took_s, 3))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def play(
    players: Mapping[str, Player], names: Sequence[str], clip: Path, fps: float,
    *, rounds: int, seconds: float, say: Callable[[str], None],
) -> dict[str, Result]:  # fmt: skip
    """Every contestant of ``names`` once a round, in an order drawn anew.

    A first, short one is thrown away: it loads libraries and model.
    """
    results = {name: Result(name) for name in names}
    for name in names:
        found = players[name].play(clip, fps, 0.1)
        if isinstance(found, str):
            results[name] = Result(name, failure=found)
    for i in range(rounds):
        alive = [name for name in names if not results[name].failure]
        random.shuffle(alive)
        for name in alive:
            say(f"{fps:.0f} fps, round {i + 1} of {rounds}: {name}")
            found = players[name].play(clip, fps, seconds)
            if isinstance(found, str):
                results[name] = Result(name, failure=found)
            else:
                results[name] = Result(name, (*results[name].rounds, found))
    return results
