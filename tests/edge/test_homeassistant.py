"""What Home Assistant is told of a station, and what it may ask of it; a broker is not needed."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightpost_edge import __version__, clock
from sightpost_edge.control import Control, read_control, write_control
from sightpost_edge.errors import DiskFull
from sightpost_edge.image import JpegImage, as_jpeg
from sightpost_edge.live import STALE_S, Live, write_live
from sightpost_edge.records import FAULTS, Event
from sightpost_edge.store import EventStore
from sightpost_edge.store.dropping import COUNTERS
from sightpost_edge.store.outbox import GIVEN_UP, count, tell
from sightpost_edge.testing import colour, frame
from sightpost_edge.uplink.announced import ANNOUNCED, read_announced
from sightpost_edge.uplink.discovery import (
    NO_FAULT,
    QUALITIES,
    Component,
    Station,
    announcement,
    components,
    config_topic,
    object_id,
)
from sightpost_edge.uplink.homeassistant import (
    BIRTH_WAIT_S,
    GRUMBLE_S,
    PICTURE_S,
    SETTLED_S,
    USUAL_S,
    HomeAssistant,
    forget,
)
from sightpost_edge.uplink.mqtt import Topics
from sightpost_edge.uplink.picture import MOST_BYTES, picture
from sightpost_edge.uplink.settings import MqttSettings
from sightpost_edge.uplink.state import BACKLOG, Facts, StoreWatch, state

from .home_assistant import PLATFORMS, RELEASE, Refused, check_state, read_announcement

TOPICS = Topics.of("sightpost", "Süd-Tor 1")
SETTINGS = MqttSettings(url="mqtt://broker")
STATION = Station("Süd-Tor 1", "0.1.0", "Raspberry Pi 5 Model B", "https://example.org/sightpost")
CONFIG = "homeassistant/device/sightpost_Sud-Tor-1/config"
NOW = clock.Reading(1_790_000_000_000, 10**12, "synchronized", "0b00")
ALL = components(TOPICS, snapshots=True)


def told(made: tuple[Component, ...] = ALL, **gone: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(announcement(STATION, TOPICS, made, gone))
    return found


def read(payload: dict[str, Any], topic: str = CONFIG) -> dict[str, dict[str, Any]]:
    return read_announcement(topic, json.dumps(payload), prefix="homeassistant")


# The announcement against the rules of RELEASE


def test_home_assistant_takes_every_component() -> None:
    """Nothing is refused, nothing is ignored; all of them share availability and state topic."""
    assert RELEASE == "2026.11.0"
    found = read(told())
    assert set(found) == {one.id for one in ALL}
    assert {one["platform"] for one in found.values()} == set(PLATFORMS)
    for one in found.values():
        assert one["availability"] == [{"t": "sightpost/Sud-Tor-1/status"}]
        assert one["qos"] == 1
    assert found["sensor_fps"]["state_topic"] == "sightpost/Sud-Tor-1/state"
    assert found["image_snapshot"]["image_topic"] == "sightpost/Sud-Tor-1/snapshot"
    assert found["switch_armed"]["command_topic"] == "sightpost/Sud-Tor-1/command/armed"
    slider = found["number_threshold"]
    assert (slider["min"], slider["max"], slider["step"]) == (0.05, 1.0, 0.01)
    assert slider["command_topic"] == "sightpost/Sud-Tor-1/command/threshold"


def test_unique_ids_are_unique_and_stay_what_they_are() -> None:
    """Another one would be another entity, and the old one a ghost with all its history."""
    ids = {id_: one["unique_id"] for id_, one in read(told()).items()}
    assert len(set(ids.values())) == len(ids)
    assert ids == {
        f"{platform}_{key}": f"sightpost_Sud-Tor-1_{key}"
        for platform, key in [
            ("switch", "armed"), ("number", "threshold"), ("button", "threshold_default"),
            ("image", "snapshot"), ("sensor", "last_label"), ("sensor", "last_score"),
            ("sensor", "last_time"), ("sensor", "events_today"), ("sensor", "events_total"),
            ("binary_sensor", "running"), ("binary_sensor", "camera"), ("sensor", "camera_fault"),
            ("sensor", "fps"), ("sensor", "temperature"), ("binary_sensor", "throttled"),
            ("binary_sensor", "disk"), ("sensor", "undelivered"), ("sensor", "dropped"),
            ("sensor", "clock"),
        ]
    }  # fmt: skip


def test_the_device_and_the_origin() -> None:
    """The name as it was given; what is unknown is left out rather than sent empty."""
    whole = told()
    assert whole["dev"] == {
        "ids": ["sightpost_Sud-Tor-1"], "name": "Süd-Tor 1", "mf": "sightpost",
        "mdl": "camera station", "sw": "0.1.0", "hw": "Raspberry Pi 5 Model B",
    }  # fmt: skip
    assert whole["o"] == {"name": "sightpost", "sw": "0.1.0", "url": STATION.url}
    bare = json.loads(announcement(Station("x", "0.1.0"), TOPICS, ALL, {}))
    assert set(bare["o"]) == {"name", "sw"}
    assert "hw" not in bare["dev"]
    read(bare)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p.pop("o"),
        lambda p: p.pop("dev"),
        lambda p: p["dev"].pop("ids"),
        lambda p: p["dev"].update(colour="red"),
        lambda p: p["o"].update(url="example.org"),
        lambda p: p.update(state="x"),
        lambda p: p.update(stat_t="a/#"),
        lambda p: p["cmps"]["sensor_fps"].pop("p"),
        lambda p: p["cmps"]["sensor_fps"].pop("uniq_id"),
        lambda p: p["cmps"]["sensor_fps"].update(unit="fps"),
        lambda p: p["cmps"]["sensor_fps"].update(ent_cat="config"),
        lambda p: p["cmps"]["sensor_temperature"].update(unit_of_meas="C"),
        lambda p: p["cmps"]["sensor_last_time"].update(stat_cla="measurement"),
        lambda p: p["cmps"]["sensor_clock"].update(stat_cla="measurement"),
        lambda p: p["cmps"]["switch_armed"].pop("cmd_t"),
        lambda p: p["cmps"]["image_snapshot"].pop("img_t"),
        lambda p: p["cmps"]["image_snapshot"].update(val_tpl="x"),
        lambda p: p["cmps"]["binary_sensor_camera"].update(dev_cla="fault"),
    ],
)
def test_the_rules_refuse_what_home_assistant_refuses(
    spoil: Callable[[dict[str, Any]], object],
) -> None:
    """Or that table would prove nothing."""
    payload = told()
    spoil(payload)
    with pytest.raises(Refused):
        read(payload)


@pytest.mark.parametrize("topic", [CONFIG.replace("Sud", "Süd"), CONFIG.replace("-", "."), "x/y"])
def test_the_rules_refuse_a_topic_that_is_not_listened_to(topic: str) -> None:
    """Letters, digits, - and _ only."""
    with pytest.raises(Refused):
        read(told(), topic)


@pytest.mark.parametrize("base", ["sightpost", "farm/north side", "höfe"])
def test_the_announcement_is_kept_where_it_is_listened_to(base: str) -> None:
    """Whatever the topics begin with; two bases make two devices, even of one name."""
    topics = Topics.of(base, "Gate 1")
    topic = config_topic("homeassistant", topics)
    payload = announcement(STATION, topics, components(topics, snapshots=True), {})
    assert read_announcement(topic, payload, prefix="homeassistant")
    assert object_id(topics) != object_id(Topics.of(f"{base}2", "Gate 1"))


def test_a_component_that_is_gone_names_its_platform_only() -> None:
    """That is how Home Assistant is told to remove it."""
    payload = told(**{"sensor_mood": "sensor"})
    assert payload["cmps"]["sensor_mood"] == {"p": "sensor"}
    assert read(payload)["sensor_mood"] == {}


def test_without_pictures_there_is_no_image() -> None:
    """It would stay empty for ever."""
    assert "image_snapshot" not in read(told(components(TOPICS, snapshots=False)))


# The state


def event(label: str = "fox", at_s: float = 1.0) -> Event:
    frames = [frame(colour("red"), index=i, elapsed_s=at_s + i / 2) for i in range(4)]
    return Event(label, 0.93456789, frames[0], frames[2], frames[1], frames[3], 4, "left")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[EventStore]:
    with EventStore(folder, source="rtsp://me:secret@cam/1", model="m", model_digest="d",
                    live=True, outbox=True, read_clock=lambda: NOW) as opened:  # fmt: skip
        yield opened


LIVES = [
    None,
    Live(clocks=NOW),
    Live(armed=False, threshold=1.0, fps=9.87, fault="stall", detail="x" * 999, clocks=NOW,
         temperature_c=81.2, model="wild", heat_bits=0x50005, pace="1/2 rate", disk_full=True,
         open={"": "fox"}),
    *[Live(fault=fault, threshold=0.01, clocks=NOW) for fault in FAULTS],
    Live(clocks=replace(NOW, monotonic_ns=NOW.monotonic_ns - round(STALE_S * 1e9) - 1)),
]  # fmt: skip


def test_every_component_makes_something_of_every_state(store: EventStore) -> None:
    """No key is missing, no figure is out of range, no word is unknown to it."""
    made = read(told()).values()
    lasts = [None, store.write(event()), store.write(event("f" * 300))]
    for live, last, quality in itertools.product(LIVES, lasts, QUALITIES):
        message = state(live, Facts(last=last, total=1), replace(NOW, quality=quality))
        for one in made:
            check_state(one, json.loads(json.dumps(message)))


@pytest.mark.parametrize(
    ("path", "value"),
    [("fps", "fast"), ("armed", 1), ("threshold", 0.01), ("camera.fault", "hiccup"),
     ("camera.problem", "yes"), ("last.time", "2026-01-01T00:00:00"), ("clock_quality", "good"),
     ("last.label", "f" * 256), ("heat", []), ("drops", None)],
)  # fmt: skip
def test_the_rules_notice_a_state_that_home_assistant_ignores(path: str, value: object) -> None:
    """Or the test above would prove nothing."""
    message = json.loads(json.dumps(state(Live(clocks=NOW), Facts(), NOW)))
    *tables, key = path.split(".")
    table = message
    for name in tables:
        table = table[name]
    table[key] = value
    made = read(told()).values()
    with pytest.raises((Refused, ValueError)):
        [check_state(one, message) for one in made]


def test_what_is_said_of_a_run(store: EventStore) -> None:
    """Of what is in force, not of what was asked; times in UTC."""
    live = replace(LIVES[2] or Live(), detail="no picture for 10 s")
    told = state(live, Facts(store.write(event()), 3, 7, 2, {"events": 1, "clips": 4}), NOW)
    assert told == {
        "v": 1, "time": "2026-09-21T14:13:20.000+00:00", "clock_quality": "synchronized",
        "running": True, "armed": False, "threshold": 1.0, "model": "wild",
        "last": {
            "seq": 1, "label": "fox", "score": 0.9346, "time": told["last"]["time"],
            "clock_quality": "synchronized", "region": "",
        },
        "events": {"today": 3, "total": 7},
        "fps": 9.9, "frames": 0, "skipped": 0,
        "camera": {"problem": True, "fault": "stall", "detail": "no picture for 10 s"},
        "temperature_c": 81.2,
        "heat": {"throttled": True, "why": told["heat"]["why"], "pace": "1/2 rate"},
        "disk_full": True, "undelivered": 2,
        "drops": {"total": 5, "by_name": {"events": 1, "clips": 4}},
    }  # fmt: skip
    assert datetime.fromisoformat(told["last"]["time"]).tzinfo is not None
    assert "under-voltage" in told["heat"]["why"]


def test_nobody_learns_the_cameras_password(store: EventStore) -> None:
    """A source may carry one, so no source is told."""
    message = state(Live(clocks=NOW), Facts(store.write(event())), NOW)
    assert "secret" not in json.dumps(message)


def test_a_run_that_is_gone_says_nothing_and_the_store_still_does(store: EventStore) -> None:
    """Killed, its last words are not taken for news for long."""
    told = state(LIVES[-1], Facts(store.write(event()), total=1), NOW)
    assert (told["running"], told["armed"], told["fps"]) == (False, None, None)
    assert (told["camera"]["problem"], told["last"]["label"]) == (None, "fox")
    assert state(Live(clocks=NOW), Facts(), NOW)["camera"]["fault"] == NO_FAULT


def test_the_store_is_counted(folder: Path, store: EventStore) -> None:
    """Of today by the local day; what the uplink has delivered no longer waits."""
    watch = StoreWatch(folder)
    now = clock.from_ms(NOW.wall_ms)
    assert watch(now) == Facts()
    for _ in range(3):
        store.write(event())
    with store.transaction() as connection:
        count(connection, GIVEN_UP, 5)
        (first,) = connection.execute("SELECT min(seq) FROM events").fetchone()
        connection.execute("UPDATE events SET started_ms = 0 WHERE seq = ?", (first,))
    found = watch(now)
    assert (found.today, found.total, found.undelivered) == (2, 3, 3)
    assert found.drops == {GIVEN_UP: 5}
    assert found.last is not None
    with store.transaction() as connection:
        (id_,) = connection.execute("SELECT id FROM store").fetchone()
    (folder / "uplink").mkdir()
    (folder / "uplink" / "mqtt.json").write_text(json.dumps({"store": id_, "acked": 2}))
    assert watch(now).undelivered == 1
    for elsewhere in ({"store": "other", "acked": 300}, {"store": id_, "acked": 10**30}):
        (folder / "uplink" / "mqtt.json").write_text(json.dumps({"store": "", "acked": 0}))
        watch(now)
        (folder / "uplink" / "mqtt.json").write_text(json.dumps(elsewhere))
        assert watch(now).undelivered == 3


def test_events_are_counted_not_numbered(folder: Path) -> None:
    """After an unclean end up to a hundred numbers are skipped; what is dropped for room was an
    event all the same, and the sum never goes down."""
    watch, now = StoreWatch(folder), clock.from_ms(NOW.wall_ms)

    def opened() -> EventStore:
        return EventStore(folder, source="x", model="m", model_digest="d", outbox=True)

    with opened() as store:
        for _ in range(3):
            store.write(event(), snapshot=False)
        assert watch(now).total == 3
    (folder / "sequence").write_text("101")
    with opened() as store:
        assert store.write(event(), snapshot=False).seq == 101
        assert watch(now).total == 4
        drop(store, 2)
        for looked in (watch, StoreWatch(folder)):
            assert looked(now).total == 4
        drop(store, 2)
        store.write(event(), snapshot=False)
        assert watch(now).total == 5
        watch.count_again()
        assert watch(now).total == 5


def test_only_new_events_are_counted_at_a_look(
    folder: Path, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million old ones are counted once for each connection, not at every event."""
    store.write(event(), snapshot=False)
    rig = Rig(folder).connect()
    assert rig.told()["events"]["total"] == 1
    drop(store, 1)  # at once, without a trace: only a count from the beginning could notice
    with store.transaction() as connection:
        connection.execute("DELETE FROM counters")
    store.write(event(), snapshot=False)
    rig.later(1)
    assert rig.told()["events"]["total"] == 2
    rig.link.lose()
    rig.later(1)
    rig.connect()
    assert rig.told()["events"]["total"] == 1


def test_a_database_that_was_put_back_is_counted_anew(folder: Path, store: EventStore) -> None:
    """It has another name then, and what it holds is all there is."""
    watch, now = StoreWatch(folder), clock.from_ms(NOW.wall_ms)
    for _ in range(3):
        store.write(event(), snapshot=False)
    assert watch(now).total == 3
    with store.transaction() as connection:
        connection.execute("DELETE FROM events WHERE seq > 1")
        connection.execute("UPDATE store SET id = 'another'")
    assert watch(now).total == 1


def drop(store: EventStore, number: int) -> None:
    """As the quota does it: the oldest go, and are counted for good."""
    with store.transaction() as connection:
        connection.execute(
            "DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?)",
            (number,),
        )
        count(connection, COUNTERS["events"], number)


def test_a_new_day_begins_at_midnight_here(
    folder: Path, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in Greenwich: at 23:30 and 00:30 in Berlin are two days."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        store.write(event())
        with store.transaction() as connection:
            connection.execute(
                "UPDATE events SET started_ms = ?", (at_ms("2026-03-28T23:30:00+01:00"),)
            )
        watch = StoreWatch(folder)
        assert watch(datetime.fromisoformat("2026-03-28T22:59:59+00:00")).today == 1
        assert watch(datetime.fromisoformat("2026-03-28T23:00:00+00:00")).today == 0
    finally:
        monkeypatch.undo()
        time.tzset()


def at_ms(text: str) -> int:
    return clock.to_ms(datetime.fromisoformat(text))


def test_no_store_yet_and_a_broken_one(folder: Path) -> None:
    """The uplink may be there first; a database that cannot be read is not its business."""
    watch = StoreWatch(folder)
    assert watch(clock.from_ms(NOW.wall_ms)) == Facts()
    folder.mkdir()
    (folder / "events.db").write_bytes(b"rubbish" * 1000)
    assert watch(clock.from_ms(NOW.wall_ms)) == Facts()


# Over the link


class FakeLink:
    """Remembers what is published; the broker's retained messages are ``kept``."""

    def __init__(self) -> None:
        self.connected = False
        self.largest = 268_435_455
        self.on_connected: list[Callable[[], None]] = []
        self.on_lost: list[Callable[[int], None]] = []
        self.callbacks: dict[str, Callable[[str, bytes, bool], None]] = {}
        self.said: list[tuple[str, bytes]] = []
        self.kept: dict[str, bytes] = {}

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        assert self.connected
        assert retain
        content = payload.encode() if isinstance(payload, str) else payload
        self.said.append((topic, content))
        self.kept.pop(topic, None)
        if content:
            self.kept[topic] = content

    def subscribe(self, topic_filter: str, callback: Callable[[str, bytes, bool], None]) -> None:
        self.callbacks[topic_filter] = callback

    def connect(self) -> None:
        self.connected = True
        for call in self.on_connected:
            call()

    def lose(self) -> None:
        self.connected = False
        for call in self.on_lost:
            call(0)

    def take(self, topic: str) -> list[bytes]:
        """What was published there since this was last asked."""
        found = [payload for at, payload in self.said if at == topic]
        self.said = [(at, payload) for at, payload in self.said if at != topic]
        return found


class Rig:
    """A HomeAssistant on a FakeLink, with clocks that pass when a test says so."""

    def __init__(
        self, folder: Path, *, link: FakeLink | None = None, topics: Topics = TOPICS,
        settings: MqttSettings = SETTINGS,
    ) -> None:  # fmt: skip
        self.link = link or FakeLink()
        self.link.on_connected.clear()
        self.link.on_lost.clear()
        self.folder, self.topics, self.now_s = folder, topics, 1000.0
        self.waits: list[tuple[float, float]] = []
        self.part = HomeAssistant(
            self.link, topics, settings, folder, name="Süd-Tor 1",  # type: ignore[arg-type]
            clock_s=lambda: self.now_s, read_clock=self.clocks, chance=self.chance,
        )  # fmt: skip

    def clocks(self) -> clock.Reading:
        passed_ms = round((self.now_s - 1000) * 1000)
        return replace(NOW, wall_ms=NOW.wall_ms + passed_ms,
                       monotonic_ns=NOW.monotonic_ns + passed_ms * 1_000_000)  # fmt: skip

    def chance(self, least: float, most: float) -> float:
        self.waits.append((least, most))
        return 4.0

    def connect(self) -> "Rig":
        self.link.connect()
        self.part.tick()
        return self

    def later(self, seconds: float) -> None:
        self.now_s += seconds
        self.part.tick()

    def live(self, **what: Any) -> None:
        write_live(self.folder, Live(**{"clocks": self.clocks(), **what}))

    def told(self) -> dict[str, Any]:
        """The newest state."""
        found: dict[str, Any] = json.loads(self.link.kept[self.topics.state])
        return found


def test_on_connecting_a_station_announces_itself_and_says_how_it_is(folder: Path) -> None:
    """In that order, and again on every connect: the broker may have forgotten all of it."""
    folder.mkdir()
    rig = Rig(folder)
    rig.part.tick()
    assert rig.link.said == []
    rig.connect()
    assert [topic for topic, _ in rig.link.said] == [CONFIG, TOPICS.state]
    assert read_announcement(CONFIG, rig.link.kept[CONFIG].decode(), prefix="homeassistant")
    assert json.loads(rig.link.kept[CONFIG])["o"]["sw"] == __version__
    rig.link.said.clear()
    rig.later(5)
    assert rig.link.said == []
    rig.link.lose()
    rig.later(1)
    rig.connect()
    assert [topic for topic, _ in rig.link.said] == [CONFIG, TOPICS.state]


def test_home_assistants_restart_is_answered_but_not_at_once(folder: Path) -> None:
    """Each station waits some seconds of its own; a retained "online" is old."""
    folder.mkdir()
    rig = Rig(folder).connect()
    rig.link.said.clear()
    heard = rig.link.callbacks["homeassistant/status"]
    heard("homeassistant/status", b"offline", False)
    heard("homeassistant/status", b"online", True)
    rig.later(20)
    assert rig.waits == []
    heard("homeassistant/status", b"online", False)
    heard("homeassistant/status", b"online", False)
    rig.later(0)
    rig.later(3.9)
    assert rig.link.take(CONFIG) == []
    rig.later(0.1)
    rig.later(1)
    assert len(rig.link.take(CONFIG)) == 1
    assert len(rig.link.take(TOPICS.state)) == 1
    assert rig.waits == [BIRTH_WAIT_S]
    assert BIRTH_WAIT_S[0] >= 1


def test_news_is_told_at_once_and_figures_once_a_minute(folder: Path, store: EventStore) -> None:
    """A frame rate trembles all the time: a station on a mobile line pays for each message."""
    rig = Rig(folder)
    rig.live(fps=10.0)
    rig.connect()
    rig.link.said.clear()
    for second in range(59):
        rig.live(fps=10.0 + second, temperature_c=50.0 + second / 10)
        rig.later(1)
    assert rig.link.take(TOPICS.state) == []
    rig.later(USUAL_S - 59)
    assert len(rig.link.take(TOPICS.state)) == 1
    rig.live(fault="stall")
    rig.later(1)
    assert rig.told()["camera"]["fault"] == "stall"
    store.write(event(), snapshot=False)
    rig.later(1)
    assert rig.told()["last"]["label"] == "fox"
    assert len(rig.link.take(TOPICS.state)) == 2


def test_a_backlog_that_shrinks_is_not_told_row_by_row(folder: Path, store: EventStore) -> None:
    """10,000 events that are sent at last are no reason for 10,000 states."""

    def waiting(more: int) -> list[bytes]:
        with store.transaction() as connection:
            tell(connection, "event", [1] * more)
        rig.later(1)
        return rig.link.take(TOPICS.state)

    store.write(event(), snapshot=False)
    rig = Rig(folder).connect()
    rig.link.said.clear()
    assert waiting(BACKLOG - 1) == []
    assert len(waiting(1)) == 1
    assert waiting(1000) == []
    rig.later(USUAL_S)
    assert rig.told()["undelivered"] == BACKLOG + 1001


def test_the_state_tells_what_is_in_force_not_what_was_asked(folder: Path) -> None:
    """Between the two lies a run that may be busy, or gone."""
    folder.mkdir()
    rig = Rig(folder)
    rig.live(armed=True, threshold=0.8)
    rig.connect()
    rig.link.callbacks[TOPICS.command("+")](TOPICS.command("armed"), b"OFF", False)
    rig.later(1)
    assert read_control(folder) == Control(armed=False)
    assert rig.told()["armed"] is True
    rig.live(armed=False, threshold=0.8)
    rig.later(1)
    assert rig.told()["armed"] is False


def test_the_last_state_says_how_things_are_at_the_end(folder: Path, store: EventStore) -> None:
    """It stays at the broker until the next start: "running" would be true for ever. The newest
    picture does not wait for its five seconds, and the state not for the picture."""
    rig = Rig(folder)
    rig.live(armed=True)
    store.write(event())
    rig.connect()
    assert rig.told()["running"] is True
    rig.link.said.clear()
    stored = store.write(event("deer"))
    (folder / "live.json").unlink()
    rig.now_s += 0.1
    rig.part.farewell()
    assert [topic for topic, _ in rig.link.said] == [TOPICS.state, TOPICS.snapshot]
    assert rig.told()["running"] is False
    assert rig.told()["last"]["label"] == "deer"
    assert rig.link.kept[TOPICS.snapshot] == (folder / stored.snapshot).read_bytes()


def test_a_run_that_goes_on_is_still_running_in_the_last_state(folder: Path) -> None:
    """A uplink of its own may be stopped alone; and one that died long ago is not running."""
    folder.mkdir()
    rig = Rig(folder)
    rig.live()
    rig.connect()
    rig.part.farewell()
    assert rig.told()["running"] is True
    rig.now_s += STALE_S + 1
    rig.part.farewell()
    assert rig.told()["running"] is False


def test_a_farewell_without_a_line_says_nothing(folder: Path) -> None:
    """And one before the first turn announces the station first."""
    folder.mkdir()
    rig = Rig(folder)
    rig.part.farewell()
    assert rig.link.said == []
    rig.link.connect()
    rig.part.farewell()
    assert [topic for topic, _ in rig.link.said] == [CONFIG, TOPICS.state]


def test_a_wish_is_logged_in_plain_words(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Read by people who know no Python."""
    folder.mkdir()
    rig = Rig(folder).connect()
    with caplog.at_level("INFO"):
        for name, word in [("threshold", b"0.6"), ("armed", b"OFF"), ("threshold", b"default")]:
            rig.link.callbacks[TOPICS.command("+")](TOPICS.command(name), word, False)
    assert [record.getMessage() for record in caplog.records] == [
        "mqtt: armed, threshold 0.6 asked for",
        "mqtt: disarmed, threshold 0.6 asked for",
        "mqtt: disarmed, the site's own threshold asked for",
    ]


@pytest.mark.parametrize(
    ("command", "payload", "wish"),
    [
        ("armed", b"OFF", Control(armed=False, threshold=0.6)),
        ("armed", b" off\n", Control(armed=False, threshold=0.6)),
        ("armed", b"ON", Control(armed=True, threshold=0.6)),
        ("threshold", b"0.05", Control(threshold=0.05)),
        ("threshold", b"1", Control(threshold=1.0)),
        ("threshold", b"default", Control()),
    ],
)
def test_commands_are_kept_for_the_run(
    folder: Path, command: str, payload: bytes, wish: Control
) -> None:
    """Each changes what it is about and nothing else."""
    folder.mkdir()
    write_control(folder, Control(threshold=0.6))
    rig = Rig(folder).connect()
    rig.link.callbacks[TOPICS.command("+")](TOPICS.command(command), payload, False)
    assert read_control(folder) == wish


@pytest.mark.parametrize(
    ("command", "payload"),
    [("armed", b""), ("armed", b"TRUE"), ("armed", b"0"), ("armed", b"OFF" * 20),
     ("armed", b"{}"), ("armed", b"\xff\xfe"), ("threshold", b"0.049"), ("threshold", b"1.01"),
     ("threshold", b"nan"), ("threshold", b"inf"), ("threshold", b"-0.5"), ("threshold", b"None"),
     ("threshold", b'{"threshold": 0.5}'), ("threshold", b"0." + b"5" * 10_000_000),
     ("reboot", b"ON"), ("", b"ON")],
    ids=lambda word: str(word[:12]),
)  # fmt: skip
def test_what_is_no_command_is_left_alone_and_does_not_fill_the_log(
    folder: Path, command: str, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody who may publish there can send anything, as often as he likes."""
    folder.mkdir()
    write_control(folder, Control(armed=False, threshold=0.6))
    rig = Rig(folder).connect()
    for _ in range(100):
        rig.link.callbacks[TOPICS.command("+")](TOPICS.command(command), payload, False)
    assert read_control(folder) == Control(armed=False, threshold=0.6)
    assert len(caplog.records) == (1 if payload else 0)
    assert all(len(record.getMessage()) < 200 for record in caplog.records)
    rig.now_s += GRUMBLE_S
    rig.link.callbacks[TOPICS.command("+")](TOPICS.command("armed"), b"rubbish", False)
    assert len(caplog.records) == (2 if payload else 1)


def test_a_retained_command_is_none(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It would disarm the station again at every connect, for ever."""
    folder.mkdir()
    rig = Rig(folder).connect()
    rig.link.callbacks[TOPICS.command("+")](TOPICS.command("armed"), b"OFF", True)
    assert read_control(folder) == Control()
    assert "without retain" in caplog.text


def test_the_same_wish_again_writes_nothing(folder: Path) -> None:
    """An automation that says OFF every second does not wear the card out."""
    folder.mkdir()
    rig = Rig(folder).connect()
    rig.link.callbacks[TOPICS.command("+")](TOPICS.command("armed"), b"OFF", False)
    written = (folder / "control.json").stat().st_ino
    rig.link.callbacks[TOPICS.command("+")](TOPICS.command("armed"), b"OFF", False)
    assert (folder / "control.json").stat().st_ino == written


def test_a_full_disk_refuses_a_wish_and_no_more(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state goes on telling what is in force, so that it shows."""

    def full(path: Path, content: bytes) -> None:
        raise DiskFull("no space left")

    monkeypatch.setattr("sightpost_edge.control.write_file", full)
    monkeypatch.setattr("sightpost_edge.uplink.announced.write_file", full)
    rig = Rig(folder).connect()
    rig.link.callbacks[TOPICS.command("+")](TOPICS.command("armed"), b"OFF", False)
    assert "not followed" in caplog.text
    rig.later(60)


# Pictures


def test_the_newest_events_picture_is_shown_before_its_state(
    folder: Path, store: EventStore
) -> None:
    """Who waits for the state with an automation finds the right picture."""
    stored = store.write(event())
    rig = Rig(folder).connect()
    assert [topic for topic, _ in rig.link.said] == [CONFIG, TOPICS.snapshot, TOPICS.state]
    assert rig.link.kept[TOPICS.snapshot] == (folder / stored.snapshot).read_bytes()
    rig.link.said.clear()
    for label in ("deer", "boar", "crow"):
        store.write(event(label))
        rig.later(1)
    assert rig.link.take(TOPICS.snapshot) == []
    rig.later(PICTURE_S - 3)
    (newest,) = rig.link.take(TOPICS.snapshot)
    assert newest[:2] == b"\xff\xd8"
    assert rig.told()["last"]["label"] == "crow"


def test_a_picture_travels_once_unless_it_may_have_been_lost(
    folder: Path, store: EventStore
) -> None:
    """A line that breaks every five minutes does not cost a picture each time."""
    store.write(event())
    rig = Rig(folder).connect()
    rig.link.lose()
    rig.now_s += 1
    rig.connect()
    assert len(rig.link.take(TOPICS.snapshot)) == 2
    rig.later(SETTLED_S)
    rig.link.lose()
    rig.now_s += 1
    rig.connect()
    assert rig.link.take(TOPICS.snapshot) == []


def test_a_picture_that_breaks_a_thin_line_does_not_break_it_for_ever(
    folder: Path, store: EventStore
) -> None:
    """Tried twice; the next event has another chance."""
    store.write(event())
    rig = Rig(folder)
    for _ in range(5):
        rig.connect()
        rig.later(40)
        rig.link.lose()
    assert len(rig.link.take(TOPICS.snapshot)) == 2
    store.write(event("deer"))
    rig.connect()
    assert len(rig.link.take(TOPICS.snapshot)) == 1


def test_a_picture_that_is_gone_is_not_shown(folder: Path, store: EventStore) -> None:
    """Deleted for room, or never taken."""
    (folder / store.write(event()).snapshot).unlink()
    rig = Rig(folder).connect()
    store.write(event("deer"), snapshot=False)
    rig.later(PICTURE_S)
    assert TOPICS.snapshot not in rig.link.kept
    assert rig.told()["last"]["label"] == "deer"


def test_a_large_picture_is_made_smaller(tmp_path: Path) -> None:
    """As little as is needed; one that is not even a picture is left out."""
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    path = tmp_path / "noise.jpg"
    path.write_bytes(as_jpeg(frame(noise).image))
    whole = path.stat().st_size
    assert whole < MOST_BYTES
    assert picture(path) == path.read_bytes()
    small = picture(path, most=whole // 2)
    assert small is not None
    assert (JpegImage(small).width, JpegImage(small).height) == (160, 120)
    tiny = picture(path, most=whole // 40)
    assert tiny is not None
    assert len(tiny) <= whole // 40
    assert picture(path, most=100) is None
    path.write_bytes(b"\xff\xd8" + b"x" * 10_000)
    assert picture(path, most=100) is None


def test_no_pictures_where_none_are_wanted(folder: Path, store: EventStore) -> None:
    """Neither one nor an entity for it."""
    store.write(event())
    rig = Rig(folder, settings=replace(SETTINGS, snapshots=False)).connect()
    assert set(rig.link.kept) == {CONFIG, TOPICS.state}


# No ghosts


def test_what_was_announced_is_remembered_before_it_is(folder: Path) -> None:
    """A kill between the two leaves at most too much in the memory."""
    folder.mkdir()
    rig = Rig(folder)
    publish = rig.link.publish

    def watched(topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        assert topic in read_announced(folder).topics
        publish(topic, payload, retain=retain)

    rig.link.publish = watched  # type: ignore[method-assign]
    rig.connect()
    found = read_announced(folder)
    assert found.config == CONFIG
    assert found.components == {one.id: one.platform for one in ALL}
    assert found.topics == [CONFIG, TOPICS.state, TOPICS.snapshot, TOPICS.status]


@pytest.mark.parametrize(
    ("topics", "settings"),
    [
        (Topics.of("sightpost", "North Gate"), SETTINGS),
        (Topics.of("farm", "Süd-Tor 1"), SETTINGS),
        (TOPICS, replace(SETTINGS, discovery="ha")),
        (TOPICS, replace(SETTINGS, discovery="")),
        (TOPICS, replace(SETTINGS, snapshots=False)),
    ],
    ids=["name", "base", "prefix", "no discovery", "no pictures"],
)
def test_another_name_leaves_nothing_behind(
    folder: Path, store: EventStore, topics: Topics, settings: MqttSettings
) -> None:
    """What the broker keeps under the old one is emptied, the announcement first."""
    store.write(event())
    link = FakeLink()
    Rig(folder, link=link).connect()
    link.kept[TOPICS.status] = b"offline"
    link.lose()
    rig = Rig(folder, link=link, topics=topics, settings=settings).connect()
    wanted = {topics.state}
    wanted |= {config_topic(settings.discovery, topics)} if settings.discovery else set()
    wanted |= {topics.snapshot} if settings.snapshots else set()
    assert set(link.kept) - {topics.status} == wanted
    emptied = [topic for topic, payload in link.said if not payload]
    assert emptied == [t for t in (CONFIG, TOPICS.state, TOPICS.snapshot, TOPICS.status)
                       if t not in {*wanted, topics.status}]  # fmt: skip
    rig.later(SETTLED_S)
    assert set(read_announced(folder).topics) == {*wanted, topics.status}


def test_ghosts_are_laid_again_until_that_has_surely_arrived(folder: Path) -> None:
    """The line broke before the broker answered; then a last will came late."""
    folder.mkdir()
    link = FakeLink()
    Rig(folder, link=link).connect()
    link.lose()
    rig = Rig(folder, link=link, topics=Topics.of("sightpost", "new")).connect()
    link.lose()
    link.kept[CONFIG] = b"{}"
    rig.later(SETTLED_S)
    rig.connect()
    assert CONFIG not in link.kept
    link.kept[TOPICS.status] = b"offline"
    rig.later(SETTLED_S)
    assert TOPICS.status not in link.kept
    link.said.clear()
    rig.later(SETTLED_S)
    assert all(payload for _, payload in link.said)


def test_components_of_an_older_release_are_removed_for_good(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a Home Assistant that was away when the new release came; and they may come back."""
    folder.mkdir()
    old = (*ALL, Component("sensor", "mood", "Mood", "last.label"))
    where = "sightpost_edge.uplink.homeassistant.components"
    link = FakeLink()
    monkeypatch.setattr(where, lambda topics, *, snapshots: old)
    Rig(folder, link=link).connect()
    monkeypatch.setattr(where, components)
    for _ in range(2):
        link.lose()
        Rig(folder, link=link).connect()
        assert json.loads(link.kept[CONFIG])["cmps"]["sensor_mood"] == {"p": "sensor"}
    monkeypatch.setattr(where, lambda topics, *, snapshots: old)
    link.lose()
    Rig(folder, link=link).connect()
    assert json.loads(link.kept[CONFIG])["cmps"]["sensor_mood"]["uniq_id"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"config": 1}', b'{"config": "", "components": [], "topics": [1]}',
     b'{"config": "x", "components": {}, "topics": ["a/#"]}'],
)  # fmt: skip
def test_a_damaged_memory_is_begun_afresh(
    folder: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """And never makes us empty what is not ours."""
    (folder / "uplink").mkdir(parents=True)
    (folder / ANNOUNCED).write_bytes(content)
    rig = Rig(folder).connect()
    assert "cannot be read" in caplog.text
    assert all(payload for _, payload in rig.link.said)
    assert read_announced(folder).config == CONFIG


def test_forgetting_takes_everything_back(folder: Path, store: EventStore) -> None:
    """Of all names the station ever had here."""
    store.write(event())
    link = FakeLink()
    Rig(folder, link=link).connect()
    link.lose()
    rig = Rig(folder, link=link, topics=Topics.of("sightpost", "new")).connect()
    link.kept |= {TOPICS.status: b"offline", rig.topics.status: b"online", "other": b"x"}
    given = forget(link, rig.topics, SETTINGS, folder)  # type: ignore[arg-type]
    assert link.kept == {"other": b"x"}
    assert {CONFIG, TOPICS.status, rig.topics.status} <= set(given)
    link.lose()
    assert forget(link, rig.topics, SETTINGS, folder) == []  # type: ignore[arg-type]
    link.connect()
    assert set(forget(link, rig.topics, SETTINGS, folder)) == set(given)  # type: ignore[arg-type]


def test_who_was_forgotten_may_come_back(folder: Path) -> None:
    """With all that belongs to it, and nothing of what it had before."""
    folder.mkdir()
    link = FakeLink()
    rig = Rig(folder, link=link).connect()
    forget(link, rig.topics, SETTINGS, folder)  # type: ignore[arg-type]
    link.lose()
    Rig(folder, link=link).connect()
    assert set(read(json.loads(link.kept[CONFIG]))) == {one.id for one in ALL}
