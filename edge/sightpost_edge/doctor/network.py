"""Whether what the station saw can reach anybody: the network, the broker, what still waits."""

import os
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from .. import clock
from ..localtime import HOUR_MS
from ..store.outbox import MAX_ROWS
from ..uplink.settings import MqttSettings
from .door import check_broker
from .finding import Finding
from .host import SERVICE_USER, Host
from .login import password_path, renewal, settings_of
from .service import is_absent
from .stored import waiting
from .unseen import is_shut, skipped, unseen

_WEAK_DBM = -75
_NOWHERE = "0" * 8
_NO_SLEEP = (
    "printf '[connection]\\nwifi.powersave = 2\\n' | "
    "sudo tee /etc/NetworkManager/conf.d/50-wifi-no-sleep.conf"
)


def check_route(host: Host) -> Iterator[Finding]:
    """Without a default route only the machine's own network can be reached."""
    old = [line.split() for line in host.read("/proc/net/route").splitlines()[1:]]
    new = [line.split() for line in host.read("/proc/net/ipv6_route").splitlines()]
    ways = [w[0] for w in old if len(w) > 7 and w[1] == w[7] == _NOWHERE]
    ways += [w[9] for w in new if len(w) > 9 and w[0] + w[1] == "0" * 34 and w[9] != "lo"]
    if ways:
        yield Finding("network.route", "ok", f"the way out is {ways[0]}")
        return
    yield Finding(
        "network.route", "warning" if settings_of(host) else "note",
        "there is no default route: this machine is in no network",
        "events wait on the disk; none is lost", "ip address\nnmcli device status",
    )  # fmt: skip


def check_wifi(host: Host) -> Iterator[Finding]:
    """A weak signal, or a radio that sleeps: stations that cannot be reached after days."""
    radios = [line.split() for line in host.read("/proc/net/wireless").splitlines()[2:]]
    for words in radios:
        if len(words) > 3:
            yield _radio(host, words[0].rstrip(":"), _whole(words[3]))
    if not radios:
        yield Finding("network.wifi", "ok", "no wireless network in use")


def check_encryption(host: Host) -> Iterator[Finding]:
    """Whether others on the way can read along."""
    settings = settings_of(host)
    if settings is None or not settings.is_exposed:
        yield Finding("network.encryption", "ok", "nothing is sent in the open")
        return
    yield Finding(
        "network.encryption", "warning", f"what goes to {settings.address} is not encrypted",
        "events, pictures and the password can be read and changed by everyone on the way",
        f'Give the broker a certificate, and write url = "mqtts://{settings.host}" in [mqtt].',
    )  # fmt: skip


def check_password(host: Host) -> Iterator[Finding]:
    """Where the broker's password lies, and who can read it."""
    settings, name = settings_of(host), "network.password"
    if settings is None or not settings.username:
        yield Finding(name, "ok", "no password is used")
        return
    path = password_path(host, settings)
    if path is not None and not is_absent(path):
        yield _judged(host, settings, path)
        return
    where = f" ({host.shown(path)} is missing)" if path else ""
    yield Finding(
        name, "warning" if path is None else "fault",
        f"there is a username and no password{where}", "most brokers refuse that",
        renewal(host, settings),
    )  # fmt: skip


def check_waiting(host: Host) -> Iterator[Finding]:
    """What has not reached the broker yet."""
    found, name = waiting(host.store), "network.waiting"
    if is_shut(host.store):
        yield skipped(name)
        return
    if not found.rows or settings_of(host) is None:
        yield Finding(name, "ok", "nothing waits to be sent")
        return
    now_ms = clock.to_ms(clock.now())
    since_ms = now_ms if found.oldest_ms is None else found.oldest_ms
    what = f"{found.rows} messages wait to be sent, the oldest since {clock.iso(since_ms)[:16]}Z"
    unit = f"sightpost-uplink@{host.station}"
    fix = (
        host.sudo(f"systemctl restart {unit}\njournalctl -u {unit} -n 50") if host.station
        else f"sightpost uplink --config {shlex.quote(str(host.config))} --once"
    )  # fmt: skip
    if found.rows > MAX_ROWS * 0.9:
        why = f"beyond {MAX_ROWS:,} the oldest are never sent; they stay in the store"
        yield Finding(name, "fault", what, why, fix)
    elif now_ms - since_ms > HOUR_MS:
        yield Finding(name, "warning", what, "nothing is lost; nobody hears of it either", fix)
    else:
        yield Finding(name, "ok", what)


def _radio(host: Host, name: str, level_dbm: int) -> Finding:
    if -256 < level_dbm < _WEAK_DBM:
        return Finding(
            "network.wifi", "warning", f"{name}: a weak signal ({level_dbm} dBm)",
            "below -75 dBm connections break and come back",
            "Bring it nearer to the access point, or give it an antenna or a cable.",
        )  # fmt: skip
    ran = host.run("iw", "dev", name, "get", "power_save")
    if ran is not None and "Power save: on" in ran.out:
        return Finding(
            "network.wifi", "note", f"{name}: the radio sleeps between packets (power save)",
            "some boards are hard to reach then, above all the Zero 2 W "
            "(raspberrypi/firmware#1973)",
            f"{host.sudo(f'iw dev {name} set power_save off')}\n{_NO_SLEEP}",
        )  # fmt: skip
    return Finding("network.wifi", "ok", f"{name}: a good signal ({level_dbm} dBm)")


def _whole(word: str) -> int:
    try:
        return round(float(word.rstrip(".")))
    except ValueError:
        return 0


def _judged(host: Host, settings: MqttSettings, path: Path) -> Finding:
    """One password file that is there, or may be."""
    name = "network.password"
    shown, quoted = host.shown(path), shlex.quote(host.shown(path))
    try:
        found = path.stat()
    except PermissionError:
        return unseen(host, name, f"the password file {shown}")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        refuses = bool(settings.password_file)
        return Finding(
            name, "fault" if refuses else "warning", f"others may read {shown}",
            "the uplink refuses a password that is no secret" if refuses
            else "who reads it can send in the station's name",
            host.sudo(f"chmod 600 {quoted}"), safe=True,
        )  # fmt: skip
    if settings.password_file and host.station and str(found.st_uid) != _service_uid(host):
        return Finding(
            name, "fault", f"the service may not read {shown}", "the uplink ends with code 2",
            host.sudo(f"chown {SERVICE_USER} {quoted}"), safe=True,
        )  # fmt: skip
    if os.access(path, os.R_OK) and not path.read_bytes().strip():
        why = "the broker will refuse it"
        return Finding(name, "fault", f"{shown} is empty", why, renewal(host, settings))
    return Finding(name, "ok", f"{shown} can be read by its owner only")


def _service_uid(host: Host) -> str:
    lines = (line.split(":") for line in host.read("/etc/passwd").splitlines())
    return next((words[2] for words in lines if words[0] == SERVICE_USER), "")


CHECKS: tuple[Callable[[Host], Iterator[Finding]], ...] = (
    check_route, check_wifi, check_encryption, check_password, check_broker, check_waiting,
)  # fmt: skip
