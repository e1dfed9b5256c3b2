"""Records a process, cuts the power at many moments, boots what each cut leaves."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from . import powercut
from .store_promises import boot, understood
from .store_worker import Work

HERE = Path(__file__).parent
STORE = "store"
Line = Callable[[Path], list[str]]
"""What is run, for the folder in which it is recorded."""


@dataclass(slots=True)
class Tally:
    """What came of all cuts; ``failed``: cuts after which something was wrong."""

    cuts: int = 0
    failed: int = 0
    operations: int = 0
    slowest_s: float = 0.0
    examples: Counter[str] = field(default_factory=Counter)

    def add(self, wrong: list[str], took_s: float) -> None:
        """The outcome of one cut."""
        self.cuts += 1
        self.failed += bool(wrong)
        self.slowest_s = max(self.slowest_s, took_s)
        self.examples.update(wrong[:1])


def compiled(folder: Path) -> Path:
    """The recording library; the test is left out where it cannot be made."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler (apt-get install gcc libc6-dev)")
    library = folder / "powercut.so"
    line = [compiler, "-std=gnu11", "-O1", "-fPIC", "-shared", "-o", str(library)]
    line += [str(HERE / "powercut.c"), "-ldl", "-lpthread"]
    made = subprocess.run(line, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return library


@dataclass(frozen=True, slots=True)
class Left:
    """A folder as power loss left it, and what had been promised by then."""

    folder: Path
    promises: tuple[Mapping[str, Any], ...] = ()


def writer(work: Work) -> Line:
    """A process that does nothing but write."""
    program = [sys.executable, str(HERE / "store_worker.py")]
    return lambda live: [*program, *_places(live), json.dumps(asdict(work))]


def device(*options: object) -> Line:
    """``sightpost run`` in a process of its own; what it prints are its promises."""
    program = (
        "import sys; store, acks = sys.argv[1:3]; "
        "sys.argv[1:3] = ['run', '--json', '--store', store]; sys.stdout = open(acks, 'w'); "
        "from sightpost_edge.cli import main; main()"
    )
    return lambda live: [sys.executable, "-c", program, *_places(live), *map(str, options)]


def _places(live: Path) -> list[str]:
    return [str(live / STORE), str(live / powercut.ACKS)]


def record(library: Path, at: Path, start: Left, line: Line) -> list[powercut.Operation]:
    """Let a process go on from ``start`` in ``at / "live"``; every call it made."""
    live = at / "live"
    shutil.copytree(start.folder, live)
    environment = {
        **os.environ, "LD_PRELOAD": str(library), "POWERCUT_ROOT": str(live),
        "POWERCUT_JOURNAL": str(at / "journal"),
    }  # fmt: skip
    done = subprocess.run(line(live), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    journal = powercut.read_journal(at / "journal")
    whole = powercut.Disk(start.folder)
    for operation in journal:
        whole.apply(operation)
    whole.compare(live)
    shutil.rmtree(live)
    return journal


def cut_points(journal: Sequence[powercut.Operation], count: int, rng: random.Random) -> list[int]:
    """After how many calls the power goes: half anywhere, half around an acknowledgement."""
    handles: dict[int, str] = {}
    acks = []
    for at, done in enumerate(journal):
        if done.kind == "O":
            handles[done.handle] = done.first.decode()
        elif done.kind == "W" and handles.get(done.handle) == powercut.ACKS:
            acks.append(at)
    anywhere = [rng.randint(1, len(journal)) for _ in range(count - count // 2)]
    near = [rng.choice(acks) + rng.randint(-6, 3) for _ in range(count // 2)] if acks else []
    return sorted(min(max(1, at), len(journal)) for at in (*anywhere, *near))


def cut(
    journal: list[powercut.Operation], at: Path, start: Left, count: int, rng: random.Random,
    tally: Tally,
) -> Left:  # fmt: skip
    """Cut a recording ``count`` times and boot each; what one of the cuts left, not booted."""
    disk = powercut.Disk(start.folder)
    points = cut_points(journal, count, rng)
    keep = rng.randrange(count)
    done = 0
    for number, point in enumerate(points):
        for operation in journal[done:point]:
            disk.apply(operation)
        done = point
        promises = (*start.promises, *understood(disk.promised()))
        left = Left(at / f"cut-{number}", promises)
        disk.cut(rng, left.folder)
        if number == keep:
            kept = Left(at / "kept", promises)
            shutil.copytree(left.folder, kept.folder)
        tally.add(*boot(left.folder / STORE, promises))
        shutil.rmtree(left.folder)
    tally.operations += len(journal)
    return kept


def campaign(
    library: Path, at: Path, lines: Sequence[Line], cuts_each: int, starts: Sequence[Left] = ()
) -> Tally:
    """Cut each one's recording; each begins at its own of ``starts``, or without these every
    second one with what a cut of the last left, the others with nothing."""
    tally, rng = Tally(), random.Random(7)
    empty = left = Left(at / "empty")
    empty.folder.mkdir()
    for number, line in enumerate(lines):
        start = starts[number] if starts else left if number % 2 else empty
        place = at / f"recording-{number % 2}"  # the last one's may be the start of this one
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        journal = record(library, place, start, line)
        left = cut(journal, place, start, cuts_each, rng, tally)
    return tally
