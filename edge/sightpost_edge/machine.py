"""What this machine is, and what slows it down: a time in milliseconds means nothing without it."""

import importlib.util
import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .heat import Thermometer, read

RUNTIMES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}

# Arm's "CPU part" numbers; /proc/cpuinfo on Arm gives no model name.
ARM_PARTS = {
    "0xb76": "ARM1176", "0xc07": "Cortex-A7", "0xd03": "Cortex-A53", "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72", "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd0d": "Cortex-A77", "0xd41": "Cortex-A78",
}  # fmt: skip

# https://www.raspberrypi.com/documentation/computers/os.html (get_throttled); bit 16 + n of the
# same table says that it has happened since the board was started.
THROTTLE_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")

_GOVERNOR = Path("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_BOARD = Path("proc/device-tree/model")


@dataclass(frozen=True, slots=True)
class Machine:
    """One computer as it is now; text that cannot be had is empty.

    ``cores`` are those this process may use; ``memory_mb`` is what the kernel has, less than what
    is soldered on. ``throttled`` is words as the firmware means them ("under-voltage now").
    """

    name: str
    cpu: str
    architecture: str
    cores: int
    memory_mb: int
    board: str
    os: str
    python: str
    runtime: str
    governor: str
    throttled: str
    temperature_c: float | None

    def __str__(self) -> str:
        what = f"{self.name}: {self.board or self.cpu or self.architecture}"
        heat = "" if self.temperature_c is None else f", {self.temperature_c:.0f} °C"
        return (
            f"{what}, {self.cores} cores, {self.memory_mb} MB, {self.os or 'unknown system'}, "
            f"Python {self.python}, {self.runtime or 'no TFLite runtime'}{heat}"
        )

    def warnings(self) -> tuple[str, ...]:
        """What makes times from this machine worse than it can do, a sentence each."""
        found = []
        if self.governor and self.governor != "performance":
            found.append(
                f"the CPU governor is {self.governor}: the clock may still rise during short runs"
            )
        if self.throttled:
            found.append(f"the firmware says: {self.throttled} (power supply, cooling)")
        return tuple(found)


def this_machine(root: Path = Path("/")) -> Machine:
    """Describe the machine; reads small files below ``root``, changes nothing, never raises."""
    uname = platform.uname()
    heat = Thermometer(root)()
    cpuinfo = read(root / "proc/cpuinfo")
    return Machine(
        name=uname.node,
        cpu=_cpu(cpuinfo),
        architecture=uname.machine,
        cores=cores_here(),
        memory_mb=_memory_mb(read(root / "proc/meminfo")),
        board=read(root / _BOARD).strip("\0"),
        os=_os(),
        python=platform.python_version(),
        runtime=_runtime(),
        governor=read(root / _GOVERNOR),
        throttled=throttle_words(f"{heat.bits:x}"),
        temperature_c=heat.temperature_c,
    )


def cores_here() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0))


def throttle_words(flags: str) -> str:
    """What the firmware's hexadecimal ``flags`` mean; empty where nothing is wrong or known."""
    try:
        bits = int(flags, 16)
    except ValueError:
        return ""
    words = [f"{name} now" for i, name in enumerate(THROTTLE_BITS) if bits >> i & 1]
    words += [
        f"{name} since start-up"
        for i, name in enumerate(THROTTLE_BITS)
        if bits >> i + 16 & 1 and not bits >> i & 1
    ]
    return ", ".join(words)


def _cpu(cpuinfo: str) -> str:
    if found := re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE):
        return found[1].strip()
    parts = re.findall(r"^CPU part\s*:\s*(\S+)", cpuinfo, re.MULTILINE)
    return " + ".join(dict.fromkeys(ARM_PARTS.get(part, f"Arm part {part}") for part in parts))


def _memory_mb(meminfo: str) -> int:
    found = re.search(r"^MemTotal:\s*(\d+) kB", meminfo, re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


def _os() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()


def _runtime() -> str:
    """The one that ``interpreter_class`` takes, without loading it."""
    for module, package in RUNTIMES.items():
        if importlib.util.find_spec(module) is not None:
            try:
                return f"{package} {version(package)}"
            except PackageNotFoundError:
                return package
    return ""
