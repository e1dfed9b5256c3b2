"""Too hot, too slow, too little memory: a run looks less often, at what is new, and recovers.

Real runs on a camera over HTTP; only the board's files and the minute of cooling are injected.
"""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_edge import pace
from sightpost_edge.store import read_events
from sightpost_edge.testing import colour

from ..edge.test_pace import PI_4, ZONE, put
from ..pins import until
from .conftest import ReportFault, only_in_soak
from .http_camera import HttpCamera

# As ``sightpost``, on another board.
PROGRAM = """
import sys
from pathlib import Path
from sightpost_edge import heat, pace
root, pace.COOL_S = Path(sys.argv.pop(1)), float(sys.argv.pop(1))
heat.Thermometer.__init__.__defaults__ = heat.heat.__defaults__ = (root,)
from sightpost_edge.cli import main
main()
"""
SITE = """
[motion]
enabled = false
[rules]
smoothing_s = 0.0
switch_s = 0.1
[rate]
per_s = {per_s}
"""
COLOURS = ("red", "green", "blue")
SHOWN_S = 1.0
"""So long the camera shows one colour."""
STEPPED_S = 5.0
"""From a cause until the rate is half."""
FINAL = (2, 4, 6)
"""These say that a person must look, which is not true of a lack of memory."""


@cache
def encoded(width: int, height: int) -> dict[str, list[bytes]]:
    """Pictures of each colour with noise, as JPEG: 160 KB each at 1280x720."""
    rng, found = np.random.default_rng(1), {}
    for name in COLOURS:
        plain = colour(name, width=width, height=height)[..., ::-1].astype(np.int16)
        noisy = (plain + rng.integers(-25, 26, plain.shape, dtype=np.int16) for _ in range(4))
        pictures = [np.clip(one, 0, 255).astype(np.uint8) for one in noisy]
        found[name] = [bytes(cv2.imencode(".jpg", one)[1]) for one in pictures]
    return found


class Camera(HttpCamera):
    """Another colour every second; knows when it sent the first picture of each."""

    def __init__(self, *, width: int = 160, height: int = 120, fps: float = 20.0) -> None:
        self._pictures = encoded(width, height)
        self.changed: list[tuple[float, str]] = []
        super().__init__(shows=self._show, fps=fps)

    def _show(self, number: int) -> bytes:
        now_s = time.monotonic()
        name = COLOURS[int(now_s / SHOWN_S) % 3]
        if not self.changed or self.changed[-1][1] != name:
            self.changed.append((now_s, name))
        return self._pictures[name][number % 4]


class Run:
    """``sightpost run`` from outside: what it acknowledged, logged and said, and when."""

    def __init__(
        self, folder: Path, model: Path, uri: str, *, per_s: float = 0.0, cool_s: float = 60.0,
        **given: Any,
    ) -> None:  # fmt: skip
        self.store, self.log = folder / "store", folder / "log.jsonl"
        (folder / "site.toml").write_text(SITE.format(per_s=per_s))
        words = ("run", "--config", folder / "site.toml", "--model", model, "--source", uri,
                 "--store", self.store, "--log", self.log, "--json")  # fmt: skip
        self._errors = (folder / "errors.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder / "board"), str(cool_s), *map(str, words)],
            stdout=subprocess.PIPE, stderr=self._errors, text=True, **given,
        )  # fmt: skip
        self.acknowledged: list[tuple[float, int]] = []
        self.looked: list[tuple[float, str]] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._read, self._follow)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.acknowledged.append((time.monotonic(), json.loads(line)["seq"]))

    def _follow(self) -> None:
        """The log, line by line: each is flushed as soon as its picture was looked at."""
        while not self.log.exists() and not self._ended.wait(0.01):
            pass
        if self._ended.is_set():
            return
        with self.log.open() as file:
            file.seek(0, os.SEEK_END)
            line = ""
            while not self._ended.is_set():
                line += file.readline()  # which may give half of one
                if line.endswith("\n"):
                    self.looked.append((time.monotonic(), json.loads(line)["label"]))
                    line = ""
                else:
                    self._ended.wait(0.005)

    def per_s(self, seconds: float) -> float:
        """How often it looks, from now on."""
        before = len(self.looked)
        time.sleep(seconds)
        return (len(self.looked) - before) / seconds

    def said(self) -> str:
        return Path(self._errors.name).read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)
        self._ended.set()
        for thread in self._threads:
            thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()


@contextmanager
def running(*given: Any, **more: Any) -> Iterator[Run]:
    run = Run(*given, **more)
    try:
        yield run
    finally:
        run.close()


def took_s(is_so: Callable[[], object], *, within_s: float) -> float:
    """How long it took; as much as there was where it never was."""
    began_s = time.monotonic()
    while not is_so() and time.monotonic() - began_s < within_s:
        time.sleep(0.01)
    return time.monotonic() - began_s


@dataclass(frozen=True, slots=True)
class Heated:
    """How a run took it: looks a second before, meanwhile and after; seconds until it was half and
    until it was the usual again."""

    usual: float
    spared: float
    after: float
    stepped_s: float
    back_s: float


def heated(folder: Path, model: Path, uri: str, cause: dict[str, str], cool_s: float) -> Heated:
    board(folder)
    with running(folder, model, uri, per_s=8, cool_s=cool_s) as run:
        until(lambda: len(run.looked) > 20, within_s=30)
        usual = run.per_s(3)
        board(folder, **cause)
        stepped_s = took_s(lambda: "1/2 rate" in run.said(), within_s=20)
        spared = run.per_s(2)
        board(folder)
        back_s = took_s(lambda: "usual rate again" in run.said(), within_s=2 * cool_s + 20)
        return Heated(usual, spared, run.per_s(2), stepped_s, back_s)


@pytest.mark.slow
@pytest.mark.parametrize("cool_s", [4.0, pytest.param(pace.COOL_S, marks=only_in_soak)])
def test_a_hot_or_badly_fed_board_is_spared(
    tmp_path: Path, bundle_file: Path, cool_s: float, report_fault: ReportFault
) -> None:
    """Half the rate within 5 s of a throttle bit or of 85 degrees, the usual one again after a
    cool minute (here: four seconds)."""
    causes = ({"bits": "1"}, {"bits": "50004"}, {"degrees": "85000"})
    folders = [tmp_path / str(number) for number in range(len(causes))]
    for folder in folders:
        folder.mkdir()
    camera = Camera()
    with ThreadPoolExecutor(len(causes)) as pool:
        found = list(
            pool.map(
                lambda folder, cause: heated(folder, bundle_file, camera.uri, cause, cool_s),
                folders,
                causes,
            )
        )
    camera.kill()
    late = sum(one.stepped_s > STEPPED_S for one in found)
    stuck = sum(not 0.8 < one.after / one.usual < 1.2 for one in found)
    slowest_s = max(one.stepped_s for one in found)
    report_fault(
        "20 heat", len(causes), late + stuck, max(one.back_s for one in found) - cool_s,
        f"half rate after {slowest_s:.1f} s",
    )  # fmt: skip
    assert not late + stuck, found
    for one in found:
        assert one.usual == pytest.approx(8, rel=0.15)
        assert one.spared < 0.7 * one.usual
        assert one.back_s > cool_s - 2, "it did not wait"


def board(folder: Path, *, bits: str = "0", degrees: str = "50000") -> None:
    put(folder / "board", {PI_4: bits, f"{ZONE}/temp": degrees})


HOGS = 4
"""Programs that want the same core."""
AGE_S = 0.9
"""A queue of a second would show the colour before."""


@pytest.mark.slow
def test_an_overloaded_core_sees_the_newest_picture(
    tmp_path: Path, bundle_file: Path, report_fault: ReportFault
) -> None:
    """One core, shared with four programs, and a camera of 720p at 30 a second: pictures are left
    out, and the one that is looked at is new."""
    core = {min(os.sched_getaffinity(0))}
    camera = Camera(width=1280, height=720, fps=30)
    alone = {"preexec_fn": lambda: os.sched_setaffinity(0, core)}
    board(tmp_path)
    with running(tmp_path, bundle_file, camera.uri, **alone) as run:
        until(lambda: len(run.looked) > 20, within_s=30)
        hogs = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"], **alone)
            for _ in range(HOGS)
        ]
        began_s = time.monotonic()
        time.sleep(12 * SHOWN_S + 1)
        busy, over_s = ages(camera, run, began_s), time.monotonic()
        for hog in hogs:
            hog.kill()
            hog.wait()
        time.sleep(4 * SHOWN_S + 1)
        idle = ages(camera, run, over_s)
        looks = sum(began_s < at_s < over_s for at_s, _ in run.looked) / (over_s - began_s)
    camera.kill()
    left_out = int(run_figure(tmp_path, "dropped for newer ones"))
    old = sum(age_s > AGE_S for age_s in busy + idle)
    report_fault(
        "20 overload", 1, old, None,
        f"one core for {HOGS + 1} programs: {looks:.0f} of 30 pictures a second looked at, "
        f"{max(busy):.2f} s old at most",
    )  # fmt: skip
    assert len(busy) >= 9
    assert len(idle) >= 3
    assert not old, (busy, idle)
    assert left_out > 50, "it was never overloaded"
    assert max(idle) < 0.5


def ages(camera: Camera, run: Run, since_s: float) -> list[float]:
    """From the moment a new colour was sent until a picture of it was looked at."""
    found = []
    sent = [change for change in camera.changed if change[0] >= since_s]
    for at_s, name in sent:
        seen_s = [s for s, label in run.looked if s >= at_s and label == name]
        if at_s + SHOWN_S < time.monotonic():
            found.append((min(seen_s) if seen_s else np.inf) - at_s)
    return found


def run_figure(folder: Path, words: str) -> str:
    """The word before these in its summary."""
    return (folder / "errors.txt").read_text().split(f" {words}")[0].split()[-1]


START_MB = (350, 500, 700)
CLAMPED_S = (0.2, 0.4, 0.6, 0.8, 1.2, 3.0)


@pytest.mark.slow
def test_too_little_memory_needs_no_person(
    tmp_path: Path, bundle_file: Path, report_fault: ReportFault
) -> None:
    """Too little from the start, or none more from some moment on: the run goes on, or ends so that
    it is started again, and then serves; what was acknowledged is there."""
    camera, wrong, slowest_s = Camera(), list[str](), 0.0
    board(tmp_path)
    acknowledged: set[int] = set()
    for limit_mb, after_s in [*((mb, 0.0) for mb in START_MB), *((0, s) for s in CLAMPED_S)]:
        with running(tmp_path, bundle_file, camera.uri, **limited(limit_mb)) as run:
            time.sleep(after_s)
            if not limit_mb:
                clamp(run.process.pid)
            took_s(lambda one=run: one.process.poll() is not None, within_s=4)  # type: ignore[misc]
            code = run.process.poll()
            if code in (0, *FINAL):
                wrong.append(f"{limit_mb} MB, {after_s} s: exit code {code}: {run.said()[-300:]}")
            if not limit_mb and code is None:
                unclamp(run.process.pid)
        acknowledged |= {seq for _, seq in run.acknowledged}
        with running(tmp_path, bundle_file, camera.uri) as again:
            slowest_s = max(slowest_s, took_s(lambda one=again: one.acknowledged, within_s=30))  # type: ignore[misc]
            if not again.acknowledged:
                wrong.append(f"{limit_mb} MB, {after_s} s: not back: {again.said()[-300:]}")
        acknowledged |= {seq for _, seq in again.acknowledged}
    camera.kill()
    missing = acknowledged - {event.seq for event in read_events(run.store)}
    wrong += [f"event {seq} is lost" for seq in missing]
    report_fault("20 memory", len(START_MB) + len(CLAMPED_S), len(wrong), slowest_s)
    assert not wrong, "\n".join(wrong)


def limited(limit_mb: int) -> dict[str, Any]:
    """A process that may not have more address space; 0: no limit."""
    size = limit_mb << 20
    return (
        {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size))} if size else {}
    )


def clamp(pid: int) -> None:
    """It gets no more than it has."""
    with open(f"/proc/{pid}/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def unclamp(pid: int) -> None:
    unlimited = resource.RLIM_INFINITY
    resource.prlimit(pid, resource.RLIMIT_AS, (unlimited, unlimited))
