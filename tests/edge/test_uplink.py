"""The uplink without a broker: settings, waits, messages, the cursor, and who is sent when."""

import errno
import json
import math
import os
import random
import re
import shlex
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightpost_edge import clock as clocks
from sightpost_edge.commands.common import read_labels
from sightpost_edge.control import Control, write_control
from sightpost_edge.errors import ConfigError, MissingExtra, StoreError
from sightpost_edge.live import Live
from sightpost_edge.records import Event
from sightpost_edge.store import EventStore, StoredEvent, StoredHealth
from sightpost_edge.store.outbox import UPLINK, Parcel, store_id
from sightpost_edge.testing import colour, frame
from sightpost_edge.uplink.announced import Announced, write_announced
from sightpost_edge.uplink.backoff import Backoff
from sightpost_edge.uplink.cursor import Cursor
from sightpost_edge.uplink.messages import encode
from sightpost_edge.uplink.mqtt import Topics
from sightpost_edge.uplink.sender import LINE, WINDOW, Sender
from sightpost_edge.uplink.service import only_one
from sightpost_edge.uplink.settings import INSTALL, MqttSettings
from sightpost_edge.uplink.settings import check as check_settings
from sightpost_edge.uplink.state import Facts, state
from sightpost_edge.uplink.waiting import LOOK_S, StoreOutbox

DOCS = Path(__file__).parent.parent.parent / "docs"
SCHEMA = json.loads((DOCS / "mqtt.schema.json").read_text())
TOPICS = Topics.of("sightpost", "gate")
SECRET = "hunter2"

EVENT = StoredEvent(
    seq=7, label="fox", score=0.93, started_at="2026-05-01T03:04:05.678+00:00",
    ended_at="2026-05-01T03:04:07.000+00:00", started_s=1.0, ended_s=2.0, peak_s=1.5,
    decided_s=2.5, monotonic_ns=1, boot_id="b00t", clock_quality="unsynchronized", frames=12,
    frame_name="", reason="left", source="picamera://0", model="wildlife", model_digest="ab" * 32,
    snapshot="snapshots/7.jpg",
)  # fmt: skip
HEALTH = StoredHealth(
    seq=3, run=1, at="2026-05-01T03:04:05.678+00:00", monotonic_ns=1, boot_id="b00t",
    clock_quality="synchronized", fault="black", ok=False, detail="mean 2 of 255",
)  # fmt: skip


# Settings


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"url": "http://broker"}, "mqtts://"),
        ({"url": "broker:1883"}, "mqtts://"),
        ({"url": f"mqtts://me:{SECRET}@broker"}, "no user or password"),
        ({"url": f"me:{SECRET}@broker"}, "mqtts://"),
        ({"url": f"mqtts://[::{SECRET}"}, "mqtts://"),
        ({"url": "mqtts://"}, "lacks a host"),
        ({"url": "mqtts://broker:0"}, "port"),
        ({"url": "mqtts://broker:99999"}, "port"),
        ({"url": "mqtts://broker/path"}, "ends after"),
        ({"url": "mqtt://broker", "ca_file": "ca.pem"}, "without TLS"),
        ({"url": "mqtts://broker", "password_file": "p"}, "username"),
        ({"topic": "a/#"}, "cannot begin"),
        ({"topic": ""}, "cannot begin"),
        ({"topic": "/a"}, "cannot begin"),
        ({"topic": "$SYS"}, "cannot begin"),
        ({"discovery": "a+"}, "cannot begin"),
    ],
)
def test_a_wrong_setting_is_refused_without_quoting_secrets(
    table: dict[str, str], says: str
) -> None:
    """Each names what is wrong; a password in the url is not repeated on the screen."""
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        MqttSettings(**table)
    assert SECRET not in f"{caught.value} {caught.value.hint}"


def test_ports_and_encryption_come_from_the_scheme() -> None:
    """mqtts is 8883 and verified, mqtt is 1883 and readable by everyone unless it stays here."""
    safe, plain = MqttSettings(url="mqtts://b.example"), MqttSettings(url="mqtt://b.example")
    assert (safe.host, safe.port, safe.is_tls, safe.is_exposed) == ("b.example", 8883, True, False)
    assert (plain.port, plain.is_tls, plain.is_exposed) == (1883, False, True)
    assert MqttSettings(url="mqtt://[::1]:1884").port == 1884
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert not MqttSettings(url=f"mqtt://{host}").is_exposed
    context = safe.tls_context()
    assert context is not None
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert plain.tls_context() is None


def test_a_ca_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """At the start, not at every attempt."""
    for path in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        with pytest.raises(ConfigError, match="ca_file"):
            MqttSettings(url="mqtts://b", ca_file=str(path)).tls_context()
        (tmp_path / "empty.pem").touch()


def secured(path: Path) -> MqttSettings:
    return MqttSettings(url="mqtts://b", username="me", password_file=str(path))


def test_a_password_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """0600 is read, with the newline that editors add; anything wider is refused with the cure."""
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\n")
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="others") as caught:
            secured(path).password()
        assert caught.value.hint == f"chmod 600 {path}"
        assert SECRET not in str(caught.value)
    path.chmod(0o600)
    assert secured(path).password() == SECRET
    assert SECRET not in repr(secured(path))


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff" * 8, b"x" * 65_536])
def test_a_password_file_that_holds_none_is_refused(tmp_path: Path, content: bytes) -> None:
    """And what it holds is in no message, nor in an exception behind it."""
    path = tmp_path / "password"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        secured(path).password()
    assert caught.value.__cause__ is None
    with pytest.raises(ConfigError, match="cannot read"):
        secured(tmp_path / "missing").password()


def test_systemd_hands_the_password_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential counts where the config names no file, whatever permission bits it shows."""
    (tmp_path / "mqtt-password").write_text(SECRET)
    (tmp_path / "mqtt-password").chmod(0o440)
    broker = MqttSettings(url="mqtts://b", username="me")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert broker.password() is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert broker.password() == SECRET
    assert MqttSettings(url="mqtts://b").password() is None


def test_a_run_can_refuse_at_its_start_what_would_never_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The uplink is another process: it could only say so again and again."""
    password = tmp_path / "password"
    password.write_text(SECRET)
    password.chmod(0o644)
    for broker, says in [
        (MqttSettings(), "no broker"),
        (secured(password), "others may read"),
        (secured(tmp_path / "missing"), "cannot read"),
        (MqttSettings(url="mqtts://b", ca_file=str(tmp_path / "missing.pem")), "ca_file"),
    ]:
        with pytest.raises(ConfigError, match=says):
            check_settings(broker)
    password.chmod(0o600)
    check_settings(secured(password))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtra) as caught:
        check_settings(secured(password))
    assert caught.value.hint == INSTALL


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ENOMEM, errno.ENFILE])
def test_a_disk_that_stutters_is_no_wrong_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """After a ConfigError a service is not started again: the station would be silent for good."""

    def fail(*_args: object, **_named: object) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "password"
    broker = MqttSettings(url="mqtts://b", ca_file=str(tmp_path / "ca.pem"))
    with monkeypatch.context() as patch:
        patch.setattr("ssl.create_default_context", fail)
        with pytest.raises(StoreError, match="cannot read ca_file"):
            check_settings(broker)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(StoreError, match="mqtt: cannot read") as caught:
            secured(path).password()
        with pytest.raises(StoreError, match="cannot read labels"):
            read_labels(path)
    assert caught.value.exit_code == 7


def test_the_cure_of_a_password_file_can_be_pasted(tmp_path: Path) -> None:
    """With a blank in its name."""
    path = tmp_path / "pass word"
    path.write_text(SECRET)
    path.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        secured(path).password()
    assert shlex.split(caught.value.hint) == ["chmod", "600", str(path)]


def test_the_guide_names_the_package_as_the_error_does() -> None:
    """One line, the same everywhere."""
    plain = (DOCS / "mqtt.md").read_text().replace("`", "")
    assert plain.count(INSTALL) == 1
    assert plain.count("pip install") == INSTALL.count("pip install")


@pytest.mark.parametrize(
    ("given_name", "device"),
    [("gate", "gate"), ("Süd-Tor 1", "Sud-Tor-1"), ("a/b+c#", "a-b-c"), ("pi.local", "pi-local")],
)
def test_a_stations_name_becomes_a_topic(given_name: str, device: str) -> None:
    """Letters that every broker and Home Assistant take; nothing can break out of its level."""
    topics = Topics.of("farm/north", given_name)
    assert topics.event == f"farm/north/{device}/event"
    assert topics.command("armed") == f"farm/north/{device}/command/armed"


@pytest.mark.parametrize("name", ["北", "Gate 北", "Gießen", "", "///"])
def test_a_name_that_would_lose_letters_is_refused(name: str) -> None:
    """Two stations called "Gate 北" and "Gate 南" must not become one."""
    with pytest.raises(ConfigError, match="cannot be part of a topic"):
        Topics.of("sightpost", name)


# Waiting


def test_waits_double_with_full_jitter_and_start_afresh_when_healthy() -> None:
    """1 to 300 s, anything from 0 to the ceiling; 60 good seconds make it 1 s again."""
    highest = Backoff(jitter=lambda _least, most: most)
    waits = [highest.next_wait_s(0.0) for _ in range(11)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert highest.next_wait_s(59.9) == 300
    assert highest.next_wait_s(60.0) == 1
    assert highest.next_wait_s(0.0) == 2
    rng = random.Random(1)
    many = Backoff(8.0, 8.0, jitter=rng.uniform)
    drawn = [many.next_wait_s() for _ in range(1000)]
    assert min(drawn) < 0.1
    assert max(drawn) > 7.9
    assert 3.5 < sum(drawn) / 1000 < 4.5


# Messages


KINDS: dict[str, Any] = {
    "object": dict, "string": str, "integer": int, "number": (int, float),
    "boolean": bool, "null": type(None),
}  # fmt: skip


def is_of(value: Any, names: list[str]) -> bool:
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, KINDS[name]) for name in names)


def properties(value: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Nothing is sent that the schema lacks, though receivers must allow for that."""
    for name in set(value) & set(wanted):
        check(value[name], wanted[name])
    return set(value) <= set(wanted)


KEYWORDS: dict[str, Callable[[Any, Any], object]] = {
    "type": lambda value, wanted: is_of(value, wanted if isinstance(wanted, list) else [wanted]),
    "const": lambda value, wanted: value == wanted,
    "enum": lambda value, wanted: value in wanted,
    "pattern": lambda value, wanted: re.search(wanted, value),
    "minimum": lambda value, wanted: value >= wanted,
    "maximum": lambda value, wanted: value <= wanted,
    "required": lambda value, wanted: set(wanted) <= set(value),
    "properties": properties,
    "additionalProperties": lambda value, wanted: all(
        is_good(one, wanted) for one in value.values()
    ),
    "maxLength": lambda value, wanted: len(value) <= wanted,
    "anyOf": lambda value, wanted: any(is_good(value, one) for one in wanted),
}
ABOUT = {"$schema", "title", "description", "$defs"}
FOR = {"minimum": (int, float), "maximum": (int, float), "maxLength": str, "pattern": str,
       "required": dict, "properties": dict, "additionalProperties": dict}  # fmt: skip
"""JSON Schema applies a keyword only to values that it is about."""


def is_good(value: Any, schema: dict[str, Any]) -> bool:
    try:
        check(value, schema)
    except AssertionError:
        return False
    return True


def check(value: Any, schema: dict[str, Any]) -> None:
    """As much of JSON Schema as docs/mqtt.schema.json uses; an unknown keyword is a KeyError."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    for keyword, wanted in schema.items():
        if keyword in ABOUT or not isinstance(value, FOR.get(keyword, object)):
            continue
        assert KEYWORDS[keyword](value, wanted), (keyword, value, wanted)


def content(parcel: Parcel) -> dict[str, Any]:
    message = encode(parcel, TOPICS)
    found = json.loads(message.payload)
    assert isinstance(found, dict)
    check(found, SCHEMA["$defs"][message.topic.rpartition("/")[2]])
    return found


def test_an_event_says_all_that_a_receiver_needs() -> None:
    """The key names device, boot and number; the payload is the schema's version 1."""
    told = content(Parcel(1, "event", event=EVENT))
    assert told["key"] == "gate/b00t/7"
    assert told["v"] == 1
    assert "correction" not in told
    for name in set(told) - {"v", "key", "device"}:
        assert told[name] == getattr(EVENT, name)


def test_a_correction_is_the_event_again_under_its_key() -> None:
    """Whoever keeps the newest for a key has the right times."""
    better = replace(EVENT, clock_quality="corrected", clock_shift_ms=86_400_000)
    told = content(Parcel(9, "correction", event=better))
    assert told["correction"] is True
    assert told["key"] == "gate/b00t/7"
    assert told["clock_shift_ms"] == 86_400_000


def test_health_and_drops_are_told_as_well() -> None:
    """A fault has a key that is no event's; drops are sums, the newest is all."""
    told = content(Parcel(1, "health", health=HEALTH))
    assert (told["key"], told["ok"], told["fault"]) == ("gate/b00t/health/3", False, "black")
    assert content(Parcel(2, "drops", drops={"events": 4}))["drops"] == {"events": 4}


def test_the_check_can_fail() -> None:
    """The small validator refuses a wrong type, a missing field and an unknown one."""
    good = content(Parcel(1, "event", event=EVENT))
    for bad in ({**good, "score": "high"}, {**good, "more": 1}, {**good, "seq": True}):
        with pytest.raises(AssertionError):
            check(bad, SCHEMA["$defs"]["event"])
    del good["label"]
    with pytest.raises(AssertionError):
        check(good, SCHEMA["$defs"]["event"])


NOW = clocks.Reading(1_790_000_000_000, 10**12, "synchronized", "0b00")
REAL = {
    "event": content(Parcel(1, "event", event=EVENT)),
    "correction": content(Parcel(1, "correction", event=EVENT)),
    "health": content(Parcel(1, "health", health=HEALTH)),
    "drops": content(Parcel(1, "drops", drops={"events": 4})),
    "state": state(Live(clocks=NOW, temperature_c=61.5), Facts(EVENT, 3, 7, 2, {"a": 1}), NOW),
    "state of nobody": state(None, Facts(), NOW),
}  # fmt: skip


@pytest.mark.parametrize("kind", REAL)
def test_the_schema_as_a_whole_takes_what_is_sent(kind: str) -> None:
    """Whoever validates against its root needs not know which topic it came from."""
    sent = json.loads(json.dumps(REAL[kind]))
    check(sent, SCHEMA)
    of = "event" if kind == "correction" else kind.partition(" ")[0]
    assert [name for name in ("event", "health", "drops", "state")
            if is_good(sent, SCHEMA["$defs"][name])] == [of]  # fmt: skip


@pytest.mark.parametrize("value", [{}, [], None, 7, "online", {"v": 1}, {"v": 1, "device": "x"}])
def test_the_schema_as_a_whole_refuses_nonsense(value: object) -> None:
    """An empty root would take anything."""
    assert not is_good(value, SCHEMA)


@pytest.mark.parametrize("kind", REAL)
def test_the_schema_as_a_whole_refuses_a_spoilt_message(kind: str) -> None:
    """Without any one of its fields, of another version, or with something else in a field."""
    good: dict[str, Any] = json.loads(json.dumps(REAL[kind]))
    assert not is_good({**good, "v": 2}, SCHEMA)
    for name in set(good) - {"correction"}:
        assert not is_good({k: v for k, v in good.items() if k != name}, SCHEMA), name
        assert not is_good({**good, name: [1]}, SCHEMA), name
    for name, table in good.items():
        if isinstance(table, dict) and table and "state" in kind:
            spoilt = {key: [1] for key in table}
            assert not is_good({**good, name: spoilt}, SCHEMA), name


@pytest.mark.parametrize("change", [{"score": math.inf}, {"label": "\ud800"}])
def test_what_json_cannot_say_is_an_error(change: dict[str, Any]) -> None:
    """Infinity and half a character: Python would write both, nobody could read them."""
    with pytest.raises(ValueError):  # noqa: PT011 - two kinds of it
        encode(Parcel(1, "event", event=replace(EVENT, **change)), TOPICS)


# The cursor


class Clock:
    """A clock that tests turn by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def kept(path: Path) -> int:
    return int(json.loads(path.read_text())["acked"]) if path.exists() else 0


def test_the_cursor_is_written_after_ten_steps_or_a_second(tmp_path: Path) -> None:
    """And not at all while nothing moves: an SD card lasts longer."""
    clock, path = Clock(), tmp_path / "uplink" / "mqtt.json"
    cursor = Cursor(path, clock=clock)
    cursor.belongs_to("one")
    for number in range(1, 9):
        cursor.advance(number)
        cursor.save_when_due()
    assert kept(path) == 0
    cursor.advance(9)
    cursor.save_when_due()
    assert kept(path) == 9
    cursor.advance(10)
    cursor.save_when_due()
    assert kept(path) == 9
    clock.now_s = 1.0
    cursor.save_when_due()
    assert kept(path) == 10
    written = path.stat().st_mtime_ns
    clock.now_s = 99.0
    cursor.save_when_due()
    assert path.stat().st_mtime_ns == written


def test_a_cursor_is_of_one_database(tmp_path: Path) -> None:
    """Another one starts from its beginning; the same one goes on; damage means all again."""
    path = tmp_path / "mqtt.json"
    cursor = Cursor(path)
    cursor.belongs_to("one")
    cursor.advance(5)
    cursor.save()
    again = Cursor(path)
    again.belongs_to("one")
    assert again.acked == 5
    again.belongs_to("two")
    assert again.acked == 0
    path.write_bytes(b'{"acked": ')
    assert Cursor(path).acked == 0


@pytest.mark.parametrize(
    "content",
    [b'{"store": "one", "acked": 1e999}', b'{"store": "one", "acked": 9223372036854775808}',
     b'{"store": "one", "acked": 1' + b"0" * 5000 + b"}", b'{"store": "one", "acked": -1}',
     b'{"store": "one", "acked": NaN}', b'{"store": "one", "acked": true}',
     b'{"store": "one", "acked": 5, "set_aside": 1e999}', b'{"store": [], "acked": 5}',
     b'{"store": ' + b"[" * 60_000, b"\xff", b"7"],
    ids=lambda content: str(content[:40]),
)  # fmt: skip
def test_a_damaged_cursor_is_no_crash(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a worn card makes of it: all is sent again, and the next one is good."""
    path = tmp_path / "mqtt.json"
    path.write_bytes(content)
    cursor = Cursor(path)
    assert (cursor.store, cursor.acked, cursor.set_aside) == ("", 0, 0)
    assert "cannot be read" in caplog.text
    cursor.belongs_to("one")
    cursor.advance(3)
    cursor.save()
    assert Cursor(path).acked == 3


def test_what_root_leaves_there_is_the_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``sudo sightpost uplink --once``: the service, another user, must be able to go on."""
    given: dict[Path, tuple[int, int]] = {}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "lchown", lambda path, *owner: given.update({path: owner}))
    with only_one(tmp_path):
        cursor = Cursor(tmp_path / UPLINK / "mqtt.json")
        cursor.advance(1)
        cursor.save()
        write_announced(tmp_path, Announced())
        write_control(tmp_path, Control(armed=False))
    there = set(tmp_path.rglob("*"))
    assert len(there) == 5
    owner = (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
    assert given == dict.fromkeys(there, owner)


def test_a_full_disk_does_not_stop_the_sending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and written when there is room again."""

    def full(_path: Path, _content: bytes) -> None:
        raise StoreError("no space left")

    clock, path = Clock(), tmp_path / "mqtt.json"
    cursor = Cursor(path, clock=clock)
    with monkeypatch.context() as patch:
        patch.setattr("sightpost_edge.uplink.cursor.write_file", full)
        for number in range(1, 40):
            clock.now_s += 2.0
            cursor.advance(number)
            cursor.save_when_due()
    assert caplog.text.count("no space left") == 1
    clock.now_s += 2.0
    cursor.save_when_due()
    assert kept(path) == 39


# The sender


@dataclass
class FakeOutbox:
    """Parcels in a list."""

    parcels: list[Parcel] = field(default_factory=list)
    store: str = "one"

    def has_news(self) -> bool:
        return True

    def store_id(self) -> str:
        return self.store

    def read(self, *, after: int, limit: int) -> list[Parcel]:
        return [p for p in self.parcels if p.id > after][:limit]


Answer = Callable[[str], None]


@dataclass
class FakeLink:
    """Keeps what it is given until a test answers."""

    connected: bool = True
    room: int = 100
    largest: int = 1_000_000
    going: list[tuple[int, Answer]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)

    def send(self, topic: str, payload: bytes | str, on_answer: Answer) -> None:
        seq = int(json.loads(payload)["seq"])
        self.sent.append(seq)
        self.going.append((seq, on_answer))

    def answer(self, refused: str = "", *, at: int = 0) -> int:
        seq, on_answer = self.going.pop(at)
        on_answer(refused)
        return seq

    def lose(self) -> None:
        self.going.clear()


def events(*seqs: int) -> list[Parcel]:
    return [Parcel(seq, "event", event=replace(EVENT, seq=seq)) for seq in seqs]


class Bench:
    """A sender with everything around it faked but the cursor's file."""

    def __init__(self, folder: Path, parcels: list[Parcel]) -> None:
        self.clock, self.link, self.outbox = Clock(), FakeLink(), FakeOutbox(parcels)
        self.path = folder / "mqtt.json"
        self.start()

    def start(self) -> None:
        """A new process: nothing is left but the file."""
        self.link.lose()
        self.cursor = Cursor(self.path, clock=self.clock)
        self.sender = Sender(self.outbox, self.link, TOPICS, self.cursor, clock=self.clock)

    def lose(self, code: int = 0) -> None:
        self.link.lose()
        self.sender.lost(code)

    def finish(self) -> None:
        """Answer everything until nothing is left."""
        for _ in range(10_000):
            self.sender.tick()
            if self.sender.is_drained:
                return
            while self.link.going:
                self.link.answer()
        raise AssertionError("it does not come to an end")


def test_messages_go_in_order_and_the_window_is_earned(tmp_path: Path) -> None:
    """One at a time on a fresh connection, one more for each 20 acknowledged, at most 20."""
    bench = Bench(tmp_path, events(*range(1, 1001)))
    widths = []
    while not bench.sender.is_drained:
        bench.sender.tick()
        widths.append(len(bench.link.going))
        while bench.link.going:
            bench.link.answer()
    assert bench.link.sent == list(range(1, 1001))
    assert widths[0] == 1
    assert widths == sorted(widths[:-2]) + widths[-2:]
    assert max(widths) == WINDOW
    bench.lose()
    bench.outbox.parcels += events(*range(1001, 1051))
    bench.sender.tick()
    assert len(bench.link.going) == 1


def test_memory_is_bounded_by_the_line(tmp_path: Path) -> None:
    """However much waits, no more is read than is about to be sent."""
    bench = Bench(tmp_path, events(*range(1, 10_000)))
    for _ in range(100):
        bench.sender.tick()
    assert len(bench.sender._items) <= LINE


def test_nothing_is_read_while_nobody_listens(tmp_path: Path) -> None:
    """A week without network costs no look into the store."""
    bench = Bench(tmp_path, events(1))
    bench.link.connected = False
    bench.outbox.read = None  # type: ignore[assignment,method-assign]
    bench.sender.tick()
    assert bench.link.sent == []


def test_the_cursor_passes_nothing_that_is_not_acknowledged(tmp_path: Path) -> None:
    """Answers may come in any order; a hole holds the cursor back."""
    bench = Bench(tmp_path, events(*range(1, 200)))
    while len(bench.link.going) < 3:
        if bench.link.going:
            bench.link.answer()
        bench.sender.tick()
    first, *rest = [seq for seq, _ in bench.link.going]
    for _ in rest:
        bench.link.answer(at=1)
    assert bench.cursor.acked == first - 1
    bench.link.answer()
    assert bench.cursor.acked == rest[-1]


def test_what_a_lost_connection_left_is_sent_again_first(tmp_path: Path) -> None:
    """And nothing that was acknowledged is."""
    bench = Bench(tmp_path, events(1, 2, 3))
    bench.sender.tick()
    bench.link.answer()
    bench.sender.tick()
    bench.lose()
    bench.finish()
    assert bench.link.sent == [1, 2, 2, 3]


def test_another_database_is_sent_from_its_beginning(tmp_path: Path) -> None:
    """The old one was damaged and set aside; its numbers mean nothing any more."""
    bench = Bench(tmp_path, events(1, 2, 3))
    bench.finish()
    bench.outbox.store, bench.outbox.parcels = "two", events(1, 2)
    bench.finish()
    assert bench.link.sent == [1, 2, 3, 1, 2]
    assert (bench.cursor.store, bench.cursor.acked) == ("two", 2)


def test_a_poisoned_message_is_set_aside_when_others_pass(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused for ten minutes while others are taken: logged by its key, counted, passed."""
    bench = Bench(tmp_path, events(1, 2, 3, 4))
    for _ in range(40):
        bench.clock.now_s += 300.0
        bench.sender.tick()
        while bench.link.going:
            seq = bench.link.going[0][0]
            bench.link.answer("Payload format invalid" if seq == 2 else "")
    assert bench.link.sent.count(2) == 3
    assert list(dict.fromkeys(bench.link.sent)) == [1, 2, 3, 4]
    assert (bench.cursor.acked, bench.cursor.set_aside) == (4, 1)
    assert "gate/b00t/2 is not sent and left behind" in caplog.text


def test_a_broker_that_refuses_everything_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An access list or a quota: every event waits, the attempts grow rare, one line is logged."""
    bench = Bench(tmp_path, events(*range(1, 10)))
    for _ in range(3600):
        bench.clock.now_s += 1.0
        bench.sender.tick()
        while bench.link.going:
            bench.link.answer("Not authorized")
    assert len(bench.link.sent) < 40
    assert (bench.cursor.acked, bench.cursor.set_aside) == (0, 0)
    assert len(caplog.records) == 1
    bench.clock.now_s += 300.0
    bench.finish()
    assert bench.cursor.acked == 9


def test_a_broker_that_hangs_up_on_a_message_passes_it_too(tmp_path: Path) -> None:
    """ "Packet too large" comes as a DISCONNECT: the message on its way is the one it means."""
    bench = Bench(tmp_path, events(1, 2, 3))
    for _ in range(40):
        bench.clock.now_s += 300.0
        bench.sender.tick()
        if bench.link.going and bench.link.going[0][0] == 1:
            bench.lose(0x95)
        elif bench.link.going:
            bench.link.answer()
    assert (bench.cursor.acked, bench.cursor.set_aside) == (3, 1)


def test_a_bad_network_is_never_a_refusal(tmp_path: Path) -> None:
    """A thousand lost connections with the same message on its way, and it is still sent."""
    bench = Bench(tmp_path, events(1, 2))
    for _ in range(1000):
        bench.sender.tick()
        bench.lose()
    bench.finish()
    assert bench.cursor.set_aside == 0
    assert bench.link.sent[-2:] == [1, 2]


def test_what_cannot_be_written_or_is_too_long_is_left_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Both would block the queue for ever; both are counted, neither stops the others."""
    endless = Parcel(2, "event", event=replace(EVENT, seq=2, score=math.inf))
    long = Parcel(3, "event", event=replace(EVENT, seq=3, label="x" * 10_000))
    bench = Bench(tmp_path, [*events(1), endless, long, *events(4)])
    bench.link.largest = 4096
    bench.finish()
    assert bench.link.sent == [1, 4]
    assert (bench.cursor.acked, bench.cursor.set_aside) == (4, 2)
    assert caplog.text.count("left behind") == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["tick", "ack", "late", "lose", "kill", "write", "second"])))
def test_whatever_happens_everything_arrives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """Any order of answers, losses and kills: nothing missing, first transmissions in order."""
    bench = Bench(tmp_path_factory.mktemp("model"), events(*range(1, 31)))
    got: list[int] = []
    for step in steps:
        if step == "tick":
            bench.sender.tick()
        elif step in ("ack", "late") and bench.link.going:
            got.append(bench.link.answer(at=0 if step == "ack" else -1))
        elif step == "lose":
            got += [seq for seq, _ in bench.link.going]  # taken, but the PUBACK was lost
            bench.lose()
        elif step == "kill":
            bench.start()
        elif step == "write":
            bench.outbox.parcels += events(len(bench.outbox.parcels) + 1)
        elif step == "second":
            bench.clock.now_s += 1.0
            bench.cursor.save_when_due()
        assert bench.cursor.acked <= len(set(got))
    got += [seq for seq, _ in bench.link.going]
    bench.start()
    sent_before = len(bench.link.sent)
    bench.finish()
    got += bench.link.sent[sent_before:]
    assert set(got) == {parcel.id for parcel in bench.outbox.parcels}
    first = list(dict.fromkeys(bench.link.sent))
    assert first == sorted(first)


# The store's outbox


def opened(folder: Path) -> EventStore:
    return EventStore(folder, source="camera", model="m", model_digest="abc", outbox=True)


def some_event() -> Event:
    frames = [frame(colour("red"), index=i, elapsed_s=i / 2) for i in range(4)]
    return Event("fox", 0.9, frames[0], frames[3], frames[1], frames[3], 4, "left")


def test_the_store_is_only_looked_into_when_it_was_written_to(tmp_path: Path) -> None:
    """Two stats tell; a commit that they miss waits half a minute."""
    clock = Clock()
    with opened(tmp_path) as store:
        store.write(some_event(), snapshot=False)
        outbox = StoreOutbox(tmp_path, clock=clock)
        assert outbox.has_news()
        assert [p.kind for p in outbox.read(after=0, limit=9)] == ["event"]
        assert outbox.has_news()
        assert outbox.read(after=1, limit=9) == []
        assert not outbox.has_news()
        clock.now_s = LOOK_S
        assert outbox.has_news()
        outbox.read(after=1, limit=9)
        os.utime(tmp_path / "events.db-wal", ns=(0, 0))  # any other time than before
        store.write(some_event(), snapshot=False)
        assert outbox.has_news()


def test_a_stretch_of_deleted_events_is_not_the_end(tmp_path: Path) -> None:
    """The quota may delete hundreds that were never sent; what comes after them is."""
    with opened(tmp_path) as store:
        store.write_all([store.pending(some_event(), snapshot=False) for _ in range(3 * LINE)])
    with closing(sqlite3.connect(tmp_path / "events.db")) as database, database:
        database.execute("DELETE FROM events WHERE seq <= ?", (2 * LINE,))
    found = StoreOutbox(tmp_path).read(after=0, limit=5)
    assert [parcel.id for parcel in found] == [2 * LINE + i for i in range(1, 6)]


def test_without_a_store_the_sender_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The uplink may be started before the first run: it says so once and goes on looking."""
    link = FakeLink()
    sender = Sender(StoreOutbox(tmp_path), link, TOPICS, Cursor(tmp_path / "u" / "mqtt.json"))
    for _ in range(5):
        sender.tick()
    assert caplog.text.count("no events in") == 1
    with opened(tmp_path) as store:
        store.write(some_event(), snapshot=False)
        sender.tick()
    assert link.sent == [1]


def test_a_store_that_was_put_back_is_sent_from_its_beginning_once(tmp_path: Path) -> None:
    """A restored copy has fewer rows than were acknowledged: its new events must not be taken for
    old ones, and it is not renewed again at every start."""
    folder, copy = tmp_path / "store", tmp_path / "copy"
    with opened(folder) as store:
        store.write(some_event(), snapshot=False)
    shutil.copytree(folder, copy)
    with opened(folder) as store:
        store.write_all([store.pending(some_event(), snapshot=False) for _ in range(9)])
    link = FakeLink()
    drain(Sender(StoreOutbox(folder), link, TOPICS, Cursor(folder / UPLINK / "mqtt.json")), link)
    assert link.sent == list(range(1, 11))
    shutil.copytree(folder / UPLINK, copy / UPLINK)
    before, link = store_id(copy), FakeLink()
    cursor = Cursor(copy / UPLINK / "mqtt.json")
    assert cursor.acked == 10
    with opened(copy) as store:
        store.write(some_event(), snapshot=False)
        sender = Sender(StoreOutbox(copy), link, TOPICS, cursor)
        drain(sender, link)
        drain(sender, link)
        assert len(link.sent) == 2  # the copy's one, and the one written since
        renewed = store_id(copy)
        assert renewed != before
    with opened(copy):
        assert store_id(copy) == renewed
    drain(Sender(StoreOutbox(copy), link, TOPICS, Cursor(copy / UPLINK / "mqtt.json")), link)
    assert len(link.sent) == 2


def drain(sender: Sender, link: FakeLink) -> None:
    """Answer everything that there is, as a good broker does."""
    for _ in range(100):
        sender.tick()
        while link.going:
            link.answer()
    assert sender.is_drained
    sender.close()
