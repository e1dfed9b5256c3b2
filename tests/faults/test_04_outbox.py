"""The way to the broker under chaos: nothing is missing, little is sent twice, order is kept."""

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from sightpost_edge.records import Event
from sightpost_edge.store import EventStore
from sightpost_edge.store.outbox import acknowledged, prune
from sightpost_edge.testing import colour, frame

from ..conftest import command
from .broker import Broker, Listener, needs_mosquitto
from .conftest import ReportFault
from .network_proxy import NetworkProxy

WORKER = Path(__file__).parent / "uplink_worker.py"
NETWORK = ("latency", "slow", "slices", "refused", "reset", "cut", "black", "deaf")
PATIENCE_S = 20.0

pytestmark = needs_mosquitto


@dataclass(frozen=True, slots=True)
class Figures:
    """How it ended."""

    written: int
    missing: int
    twice: int
    out_of_order: int
    slowest_s: float
    connections: int

    @property
    def note(self) -> str:
        share = self.twice / self.written
        return f"{self.written:,} events, {share:.1%} came twice"


def an_event() -> Event:
    frames = [frame(colour("red"), index=i, elapsed_s=i / 2) for i in range(4)]
    return Event("fox", 0.9, frames[0], frames[3], frames[1], frames[3], 4, "left")


class Rig:
    """A store that is written to, its uplink behind a bad network, a broker, and who listens."""

    def __init__(self, folder: Path, held: ExitStack, *, flags: tuple[str, ...] = ()) -> None:
        self.store = held.enter_context(
            EventStore(
                folder / "store", source="camera", model="m", model_digest="abc", outbox=True
            )
        )
        self.broker = held.enter_context(Broker(folder / "broker"))
        self.listener = held.enter_context(Listener(self.broker.port, "sightpost/gate/event"))
        self.network = held.enter_context(NetworkProxy(self.broker.port, usual_latency_s=0.002))
        self._log = held.enter_context((folder / "uplink.log").open("ab"))
        self._line = [sys.executable, str(WORKER), str(self.store.folder), str(self.network.port)]
        self._line += flags
        self.written = 0
        self._event = an_event()
        self.start()
        held.callback(self.kill)

    def write(self, count: int) -> None:
        """As a run does, which also lets go of what is acknowledged."""
        waiting = [self.store.pending(self._event, snapshot=False) for _ in range(count)]
        self.written += len(self.store.write_all(waiting))
        with self.store.transaction() as connection:
            prune(connection, acknowledged(self.store.folder, connection))

    def start(self) -> None:
        self._process = subprocess.Popen(self._line, stdout=subprocess.DEVNULL, stderr=self._log)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def waits(self) -> bool:
        """Whether the broker has not acknowledged everything, as far as the cursor says."""
        with self.store.transaction() as connection:
            (last,) = connection.execute("SELECT max(id) FROM outbox").fetchone()
            return bool(acknowledged(self.store.folder, connection) < last)

    def until(self, is_so: Callable[[], bool], timeout_s: float = PATIENCE_S) -> float:
        """How long it took; fails where it never is."""
        began_s = time.monotonic()
        while not is_so():
            assert time.monotonic() - began_s < timeout_s, self.log()
            time.sleep(0.005)
        return time.monotonic() - began_s

    def log(self) -> str:
        return Path(self._log.name).read_text()[-3000:]

    def figures(self, slowest_s: float) -> Figures:
        seqs = [json.loads(m.payload)["seq"] for m in list(self.listener.seen)]
        first = list(dict.fromkeys(seqs))
        late = sum(after < before for before, after in pairwise(first))
        missing = len(set(range(1, self.written + 1)) - set(first))
        return Figures(
            self.written, missing, len(seqs) - len(first), late, slowest_s, self.network.connections
        )


def break_network(network: NetworkProxy, kind: str, rng: random.Random) -> None:
    if kind == "latency":
        network.latency_s = rng.uniform(0.02, 0.15)
    elif kind == "slow":
        network.bytes_per_s = rng.randint(4_000, 20_000)
    elif kind == "slices":
        network.slice_bytes = rng.randint(1, 7)
    elif kind == "refused":
        network.refusing = True
        network.reset()
    elif kind == "reset":
        network.reset()
    elif kind == "cut":
        network.cut_after(rng.randint(1, 3000))
    else:
        setattr(network, kind, True)


def chaos(rig: Rig, faults: list[str], *, events: int, rng: random.Random) -> float:
    """Write, break, write, mend, and see that it goes on; the longest time until it did."""
    slowest_s = 0.0
    share, rest = divmod(events, 2 * len(faults))
    for number, kind in enumerate(faults):
        rig.write(share + (rest if number == 0 else 0))
        time.sleep(rng.uniform(0.0, 0.1))
        if kind == "kill":
            rig.kill()
        elif kind == "broker":
            rig.broker.stop()
        else:
            break_network(rig.network, kind, rng)
        time.sleep(rng.uniform(0.0, 0.2))
        rig.write(share)
        if kind == "kill":
            rig.start()
        elif kind == "broker":
            rig.broker.start()
        rig.network.heal()
        came = len(rig.listener.seen)
        slowest_s = max(slowest_s, rig.until(lambda came=came: len(rig.listener.seen) > came))
    rig.until(lambda: not rig.waits, 60)
    rig.until(lambda: rig.figures(0).missing == 0 or not rig.waits, 10)
    time.sleep(1.0)  # for what comes twice
    return slowest_s


def run(folder: Path, *, events: int, network: int, kills: int, restarts: int) -> Figures:
    rng = random.Random(7)
    faults = [NETWORK[i % len(NETWORK)] for i in range(network)]
    faults += ["kill"] * kills + ["broker"] * restarts
    rng.shuffle(faults)
    with ExitStack() as held:
        rig = Rig(folder, held)
        slowest_s = chaos(rig, faults, events=events, rng=rng)
        return rig.figures(slowest_s)


def judge(figures: Figures, *, faults: int) -> None:
    print(figures)
    assert figures.connections > faults // 2, "the faults broke nothing"
    assert figures.missing == 0
    assert figures.out_of_order == 0
    assert figures.twice <= max(0.05 * figures.written, 1)


def test_a_bad_network_loses_nothing(tmp_path: Path, report_fault: ReportFault) -> None:
    """One fault of each kind, a kill and a restart of the broker, while events are written."""
    figures = run(tmp_path, events=1000, network=len(NETWORK), kills=1, restarts=1)
    report_fault(
        "4 bad network to the broker", len(NETWORK) + 2, figures.missing, figures.slowest_s,
        figures.note,
    )  # fmt: skip
    judge(figures, faults=len(NETWORK) + 2)


@pytest.mark.slow
def test_chaos(tmp_path: Path, report_fault: ReportFault) -> None:
    """10,000 events, 200 network faults, 20 kills of the uplink, 5 restarts of the broker."""
    figures = run(tmp_path, events=10_000, network=200, kills=20, restarts=5)
    report_fault("4 outbox chaos", 225, figures.missing, figures.slowest_s, figures.note)
    judge(figures, faults=225)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["refused", "silent"])
def test_a_dead_broker_costs_a_station_nothing(tmp_path: Path, kind: str) -> None:
    """With a thousand events waiting: under 1 % of a core, whatever way the broker is dead."""
    with ExitStack() as held:
        hole = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = hole.getsockname()[1] if kind == "silent" else 1
        config = tmp_path / "site.toml"
        config.write_text(
            f'name = "gate"\nstore = "{tmp_path}/store"\n[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n'
        )
        store = held.enter_context(
            EventStore(tmp_path / "store", source="", model="", model_digest="", outbox=True)
        )
        store.write_all([store.pending(an_event(), snapshot=False) for _ in range(1000)])
        uplink = subprocess.Popen(command("uplink", "--config", config), stderr=subprocess.DEVNULL)
        held.callback(uplink.wait)
        held.callback(uplink.terminate)
        time.sleep(3)
        before_s = cpu_s(uplink.pid)
        time.sleep(10)
        assert cpu_s(uplink.pid) - before_s < 0.1


def cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_the_harness_can_see_a_loss(tmp_path: Path) -> None:
    """An uplink that takes sent for delivered loses events in a black hole."""
    with ExitStack() as held:
        rig = Rig(tmp_path, held, flags=("careless",))
        rig.write(1)
        rig.until(lambda: len(rig.listener.seen) == 1)
        rig.network.black = True
        rig.write(20)
        rig.until(lambda: "no PUBACK" in rig.log())
        rig.network.heal()
        rig.until(lambda: not rig.waits)
        time.sleep(1.0)
        assert rig.figures(0).missing > 0
