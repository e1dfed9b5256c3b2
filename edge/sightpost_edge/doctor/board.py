"""The board: its supply, its heat, its memory, and what starts it again when it hangs."""

import re
from collections.abc import Iterator

from ..heat import Thermometer
from .finding import Finding
from .host import Host

UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT = 1, 2, 4, 8
SINCE = 16
"""So many bits higher: the same since the board was started."""
WARM_C, HOT_C = 75.0, 84.0
"""The firmware slows the clock from 80 degrees on and halves it at 85; ours rests at 80."""
LEAST_FREE_MB, LEAST_FREE_SHARE = 60, 0.05
"""numpy, OpenCV, LiteRT and a MobileNetV2 take 61 to 72 MB at their peak."""
LONGEST_WATCHDOG_S = 15.0
"""The Pi's counter holds no more; systemd then has what it asked for refused or cut."""
WATCHDOG_FILE = "/etc/systemd/system.conf.d/sightpost-watchdog.conf"

_SUPPLY = (
    "Use the board's own supply (Pi 5: 5.1 V 5 A, Pi 4: 5.1 V 3 A, else 5.1 V 2.5 A) and a short "
    "thick cable"
)


def check_name(host: Host) -> Iterator[Finding]:
    """What board this is."""
    board = host.read("proc/device-tree/model").strip("\0 ")
    cores = len(re.findall(r"^processor\s*:", host.read("proc/cpuinfo"), re.MULTILINE))
    yield Finding("board.name", "ok", f"{board or host.machine}, {cores} cores")


def check_supply(host: Host) -> Iterator[Finding]:
    """Whether the voltage holds: the firmware looks a hundred times a second."""
    bits = Thermometer(host.root)().bits
    why = "the board slows down to half and more, cards and cameras fail at random"
    if bits & UNDER_VOLTAGE:
        yield Finding("board.supply", "fault", "the voltage is too low now", why, _SUPPLY)
    elif bits & UNDER_VOLTAGE << SINCE:
        yield Finding(
            "board.supply", "warning", "the voltage was too low since the start", why, _SUPPLY
        )
    else:
        known = "the voltage was never too low since the start"
        what = known if host.is_pi else "this machine does not tell about its voltage"
        yield Finding("board.supply", "ok", what)


def check_heat(host: Host) -> Iterator[Finding]:
    """The temperature, and whether it slowed the board down."""
    heat = Thermometer(host.root)()
    degrees = heat.temperature_c
    shown = "unknown temperature" if degrees is None else f"{degrees:.0f} °C"
    hot = bits_of(heat.bits, CAPPED | THROTTLED | SOFT_LIMIT)
    fix = "Give it a heat sink or a fan and shade; [rate] per_s = 2 in the config makes less heat"
    why = "the clock is lowered by a quarter to a half: fewer frames are looked at"
    if hot or (degrees is not None and degrees >= HOT_C):
        yield Finding("board.heat", "fault", f"slowed down now, {shown}", why, fix)
    elif bits_of(heat.bits >> SINCE, CAPPED | THROTTLED | SOFT_LIMIT):
        yield Finding(
            "board.heat", "warning", f"it was slowed down since the start; {shown} now", why, fix
        )
    elif degrees is not None and degrees >= WARM_C:
        yield Finding("board.heat", "warning", f"{shown}, slowed down from 80 °C on", why, fix)
    else:
        yield Finding("board.heat", "ok", shown)


def bits_of(word: int, mask: int) -> int:
    """Those bits of the firmware's word; a cap that under-voltage caused is not the heat's."""
    return 0 if word & UNDER_VOLTAGE else word & mask


def check_governor(host: Host) -> Iterator[Finding]:
    """What sets the clock's speed."""
    place = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor = host.read(place)
    if governor == "powersave":
        write = "/bin/sh -c 'for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; "
        yield Finding(
            "board.governor", "warning", "the governor is powersave: the lowest clock, always",
            why="a model takes two to three times as long (600 instead of 1500 MHz on a Pi 4)",
            fix=host.sudo(write + "do echo ondemand > $f; done'"),
        )  # fmt: skip
    else:
        yield Finding("board.governor", "ok", governor or "the clock's speed is not set here")


def check_memory(host: Host) -> Iterator[Finding]:
    """Memory that is left; what is swapped to a card is the store's concern."""
    found = {k: int(v) // 1024 for k, v in _MEMORY.findall(host.read("proc/meminfo"))}
    total_mb, free_mb = found.get("MemTotal", 0), found.get("MemAvailable")
    if free_mb is None:
        yield Finding("board.memory", "note", "the kernel does not tell how much memory is left")
        return
    shown = f"{free_mb:,} of {total_mb:,} MB of memory are free"
    if free_mb < max(LEAST_FREE_MB, LEAST_FREE_SHARE * total_mb):
        yield Finding(
            "board.memory", "fault", shown,
            why="the kernel ends programs when it is used up, the station perhaps first",
            fix="ps -eo rss,pid,comm --sort=-rss | head -8",
        )  # fmt: skip
    else:
        yield Finding("board.memory", "ok", shown)


_MEMORY = re.compile(r"^(\w+):\s+(\d+) kB", re.MULTILINE)


def check_watchdog(host: Host) -> Iterator[Finding]:
    """A board whose kernel hangs is started again by its hardware, if somebody asked for it."""
    name = "board.watchdog"
    if not host.exists("dev/watchdog") and not host.exists("dev/watchdog0"):
        yield Finding(
            name, "note" if not host.is_pi else "warning", "this machine has no hardware watchdog",
            why="a kernel that hangs waits for somebody to pull the plug",
            fix=host.sudo("modprobe bcm2835_wdt") if host.is_pi else "",
        )  # fmt: skip
        return
    seconds = _watchdog_s(host)
    arm = (
        f"mkdir -p /etc/systemd/system.conf.d\n/bin/sh -c 'printf \"[Manager]\\n"
        f"RuntimeWatchdogSec=14s\\n\" > {WATCHDOG_FILE}'\nsystemctl daemon-reexec"
    )
    if seconds is None:
        yield Finding(name, "note", "systemd does not tell whether it uses the hardware watchdog")
    elif seconds == 0:
        yield Finding(
            name, "warning", "the hardware watchdog is off",
            why="a kernel that hangs waits for somebody to pull the plug, for days perhaps",
            fix=host.sudo(arm),
        )  # fmt: skip
    elif host.is_pi and seconds > LONGEST_WATCHDOG_S:
        yield Finding(
            name, "warning", f"RuntimeWatchdogSec is {seconds:g} s, a Pi counts to 15 s at most",
            why="the hardware may refuse it, and then nothing starts a hung board again",
            fix=host.sudo(arm),
        )  # fmt: skip
    else:
        yield Finding(
            name, "ok", f"the hardware watchdog starts the board again after {seconds:g} s"
        )


def _watchdog_s(host: Host) -> float | None:
    """``RuntimeWatchdogUSec`` is told as "14s", "1min" or, where it is off, "0" or "infinity"."""
    ran = host.run("systemctl", "show", "-p", "RuntimeWatchdogUSec", "--value")
    if ran is None or ran.code or not ran.out.strip():
        return None
    text = ran.out.strip()
    if text in ("0", "infinity"):
        return 0.0
    units = {"min": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "h": 3600.0, "d": 86400.0}
    parts = re.findall(r"([\d.]+)\s*([a-z]+)", text)
    return sum(float(n) * units.get(unit, 0.0) for n, unit in parts) if parts else None


CHECKS = (check_name, check_supply, check_heat, check_governor, check_memory, check_watchdog)
