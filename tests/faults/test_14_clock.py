"""A clock that is wrong, jumps, or becomes right: order stays, durations stay, times are mended."""

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import pytest

from sightpost_edge.clock import Reading, to_ms
from sightpost_edge.records import Event
from sightpost_edge.store import EventStore, read_events
from sightpost_edge.store.backfill import Backfill
from sightpost_edge.store.outbox import prune
from sightpost_edge.testing import colour, frame

from ..conftest import command
from ..edge.test_sources import write_clip
from .conftest import ReportFault

YEAR_S = 365 * 86_400
TRUE_MS = 1_790_000_000_000
"""What a perfect clock says at the first boot's start."""


@dataclass(slots=True)
class Board:
    """A board whose true time is known to the test, and whose clock is off by ``off_s``."""

    boot: int = 0
    true_s: float = 0.0
    booted_s: float = 0.0
    off_s: float = 0.0
    synchronized: bool = False
    truth: dict[int, tuple[float, int]] = field(default_factory=dict)
    knew: set[int] = field(default_factory=set)

    def __call__(self) -> Reading:
        worth = "synchronized" if self.synchronized else "unsynchronized"
        wall_ms = TRUE_MS + round((self.true_s + self.off_s) * 1000)
        return Reading(wall_ms, self.monotonic_ns, worth, f"boot-{self.boot}")

    @property
    def monotonic_ns(self) -> int:
        return round((self.true_s - self.booted_s) * 1e9)

    def event(self) -> Event:
        """A fox that stays for two seconds, and is decided half a second later."""
        frames = []
        shown = frame(colour("red"))
        for index in range(6):
            self.true_s += 0.5
            elapsed_s = self.true_s - self.booted_s
            now = replace(shown, index=index, elapsed_s=elapsed_s, monotonic_ns=self.monotonic_ns)
            frames.append(now)
        return Event("fox", 0.9, frames[0], frames[4], frames[2], frames[5], 6, "left")

    def reboot(self) -> None:
        """Off for a day that no clock has counted."""
        self.boot += 1
        self.true_s += 86_400
        self.booted_s = self.true_s
        self.off_s = -self.true_s - 50 * YEAR_S
        self.synchronized = False


def live(folder: Path, board: Board, chance: random.Random, events: int) -> int:
    """Some boots with events, jumps and, now and then, the right time; gives the faults."""
    faults = 0
    while len(board.truth) < events:
        with EventStore(
            folder, source="camera", model="m", model_digest="d", live=True, outbox=True,
            read_clock=board,
        ) as store:  # fmt: skip
            backfill = Backfill(store.connection, outbox=True)
            backfill.expect(board())
            for _ in range(chance.randint(1, 12)):
                event = board.event()
                began_s = board.true_s - 3.0 + 0.5
                seq = store.write(event, snapshot=False).seq
                board.truth[seq] = (began_s, board.boot)
                faults += _jump(board, chance)
                if chance.random() < 0.3:  # an uplink has taken all there was
                    with store.transaction() as connection:
                        prune(connection, acked=10**9)
                while backfill.correct(board(), store.transaction):
                    pass
        if chance.random() < 0.5:
            board.reboot()
            faults += 1
    return faults


def _jump(board: Board, chance: random.Random) -> int:
    """Nothing, a step by somebody's hand, or a time service that sets it right for good."""
    if board.synchronized or chance.random() < 0.5:
        return 0
    if chance.random() < 0.25:
        board.off_s, board.synchronized = 0.0, True
        board.knew.add(board.boot)
    else:
        board.off_s += chance.choice((-YEAR_S, YEAR_S, -3600, 7))
    return 1


def wrong(folder: Path, board: Board) -> Iterator[str]:
    """Every event that is lost, out of order, misdated, or claims more than it knows."""
    kept = read_events(folder)
    if [e.seq for e in kept] != sorted(board.truth):
        yield "events are missing or out of order"
    for e in kept:
        began_s, boot = board.truth[e.seq]
        started, ended = (to_ms(datetime.fromisoformat(x)) for x in (e.started_at, e.ended_at))
        if ended - started != 2000:
            yield f"{e.seq} lasted {ended - started} ms"
        true_ms = TRUE_MS + round(began_s * 1000)
        if boot in board.knew and abs(started - true_ms) > 1:
            yield f"{e.seq} is off by {started - true_ms} ms though its boot knew the time"
        if boot not in board.knew and e.clock_quality != "unsynchronized":
            yield f"{e.seq} is called {e.clock_quality}, and nobody knew"


def test_time_is_put_right_and_never_claimed(place: Path, report_fault: ReportFault) -> None:
    """Twenty lives of a board: reboots, steps by a year, time that arrives late or never."""
    faults, losses = 0, []
    for seed in range(20):
        board, folder = Board(), place / str(seed)
        board.reboot()
        faults += live(folder, board, random.Random(seed), 40)
        losses += list(wrong(folder, board))
    report_fault("14 clock: jumps, late time, reboots", faults, len(losses))
    assert not losses, losses[:5]
    assert faults > 200


def test_the_check_can_see_a_wrong_time(tmp_path: Path) -> None:
    """Without the correction the same lives fail it."""
    board = Board()
    board.reboot()
    with EventStore(
        tmp_path, source="camera", model="m", model_digest="d", live=True, read_clock=board
    ) as store:
        event = board.event()
        board.truth[store.write(event, snapshot=False).seq] = (board.true_s - 2.5, board.boot)
        board.knew.add(board.boot)
    assert any("off by" in text for text in wrong(tmp_path, board))


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """The library that shifts the wall clock alone."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path / "wallclock.so"
    source = Path(__file__).with_name("wallclock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def test_a_run_goes_on_while_its_clock_jumps(
    bundle_file: Path, tmp_path: Path, shim: Path, report_fault: ReportFault
) -> None:
    """A year back, two forward, and again: events come, in order, none longer than it was."""
    offset = tmp_path / "offset"
    offset.write_text("0")
    environment = {**os.environ, "LD_PRELOAD": str(shim), "WALLCLOCK": str(offset)}
    clip = write_clip(tmp_path / "clip.avi", frames_each=8, fps=15)
    (tmp_path / "site.toml").write_text("[rules]\nswitch_s = 0.2\n")
    line = command("run", "--model", bundle_file, "--source", clip, "--realtime", "--loop",
                   "--config", tmp_path / "site.toml", "--store", tmp_path / "store",
                   "--json")  # fmt: skip
    jumps = (-YEAR_S, YEAR_S, 0, -20 * YEAR_S)
    seen: list[dict[str, object]] = []
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    ) as run:
        assert run.stdout is not None
        for jump in jumps:
            seen.append(json.loads(run.stdout.readline()))
            beside = offset.with_suffix(".new")
            beside.write_text(str(jump))
            os.replace(beside, offset)
        until_s = time.monotonic() + 20
        while len(seen) < len(jumps) + 3 and time.monotonic() < until_s:
            seen.append(json.loads(run.stdout.readline()))
        run.terminate()
        with suppress(subprocess.TimeoutExpired):
            run.wait(10)
    assert run.returncode == 0
    kept = read_events(tmp_path / "store")
    stayed = [
        to_ms(datetime.fromisoformat(e.ended_at)) - to_ms(datetime.fromisoformat(e.started_at))
        for e in kept
    ]
    wrong = [e.seq for e, ms in zip(kept, stayed, strict=True)
             if abs(ms - 1000 * (e.ended_s - e.started_s)) > 2]  # fmt: skip
    missing = {e["seq"] for e in seen} - {e.seq for e in kept}
    report_fault("14 clock: jumps while a run goes on", len(jumps), len(wrong) + len(missing))
    assert not wrong
    assert not missing
    assert len({e.started_at[:4] for e in kept}) >= 3, "the clock was never off"
