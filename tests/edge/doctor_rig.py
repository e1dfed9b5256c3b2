"""A machine made up for the doctor: its files, what programs answer, what is installed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightpost_edge.doctor.finding import Finding
from sightpost_edge.doctor.host import Host, Ran


@dataclass(frozen=True, slots=True)
class MadeUp(Host):
    """``answers``: what a command that begins with these words says; a longer match wins.

    ``programs``: what a child's Python program, recognised by a part of its text, says. Commands
    and programs that nobody gave an answer to are absent. ``installed``: versions of distributions
    by name; ``modules``: which can be found. ``asked`` lists the commands that were run.
    """

    answers: Mapping[str, str | Ran | None] = field(default_factory=dict)
    programs: Mapping[str, str | Ran | None] = field(default_factory=dict)
    installed: Mapping[str, str] = field(default_factory=dict)
    modules: Iterable[str] = ()
    asked: list[str] = field(default_factory=list)

    def run(self, *words: str, timeout_s: float = 5.0, stdin: str = "") -> Ran | None:
        line = " ".join(words)
        self.asked.append(line)
        return _ran(self.answers, line.startswith)

    def child(
        self, program: str, *words: str, timeout_s: float = 20.0, stdin: str = ""
    ) -> Ran | None:
        self.asked.append(f"python {' '.join(words)}".strip())
        return _ran(self.programs, lambda key: key in program)

    def has(self, program: str) -> bool:
        return any(line.split()[0] == program for line in self.answers)

    def module(self, name: str) -> bool:
        return name in self.modules

    def version(self, distribution: str) -> str:
        return self.installed.get(distribution, "")


def _ran(answers: Mapping[str, str | Ran | None], fits: Callable[[str], bool]) -> Ran | None:
    for key in sorted(answers, key=len, reverse=True):
        if fits(key):
            answer = answers[key]
            return Ran(0, answer) if isinstance(answer, str) else answer
    return None


def board(root: Path, files: Mapping[str, str] | None = None, **changes: Any) -> MadeUp:
    """A healthy Raspberry Pi 4 with Trixie and a service's environment, asked by its first user."""
    usual: dict[str, Any] = {
        "root": root, "environ": {}, "uid": 1000, "groups": (1000, 44), "python": (3, 13, 5),
        "bits": 64, "machine": "aarch64", "libc": "2.41", "prefix": "/opt/sightpost",
        "base_prefix": "/usr", "store": root / "var/lib/sightpost/garden",
    }  # fmt: skip
    return MadeUp(**{**usual, **changes, "root": plant(root, {**PI, **(files or {})})})


PI = {
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_CODENAME=trixie\n',
    "etc/passwd": "root:x:0:0::/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n",
    "etc/group": "video:x:44:pi\nrender:x:105:pi\ngpio:x:993:pi\npi:x:1000:\n",
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/cpuinfo": "processor : 0\nprocessor : 1\nprocessor : 2\nprocessor : 3\n",
    "proc/meminfo": "MemTotal: 3884000 kB\nMemAvailable: 3000000 kB\nSwapTotal: 0 kB\n"
    "SwapFree: 0 kB\nCmaTotal: 524288 kB\nCmaFree: 480000 kB\n",
    "boot/firmware/config.txt": "camera_auto_detect=1\ndtoverlay=vc4-kms-v3d\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48300\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "dev/watchdog": "",
}


def plant(root: Path, files: Mapping[str, str]) -> Path:
    """Write files below ``root``; "proc/meminfo" or "/proc/meminfo"."""
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def only(findings: Iterable[Finding], level: str = "") -> Finding:
    """The one finding of a level, or the one there is."""
    found = [one for one in findings if not level or one.level == level]
    assert len(found) == 1, found
    return found[0]
