"""Files of /dev that are cameras, and the one that the config names."""

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .host import Host

_QUERYCAP = 0x80685600
"""VIDIOC_QUERYCAP of linux/videodev2.h: 104 bytes back."""
_CAPABILITIES_AT, _DEVICE_CAPS_AT, _HAS_DEVICE_CAPS = 84, 88, 0x80000000
_CAPTURES = 0x1 | 0x1000
"""V4L2_CAP_VIDEO_CAPTURE, and the same with several planes; cameras have no output beside it."""
_OUTPUTS = 0x2 | 0x2000 | 0x4000 | 0x8000
_NO_CAMERA = re.compile(r"codec|isp|hevc|jpeg|-dec|-enc|m2m", re.IGNORECASE)
"""Names of the Pi's many video devices that are no cameras."""


@dataclass(frozen=True, slots=True)
class Device:
    """One /dev/videoN that gives pictures: as it is called, and its place here."""

    number: int
    name: str
    path: Path

    @property
    def file(self) -> str:
        """As people call it."""
        return f"/dev/video{self.number}"


def devices(host: Host) -> Iterator[Device]:
    """Those that give pictures: the Pi has a dozen of video devices that do not."""
    for place in host.glob("sys/class/video4linux/video*"):
        number = place.name.removeprefix("video")
        device = Device(
            int(number) if number.isdigit() else -1,
            host.read(f"sys/class/video4linux/{place.name}/name"),
            host.path(f"dev/{place.name}"),
        )
        index = host.read(f"sys/class/video4linux/{place.name}/index")
        captures = _captures(device.path)
        if captures is None:  # not to be asked: then by its name; a camera's second one is data
            captures = index in ("", "0") and not _NO_CAMERA.search(device.name)
        if device.number >= 0 and captures:
            yield device


def _captures(path: Path) -> bool | None:
    """What the driver says; None where it may not be asked."""
    import fcntl

    answer = bytearray(104)
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.ioctl(handle, _QUERYCAP, answer)
    except OSError:
        return None
    finally:
        os.close(handle)
    capabilities, own = (
        struct.unpack_from("<I", answer, at)[0] for at in (_CAPABILITIES_AT, _DEVICE_CAPS_AT)
    )
    flags = own if capabilities & _HAS_DEVICE_CAPS else capabilities
    return bool(flags & _CAPTURES) and not flags & _OUTPUTS


def wanted_device(host: Host) -> str | None:
    """The configured device file, None where the source is none."""
    source = host.site.source if host.site else ""
    path = source.split("://", 1)[1] if source.startswith("v4l2://") else source
    if path.isdigit():
        return f"/dev/video{path}"
    return path if path.startswith("/dev/") else None
