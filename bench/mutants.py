"""Opens thousands of damaged and hostile model files the way a device does, and counts the ends.

Worker processes stand for the device's main process: each opens its share with ``Bundle.open``.
One that dies is counted, named by the mutant's number, and started again behind it.
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mutations import mutant

from sightpost_edge import trial
from sightpost_edge.bundle import Bundle
from sightpost_edge.container import CONTRACT_FILE
from sightpost_edge.errors import SightpostError
from sightpost_edge.testing import tiny_bundle


@dataclass(frozen=True, slots=True)
class End:
    """How one mutant ended; times of its child, 0 where none was started."""

    number: int
    outcome: str
    why: str = ""
    wall_ms: float = 0.0
    cpu_ms: float = 0.0


def open_one(path: Path, number: int, *, trusted: bool) -> End:
    """Open one file as a device does and say how that ended."""
    seen: list[tuple[trial.Outcome, float, float]] = []
    honest = trial.run_trial

    def watched(model: bytes, limits: trial.Limits) -> trial.Outcome:
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        outcome = honest(model, limits)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        seen.append((outcome, (time.perf_counter() - began) * 1000, cpu_s * 1000))
        return outcome

    trial.run_trial = watched
    try:
        why = _open(path, trusted=trusted)
    finally:
        trial.run_trial = honest
    if not seen:
        return End(number, "refused by container" if why else "opened", why)
    outcome, wall_ms, cpu_ms = seen[0]
    passed = "refused after the trial" if why else "opened"
    kind = passed if outcome.kind == "passed" else NAMES[outcome.kind]
    detail = f" {outcome.detail}" if outcome.kind == "killed" else ""
    return End(number, kind + detail, why, wall_ms, cpu_ms)


NAMES = {
    "refused": "refused by runtime", "killed": "child killed by", "timeout": "child timed out",
    "memory": "child over memory", "broken": "no verdict",
}  # fmt: skip


def _open(path: Path, *, trusted: bool) -> str:
    try:
        bundle = Bundle.open(
            path,
            labels=None if CONTRACT_FILE.encode() in path.read_bytes() else list("abc"),
            signed_sha256=hashlib.sha256(path.read_bytes()).hexdigest() if trusted else "",
        )
    except SightpostError as exc:
        return f"{type(exc).__name__}: {exc}"
    grey = np.full((*bundle.network.input_shape, 3), 99, np.uint8)
    bundle.network.scores(grey, mean=127.5, std=127.5)
    return ""


def work(options: argparse.Namespace) -> None:
    """Open the mutants of this share, telling each one's number before and its end after."""
    whole = options.model.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        path = Path(folder) / "mutant.tflite"
        for number in range(options.first, options.count, options.workers):
            path.write_bytes(mutant(whole, number, options.seed))
            print(json.dumps({"number": number}), flush=True)
            end = open_one(path, number, trusted=options.trusted)
            fields = {name: getattr(end, name) for name in End.__slots__}
            print(json.dumps(fields), flush=True)


def survey(
    model: Path,
    count: int,
    *,
    seed: int = 1,
    workers: int = 2,
    first: int = 0,
    trusted: bool = False,
) -> list[End]:
    """Open mutants ``first`` to ``count`` in worker processes; a crash of one is an End too."""

    def share(begin: int) -> list[End]:
        ends: list[End] = []
        while begin < count:
            line = [
                sys.executable,
                __file__,
                "--worker",
                "--model",
                str(model),
                "--count",
                str(count),
                "--seed",
                str(seed),
                "--workers",
                str(workers),
                "--first",
                str(begin),
            ]
            *found, last = _run(line + ["--trusted"] * trusted)
            ends += found
            if last is None:
                break
            ends.append(last)
            begin = last.number + workers
        return ends

    with ThreadPoolExecutor(workers) as pool:
        return [end for ends in pool.map(share, range(first, first + workers)) for end in ends]


def _run(line: list[str]) -> Iterator[End | None]:
    """What a worker tells; last of all None, or the mutant that killed it."""
    number = -1
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        for text in process.stdout or ():
            said = json.loads(text)
            number = said["number"]
            if "outcome" in said:
                yield End(**said)
    code = process.returncode
    yield End(number, "MAIN PROCESS CRASHED", f"exit code {code}") if code else None


def report(ends: list[End]) -> str:
    """The counts, and what the children cost."""
    lines = [f"{count:6}  {name}" for name, count in Counter(e.outcome for e in ends).most_common()]
    for name in ("wall_ms", "cpu_ms"):
        costs = sorted(cost for end in ends if (cost := getattr(end, name)))
        if len(costs) > 1:
            median, p95 = statistics.median(costs), costs[int(len(costs) * 0.95)]
            lines.append(f"child {name}: median {median:.0f}, p95 {p95:.0f}, most {costs[-1]:.0f}")
    crashes = sum(end.outcome.startswith("MAIN") for end in ends)
    return "\n".join([f"{len(ends)} mutants", *lines, f"main process crashes: {crashes}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, help="a Bundle or .tflite; a tiny Bundle by default")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument(
        "--trusted", action="store_true", help="leave the trial out, to see crashes"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options)
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or tiny_bundle(Path(folder) / "tiny.tflite")
        ends = survey(
            model,
            options.count,
            seed=options.seed,
            workers=options.workers,
            first=options.first,
            trusted=options.trusted,
        )
    print(report(ends))
    for end in sorted(ends, key=lambda end: end.number):
        if end.outcome.startswith(("MAIN", "child", "no verdict")):
            print(f"mutant {end.number}: {end.outcome} {end.why}")


if __name__ == "__main__":
    main()
