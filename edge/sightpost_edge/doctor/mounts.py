"""Which file system a folder lies on, and the disk below it, as the kernel lists them."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .host import Host

_ESCAPED = re.compile(r"\\([0-7]{3})")
_PARTITION = re.compile(r"(mmcblk\d+|nvme\d+n\d+|loop\d+)p\d+|([a-z]+)\d+")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mounts; ``device`` is "" where the kernel names none."""

    device: str
    point: Path
    kind: str
    options: tuple[str, ...]

    @property
    def is_readonly(self) -> bool:
        """Whether nothing can be written there."""
        return "ro" in self.options

    @property
    def disk(self) -> str:
        """The disk's name in /sys/block, "" without one: "mmcblk0" of "/dev/mmcblk0p2"."""
        name = self.device.removeprefix("/dev/") if self.device.startswith("/dev/") else ""
        found = _PARTITION.fullmatch(name)
        return (found[1] or found[2]) if found else name

    @property
    def is_card(self) -> bool:
        """Whether it is an SD card, or flash of that kind."""
        return self.disk.startswith("mmcblk")


def mounts(host: Host) -> list[Mount]:
    """All of them, in the order in which they were mounted."""
    lines = (line.split() for line in host.read("/proc/self/mounts").splitlines())
    return [_mount(host, words) for words in lines if len(words) >= 4]


def mount_of(host: Host, folder: Path) -> Mount | None:
    """Where a folder of the machine lies, or will lie once it is made, whatever links lead to it:
    the kernel lists real and absolute paths only."""
    root, real = (Path(os.path.realpath(one)) for one in (host.root, folder))
    where = Path("/") / real.relative_to(root) if real.is_relative_to(root) else real
    found = [one for one in mounts(host) if where.is_relative_to(one.point)]
    return max(found, key=lambda one: len(one.point.parts), default=None)


def is_readonly(host: Host, folder: Path) -> bool:
    """Whether nothing can be written there, whoever asks: permissions say nothing then."""
    mount = mount_of(host, folder)
    return (mount is not None and mount.is_readonly) or takes_no_writes(folder)


def takes_no_writes(folder: Path) -> bool:
    """The same as the kernel says of the folder, or of the nearest one above that is there."""
    try:
        return bool(os.statvfs(existing(folder)).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above that is there."""
    whole = folder.absolute()
    return next((one for one in (whole, *whole.parents) if os.path.exists(one)), Path("/"))


def _mount(host: Host, words: list[str]) -> Mount:
    device, point, kind, options = (
        _ESCAPED.sub(lambda found: chr(int(found[1], 8)), word) for word in words[:4]
    )
    if device == "/dev/root":
        device = _root_device(host) or device
    return Mount(device, Path(point), kind, tuple(options.split(",")))


def _root_device(host: Host) -> str:
    """What the kernel was told to take: /dev/root is a name that no folder has."""
    found = re.search(r"\broot=(/dev/\S+)", host.read("/proc/cmdline"))
    return found[1] if found else ""
