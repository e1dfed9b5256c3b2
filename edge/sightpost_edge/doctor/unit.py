"""Whether the station's service is installed, runs, has what it needs, and how it ended before."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from .. import clock
from ..errors import SightpostError
from ..lives import HEALTHY_S, read_lives
from ..service.machine import Machine
from ..service.units import PROGRAM, PUT_HERE, shipped
from ..support.secrets import scrubber_of
from . import sandbox, signs
from .finding import Finding
from .host import Host
from .service import installing, is_installed, journal, meaning, shown, unit_of, uplink_of
from .unseen import unseen

_WEAKER = re.compile(
    r"(User=root|DynamicUser=no|NoNewPrivileges=(no|false|0)|Protect\w+=(no|false|0|off)|"
    r"Private\w+=(no|false|0)|Restrict\w+=(no|false|0)|(Ambient)?Capabilit\w+=\s*\S.*|"
    r"DevicePolicy=auto|SystemCallFilter=|MemoryDenyWriteExecute=(no|false|0)|"
    r"WatchdogSec=(0|infinity)?|Restart=no|RestartPreventExitStatus=.*)"
)


def check_installed(host: Host) -> Iterator[Finding]:
    """Whether the service is there, is the one of this release, and starts with the machine."""
    name, unit = "unit.installed", unit_of(host)
    found = shown(host, unit)
    again = installing(host)
    if not host.station:
        yield Finding(name, "ok", "no service was asked about: sightpost doctor NAME does")
    elif not found:
        yield Finding(name, "note", "systemd does not answer here", "services cannot be looked at")
    elif not is_installed(found):
        yield Finding(
            name, "fault", f"{unit} is not installed", "nothing starts with the machine", again
        )
    elif found.get("NeedDaemonReload") == "yes":
        yield Finding(
            name, "warning", f"{unit} was changed and not read again", "the old one is in force",
            host.sudo("systemctl daemon-reload"), safe=True,
        )  # fmt: skip
    elif found.get("UnitFileState") not in ("enabled", "enabled-runtime", "linked"):
        yield Finding(
            name, "fault", f"{unit} does not start with the machine",
            "after a power cut the station stays off", host.sudo(f"systemctl enable {unit}"),
            safe=True,
        )  # fmt: skip
    elif _is_outdated(host, found, "sightpost@.service"):
        yield Finding(
            name, "warning", f"{found['FragmentPath']} is not that of this release",
            "what was mended in it since is missing; own settings belong into a drop-in "
            f"(systemctl edit {unit})", again,
        )  # fmt: skip
    else:
        yield Finding(name, "ok", f"{unit} is installed and starts with the machine")


def check_active(host: Host) -> Iterator[Finding]:
    """Whether it runs now, and if not, why."""
    name, unit = "unit.active", unit_of(host)
    found = shown(host, unit)
    if not is_installed(found):
        yield Finding(name, "ok", "there is no service to run")
        return
    state, how = found.get("ActiveState", ""), meaning(found)
    log = host.sudo(f"journalctl -u {unit} -n 50")
    if state == "active":
        last = f"; before that: {how}" if how else ""
        yield Finding(name, "ok", f"{unit} runs{last}")
    elif state in ("activating", "reloading"):
        waiting = found.get("SubState") == "auto-restart"
        yield Finding(
            name, "fault" if waiting and how else "note",
            f"{unit} is {'about to be started again' if waiting else 'starting'}"
            + (f" ({how})" if how else ""), "it sees nothing meanwhile", log,
        )  # fmt: skip
    elif state == "failed" or how:
        yield Finding(
            name, "fault", f"{unit} has failed: {how or 'see its log'}", "it sees nothing",
            f"{log}\n{host.sudo(f'systemctl restart {unit}')}",
        )  # fmt: skip
    else:
        yield Finding(
            name, "warning", f"{unit} is stopped", "it sees nothing",
            host.sudo(f"systemctl start {unit}"),
        )  # fmt: skip


def check_uplink(host: Host) -> Iterator[Finding]:
    """The sender is a service of its own."""
    name, unit = "unit.uplink", uplink_of(host)
    if not (host.station and host.site and host.site.mqtt.url):
        yield Finding(name, "ok", "no sender is needed")
        return
    found = shown(host, unit)
    if is_installed(found) and found.get("ActiveState") in ("active", "activating"):
        old = _is_outdated(host, found, "sightpost-uplink@.service")
        yield Finding(
            name, "warning" if old else "ok",
            f"{found['FragmentPath']} is not that of this release" if old else f"{unit} runs",
            "what was mended in it since is missing" if old else "",
            host.sudo(f"sightpost service install {host.station}") if old else "",
        )  # fmt: skip
    elif is_installed(found):
        how = meaning(found)
        yield Finding(
            name, "fault", f"{unit} does not run" + (f": {how}" if how else ""),
            "events wait on the disk",
            host.sudo(f"systemctl enable --now {unit}\njournalctl -u {unit} -n 50"),
        )  # fmt: skip
    elif found:
        yield Finding(
            name, "warning", f"{unit} is not installed", "the config names a broker: nobody sends",
            installing(host),
        )  # fmt: skip
    else:
        yield Finding(name, "note", "systemd does not answer here")


def check_restarts(host: Host) -> Iterator[Finding]:
    """A station that ends again and again looks alive to whoever looks seldom."""
    found, lives = shown(host, unit_of(host)), read_lives(host.store)
    restarts = found.get("NRestarts", "0")
    number = int(restarts) if restarts.isdecimal() else 0
    log = f"journalctl -u {unit_of(host)} -n 200" if host.station else "sightpost events health"
    if lives.bad:
        whys = Counter(end.why for end in lives.ends)
        last = f", last at {clock.iso(lives.ends[-1].at_ms)[:16]}Z: " if lives.ends else ""
        reasons = ", ".join(f"{why} ({times}x)" for why, times in whys.most_common(3))
        yield Finding(
            "unit.restarts", "fault" if lives.bad >= 3 else "warning",
            f"the run ended badly {lives.bad} times in a row{last}{reasons}",
            f"each time it sees nothing for a while; {HEALTHY_S / 60:.0f} minutes without a bad "
            "end forget them", host.sudo(log) if host.station else log,
        )  # fmt: skip
    elif number:
        yield Finding(
            "unit.restarts", "note", f"systemd has started it again {number} times since the last "
            "start by hand", "now it runs well; its log tells what was", host.sudo(log),
        )  # fmt: skip
    else:
        yield Finding("unit.restarts", "ok", "no bad ends")


def check_log(host: Host) -> Iterator[Finding]:
    """What the last day's log says, where somebody has met that before."""
    if not is_installed(shown(host, unit_of(host))):
        yield Finding("unit.log", "ok", "there is no service with a log")
        return
    lines = journal(host, unit_of(host), lines=2000, since="-1d")
    if not lines:
        empty = Finding("unit.log", "note", "the log of the last day is empty")
        yield empty if host.is_root else unseen(host, "unit.log", "the service's log")
        return
    met = list(signs.found_in(lines, scrubber_of(host)))
    for sign, times, last in met:
        yield Finding(
            "unit.log", sign.level, f"{times}x in the last day: {last}", sign.why,
            sign.fix.replace("NAME", host.station),
        )  # fmt: skip
    if not met:
        yield Finding("unit.log", "ok", "nothing known to be trouble in the last day's log")


def check_watchdog(host: Host) -> Iterator[Finding]:
    """Something that notices when nothing moves on any more; the kernel's is ``board``'s."""
    name, found = "unit.watchdog", shown(host, unit_of(host))
    if not is_installed(found):
        yield Finding(name, "ok", "there is no service to watch")
        return
    if found.get("WatchdogUSec", "0") in ("0", "infinity", ""):
        yield Finding(
            name, "warning", f"{unit_of(host)} has no watchdog",
            "a hung camera or disk is noticed by nobody",
            host.sudo(f"sightpost service install {host.station}"),
        )  # fmt: skip
        return
    yield Finding(name, "ok", f"a watchdog ends a hung run ({found['WatchdogUSec']})")


def check_dropins(host: Host) -> Iterator[Finding]:
    """Own settings beside the unit that take its protection or its restarts away."""
    paths = shown(host, unit_of(host)).get("DropInPaths", "").split()
    weaker = [
        (path, line.strip())
        for path in paths
        for line in host.read(path).splitlines()
        if _WEAKER.fullmatch(line.strip())
    ]
    if not weaker:
        what = f"{len(paths)} drop-ins, none of them weakens the unit" if paths else "no drop-ins"
        yield Finding("unit.dropins", "ok", what)
        return
    path, line = weaker[0]
    more = f" and {len(weaker) - 1} more" if len(weaker) > 1 else ""
    yield Finding(
        "unit.dropins", "warning", f"{path} weakens the unit: {line}{more}",
        "what reads pictures from a network has more rights than it needs, or is not started again",
        host.sudo(f"systemctl edit {unit_of(host)}"),
    )  # fmt: skip


def _is_outdated(host: Host, found: Mapping[str, str], name: str) -> bool:
    """Whether the file is another one than this release's, whichever program it starts."""
    theirs = host.read(found.get("FragmentPath", ""))
    if theirs.startswith(PUT_HERE):
        theirs = theirs.partition("\n")[2]
    program = re.search(r"^ExecStart=(\S+)", theirs, re.MULTILINE)
    try:
        ours = shipped(name, Machine())
    except SightpostError:
        return False
    return program is not None and theirs.replace(program[1], PROGRAM).strip() != ours.strip()


CHECKS: tuple[Callable[[Host], Iterator[Finding]], ...] = (
    check_installed, check_active, check_uplink, check_restarts, check_log, check_watchdog,
    check_dropins, *sandbox.CHECKS,
)  # fmt: skip
