"""Lines of a log that others have met before, with what helped them."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..text import printable
from .finding import Level


@dataclass(frozen=True, slots=True)
class Sign:
    """``fix`` may have NAME in it, the station's."""

    pattern: re.Pattern[str]
    level: Level
    why: str
    fix: str


def _sign(pattern: str, level: Level, why: str, fix: str) -> Sign:
    return Sign(re.compile(pattern, re.IGNORECASE), level, why, fix)


SIGNS = (
    _sign(
        r"permission denied.{0,60}/dev/(video|media|dma_heap|gpiochip|v4l)|"
        r"/dev/(video|media|dma_heap|gpiochip|v4l)\S*.{0,60}permission denied", "fault",
        "the service's user may not open the device, though you may by hand (picamera2#722)",
        "sudo usermod -aG video,render,gpio sightpost\nsudo systemctl restart sightpost@NAME",
    ),
    _sign(
        r"device or resource busy|in use by another process|failed to acquire camera", "fault",
        "another process has the camera, often one left over from a crash (picamera2#1048, #627)",
        "sudo fuser -v /dev/video* /dev/media*",
    ),
    _sign(
        r"xCreatePipe|\.lgd-nfy", "fault",
        "lgpio writes into its working folder, which must be writable (gpiozero#1106)",
        "sudo sightpost service install NAME",
    ),
    _sign(
        r"libGL\.so\.1", "fault",
        "the OpenCV that is installed wants a screen (opencv-python#370)",
        "sudo /opt/sightpost/bin/pip uninstall -y opencv-python opencv-contrib-python\n"
        "sudo /opt/sightpost/bin/pip install --force-reinstall --no-deps opencv-python-headless",
    ),
    _sign(
        r"_ARRAY_API not found|numpy\.(dtype|ndarray) size changed", "fault",
        "a library was built for another NumPy (picamera2#1088, #1211)",
        "sightpost doctor NAME --json  # the wheels.* findings name which",
    ),
    _sign(
        r"cannot allocate memory|dma_?(heap|buf)?.{0,20}alloc\w* fail|cma: .{0,40}alloc failed",
        "warning",
        "the memory that cameras need in one piece is used up (picamera2#1125, #887)",
        "Ask for smaller pictures ([camera] width, height), or give CMA more: "
        "dtoverlay=vc4-kms-v3d,cma-256 in /boot/firmware/config.txt.",
    ),
    _sign(
        r"no space left", "fault", "the disk was full (BirdNET-Pi#566, #1131)",
        "df -h /var/lib/sightpost/NAME",
    ),
    _sign(
        r"malformed|file is not a database", "warning",
        "a database was damaged: a card that fails, or a weak supply (BirdNET-Pi#446)",
        "sudo sightpost doctor NAME  # storage.quarantine, storage.errors",
    ),
    _sign(
        r"watchdog timeout|killed by the watchdog", "warning",
        "nothing moved on for as long as the watchdog waits: camera, model or disk hung",
        "sudo journalctl -u sightpost@NAME -g 'watchdog|stall' -n 100",
    ),
    _sign(
        r"out of memory|oom-kill|oom_reaper", "fault", "the machine ran out of memory",
        "Ask for smaller pictures ([camera] width, height) or shorter films ([clips]).",
    ),
    _sign(
        r"traceback \(most recent call last\)", "warning", "this is a bug worth reporting",
        "sudo sightpost support NAME",
    ),
)  # fmt: skip


def found_in(lines: Sequence[str], scrub: Callable[[str], str]) -> Iterator[tuple[Sign, int, str]]:
    """Each sign that occurs, how often, and its last line, without secrets before it is cut."""
    for sign in SIGNS:
        met = [line for line in lines if sign.pattern.search(line)]
        if met:
            yield sign, len(met), printable(scrub(met[-1])[-160:])
