"""Latency and memory of models on this machine: all of them in turn, so that noise hits all alike.

rows = measure({"garden": Path("garden.tflite")})
print(as_json(this_machine(), rows))
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .bench_report import BenchReport, Measured, Timing, as_json, from_json
from .container import read_file
from .errors import ModelError, SightpostError
from .interpreter import interpreter_class
from .machine import Machine, cores_here, this_machine
from .probe import Loaded, probe

__all__ = [
    "BenchReport", "Machine", "Measured", "Timing", "as_json",
    "default_threads", "from_json", "measure", "this_machine",
]  # fmt: skip

SECONDS = 5.0
LEAST_ROUNDS = 20
PAUSE_S = 0.005
"""Before every run, as between a camera's frames. Without it the worker threads of the model before
still spin: on 2 cores a small int8 model with 2 threads took 1.04 ms instead of 0.45."""
WARM_UPS = 3
GROUP = 16
"""At most so many models are loaded at once."""
SHARE = 0.5
"""Models loaded at once may take this share of the memory that is available."""

Progress = Callable[[str], None]


def default_threads(cores: int = 0) -> tuple[int, ...]:
    """1, 2 and 4, as far as there are ``cores`` (default: this machine's)."""
    return tuple(n for n in (1, 2, 4) if n <= max(1, cores or cores_here()))


def measure(
    models: Mapping[str, bytes | Path],
    *,
    threads: Sequence[int] = (),
    seconds: float = SECONDS,
    progress: Progress | None = None,
) -> list[Measured]:
    """Measure models against each other, a row for each in the order given.

    Each is read once and first tried in a process of its own. Those that survive are loaded
    together, as far as memory allows, and invoked one after the other in random order, round by
    round.

    Args:
        models: FlatBuffers or files by name, with or without a Bundle's files behind them.
        threads: numbers of threads to try; default ``default_threads()``.
        seconds: for each number of threads, shared by all models; 20 rounds are made in any case.
        progress: is told what is going on, a few words at a time.

    Raises:
        MissingExtra: no TFLite runtime is installed.
    """
    interpreter_class()
    say = progress or (lambda text: None)
    rows, contents = _first_tries(models, say)
    for count in threads or default_threads():
        alive = [row for row in rows.values() if not row.failure]
        for group in groups(alive, available_mb()):
            budget_s = seconds * len(group) / len(alive)
            chosen = {row.name: contents[row.name] for row in group}
            for name, result in _time_group(chosen, count, budget_s, say).items():
                rows[name] = _with(rows[name], result)
    return list(rows.values())


def groups(rows: Sequence[Measured], memory_mb: float) -> Iterator[list[Measured]]:
    """Split into what may be loaded at once within ``memory_mb``; a big one goes alone."""
    group: list[Measured] = []
    for row in rows:
        together = sum(r.peak_mb for r in group) + row.peak_mb
        if group and (together > memory_mb * SHARE or len(group) == GROUP):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def available_mb() -> float:
    """Memory that can be had without swapping, in MiB; infinite where the kernel does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return float("inf")


def rounds(
    models: Mapping[str, Loaded],
    failed: dict[str, str],
    *,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
    order: random.Random | None = None,
) -> Iterator[dict[str, float]]:
    """Invoke every model once a round, in an order drawn anew; yields milliseconds by name.

    Ends after ``seconds`` by ``clock``, but not before 20 rounds. A model that cannot be run is
    written into ``failed`` with the reason and left out from then on.
    """
    order = order or random.Random()
    names = list(models)
    began = clock()
    done = 0
    while names and (done < LEAST_ROUNDS or clock() - began < seconds):
        order.shuffle(names)
        taken = {}
        for name in names:
            sleep(PAUSE_S)
            try:
                taken[name] = _one(models[name], clock)
            except ModelError as exc:
                failed[name] = str(exc)
        yield taken
        names = [name for name in names if name not in failed]
        done += 1


def _one(model: Loaded, clock: Callable[[], float]) -> float:
    model.fill()
    began = clock()
    model.run()
    return (clock() - began) * 1000


def _first_tries(
    models: Mapping[str, bytes | Path], say: Progress
) -> tuple[dict[str, Measured], dict[str, bytes]]:
    """A row for each, and the bytes of those that ran: what is timed is what was tried."""
    rows: dict[str, Measured] = {}
    contents: dict[str, bytes] = {}
    for i, (name, model) in enumerate(models.items(), 1):
        say(f"trying {i} of {len(models)}: {name}")
        try:
            content = model if isinstance(model, bytes) else read_file(model)
        except ModelError as exc:
            rows[name] = Measured(name, 0, failure=f"cannot be read ({exc})")
            continue
        rows[name] = _first_try(name, content)
        if not rows[name].failure:
            contents[name] = content
    return rows, contents


def _first_try(name: str, model: bytes) -> Measured:
    found = probe(model)
    return Measured(
        name, len(model), (), found.peak_mb, found.partitions, found.nodes, found.input_type,
        found.failure,
    )  # fmt: skip


def _time_group(
    models: Mapping[str, bytes], threads: int, seconds: float, say: Progress
) -> dict[str, Timing | str]:
    """A Timing for each model, or the reason why there is none."""
    with_threads = f"{threads} thread{'s' * (threads > 1)}"
    say(f"{with_threads}: loading {len(models)} models")
    failed: dict[str, str] = {}
    loaded: dict[str, Loaded] = {}
    for name, model in models.items():
        try:
            loaded[name] = _warm(model, threads)
        except (SightpostError, MemoryError) as exc:
            failed[name] = str(exc) or "not enough memory to load it"
    times: dict[str, list[float]] = {name: [] for name in loaded}
    for i, taken in enumerate(rounds(loaded, failed, seconds=seconds), 1):
        say(f"{with_threads}: round {i}")
        for name, ms in taken.items():
            times[name].append(ms)
    return {
        name: f"with {with_threads}: {failed[name]}"
        if name in failed
        else summary(threads, times[name])
        for name in models
    }


def _warm(model: bytes, threads: int) -> Loaded:
    loaded = Loaded(model, threads)
    for _ in range(WARM_UPS):
        loaded.fill()
        loaded.run()
    return loaded


def summary(threads: int, times_ms: Sequence[float]) -> Timing:
    """Median and 95th percentile of single runs."""
    median, p95 = np.percentile(times_ms, (50, 95))
    return Timing(threads, round(float(median), 4), round(float(p95), 4), len(times_ms))


def _with(row: Measured, result: Timing | str) -> Measured:
    if isinstance(result, str):
        return replace(row, failure=result)
    return replace(row, timings=(*row.timings, result))
