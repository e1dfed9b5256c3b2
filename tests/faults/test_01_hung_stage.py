"""Acceptance test 1: a stage that hangs is noticed by the watchdog, a fresh process looks again.

The test plays systemd: it listens where the service reports, and ends what falls silent, as the
unit says: SIGTERM, a moment for its goodbye, SIGKILL.
"""

import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from sightpost_edge.lives import read_lives
from sightpost_edge.store import read_events
from sightpost_edge.testing import tiny_bundle

from ..edge.test_sources import write_clip
from .conftest import ReportFault
from .service_rig import WATCHDOG_S, Manager

READY_S = 5.0


@pytest.fixture
def manager(place: Path) -> Iterator[Manager]:
    made = Manager(place)
    clip = write_clip(place / "clip.avi", frames_each=8, fps=15)
    made.config.write_text(
        f'model = "{tiny_bundle(place / "tiny.tflite")}"\nsource = "{clip}"\n'
        f'store = "{made.store}"\n[camera]\nrealtime = true\nloop = true\n'
        "[rules]\nswitch_s = 0.2\n"
    )
    yield made
    made.close()


@pytest.mark.slow
def test_a_hung_stage_is_noticed_and_looked_past(
    manager: Manager, report_fault: ReportFault
) -> None:
    """Camera, model and store in turn: no ping two seconds later, ready again within five."""
    manager.start()
    silent_s, again_s = [], []
    for stage in ("camera", "inference", "store"):
        manager.hear_until("WATCHDOG=1", 5.0)
        before = {event.seq for event in read_events(manager.store)}
        (manager.taps / stage).touch()
        hung_s = time.monotonic()
        last_s, gone_s = manager.bites()
        (manager.taps / stage).unlink()
        silent_s.append(last_s - hung_s)
        took_s = manager.start()
        again_s.append(time.monotonic() - gone_s)
        assert took_s <= again_s[-1]
        assert before <= {event.seq for event in read_events(manager.store)}, "an event was lost"
    late = sum(s > WATCHDOG_S for s in silent_s) + sum(s > READY_S for s in again_s)
    report_fault(
        "1 hung stage", faults=3, losses=late, recovery_s=max(again_s),
        note=f"last ping {max(silent_s):.1f} s after the hang of camera, model, store",
    )  # fmt: skip
    assert not late
    assert read_lives(manager.store).bad == 3
    said = manager.log.read_text()
    assert "no new picture came" in said
    assert "nothing was written" in said


@pytest.mark.slow
def test_a_hung_uplink_restarts_nothing(manager: Manager, report_fault: ReportFault) -> None:
    """The control: a broker that takes the connection and never says a word."""
    pytest.importorskip("paho.mqtt")
    with socket.create_server(("127.0.0.1", 0)) as broker:
        port = broker.getsockname()[1]
        with manager.config.open("a") as config:
            config.write(f'[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n')
        manager.start()
        heard_s = [manager.hear_until("WATCHDOG=1", WATCHDOG_S) for _ in range(40)]
    assert max(b - a for a, b in pairwise(heard_s)) < WATCHDOG_S / 2
    report_fault("1 hung stage", faults=1, losses=0, note="a hung uplink stops no ping")
