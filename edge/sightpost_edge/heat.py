"""Whether the board is too hot or badly fed, as its kernel tells it in small files."""

import functools
from dataclasses import dataclass
from pathlib import Path

NOW = 0b1111
"""The firmware's bits for what holds now; 16 higher the same since the board was started."""
_THROTTLED = (
    "sys/bus/platform/drivers/raspberrypi-firmware/*/get_throttled",
    "sys/devices/platform/soc*/soc*:firmware/get_throttled",
)
"""By its driver wherever the device tree has put it (soc@107c000000 on a Pi 5), else as known."""
_SUPPLY = "sys/class/hwmon/hwmon*/name"
_ZONES = "sys/class/thermal/thermal_zone*/type"


@dataclass(frozen=True, slots=True)
class Heat:
    """The firmware's ``get_throttled`` word, 0 where there is none, and the CPU's temperature."""

    bits: int = 0
    temperature_c: float | None = None


class Thermometer:
    """Reads the board's state; finds the files once (a millisecond), then reads three at most.

    ``get_throttled`` is marked deprecated in the kernel, and some have it no more: then only the
    power supply's alarm tells of under-voltage, and the temperature of the rest.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._throttled = _first(root, *_THROTTLED)
        supplies = [p for p in _found(root, _SUPPLY) if read(p) == "rpi_volt"]
        self._alarm = supplies[0].with_name("in0_lcrit_alarm") if supplies else None
        zones = _found(root, _ZONES)
        named = [zone for zone in zones if "cpu" in read(zone)]
        zone = (named or zones or [root / "sys/class/thermal/thermal_zone0/type"])[0]
        self._temperature = zone.with_name("temp")

    def __call__(self) -> Heat:
        """As it is now; never raises."""
        bits = _number(read(self._throttled), 16) if self._throttled else None
        if self._alarm and read(self._alarm) == "1":
            bits = (bits or 0) | 1
        millidegrees = _number(read(self._temperature), 10)
        return Heat(bits or 0, None if millidegrees is None else millidegrees / 1000)


def heat(root: Path = Path("/")) -> Heat:
    """The board as it is now; the files are looked for once."""
    return _thermometer(root)()


@functools.cache
def _thermometer(root: Path) -> Thermometer:
    return Thermometer(root)


def read(path: Path) -> str:
    """A small file's text without its margins, empty where there is none."""
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _number(text: str, base: int) -> int | None:
    try:
        return int(text, base)
    except ValueError:
        return None


def _found(root: Path, pattern: str) -> list[Path]:
    try:
        return sorted(root.glob(pattern))
    except OSError:
        return []


def _first(root: Path, *patterns: str) -> Path | None:
    return next((path for pattern in patterns for path in _found(root, pattern)), None)
