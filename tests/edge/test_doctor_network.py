"""The doctor on the way to the broker: each fault is planted and must be named with its fix."""

import datetime
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightpost_edge import clock
from sightpost_edge.config import Site
from sightpost_edge.doctor import broker, door, network
from sightpost_edge.doctor.host import Ran
from sightpost_edge.live import Live, write_live
from sightpost_edge.store.outbox import store_id
from sightpost_edge.uplink.settings import MqttSettings

from ..faults.broker import Broker, free_port, needs_mosquitto
from .doctor_rig import MadeUp, only, plant
from .doctor_store import a_store, acknowledged

SECRET = "hunter2-of-the-broker"
ROUTES = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
WIRELESS = "Inter-| sta-|\n face | tus |\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "ANSWER_S", 1.0)
    monkeypatch.setattr(broker, "RETAINED_S", 0.2)


def host(root: Path, files: dict[str, str] | None = None, /, **mqtt: Any) -> MadeUp:
    """A station called gate with a broker."""
    site = Site(name="gate", mqtt=MqttSettings(**{"url": "mqtts://broker.example", **mqtt}))
    return MadeUp(
        root=plant(root, files or {}), store=root / "store", site=site, station="gate",
        environ={}, modules=("paho",),
    )  # fmt: skip


def test_no_way_out(tmp_path: Path) -> None:
    """No default route, neither the old way nor the new."""
    local = f"{ROUTES}wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0\n"
    found = only(network.check_route(host(tmp_path, {"proc/net/route": local})), "warning")
    assert found.fix == "ip address\nnmcli device status"
    assert only(network.check_route(MadeUp(root=tmp_path))).level == "note"
    default = f"{local}wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
    plant(tmp_path, {"proc/net/route": default})
    assert only(network.check_route(host(tmp_path)), "ok").what == "the way out is wlan0"
    six = f"{'0' * 32} 00 {'0' * 32} 00 fe80 00000400 0 0 00000003 eth0"
    plant(tmp_path, {"proc/net/route": local, "proc/net/ipv6_route": six})
    assert only(network.check_route(host(tmp_path)), "ok").what == "the way out is eth0"


@pytest.mark.parametrize(
    ("dbm", "sleeps", "level", "fix"),
    [
        ("-82.", False, "warning", "Bring it nearer"),
        ("-56.", True, "note", "sudo iw dev wlan0 set power_save off\n"),
        ("-56.", False, "ok", ""),
    ],
)
def test_wifi(tmp_path: Path, dbm: str, sleeps: bool, level: str, fix: str) -> None:
    """A weak signal; a radio that sleeps."""
    line = (
        f"{WIRELESS} wlan0: 0000   54.  {dbm}  -256        0      0      0      0    0        0\n"
    )
    here = replace(
        host(tmp_path, {"proc/net/wireless": line}),
        answers={"iw dev wlan0 get power_save": f"Power save: {'on' if sleeps else 'off'}\n"},
        uid=1000,
    )
    assert only(network.check_wifi(here), level).fix.startswith(fix)
    assert only(network.check_wifi(host(tmp_path / "none"))).level == "ok"


def test_a_password_in_the_open(tmp_path: Path) -> None:
    """mqtt:// to another machine; on this one nobody is on the way."""
    found = only(network.check_encryption(host(tmp_path, url="mqtt://nas.local")), "warning")
    assert 'url = "mqtts://nas.local"' in found.fix
    for url in ("mqtt://127.0.0.1", "mqtts://nas.local"):
        assert only(network.check_encryption(host(tmp_path, url=url))).level == "ok"


@pytest.mark.parametrize(
    ("mode", "text", "level", "what", "fix"),
    [
        (0o644, SECRET, "warning", "others may read", "sudo chmod 600 /etc/sightpost/gate."),
        (0o600, "\n", "fault", "is empty", "sudo install -m 600 /dev/stdin /etc/sightpost/gate."),
        (0o600, SECRET, "ok", "by its owner only", ""),
        (0, "", "fault", "is missing", "sudo install -m 600 /dev/stdin /etc/sightpost/gate."),
    ],
)
def test_the_services_password(
    tmp_path: Path, mode: int, text: str, level: str, what: str, fix: str
) -> None:
    """Readable by others, empty, or not there; never quoted."""
    here = replace(host(tmp_path, username="gate"), uid=1000)
    if mode:
        plant(tmp_path, {"etc/sightpost/gate.mqtt-password": text})
        os.chmod(tmp_path / "etc/sightpost/gate.mqtt-password", mode)
    found = only(network.check_password(here), level)
    assert what in found.what
    assert found.fix.startswith(fix)
    assert SECRET not in repr(found)


def test_a_password_file_of_the_config(tmp_path: Path) -> None:
    """The uplink refuses one that others can read, and cannot read somebody else's."""
    passwd = f"sightpost:x:{os.geteuid() + 7}:990::/:/bin/false\n"
    files = {"etc/secret": SECRET, "etc/passwd": passwd}
    here = host(tmp_path, files, username="gate", password_file="/etc/secret")
    os.chmod(tmp_path / "etc/secret", 0o640)
    found = only(network.check_password(here), "fault")
    assert (found.fix.removeprefix("sudo "), found.safe) == ("chmod 600 /etc/secret", True)
    os.chmod(tmp_path / "etc/secret", 0o600)
    found = only(network.check_password(here), "fault")
    assert found.fix.removeprefix("sudo ") == "chown sightpost /etc/secret"
    without = replace(host(tmp_path, username="gate"), station="")
    assert "password_file" in only(network.check_password(without), "warning").fix


def test_what_waits(tmp_path: Path) -> None:
    """So many messages, and since when; what the cursor acknowledges waits no more."""
    here = host(tmp_path)
    old_ms = clock.to_ms(clock.now()) - 7_200_000
    a_store(here.store, 3, outbox=True, wall_ms=old_ms)
    found = only(network.check_waiting(here), "warning")
    assert found.what.startswith("3 messages wait to be sent, the oldest since 20")
    assert "systemctl restart sightpost-uplink@gate" in found.fix
    acknowledged(here.store, store_id(here.store), 3)
    assert only(network.check_waiting(here)).level == "ok"
    acknowledged(here.store, "another store", 3)
    assert only(network.check_waiting(here)).level == "warning"
    fresh = replace(here, store=a_store(tmp_path / "fresh", outbox=True))
    assert only(network.check_waiting(fresh)).level == "ok"


def test_nearly_too_many_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the oldest are never sent."""
    monkeypatch.setattr(network, "MAX_ROWS", 3)
    here = host(tmp_path)
    a_store(here.store, 3, outbox=True)
    assert "the oldest are never sent" in only(network.check_waiting(here), "fault").why


# The broker


def test_no_broker_is_no_fault(tmp_path: Path) -> None:
    """Nothing is sent, nothing is tried."""
    assert only(door.check_broker(MadeUp(root=tmp_path)), "ok").what.startswith("no broker")


def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    """Asked beside, within seconds."""
    here = replace(host(tmp_path), answers={"getent ahosts broker.example": Ran(2)})
    found = only(door.check_broker(here), "fault")
    assert found.what == "the name broker.example cannot be resolved"
    assert found.fix == "getent hosts broker.example\nresolvectl status"


def test_a_broker_that_does_not_answer(tmp_path: Path) -> None:
    """Refused, or nobody there."""
    found = only(door.check_broker(host(tmp_path, url=f"mqtt://127.0.0.1:{free_port()}")), "fault")
    assert "refuses the connection" in found.what
    assert "ping" not in found.fix
    assert "url in [mqtt]" in found.fix


def test_a_broker_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence, or no way there: only then a ping tells more."""

    def silent(_settings: MqttSettings) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(broker, "reach", silent)
    found = only(door.check_broker(host(tmp_path, url="mqtt://127.0.0.1")), "fault")
    assert "does not answer (timed out)" in found.what
    assert found.fix.startswith("ping -c 3 127.0.0.1\n")


def test_the_tls_port_without_tls(tmp_path: Path) -> None:
    """No MQTT comes back: that is said, with the address that would be right."""
    with listening(certificate(tmp_path, "localhost", -2, 99)) as port:
        found = only(door.check_broker(host(tmp_path, url=f"mqtt://127.0.0.1:{port}")), "fault")
    assert found.what == f"no MQTT answer on port {port} of 127.0.0.1: is it the TLS port?"
    assert f'url = "mqtts://127.0.0.1:{port}"' in found.fix


@pytest.mark.parametrize(
    ("code", "fix"), [(0x84, "Use a broker that speaks MQTT 5"), (0x88, "journalctl -u mosquitto")]
)
def test_a_broker_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fix: str
) -> None:
    """MQTT 5 is named only where the broker spoke of its version."""
    monkeypatch.setattr(broker, "reach", lambda _settings: None)
    monkeypatch.setattr(broker, "visit", lambda *_words: broker.Visit(code, "No"))
    found = only(door.check_broker(host(tmp_path, url="mqtt://127.0.0.1")), "fault")
    assert (found.what, found.fix.startswith(fix)) == (
        "127.0.0.1:1883 refuses the station: no", True
    )  # fmt: skip


def test_a_login_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user may be the wrong part, and the broker's list of users the place to mend it."""
    monkeypatch.setattr(broker, "reach", lambda _settings: None)
    monkeypatch.setattr(broker, "visit", lambda *_words: broker.Visit(0x87, "Not authorized"))
    files = {"etc/sightpost/gate.mqtt-password": SECRET}
    here = host(tmp_path, files, url="mqtt://127.0.0.1", username="gate cam")
    found = only(door.check_broker(here), "fault")
    assert found.what.endswith("not authorized (user gate cam)")
    assert "\nmosquitto_passwd FILE 'gate cam'  # on the broker's machine" in found.fix
    assert SECRET not in repr(found)


def certificate(folder: Path, name: str, from_days: int, to_days: int) -> Path:
    """Signed by itself; the file has its key, too."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    made = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(),
            now + datetime.timedelta(days=from_days), now + datetime.timedelta(days=to_days),
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / "broker.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )  # fmt: skip
    return path


@contextmanager
def listening(pem: Path | None) -> Iterator[int]:
    """Takes connections, with TLS where there is a certificate, and says nothing."""
    context = None
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line:
                    try:
                        line.settimeout(2)
                        held = context.wrap_socket(line, server_side=True) if context else line
                        if context is None:
                            held.sendall(b"220 no TLS here\r\n")
                        held.recv(1)
                        held.close()
                    except OSError:
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize(
    ("name", "days", "ca", "what", "fix"),
    [
        ("localhost", (-9, -2), True, "certificate has expired", "date\nopenssl s_client"),
        ("localhost", (2, 9), True, "certificate is not yet valid",
         "date\nsudo timedatectl set-ntp true\nopenssl s_client"),
        ("other.example", (-2, 99), True, "Hostname mismatch", "openssl s_client -connect localh"),
        ("localhost", (-2, 99), False, "self-signed certificate", "Copy the certificate of the"),
    ],
)  # fmt: skip
def test_certificates_that_are_not_trusted(
    tmp_path: Path, name: str, days: tuple[int, int], ca: bool, what: str, fix: str
) -> None:
    """Over, not begun (or the clock is wrong), of another host, of an authority nobody knows."""
    pem = certificate(tmp_path, name, *days)
    with listening(pem) as port:
        url = f"mqtts://localhost:{port}"
        here = host(tmp_path, url=url, ca_file=str(pem) if ca else "")
        found = only(door.check_broker(here), "fault")
    assert what in found.what
    assert found.fix.startswith(fix)


def test_a_certificate_that_ends_soon(tmp_path: Path) -> None:
    """Fourteen days before nothing is sent any more."""
    pem = certificate(tmp_path, "localhost", -2, 3)
    with listening(pem) as port:
        here = host(tmp_path, url=f"mqtts://localhost:{port}", ca_file=str(pem))
        found = list(door.check_broker(replace(here, modules=())))
    assert "ends on" in only(found, "warning").what
    assert "without paho-mqtt" in only(found, "note").what


def test_a_broker_without_tls(tmp_path: Path) -> None:
    """mqtts:// to the plain port."""
    with listening(None) as port:
        found = only(door.check_broker(host(tmp_path, url=f"mqtts://localhost:{port}")), "fault")
    assert "speaks no TLS" in found.what


def test_a_broker_that_never_lets_in(tmp_path: Path) -> None:
    """Something listens there, and it is no broker."""
    with listening(None) as port:
        found = list(door.check_broker(host(tmp_path, url=f"mqtt://127.0.0.1:{port}")))
    assert [one.level in ("fault", "warning") for one in found] == [True]


@needs_mosquitto
def test_the_password_is_tried(tmp_path: Path) -> None:
    """Right, wrong, not to be read: said without quoting it."""
    import subprocess

    users = tmp_path / "users"
    subprocess.run(
        ["mosquitto_passwd", "-c", "-b", str(users), "gate", SECRET],
        check=True,
        capture_output=True,
    )
    with Broker(tmp_path / "broker", f"password_file {users}", open_to_all=False) as running:
        here = host(tmp_path, url=f"mqtt://127.0.0.1:{running.port}", username="gate")
        assert "may not look at the password" in only(door.check_broker(here), "note").what
        plant(tmp_path, {"etc/sightpost/gate.mqtt-password": "wrong"})
        found = only(door.check_broker(here), "fault")
        assert "refuses the station" in found.what
        assert "sightpost-uplink@gate" in found.fix
        plant(tmp_path, {"etc/sightpost/gate.mqtt-password": f"{SECRET}\n"})
        found = only(door.check_broker(here), "ok")
        assert "lets the station in" in found.what
        assert SECRET not in repr(found)


@needs_mosquitto
def test_entities_that_stay_unavailable(tmp_path: Path) -> None:
    """The station runs, and the broker does not know, or knows it as offline."""
    from paho.mqtt import publish

    with Broker(tmp_path / "broker") as running:
        here = host(tmp_path, url=f"mqtt://127.0.0.1:{running.port}")
        assert only(door.check_broker(here)).level == "ok"  # nothing runs, nothing is amiss
        here.store.mkdir()
        write_live(here.store, Live())
        found = only(door.check_broker(here), "warning")
        assert "has never heard of it" in found.what
        assert found.fix.endswith("systemctl restart sightpost-uplink@gate")
        for state, level in (("offline", "warning"), ("online", "ok")):
            publish.single(
                "sightpost/gate/status", state, qos=1, retain=True, hostname="127.0.0.1",
                port=running.port,
            )  # fmt: skip
            found = only(door.check_broker(here), level)
            assert state in found.what
        # Somebody else's connection under the station's own name is not disturbed.
        assert "sightpost-gate" not in running.log.read_text()


def test_a_refused_subscription(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As brokers with strict access lists say it."""
    refused = broker.Visit(denied=("sightpost/gate/status",))
    monkeypatch.setattr(broker, "reach", lambda _settings: None)
    monkeypatch.setattr(broker, "shake_hands", lambda _settings: None)
    monkeypatch.setattr(broker, "visit", lambda *_words: refused)
    found = only(door.check_broker(host(tmp_path)), "warning")
    assert found.fix == "Let this user read and write sightpost/# in the broker's access list."


@pytest.mark.parametrize(
    ("code", "fix"), [(0x84, "Use a broker that speaks MQTT 5"), (0x88, "journalctl -u mosquitto")]
)
def test_other_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fix: str
) -> None:
    """An old protocol, or a broker in trouble of its own."""
    monkeypatch.setattr(broker, "reach", lambda _settings: None)
    monkeypatch.setattr(broker, "shake_hands", lambda _settings: None)
    monkeypatch.setattr(broker, "visit", lambda *_words: broker.Visit(code, "Server busy"))
    assert only(door.check_broker(host(tmp_path)), "fault").fix.startswith(fix)


def test_every_check_says_something_on_an_empty_machine(tmp_path: Path) -> None:
    """Nothing there is nothing wrong, or a note; nothing raises."""
    for check in network.CHECKS:
        found = list(check(MadeUp(root=tmp_path, store=tmp_path / "none", environ={})))
        assert [one.level in ("ok", "note") for one in found] == [True], found
