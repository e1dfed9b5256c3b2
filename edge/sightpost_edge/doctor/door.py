"""The way that events take to the broker, step by step up to the first that fails."""

import ipaddress
import shlex
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta

from .. import clock
from ..errors import ConfigError, StoreError, first_line
from ..uplink.mqtt import OFFLINE, Topics
from ..uplink.settings import MqttSettings
from . import broker
from .finding import Finding, as_fix
from .host import Host
from .login import password_of, renewal, settings_of
from .unseen import unseen

_SOON = timedelta(days=14)
_NOT_YET, _EXPIRED, _OTHER_NAMES = 9, 10, (62, 64)
"""OpenSSL's verify codes."""
_LOGIN = (0x86, 0x87)
_OLD_PROTOCOL, _NOTHING = 0x84, -1
_TLS_PORT = 8883
_NAME = "network.broker"
_WAIT = "events wait on the disk until then; none is lost"


def check_broker(host: Host) -> Iterator[Finding]:
    """Name, connection, certificate, password, and what the broker knows of the station."""
    settings = settings_of(host)
    if settings is None:
        yield Finding(_NAME, "ok", "no broker in the config: nothing is sent")
        return
    bad = _unknown(host, settings) or _silent(host, settings) or _unproven(settings)
    if bad is None or bad.level == "warning":
        yield from _entered(host, settings)
    if bad is not None:
        yield bad


def _unknown(host: Host, settings: MqttSettings) -> Finding | None:
    """Its name, asked in a process beside: a resolver without a network waits half a minute."""
    ran = None if _is_address(settings.host) else host.run("getent", "ahosts", settings.host)
    if ran is None or ran.code == 0:
        return None
    return Finding(
        _NAME, "fault", f"the name {settings.host} cannot be resolved", _WAIT,
        f"getent hosts {shlex.quote(settings.host)}\nresolvectl status",
    )  # fmt: skip


def _silent(host: Host, settings: MqttSettings) -> Finding | None:
    try:
        broker.reach(settings)
    except ConnectionRefusedError:
        return Finding(
            _NAME, "fault", f"{settings.address} refuses the connection: no broker listens there",
            _WAIT, f"Check host and port of url in [mqtt] of {host.config or 'the config'}, and "
            "that the broker runs there and listens to the network: a mosquitto without a "
            "listener in its settings hears its own machine only",
        )  # fmt: skip
    except OSError as exc:
        return Finding(
            _NAME, "fault", f"{settings.address} does not answer ({exc.strerror or exc})", _WAIT,
            f"ping -c 3 {shlex.quote(settings.host)}\n"
            "systemctl status mosquitto  # on the broker's machine",
        )  # fmt: skip
    return None


def _unproven(settings: MqttSettings) -> Finding | None:
    """TLS; a certificate that ends soon is a warning."""
    try:
        until = broker.shake_hands(settings)
    except ssl.SSLCertVerificationError as exc:
        return _untrusted(settings, exc)
    except (ConfigError, StoreError) as exc:
        return Finding(_NAME, "fault", str(exc), "nothing is sent", as_fix(exc.hint))
    except OSError as exc:
        return Finding(
            _NAME, "fault", f"{settings.address} speaks no TLS ({first_line(exc)})", _WAIT,
            _show_certificate(settings),
        )  # fmt: skip
    return _ending(settings, until) if until is not None else None


def _ending(settings: MqttSettings, until: datetime) -> Finding | None:
    if until - clock.now() > _SOON:
        return None
    return Finding(
        _NAME, "warning", f"the certificate of {settings.host} ends on {until:%Y-%m-%d}",
        "from then on nothing is sent", _show_certificate(settings),
    )  # fmt: skip


def _untrusted(settings: MqttSettings, exc: ssl.SSLCertVerificationError) -> Finding:
    what = f"the certificate of {settings.host} is not trusted: {exc.verify_message}"
    why, fix = "nothing is sent to a broker that cannot prove itself", _show_certificate(settings)
    if exc.verify_code == _NOT_YET:
        why += "; a clock of this machine that is behind looks the same"
        fix = f"date\nsudo timedatectl set-ntp true\n{fix}"
    elif exc.verify_code == _EXPIRED:
        why += "; a clock of this machine that is ahead looks the same"
        fix = f"date\n{fix}"
    elif exc.verify_code not in _OTHER_NAMES:
        fix = (
            "Copy the certificate of the authority that signed it here, and name it in [mqtt]: "
            'ca_file = "/etc/sightpost/ca.pem".'
        )
    return Finding(_NAME, "fault", what, why, fix)


def _entered(host: Host, settings: MqttSettings) -> Iterator[Finding]:
    """Past the door: name and password, and what the broker keeps of the station."""
    if not host.module("paho"):
        what = f"{settings.address} is reached; without paho-mqtt no more can be tried"
        yield Finding(_NAME, "note", what, "wheels.extras says how to install it")
        return
    password, topics = password_of(host, settings), _topics(host, settings)
    try:
        found = broker.visit(settings, password, [topics.status] if topics else [])
    except OSError as exc:
        yield Finding(_NAME, "warning", f"{settings.address}: {first_line(exc)}", _WAIT,
                      "journalctl -u mosquitto -n 50  # on the broker's machine")  # fmt: skip
        return
    if settings.username and password is None and found.code in _LOGIN:
        yield unseen(
            host, _NAME, f"the password for {settings.address}, which is reached",
            "whether the broker lets the station in is not known",
        )  # fmt: skip
    elif found.code:
        yield _refused(host, settings, found)
    elif found.denied:
        yield Finding(
            _NAME, "warning", f"{settings.address} does not let the station read {found.denied[0]}",
            "its access list is too narrow: switches in Home Assistant will not work",
            f"Let this user read and write {settings.topic}/# in the broker's access list.",
        )  # fmt: skip
    else:
        yield _present(host, settings, topics, found)


def _refused(host: Host, settings: MqttSettings, found: broker.Visit) -> Finding:
    what = f"{settings.address} refuses the station: {found.said.lower()}"
    if found.code == _NOTHING:
        return _no_mqtt(settings)
    if found.code in _LOGIN:
        what += f" (user {settings.username})" if settings.username else " (no username)"
        fix = renewal(host, settings)
        if settings.username:
            user = shlex.quote(settings.username)
            fix += f"\nmosquitto_passwd FILE {user}  # on the broker's machine: its password_file"
    elif found.code == _OLD_PROTOCOL:
        fix = "Use a broker that speaks MQTT 5, such as mosquitto from 1.6 on."
    else:
        fix = "journalctl -u mosquitto -n 50  # on the broker's machine"
    return Finding(_NAME, "fault", what, _WAIT, fix)


def _no_mqtt(settings: MqttSettings) -> Finding:
    """Something took the connection and said nothing that MQTT would: often the TLS port."""
    what, port = f"no MQTT answer on port {settings.port} of {settings.host}", settings.port
    fix = "Check host and port of url in [mqtt]: something else listens there."
    if not settings.is_tls:
        what += ": is it the TLS port?"
        name = f"[{settings.host}]" if ":" in settings.host else settings.host
        place = name if port == _TLS_PORT else f"{name}:{port}"
        fix = f'Write url = "mqtts://{place}" in [mqtt], or the port on which MQTT is spoken.'
    return Finding(_NAME, "fault", what, _WAIT, fix)


def _present(
    host: Host, settings: MqttSettings, topics: Topics | None, found: broker.Visit
) -> Finding:
    """Entities that stay "unavailable" though the station runs."""
    kept = found.kept.get(topics.status) if topics else None
    if topics is None or host.live() is None or kept not in (None, OFFLINE.encode()):
        state = f", and knows {topics.device!r} as {kept.decode(errors='replace')}" if (
            topics and kept) else ""  # fmt: skip
        return Finding(_NAME, "ok", f"{settings.address} lets the station in{state}")
    known = "knows it as offline" if kept else "has never heard of it"
    return Finding(
        _NAME, "warning", f"the station runs, and {settings.address} {known}",
        "Home Assistant shows all of it as unavailable",
        host.sudo(f"systemctl restart sightpost-uplink@{host.station}") if host.station
        else f"sightpost uplink --config {shlex.quote(str(host.config))}",
    )  # fmt: skip


def _topics(host: Host, settings: MqttSettings) -> Topics | None:
    name = (host.site.name if host.site else "") or socket.gethostname().partition(".")[0]
    try:
        return Topics.of(settings.topic, name)
    except ConfigError:
        return None


def _show_certificate(settings: MqttSettings) -> str:
    return (
        f"openssl s_client -connect {shlex.quote(settings.address)} "
        f"-servername {shlex.quote(settings.host)} </dev/null | "
        "openssl x509 -noout -subject -issuer -dates -ext subjectAltName"
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
