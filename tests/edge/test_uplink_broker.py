"""The uplink and a real mosquitto: birth and will, passwords, certificates, refusals, the child."""

import datetime
import ipaddress
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from sightpost_edge.config import Site, load
from sightpost_edge.uplink.backoff import Backoff
from sightpost_edge.uplink.child import STEPPED_ASIDE, UplinkChild
from sightpost_edge.uplink.connection import Patience
from sightpost_edge.uplink.mqtt import Link, Topics
from sightpost_edge.uplink.service import only_one
from sightpost_edge.uplink.settings import MqttSettings

from ..conftest import Cli, command
from ..faults.broker import Broker, Listener, needs_mosquitto
from ..faults.network_proxy import NetworkProxy
from .test_uplink import Clock, opened, some_event

TOPICS = Topics.of("sightpost", "gate")
SECRET = "hunter2"
QUICK = Patience(dial_s=1.0, answer_s=0.5, keepalive_s=1, will_s=0, goodbye_s=1.0)


def linked(port: int, **more: Any) -> Link:
    return Link(
        MqttSettings(url=f"mqtt://127.0.0.1:{port}", **more), TOPICS,
        patience=QUICK, backoff=Backoff(0.05, 0.1),
    )  # fmt: skip


def until(is_so: Callable[[], object], *links: Link, timeout_s: float = 10.0) -> None:
    """Turn the links' loops until it is."""
    end_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end_s, "it never came"
        for link in links:
            link.run_once(0.02)
        if not links:
            time.sleep(0.01)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    with Listener(broker.port) as listening:
        yield listening


@needs_mosquitto
def test_birth_and_farewell_are_retained(broker: Broker, listener: Listener) -> None:
    """ "online" with every connection, "offline" at a planned end, both for who comes later."""
    link = linked(broker.port)
    until(lambda: listener.texts("/status") == ["online"], link)
    link.close()
    until(lambda: listener.texts("/status") == ["online", "offline"])
    with Listener(broker.port, name="later") as later:
        until(lambda: later.texts("/status") == ["offline"])
        assert later.seen[0].retain


@needs_mosquitto
def test_the_will_speaks_for_a_dead_station(broker: Broker, listener: Listener) -> None:
    """A connection that breaks without a goodbye: the broker says "offline" by itself."""
    link = linked(broker.port)
    until(lambda: listener.texts("/status") == ["online"], link)
    assert link._connection is not None
    link._connection.close()
    until(lambda: listener.texts("/status") == ["online", "offline"])


@needs_mosquitto
def test_a_hiccup_is_no_news(broker: Broker, listener: Listener) -> None:
    """Back before the broker's patience ends, a station was never "offline"."""
    patience = replace(QUICK, will_s=1)
    settings = MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}")
    link = Link(settings, TOPICS, patience=patience, backoff=Backoff(0.05, 0.1))
    until(lambda: listener.texts("/status") == ["online"], link)
    assert link._connection is not None
    link._connection.close()
    until(lambda: len(listener.texts("/status")) == 2, link)
    end_s = time.monotonic() + 1.5
    until(lambda: time.monotonic() > end_s, link)
    assert listener.texts("/status") == ["online", "online"]
    link.close()


@needs_mosquitto
def test_a_late_will_is_contradicted(broker: Broker, listener: Listener) -> None:
    """A station that is here must not stay "offline" because an older connection of it died."""
    link = linked(broker.port)
    until(lambda: link.connected, link)
    listener.publish(TOPICS.status, "offline", retain=True)
    until(lambda: listener.texts("/status")[-2:] == ["offline", "online"], link)
    link.close()


@needs_mosquitto
def test_commands_wait_for_a_station_that_is_away(broker: Broker, listener: Listener) -> None:
    """The session stays at the broker; subscriptions are made again where it does not."""
    heard: list[tuple[str, bytes, bool]] = []

    def hear(link: Link) -> Link:
        link.subscribe(TOPICS.command("+"), lambda *message: heard.append(message))
        return link

    link = hear(linked(broker.port))
    until(lambda: link.is_idle, link)
    link.close()
    listener.publish(TOPICS.command("armed"), "OFF")
    link = hear(linked(broker.port))
    until(lambda: heard, link)
    assert heard == [(TOPICS.command("armed"), b"OFF", False)]
    link.close()


@needs_mosquitto
def test_state_is_the_latest_or_nothing(broker: Broker, listener: Listener) -> None:
    """While offline nothing piles up; the callbacks of the next connection say how things are."""
    link = linked(broker.port)
    for number in range(100):
        link.publish(TOPICS.state, str(number))
    link.on_connected.append(lambda: link.publish(TOPICS.state, "now", retain=True))
    until(lambda: listener.texts("/state"), link)
    assert listener.texts("/state") == ["now"]
    link.close()


@needs_mosquitto
def test_a_wrong_password_is_said_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When the file is put right it connects without a restart; no secret is in any line."""
    users, secret = tmp_path / "users", tmp_path / "secret"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "me", SECRET], check=True)
    secret.write_text("wrong\n")
    secret.chmod(0o600)
    with (
        Broker(tmp_path / "broker", f"password_file {users}", open_to_all=False) as broker,
        caplog.at_level(logging.DEBUG),
    ):
        link = linked(broker.port, username="me", password_file=str(secret))
        end_s = time.monotonic() + 1.0
        until(lambda: time.monotonic() > end_s, link)
        assert not link.connected
        assert caplog.text.count("not connected") == 1
        assert "see username and password_file" in caplog.text
        secret.write_text(f"{SECRET}\n")
        until(lambda: link.connected, link)
        link.close()
    assert SECRET not in caplog.text + repr(link) + repr(vars(link))


def certificates(folder: Path, *names: str) -> None:
    """ca.pem, an authority of our own, and broker.pem with broker.key, signed by it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "our authority")])

    def signed(name: x509.Name, public: Any, extension: Any) -> bytes:
        builder = x509.CertificateBuilder(
            ca_name, name, public, x509.random_serial_number(),
            now - datetime.timedelta(hours=1), now + datetime.timedelta(days=1),
        ).add_extension(extension, critical=True)  # fmt: skip
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False
        ).add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        made = builder.sign(ca_key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)

    hosts = [
        x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n)
        for n in names
    ]
    authority = x509.BasicConstraints(ca=True, path_length=None)
    (folder / "ca.pem").write_bytes(signed(ca_name, ca_key.public_key(), authority))
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    alternative = x509.SubjectAlternativeName(hosts)
    (folder / "broker.pem").write_bytes(signed(own, key.public_key(), alternative))
    (folder / "broker.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )  # fmt: skip


@needs_mosquitto
@pytest.mark.parametrize(
    ("host", "ca_file", "says"),
    [
        ("localhost", "ca.pem", ""),
        ("localhost", "", "not trusted: unable to get local issuer certificate"),
        ("127.0.0.1", "ca.pem", "not trusted: IP address mismatch"),
    ],
)
# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_broker_must_prove_who_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, host: str, ca_file: str, says: str
) -> None:
    """Under our own authority and its own name it is trusted; in any other case nothing is sent."""
    certificates(tmp_path, "localhost")
    lines = [f"certfile {tmp_path}/broker.pem", f"keyfile {tmp_path}/broker.key"]
    with Broker(tmp_path / "broker", *lines) as broker:
        settings = MqttSettings(
            url=f"mqtts://{host}:{broker.port}", ca_file=str(tmp_path / ca_file) if ca_file else ""
        )
        link = Link(settings, TOPICS, patience=QUICK, backoff=Backoff(0.05, 0.1))
        if says:
            until(lambda: says in caplog.text, link)
            assert not link.connected
            assert "gate" not in broker.log.read_text()
        else:
            until(lambda: link.connected, link)
        link.close()


@needs_mosquitto
def test_an_access_list_is_told_by_puback(tmp_path: Path) -> None:
    """The reason to speak MQTT 5: 3.1.1 would call the event delivered."""
    rights = tmp_path / "rights"
    rights.write_text("topic read #\ntopic write sightpost/gate/status\n")
    with Broker(tmp_path / "broker", f"acl_file {rights}") as broker:
        link, answers = linked(broker.port), list[str]()
        until(lambda: link.connected, link)
        link.send(TOPICS.event, "{}", answers.append)
        until(lambda: answers, link)
        assert answers == ["Not authorized"]
        link.close()


@needs_mosquitto
def test_a_half_open_connection_is_given_up(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a PUBACK nor a CONNACK for so long: dropped, and tried again."""
    with NetworkProxy(broker.port) as network:
        link, lost = linked(network.port), list[int]()
        link.on_lost.append(lost.append)
        until(lambda: link.is_idle, link)
        network.black = True
        link.send(TOPICS.event, "{}", lambda _refused: None)
        until(lambda: len(lost) >= 2, link)
        assert "no PUBACK for 0.5 s" in caplog.text
        assert "no CONNACK for 0.5 s" in caplog.text
        network.heal()
        until(lambda: link.connected, link)
        link.close()


@needs_mosquitto
def test_two_stations_of_one_name_are_told(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """They throw each other out for ever: one line says what to change."""
    first, second = linked(broker.port), linked(broker.port)
    until(lambda: "is another station called 'gate'?" in caplog.text, second, first)
    assert caplog.text.count("not connected") <= 2
    first.close()
    second.close()


def test_nobody_there_costs_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """A refused connection and a host without a name are each said once."""
    clock = Clock()
    for host in ("127.0.0.1:1", "broker.invalid"):
        caplog.clear()
        link = Link(
            MqttSettings(url=f"mqtts://{host}"), TOPICS, patience=QUICK, clock=clock,
            sleep=lambda _s: None,
        )  # fmt: skip
        for _ in range(20):
            clock.now_s += 300.0
            link.run_once(0.5)
        assert len(caplog.records) == 1, host


def test_a_stranger_in_the_brokers_place_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    """Random bytes in place of MQTT end the connection, never the process."""
    rubbish = [
        b"\x20\x05\x00\x87\x02\x99\x99", b"\xff" * 64, b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\x00", b"\x20\x03\x00\x00\x00\x40\x02\x00\x07\x30\x04\x00\x09ab",
    ]  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for piece in rubbish:
                with suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(piece)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        link, lost = linked(server.getsockname()[1]), list[int]()
        link.on_lost.append(lost.append)
        until(lambda: len(lost) >= len(rubbish), link)
        thread.join()
    assert not link.connected


GUIDE = (Path(__file__).parent.parent.parent / "docs" / "mqtt.md").read_text()


@needs_mosquitto
def test_the_guides_rights_let_home_assistant_see_the_station(tmp_path: Path) -> None:
    """And who only looks cannot disarm, and one station cannot speak for another."""
    (rights,) = re.findall(r"```\n# /etc/mosquitto/rights[^\n]*\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "rights").write_text(rights)
    for user in ("gate", "homeassistant", "dashboard"):
        first = [] if (tmp_path / "users").exists() else ["-c"]
        line = ["mosquitto_passwd", *first, "-b", tmp_path / "users", user, SECRET]
        subprocess.run(line, check=True)
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    lines = [f"password_file {tmp_path}/users", f"acl_file {tmp_path}/rights"]
    with Broker(tmp_path / "broker", *lines, open_to_all=False) as broker:
        assert broker.log.read_text().count("does not contain '%c' or '%u'") == 2
        link = linked(broker.port, username="gate", password_file=f"{tmp_path}/secret")
        wishes: list[bytes] = []
        link.subscribe(TOPICS.command("+"), lambda _topic, payload, _kept: wishes.append(payload))
        refused: list[str] = []
        with login(broker, "homeassistant") as house, login(broker, "dashboard") as board:
            until(lambda: link.connected, link)
            announced = "homeassistant/device/sightpost_gate/config"
            link.publish(announced, "{}", retain=True)
            link.send(TOPICS.event, "{}", refused.append)
            link.send("sightpost/barn/event", "{}", refused.append)
            until(lambda: len(refused) == 2, link)
            assert refused == ["", "Not authorized"]
            board.publish(TOPICS.command("armed"), "OFF", qos=1).wait_for_publish(5)
            house.publish(TOPICS.command("armed"), "ON", qos=1).wait_for_publish(5)
            house.publish("homeassistant/status", "online", qos=1).wait_for_publish(5)
            until(lambda: wishes and {announced, TOPICS.event, "homeassistant/status"}
                  <= set(house.user_data_get()), link)  # fmt: skip
            until(lambda: TOPICS.event in board.user_data_get(), link)
            assert wishes == [b"ON"]
            assert announced not in board.user_data_get()
        link.close()


@contextmanager
def login(broker: Broker, user: str) -> Iterator[Client]:
    """Subscribed to everything it may see; the topics of what came are its user data."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5, userdata=[])
    ready = threading.Event()
    client.username_pw_set(user, SECRET)
    client.on_connect = lambda *_: client.subscribe("#", qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _c, topics, message: topics.append(message.topic)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert ready.wait(10)
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


# The command


def site_file(folder: Path, port: int, **more: str) -> Path:
    path = folder / "site.toml"
    extra = "".join(f'{key} = "{value}"\n' for key, value in more.items())
    path.write_text(
        f'name = "gate"\nstore = "{folder}/store"\n[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n{extra}'
    )
    return path


@needs_mosquitto
def test_once_sends_what_waits_and_ends(
    tmp_path: Path, broker: Broker, listener: Listener, cli: Cli
) -> None:
    """Exit code 0 and every event at the broker; a second call has nothing left to send."""
    with opened(tmp_path / "store") as store:
        store.write_all([store.pending(some_event(), snapshot=False) for _ in range(30)])
    for expected in (30, 0):
        done = cli("uplink", "--config", site_file(tmp_path, broker.port), "--once")
        assert done.returncode == 0, done.stderr
        assert f"{expected} messages sent" in done.stderr
        until(lambda: listener.texts("/status")[-1:] == ["offline"])
        assert listener.of("/state")[-1]["undelivered"] == 0
    until(lambda: len(listener.of("/event")) == 30)
    assert [told["seq"] for told in listener.of("/event")] == list(range(1, 31))


@needs_mosquitto
def test_a_station_can_be_taken_back(
    tmp_path: Path, broker: Broker, listener: Listener, cli: Cli
) -> None:
    """After --forget whoever subscribes finds nothing of it any more, not even "offline"."""
    config = site_file(tmp_path, broker.port)
    with opened(tmp_path / "store") as store:
        store.write(some_event())
    assert cli("uplink", "--config", config, "--once").returncode == 0
    topics = {message.topic for message in listener.seen}
    assert "homeassistant/device/" in " ".join(topics)
    done = cli("uplink", "--config", config, "--forget")
    assert done.returncode == 0, done.stderr
    with Listener(broker.port, name="later") as later:
        later.publish("sightpost/last", "x")
        until(lambda: later.texts("/last"))
        assert [(m.topic, m.payload) for m in later.seen if m.retain] == []


def test_the_command_refuses_what_cannot_work(tmp_path: Path, cli: Cli) -> None:
    """No broker named: 2. No store to send from, or another uplink at work there: 7. None waits."""
    bare = tmp_path / "bare.toml"
    bare.write_text('model = "m.tflite"\n')
    done = cli("uplink", "--config", bare)
    assert done.returncode == 2
    assert "no broker given" in done.stderr
    done = cli("uplink", "--config", site_file(tmp_path, 1), "--once")
    assert done.returncode == 7
    assert "no events in" in done.stderr
    with only_one(tmp_path / "store"):
        done = cli("uplink", "--config", site_file(tmp_path, 1))
    assert done.returncode == 7
    assert "another uplink" in done.stderr


# The child of a run


@needs_mosquitto
def test_the_child_is_started_again_and_stopped(
    tmp_path: Path, broker: Broker, listener: Listener
) -> None:
    """Killed, it comes back after a moment; closed, it says goodbye and leaves no zombie."""
    with opened(tmp_path / "store") as store:
        store.write(some_event(), snapshot=False)
        clock = Clock()
        config = site_file(tmp_path, broker.port)
        child = UplinkChild(config, tmp_path / "store", clock=clock)
        until(lambda: len(listener.of("/event")) == 1)
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)

        def is_new() -> bool:
            clock.now_s += 0.1
            child.tick()
            return child.pid not in (None, first)

        until(is_new)
        store.write(some_event(), snapshot=False)
        until(lambda: {told["seq"] for told in listener.of("/event")} == {1, 2})
        second = child.pid
        assert second is not None
        store.write(some_event(), snapshot=False)  # the last one of a run
        child.close()
        assert not Path(f"/proc/{second}").exists()
        until(lambda: listener.texts("/status")[-1] == "offline")
        assert {told["seq"] for told in listener.of("/event")} == {1, 2, 3}


def test_the_child_steps_aside_quietly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where a unit of its own sends, the run's child ends at once and is not tried for a while."""
    clock = Clock()
    with only_one(tmp_path / "store"):
        child = UplinkChild(site_file(tmp_path, 1), tmp_path / "store", clock=clock)

        def is_gone() -> bool:
            child.tick()
            return child.pid is None

        until(is_gone)
        clock.now_s = 299.0
        child.tick()
        assert child.pid is None
        assert "another uplink sends from this store already" in caplog.text
        clock.now_s = 301.0
        child.tick()
        assert child.pid is not None
        child.close()


def test_a_child_that_dies_at_once_is_tried_ever_more_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A broken installation: one line, waits of 1, 2, 4 ... 300 s, and the run goes on."""
    clock = Clock()
    backoff = Backoff(jitter=lambda _least, most: most)
    child = UplinkChild(
        Path("x"), Path("y"), backoff=backoff, clock=clock, line=[sys.executable, "-c", "exit(3)"]
    )
    for doublings in range(6):
        before = clock.now_s

        def is_dead() -> bool:
            child.tick()
            return child.pid is None

        until(is_dead)
        while child.pid is None:
            clock.now_s += 0.5
            child.tick()
        assert clock.now_s - before == pytest.approx(2**doublings, abs=0.5)
    child.close()
    assert caplog.text.count("it is started again") == 1
    assert STEPPED_ASIDE not in (0, 1, 2, 3)


def test_a_broken_setting_is_said_by_the_run_once_an_hour(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The child dies of it for ever, every five minutes at last; another trouble is said at once,
    and nothing of it comes around the parent's log."""
    (tmp_path / "password").write_text(SECRET)
    (tmp_path / "password").chmod(0o644)
    config = site_file(tmp_path, 1, username="me", password_file=f"{tmp_path}/password")
    clock = Clock()
    child = UplinkChild(config, tmp_path / "store", clock=clock, backoff=Backoff(0.0, 0.0))

    def dies() -> None:
        first = child.pid

        def is_another() -> bool:
            child.tick()
            return child.pid not in (None, first)

        until(is_another)

    for _ in range(3):
        dies()
    said = f"the uplink ended (mqtt: others may read or write {tmp_path}/password; chmod 600"
    assert caplog.text.count(said) == 1
    (tmp_path / "password").unlink()
    dies()
    dies()
    assert caplog.text.count("cannot read") == 1
    clock.now_s += 3600.0
    dies()
    assert caplog.text.count("cannot read") == 2
    child.close()
    assert capfd.readouterr().err == ""


def test_a_child_that_cannot_be_started_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """No memory, no program: the run goes on without."""
    child = UplinkChild(Path("x"), Path("y"), line=["/nonexistent"])
    assert child.pid is None
    assert "cannot be started" in caplog.text
    child.close()


def test_the_child_never_outlives_its_parent(tmp_path: Path) -> None:
    """The parent is killed without a chance to clean up, and the kernel ends the child."""
    program = (
        "import sys, time; from pathlib import Path; "
        "from sightpost_edge.uplink.child import UplinkChild; "
        f"child = UplinkChild(Path({str(site_file(tmp_path, 1))!r}), Path({str(tmp_path)!r})); "
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        child = int(parent.stdout.readline())
        parent.stderr.readline()  # "not connected": it runs
        assert Path(f"/proc/{child}").exists()
        parent.kill()
        until(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    with suppress(OSError):
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    return False


def test_the_site_takes_the_table(tmp_path: Path) -> None:
    """[mqtt] of a site, with the nearest word for a typo."""
    assert load(Site, site_file(tmp_path, 1884)).mqtt.port == 1884
    assert command("uplink")[-1] == "uplink"
