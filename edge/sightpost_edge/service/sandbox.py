"""What a service sees of the machine: neither homes nor /tmp, nor what is root's alone."""

import stat
import sys
from pathlib import Path

from ..errors import ServiceError
from .machine import Machine

HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""What ProtectHome and PrivateTmp keep from a service."""


def check_program(machine: Machine, words: str) -> None:
    """The service is not root, and homes and /tmp are hidden from it.

    Args:
        machine: this one.
        words: of the command to repeat, for the hint.

    Raises:
        ServiceError: this program lies where it could not start; with the lines that mend it.
    """
    for place in (machine.prefix, machine.base_prefix, machine.python, machine.package):
        if why := unseen(machine, place):
            release = "bookworm" if sys.version_info[:2] == (3, 11) else "trixie"
            raise ServiceError(
                f"a service cannot use this program: {place} {why}",
                hint="in the folder with what `make dist` made: sudo /usr/bin/python3 -m venv "
                "--system-site-packages /opt/sightpost && sudo /opt/sightpost/bin/pip install "
                f"--require-hashes --find-links . -r station-{release}.txt && "
                f"sudo /opt/sightpost/bin/sightpost {words}",
            )


def unseen(machine: Machine, place: Path) -> str:
    """Why the service's user cannot read a path, nor what it leads to; "" where it can."""
    target = Path("/") / machine.path(place).resolve().relative_to(machine.root.resolve())
    if why := _barred(machine, place):
        return why
    why = _barred(machine, target)
    return f"leads to {target}, which {why}" if why else ""


def _barred(machine: Machine, place: Path) -> str:
    for hidden in HIDDEN:
        if place.is_relative_to(hidden):
            return f"lies below {hidden}, hidden from it"
    for part in (place, *place.parents):
        try:
            mode = machine.path(part).stat().st_mode
        except OSError as exc:
            return f"cannot be found ({exc.strerror})"
        needed = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
        needed = stat.S_IXOTH if part != place else needed
        if mode & needed != needed:
            return f"cannot be read by it: sudo chmod o+rX {part}"
    return ""
