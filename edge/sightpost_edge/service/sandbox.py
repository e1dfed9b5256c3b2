"""What a service sees of the machine: neither homes nor /tmp, nor what is root's alone."""

import stat
import sys
from pathlib import Path

from ..errors import ServiceError
from .machine import Machine
from .places import STATES, Places, mounted_line
from .release import PROGRAM, install_commands, real_folder

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
            system = "bookworm" if sys.version_info[:2] == (3, 11) else "trixie"
            making = install_commands(system, real_folder(machine.path(PROGRAM)))
            lines = [f"sudo {line}" for line in (*making, f"{PROGRAM}/bin/sightpost {words}")]
            raise ServiceError(
                f"a service cannot use this program: {place} {why}",
                hint=f"in the folder with what `make dist` made: {' && '.join(lines)}",
            )


def check_store(machine: Machine, places: Places) -> None:
    """systemd 257 starts nothing whose own ``StateDirectory=`` is a link: "Too many levels of
    symbolic links", code 238, for ever. A link above it, or a mount, is as good as a folder.

    Raises:
        ServiceError: the store is such a link, or lies where a service cannot see it.
    """
    store = machine.path(places.state)
    if store.is_symlink():
        leads = machine.real(places.state)
        raise ServiceError(
            f"{places.state} is a link (to {leads}), and systemd starts no service with such a one",
            hint=f"mount the disk there; or: sudo rm {places.state} && sudo mkdir {places.state}, "
            f"the line `{mounted_line(leads, places.state)}` in /etc/fstab, and sudo mount "
            f"{places.state}",
        )
    if machine.path(STATES).is_symlink() and (why := unseen(machine, Path(STATES))):
        raise ServiceError(f"a service cannot use {STATES}: it {why}")


def unseen(machine: Machine, place: Path) -> str:
    """Why the service's user cannot read a path, nor what it leads to; "" where it can."""
    target = machine.real(place)
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
