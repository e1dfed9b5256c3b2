"""A station on a real broker, as Home Assistant sees it: born, commanded, killed, renamed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sightpost_edge.control import Control, read_control
from sightpost_edge.live import Live, write_live
from sightpost_edge.records import Event
from sightpost_edge.store import EventStore, read_events
from sightpost_edge.testing import colour, frame, tiny_bundle
from sightpost_edge.uplink.announced import read_announced

from ..conftest import command
from ..edge.home_assistant import check_state, read_announcement
from ..edge.test_sources import write_clip
from .broker import Broker, Listener, needs_mosquitto
from .conftest import ReportFault

pytestmark = needs_mosquitto
CONFIG = "homeassistant/device/sightpost_gate/config"
STATUS, STATE, SNAPSHOT = (f"sightpost/gate/{name}" for name in ("status", "state", "snapshot"))
ASK = "sightpost/gate/command"

# As `sightpost uplink` does it, less patient: its last will waits for ten seconds, and it answers
# Home Assistant's restart within ten.
HASTY = """
import sys
from dataclasses import replace
from pathlib import Path
from sightpost_edge.config import Site, load
from sightpost_edge.uplink.connection import PATIENCE
from sightpost_edge.uplink.homeassistant import HomeAssistant
from sightpost_edge.uplink.service import Uplink, serve

site = load(Site, Path(sys.argv[1]))
folder = Path(site.store)
parts = lambda link, topics: [
    HomeAssistant(link, topics, site.mqtt, folder, chance=lambda least, most: 0.3)
]
patience = replace(PATIENCE, will_s=1)
serve(Uplink(folder, site.mqtt, site.name, parts=parts, patience=patience), lambda: False)
"""
_numbers = count()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one event in it, and a run that tells what it is doing."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    folder = tmp_path / "store"
    with EventStore(folder, source="x", model="m", model_digest="d", live=True, outbox=True) as new:
        frames = [frame(colour("red"), index=i, elapsed_s=i / 2) for i in range(4)]
        new.write(Event("fox", 0.93, frames[0], frames[2], frames[1], frames[3], 4, "left"))
    write_live(folder, Live(threshold=0.7, fps=9.5))
    return folder


def site(folder: Path, broker: Broker, *, name: str = "gate", more: str = "") -> Path:
    path = folder.parent / "site.toml"
    mqtt = f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
    path.write_text(f'name = "{name}"\nstore = "{folder}"\n{more}\n{mqtt}')
    return path


@contextmanager
def running(*line: object) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([str(word) for word in line], stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def uplink(config: Path) -> Any:
    return running(*command("uplink", "--config", config))


def hasty(config: Path) -> Any:
    return running(sys.executable, "-c", HASTY, config)


def until(true: Callable[[], object], *, within_s: float = 10.0) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.02)


def kept(broker: Broker) -> dict[str, bytes]:
    """What the broker keeps, as one that comes anew gets it: all of it, before anything else."""
    with Listener(broker.port, name=f"late-{next(_numbers)}") as late:
        late.publish("the/end", "")
        until(lambda: any(message.topic == "the/end" for message in late.seen))
        return {message.topic: message.payload for message in late.seen if message.retain}


def newest(listener: Listener, topic: str) -> Any:
    """The JSON that came last."""
    return (listener.of(topic) or [{}])[-1]


def test_home_assistant_sees_a_station_that_was_there_before_it(
    broker: Broker, folder: Path
) -> None:
    """Everything is retained: announcement, presence, state and picture; SIGTERM says goodbye."""
    with Listener(broker.port) as listener:
        with uplink(site(folder, broker)):
            until(lambda: listener.of(STATE) and listener.of("gate/event"))
            found = kept(broker)
            assert set(found) == {CONFIG, STATUS, STATE, SNAPSHOT}
            assert found[STATUS] == b"online"
            assert found[SNAPSHOT] == next((folder / "snapshots").glob("*.jpg")).read_bytes()
            state = json.loads(found[STATE])
            assert (state["running"], state["threshold"], state["fps"]) == (True, 0.7, 9.5)
            assert (state["last"]["label"], state["events"]["total"]) == ("fox", 1)
            made = read_announcement(CONFIG, found[CONFIG].decode(), prefix="homeassistant")
            for one in made.values():
                check_state(one, state)
                assert one["availability"] == [{"t": STATUS}]
            write_live(folder, Live(threshold=0.7, fault="stall"))
            until(lambda: newest(listener, STATE)["camera"]["fault"] == "stall")
        assert listener.texts(STATUS) == ["online", "offline"]
        assert kept(broker)[STATUS] == b"offline"


def test_a_killed_uplink_is_missed(broker: Broker, folder: Path, report_fault: ReportFault) -> None:
    """Nobody says goodbye for it but its last will; when it is back all is well."""
    config = site(folder, broker)
    with Listener(broker.port) as listener:
        with hasty(config) as process:
            until(lambda: listener.of(STATE))
            process.send_signal(signal.SIGKILL)
            until(lambda: listener.texts(STATUS)[-1:] == ["offline"])
        assert kept(broker)[STATUS] == b"offline"
        announced, killed_s = len(listener.of(CONFIG)), time.monotonic()
        with hasty(config):
            until(lambda: listener.texts(STATUS)[-1:] == ["online"])
            until(lambda: len(listener.of(CONFIG)) > announced)
    report_fault("4 uplink killed under Home Assistant", 1, 0, time.monotonic() - killed_s)


def test_a_restarted_home_assistant_is_told_again(broker: Broker, folder: Path) -> None:
    """Also where the broker has kept nothing of it, as one without persistence does."""
    with Listener(broker.port) as listener, hasty(site(folder, broker)):
        until(lambda: listener.of(STATE))
        before = len(listener.of(CONFIG)), len(listener.of(STATE))
        listener.publish("homeassistant/status", "online")
        until(lambda: len(listener.of(CONFIG)) == before[0] + 1)
        until(lambda: len(listener.of(STATE)) > before[1])
        assert listener.of(CONFIG)[-1] == listener.of(CONFIG)[0]


def test_commands_arrive_also_those_of_a_time_without_a_line(broker: Broker, folder: Path) -> None:
    """In order, so that the latest wish counts; what is retained is no wish."""
    config = site(folder, broker)
    with Listener(broker.port) as listener:
        listener.publish(f"{ASK}/armed", "OFF", retain=True)
        with uplink(config):
            until(lambda: listener.of(STATE))
            listener.publish(f"{ASK}/threshold", "0.65")
            until(lambda: read_control(folder) == Control(armed=True, threshold=0.65))
            listener.publish(f"{ASK}/threshold", "65")
            listener.publish(f"{ASK}/armed", "PERHAPS")
            listener.publish(f"{ASK}/threshold", "default")
            until(lambda: read_control(folder) == Control())
        listener.publish(f"{ASK}/threshold", "0.3")
        listener.publish(f"{ASK}/threshold", "0.4")
        listener.publish(f"{ASK}/armed", "OFF")
        with uplink(config):
            until(lambda: read_control(folder) == Control(armed=False, threshold=0.4))


def test_a_renamed_station_leaves_no_ghost(broker: Broker, folder: Path) -> None:
    """Even where it was killed under its old name, and its last will comes after its new one."""
    with Listener(broker.port) as listener:
        with hasty(site(folder, broker)) as process:
            until(lambda: listener.of(STATE))
            process.send_signal(signal.SIGKILL)
            process.wait()
        with hasty(site(folder, broker, name="Süd-Tor")):
            until(lambda: listener.of("Sud-Tor/state"))
            until(lambda: CONFIG not in kept(broker))
        renamed = {topic for topic in kept(broker) if topic not in (STATUS,)}
        assert renamed == {
            "homeassistant/device/sightpost_Sud-Tor/config",
            *(f"sightpost/Sud-Tor/{name}" for name in ("status", "state", "snapshot")),
        }
        assert STATUS in read_announced(folder).topics  # until its will is surely spent


def test_the_switch_reaches_the_run_and_the_state_tells_when_it_has(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the broker through the uplink's process to the rules, and back."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    folder = tmp_path / "store"
    bundle = tiny_bundle(tmp_path / "tiny.tflite")
    clip = write_clip(tmp_path / "clip.avi")
    more = f'model = "{bundle}"\nsource = "{clip}"\n[rules]\nmax_s = 0.5'  # two events a second
    config = site(folder, broker, more=more)
    line = command("run", "--config", config, "--loop", "--realtime")
    with Listener(broker.port) as listener, running(*line):
        until(lambda: newest(listener, STATE).get("armed") is True, within_s=20)
        until(lambda: listener.of("gate/event"))
        listener.publish(f"{ASK}/armed", "OFF")
        until(lambda: newest(listener, STATE)["armed"] is False)
        until(lambda: newest(listener, "gate/event")["reason"] == "disarmed")
        closing = newest(listener, "gate/event")
        time.sleep(1.5)
        assert newest(listener, "gate/event") == closing
        assert newest(listener, STATE)["running"] is True
        listener.publish(f"{ASK}/threshold", "0.55")
        listener.publish(f"{ASK}/armed", "ON")
        until(lambda: newest(listener, STATE)["armed"] is True)
        assert newest(listener, STATE)["threshold"] == 0.55
        until(lambda: newest(listener, "gate/event") != closing)
    assert kept(broker)[STATUS] == b"offline"
    assert os.path.exists(folder / "control.json")


@pytest.mark.parametrize("ends", ["by itself", "by SIGTERM"])
def test_what_stays_after_a_run_is_true(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Nobody is running, nothing waits, and the picture is that of the event that is called the
    last: retained messages say it until the next start."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    folder = tmp_path / "store"
    bundle = tiny_bundle(tmp_path / "tiny.tflite")
    clip = write_clip(tmp_path / "clip.avi", frames_each=15)
    more = f'model = "{bundle}"\nsource = "{clip}"\n[rules]\nmax_s = 0.5'  # two events a second
    line = command("run", "--config", site(folder, broker, more=more), "--realtime")
    line += ["--loop"] * (ends == "by SIGTERM")
    with Listener(broker.port) as listener, running(*line) as process:
        until(lambda: newest(listener, STATE).get("running") is True, within_s=20)
        until(lambda: listener.of("gate/event"))
        if ends == "by SIGTERM":
            process.terminate()
        assert process.wait(30) == 0
    found = kept(broker)
    state, last = json.loads(found[STATE]), read_events(folder)[-1]
    assert found[STATUS] == b"offline"
    assert (state["running"], state["armed"], state["undelivered"]) == (False, None, 0)
    assert (state["last"]["seq"], state["events"]["total"]) == (last.seq, last.seq)
    assert found[SNAPSHOT] == (folder / last.snapshot).read_bytes()
