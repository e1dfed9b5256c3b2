"""Whether this Python, this system and this processor are ones the program has libraries for."""

import re
from collections.abc import Iterator
from pathlib import Path

from ..service.release import PROGRAM, install_commands, real_folder
from .finding import Finding
from .host import Host

OLDEST, NEWEST = (3, 11), (3, 13)
LEAST_LIBC = (2, 34)
"""What the wheels of ai-edge-litert 2.3 really need, whatever their names say."""
KNOWN_RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
TOO_OLD = ("bullseye", "buster", "focal")
"""Their Python is 3.9 or older, their glibc 2.31 or older."""

_NEW_CARD = "Write Raspberry Pi OS (64-bit), Trixie or Bookworm, to a card with Raspberry Pi Imager"
_NO_WHEELS = "ai-edge-litert has wheels for 64-bit x86 and Arm only, and no source package"


def made_anew(host: Host, folder: str = "", *, python: str = "/usr/bin/python3") -> str:
    """The commands that make an environment again, the services' one where ``folder`` names none;
    to be typed in the folder of ``make dist``'s files."""
    folder = folder or real_folder(host.path(PROGRAM))
    return host.sudo("\n".join(install_commands(host.release or "trixie", folder, python=python)))


def check_version(host: Host) -> Iterator[Finding]:
    """The Python that runs this."""
    shown = ".".join(map(str, host.python))
    if OLDEST <= host.python[:2] <= NEWEST:
        yield Finding("python.version", "ok", f"Python {shown}")
        return
    yield Finding(
        "python.version", "fault",
        f"Python {shown}: 3.11 to 3.13 are supported",
        why="TFLite runtimes and OpenCV have no wheels, or untried ones, for others",
        fix=made_anew(host, python="python3.13")
        if host.python[:2] > NEWEST
        else _NEW_CARD,
    )  # fmt: skip


def check_system(host: Host) -> Iterator[Finding]:
    """Which release of which system."""
    facts = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', host.read("etc/os-release"), re.MULTILINE))
    codename, name = host.release, facts.get("PRETTY_NAME", "")
    if codename in KNOWN_RELEASES:
        yield Finding("python.system", "ok", name or codename)
    elif codename in TOO_OLD:
        yield Finding(
            "python.system", "fault", f"{name or codename} is too old",
            why="its Python and its C library are older than any TFLite runtime for them",
            fix=_NEW_CARD,
        )  # fmt: skip
    else:
        yield Finding(
            "python.system", "note", f"{name or 'an unknown system'}: not one it is tried on",
            why="it is tried on Debian and Raspberry Pi OS Bookworm and Trixie; others often work",
        )  # fmt: skip


def check_architecture(host: Host) -> Iterator[Finding]:
    """The processor, and whether the system uses its 64 bits."""
    name, shown = "python.architecture", f"{host.machine}, {host.bits}-bit"
    if host.machine in ("aarch64", "x86_64") and host.bits == 64:
        yield Finding(name, "ok", shown)
    elif host.machine == "armv6l":
        yield Finding(
            name, "fault", f"{shown}: a Pi Zero or Pi 1 cannot run this",
            why="no TFLite runtime and no OpenCV is built for it",
            fix="A Pi Zero 2 W is the smallest board that works",
        )  # fmt: skip
    elif host.machine == "armv7l" and host.python[:2] == (3, 11):
        yield Finding(
            name, "warning", f"{shown}: only tflite-runtime 2.14 is left for it",
            why=f"{_NO_WHEELS}; tflite-runtime's last release is for Python 3.11",
            fix=_NEW_CARD,
        )  # fmt: skip
    elif host.bits == 32:
        yield Finding(
            name, "fault", f"{shown} system"
            + (" on a 64-bit kernel" if host.machine in ("aarch64", "x86_64") else ""),
            why=_NO_WHEELS, fix=_NEW_CARD,
        )  # fmt: skip
    else:
        yield Finding(name, "warning", f"{shown}: nobody has tried this", why=_NO_WHEELS)


def check_libc(host: Host) -> Iterator[Finding]:
    """The C library that wheels are linked to."""
    numbers = tuple(int(n) for n in re.findall(r"\d+", host.libc)[:2])
    if not numbers:
        yield Finding(
            "python.libc", "fault", "no glibc (Alpine?)",
            why="the TFLite runtimes are built for glibc only", fix=_NEW_CARD,
        )  # fmt: skip
    elif numbers < LEAST_LIBC:
        yield Finding(
            "python.libc", "fault", f"glibc {host.libc}, 2.34 is needed",
            why="ai-edge-litert installs and then cannot be loaded: GLIBC_2.34 not found",
            fix=_NEW_CARD,
        )  # fmt: skip
    else:
        yield Finding("python.libc", "ok", f"glibc {host.libc}")


def check_environment(host: Host) -> Iterator[Finding]:
    """Which environment this runs in, and whether the service's is the same and whole."""
    yield _own(host)
    if host.environ.get("PYTHONPATH"):
        yield Finding(
            "python.environment", "note", f"PYTHONPATH is {host.environ['PYTHONPATH']}",
            why="modules found there hide the installed ones; a service does not see them",
            fix="unset PYTHONPATH",
        )  # fmt: skip
    yield from _of_the_service(host)


def _own(host: Host) -> Finding:
    if host.prefix != host.base_prefix:
        return Finding("python.environment", "ok", f"runs in the environment {host.prefix}")
    return Finding(
        "python.environment", "note", "runs in the system's own Python, not in an environment",
        why="the next system upgrade changes its libraries, and pip refuses to write there",
        fix=made_anew(host),
    )  # fmt: skip


def _of_the_service(host: Host) -> Iterator[Finding]:
    if not host.station or not host.path(f"{PROGRAM}/bin").is_dir():
        return
    if not host.exists(f"{PROGRAM}/bin/python"):
        yield Finding(
            "python.environment", "fault", f"{PROGRAM}/bin/python points to nothing",
            why="the service cannot start: the Python it was made with is gone, as after an "
            "upgrade of the system",
            fix=made_anew(host),
        )  # fmt: skip
    elif Path(host.prefix).resolve() != host.path(PROGRAM).resolve():
        yield Finding(
            "python.environment", "note", f"the service runs from {PROGRAM}, this from elsewhere",
            why="what is said here of libraries is about this environment",
            fix=host.sudo(f"{PROGRAM}/bin/sightpost doctor {host.station}"),
        )  # fmt: skip


CHECKS = (check_version, check_system, check_architecture, check_libc, check_environment)
