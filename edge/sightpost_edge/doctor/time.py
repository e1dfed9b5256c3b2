"""Whether this machine knows what time it is, and what the stored times are worth."""

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from .. import clock
from .finding import Finding
from .host import Host
from .stored import newest_trusted_ms, untrusted
from .unseen import is_shut, skipped

WRITTEN_MS = clock.to_ms(datetime(2026, 11, 1, tzinfo=UTC))
"""No release that has this file is older: a clock before that is wrong."""
_LATEST_MS = clock.to_ms(datetime(2080, 1, 1, tzinfo=UTC))
_SOON_MS = 60_000
_SERVICES = ("systemd-timesyncd", "chrony", "chronyd", "ntpsec", "ntp", "openntpd")
_MARK = "/run/systemd/timesync/synchronized"
_RTC_BATTERY = "sys/devices/platform/soc*/soc*:rpi_rtc/rtc/rtc*/battery_voltage"
_RULE = re.compile(r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]+>)[+-]?\d")
"""POSIX's own zones: a name and an offset."""
_FROM_OUTSIDE = (
    "Set the clock of the machine around this system, where there is one, or have chrony do it "
    "here: systemd's time service does not run."
)
_EMPTY_V = 2.0
"""The cell for the Pi 5 has 3 V; without one the pin floats near zero."""


def check_wrong(host: Host) -> Iterator[Finding]:
    """A clock that cannot be right makes certificates invalid and every stored time false."""
    now_ms, newest_ms = _now_ms(), newest_trusted_ms(host.store)
    why = "events get false times, and TLS refuses certificates that seem not to be valid yet"
    if now_ms < WRITTEN_MS:
        what = f"the clock says {_day(now_ms)}: this release did not exist then"
    elif now_ms < newest_ms - _SOON_MS:
        what = f"the clock says {_day(now_ms)}: the store has an event of {_day(newest_ms)}"
    elif now_ms > _LATEST_MS:
        what = f"the clock says {_day(now_ms)}"
    else:
        yield Finding("time.wrong", "ok", f"the clock says {clock.iso(now_ms)[:19]} UTC")
        return
    yield Finding("time.wrong", "fault", what, why, _set(host))


def check_synchronized(host: Host) -> Iterator[Finding]:
    """Without a time service a board's clock drifts by seconds a day, and starts in the past."""
    said, service = _asked(host), _service(host)
    if host.exists(_MARK) or said.get("NTPSynchronized") == "yes" or _kernel_knows(host):
        by = f" by {service}" if service else ""
        yield Finding("time.synchronized", "ok", f"the clock is synchronized{by}")
        return
    rtc = "" if _rtc(host) else "; without a clock chip it starts in the past after a power cut"
    why = f"events are stored as unsynchronized until the time is known{rtc}"
    if service:
        yield Finding(
            "time.synchronized", "warning", f"the clock is not synchronized yet by {service}",
            why, _force(service),
        )  # fmt: skip
    elif not host.has_systemd:
        yield Finding(
            "time.synchronized", "warning", "no time service is known", why, _FROM_OUTSIDE
        )
    elif said.get("CanNTP") == "yes":
        yield Finding(
            "time.synchronized", "warning", "no time service runs", why,
            "sudo timedatectl set-ntp true", safe=True,
        )  # fmt: skip
    else:
        yield Finding(
            "time.synchronized", "warning", "no time service is installed", why,
            "sudo apt install -y systemd-timesyncd\nsudo timedatectl set-ntp true",
        )  # fmt: skip


def check_rtc(host: Host) -> Iterator[Finding]:
    """Only a clock chip with a battery carries the time over a power cut without a network."""
    is_pi5 = "Raspberry Pi 5" in host.read("/proc/device-tree/model")
    why = "after a power cut without a network events get times from before it, put right later"
    if not _rtc(host):
        yield Finding(
            "time.rtc", "note", "no clock chip (RTC)", why,
            "echo dtoverlay=i2c-rtc,ds3231 | sudo tee -a /boot/firmware/config.txt\nsudo reboot"
            if host.exists("/boot/firmware/config.txt") else
            "Fit an RTC where the station has to know the time without a network.",
        )  # fmt: skip
    elif is_pi5 and (volts := _battery_v(host)) is not None and volts < _EMPTY_V:
        yield Finding(
            "time.rtc", "note", f"the clock chip has no battery ({volts:.1f} V)", why,
            "Connect a rechargeable ML-2020 cell to the Pi 5's BAT connector, and have it "
            "charged with dtparam=rtc_bbat_vchg=3000000 in /boot/firmware/config.txt.",
        )  # fmt: skip
    else:
        yield Finding("time.rtc", "ok", "there is a clock chip (RTC)")


def check_zone(host: Host) -> Iterator[Finding]:
    """Events are stored in UTC; charts and hours are counted in local time."""
    shell = host.environ.get("TZ", "").lstrip(":")
    zone = shell or host.read("/etc/timezone") or _linked(host)
    choose = "timedatectl list-timezones\nsudo timedatectl set-timezone AREA/CITY  # one of those"
    if not host.has_systemd:
        there = host.exists("/usr/share/zoneinfo")
        choose = ("" if there else "sudo apt install -y tzdata\n") + "sudo dpkg-reconfigure tzdata"
    if zone in ("", "UTC", "Etc/UTC", "UCT", "GMT", "Etc/GMT", "Universal", "Zulu"):
        yield Finding(
            "time.zone", "note", f"the time zone is {zone or 'not set'}",
            "the hours in charts, counts and --since are those of that zone; stored times are "
            "UTC anyway", choose,
        )  # fmt: skip
    elif not _is_zone(zone):
        yield Finding(
            "time.zone", "fault", f"nobody knows the time zone {zone}"
            + (" (TZ in this shell)" if shell else ""),
            "everything that goes by the hour counts as if it were in UTC",
            f"unset TZ\n{choose}" if shell else choose,
        )  # fmt: skip
    else:
        yield Finding("time.zone", "ok", f"the time zone is {zone}")


def _is_zone(zone: str) -> bool:
    """A name that the machine's or Python's list has, a file, or a rule such as CET-1CEST,M3.5.0.

    Without any list (a container) no name is known, and nothing can be told.
    """
    if zone.startswith("/") or _RULE.match(zone):
        return True
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return not available_timezones()
    return True


def check_events(host: Host) -> Iterator[Finding]:
    """Events that were seen while nobody knew the time."""
    found = untrusted(host.store)
    if is_shut(host.store):
        yield skipped("time.events")
        return
    if not found.doubtful:
        what = "the times of stored events can be trusted" if found.looked_at else "no events yet"
        yield Finding("time.events", "ok", what)
        return
    yield Finding(
        "time.events", "warning" if found.doubtful * 10 > found.looked_at else "note",
        f"{found.doubtful} of the newest {found.looked_at} events have times that cannot be "
        "trusted",
        "the clock was not set when they were seen; those of a boot in which it was set later "
        "have been put right already",
        "Nothing mends them afterwards; sightpost events list --json says of each what its time "
        "is worth (clock_quality).",
    )  # fmt: skip


def _now_ms() -> int:
    return clock.to_ms(clock.now())


def _day(wall_ms: int) -> str:
    return clock.iso(wall_ms)[:10]


def _set(host: Host) -> str:
    service = _service(host)
    if not host.has_systemd:
        return _FROM_OUTSIDE
    return _force(service) if service else "sudo timedatectl set-ntp true"


def _force(service: str) -> str:
    """Look what it says, and have it begin anew."""
    if service.startswith("chrony"):
        return "chronyc sources\nsudo chronyc makestep"
    if service == "systemd-timesyncd":
        return "sudo systemctl restart systemd-timesyncd\ntimedatectl timesync-status"
    return f"sudo systemctl restart {service}"


def _asked(host: Host) -> dict[str, str]:
    ran = host.run("timedatectl", "show")
    lines = ran.out.splitlines() if ran and ran.code == 0 else []
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _service(host: Host) -> str:
    """The time service that runs, "" where none does."""
    ran = host.run("systemctl", "is-active", *_SERVICES)
    states = ran.out.split() if ran else []
    running = (name for name, state in zip(_SERVICES, states, strict=False) if state == "active")
    return next(running, "")


def _kernel_knows(host: Host) -> bool:
    """Of this very machine only."""
    return host.root == Path("/") and clock.quality() == "synchronized"


def _rtc(host: Host) -> bool:
    return host.exists("/dev/rtc0") or host.exists("/sys/class/rtc/rtc0")


def _battery_v(host: Host) -> float | None:
    """Volts; from the driver in microvolts, else from the firmware; None where nobody tells."""
    for path in host.glob(_RTC_BATTERY):
        text = host.read(host.shown(path))
        if text.isdecimal():
            return int(text) / 1e6
    ran = host.run("vcgencmd", "pmic_read_adc", "BATT_V")
    found = re.search(r"=\s*([\d.]+)V", ran.out) if ran else None
    return float(found[1]) if found else None


def _linked(host: Host) -> str:
    """The zone that /etc/localtime points to."""
    try:
        target = os.readlink(host.path("/etc/localtime"))
    except OSError:
        return ""
    return target.partition("zoneinfo/")[2]


CHECKS: tuple[Callable[[Host], Iterator[Finding]], ...] = (
    check_wrong, check_synchronized, check_rtc, check_zone, check_events,
)  # fmt: skip
