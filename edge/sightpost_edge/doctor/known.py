"""Combinations of versions that others have found to be bad, a row each, with the evidence."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .finding import Finding, Level
from .host import Host

_PRESENT, _ABSENT = "present", "absent"
_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
}
_LIBCAMERA = ("libcamera0.7", "libcamera0.6", "libcamera0.5", "libcamera0.4", "libcamera0.3",
              "libcamera0.2", "libcamera0.1", "libcamera0", "python3-libcamera")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """A row: ``needs`` are facts and what they must be, all of them: ">=6.1,<6.6.62" of a version,
    "~Zero|4" of a text, "present" or "absent". ``evidence`` is owner/repository#number."""

    name: str
    needs: tuple[tuple[str, str], ...]
    level: Level
    why: str
    evidence: str
    fix: str


KNOWN = (
    Known(
        "tflite-runtime with numpy 2",
        (("tflite-runtime", _PRESENT), ("ai-edge-litert", _ABSENT), ("numpy", ">=2")), "fault",
        "it was built for numpy 1 and fails when the model is opened, not when it is installed",
        "TexasInstruments/edgeai-tidl-tools#84",
        "PIP install 'numpy<2' 'opencv-python-headless<4.12'",
    ),
    Known(
        "OpenCV 4.12 or later with numpy 1",
        (("opencv-python-headless", ">=4.12"), ("numpy", "<2")), "warning",
        "its wheels are built for numpy 2; pip allows the mixture and says so only once",
        "opencv/opencv-python#1211",
        "PIP install 'opencv-python-headless<4.12'",
    ),
    Known(
        "LiteRT before 2.1.5 with Python 3.14",
        (("ai-edge-litert", "<2.1.5"), ("python", ">=3.14")), "fault",
        "the first wheels for Python 3.14 are those of 2.1.5", "google-ai-edge/LiteRT#5501",
        "PIP install --upgrade 'ai-edge-litert>=2.1.5'",
    ),
    Known(
        "paho-mqtt 1",
        (("paho-mqtt", "<2"),), "fault",
        "Bookworm's apt has 1.6, which an environment with --system-site-packages sees; the uplink "
        "speaks MQTT 5 as paho 2 does", "merbanan/rtl_433#2916",
        "PIP install 'paho-mqtt>=2.1,<3'",
    ),
    Known(
        "a newer picamera2 than libcamera",
        (("picamera2", ">=0.3.16"), ("libcamera", "<0.1")), "fault",
        "picamera2 from pip was made for a libcamera that this system does not have: take both "
        "from apt", "raspberrypi/picamera2#939",
        "PIP uninstall -y picamera2\nsudo apt install -y --reinstall python3-picamera2",
    ),
    Known(
        "a Pi 0 to 4 with a kernel from 6.1 to 6.6.61",
        (
            ("board", "~Raspberry Pi (Zero|[1-4]|Compute Module [1-4]|Model)"),
            ("picamera2", _PRESENT), ("kernel", ">=6.1,<6.6.62"),
        ), "warning",
        "after hours the camera gives no more pictures until it is opened anew; mended in the "
        "kernel in November 2024", "raspberrypi/picamera2#1090",
        "sudo apt update\nsudo apt full-upgrade -y\nsudo reboot",
    ),
    Known(
        "gpiozero 1 with a kernel from 6.6.20 on",
        (("gpiozero", "<2"), ("kernel", ">=6.6.20")), "fault",
        "it falls back to a way of driving pins that this kernel no longer has",
        "gpiozero/gpiozero#1131", "PIP install --upgrade 'gpiozero>=2.0.1'",
    ),
    Known(
        "Litestream beside SQLite before 3.51.3",
        (("litestream", _PRESENT), ("sqlite", ">=3.7,<3.44.6")), "warning",
        "both write to the same log, and this SQLite then loses events without a word",
        "benbjohnson/litestream#1432",
        "sudo systemctl disable --now litestream\n"
        "sqlite3 events.db \".backup copy.db\"  # a copy that needs no second writer",
    ),
)  # fmt: skip


def check_combinations(host: Host) -> Iterator[Finding]:
    """Each row whose facts all hold here."""
    facts: dict[str, str] = {}
    found = False
    for row in KNOWN:
        if all(holds(_fact(host, name, facts), spec) for name, spec in row.needs):
            found = True
            here = ", ".join(f"{name} {facts[name]}" for name, _ in row.needs if facts[name])
            yield Finding(
                "known.combinations", row.level, f"{row.name} ({here})",
                f"{row.why} ({row.evidence})", _for_here(host, row.fix),
            )  # fmt: skip
    if not found:
        yield Finding("known.combinations", "ok", f"none of {len(KNOWN)} combinations known as bad")


def holds(fact: str, spec: str) -> bool:
    """Whether a fact is as a row says."""
    if spec in (_PRESENT, _ABSENT):
        return bool(fact) == (spec == _PRESENT)
    if spec.startswith("~"):
        return re.search(spec[1:], fact) is not None
    here = _numbers(fact)
    if not here:
        return False
    return all(
        _COMPARE[part[: 2 if part[1] == "=" else 1]](here, _numbers(part))
        for part in spec.split(",")
    )


def _fact(host: Host, name: str, facts: dict[str, str]) -> str:
    if name not in facts:
        facts[name] = _look(host, name)
    return facts[name]


def _look(host: Host, name: str) -> str:
    look = _LOOK.get(name)
    return look(host) if look else host.version(name)


def _libcamera(host: Host) -> str:
    """As apt has it; "0~git20230720" is older than every number."""
    ran = host.run("dpkg-query", "-W", "-f", "${Version}\n", *_LIBCAMERA)
    versions = [line for line in ran.out.splitlines() if line] if ran else []
    return max((re.split("[~+-]", line)[0] for line in versions), key=_numbers, default="")


_LOOK: dict[str, Callable[[Host], str]] = {
    "python": lambda host: ".".join(map(str, host.python)),
    "kernel": lambda host: host.read("/proc/sys/kernel/osrelease"),
    "board": lambda host: host.read("/proc/device-tree/model").strip("\0"),
    "sqlite": lambda _host: sqlite3.sqlite_version,
    "litestream": lambda host: "installed" if host.has("litestream") else "",
    "libcamera": _libcamera,
}
"""Facts that are no distribution of Python's."""


def _numbers(text: str) -> tuple[int, ...]:
    """Leading dotted numbers: (6, 6, 51) of "6.6.51+rpt-rpi-v8"."""
    found = re.match(r"[<>=]*v?(\d+(?:\.\d+)*)", text)
    return tuple(map(int, found[1].split("."))) if found else ()


def _for_here(host: Host, fix: str) -> str:
    """The environment's own pip."""
    lines = fix.splitlines()
    return "\n".join(host.pip(x.removeprefix("PIP ")) if x.startswith("PIP ") else x for x in lines)


CHECKS = (check_combinations,)
