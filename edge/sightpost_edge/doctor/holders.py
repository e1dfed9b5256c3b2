"""Which processes have a device open, as /proc tells: what ``fuser`` does, without it."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .host import Host

_UNIT = re.compile(r"/([^/\n]+\.service)(?:/|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, the device it holds, and the service it belongs to ("" outside of any)."""

    file: str
    pid: int
    name: str
    unit: str

    def is_run_of(self, station: str) -> bool:
        """Whether it is the run of this station."""
        return bool(station) and self.unit == f"sightpost@{station}.service"

    def end(self) -> str:
        """The command that makes it let go."""
        system = self.unit and not self.unit.startswith("user@")
        return f"systemctl stop {self.unit}" if system else f"kill {self.pid}"


def holders(host: Host, files: Sequence[str]) -> tuple[list[Holder], bool]:
    """Who holds one of ``files``, and whether every process could be looked at."""
    found: list[Holder] = []
    all_seen = True
    for place in host.glob("proc/[0-9]*"):
        if int(place.name) == os.getpid():
            continue
        try:
            targets = _open_files(place)
        except PermissionError:
            all_seen = False
            continue
        except OSError:  # it has ended meanwhile
            continue
        found += [_holder(host, file, int(place.name)) for file in files if file in targets]
    return found, all_seen


def _open_files(process: Path) -> set[str]:
    with os.scandir(process / "fd") as links:
        return {os.readlink(link) for link in links}


def _holder(host: Host, file: str, pid: int) -> Holder:
    name = host.read(f"proc/{pid}/comm") or "unknown"
    units = _UNIT.findall(host.read(f"proc/{pid}/cgroup"))
    return Holder(file, pid, name, units[0] if units else "")
