"""The unit files that come with the program, and what a station's config adds to them."""

import re
from pathlib import Path

from .. import __version__
from ..config import Site
from ..errors import ServiceError
from ..uplink.settings import CREDENTIAL
from .machine import Machine

PROGRAM = "/opt/sightpost/bin/sightpost"
"""As the files have it; ``service install`` puts in the program that installs."""
TEMPLATES = (
    "sightpost@.service",
    "sightpost-uplink@.service",
    "sightpost-reboot@.path",
    "sightpost-reboot@.service",
)
NETWORK = ("rtsp", "rtsps", "http", "https")
PUT_HERE = "# Put here by `sightpost service install`"
_HEAD = "# Written by `sightpost service install`, from the station's config."


def shipped(name: str, machine: Machine) -> str:
    """A unit file, or their README.md: of the wheel, else of the repository this runs from.

    Raises:
        ServiceError: neither has it.
    """
    package = machine.path(machine.package)
    for folder in (package / "units", package.parent.parent / "systemd"):
        if (folder / name).is_file():
            return (folder / name).read_text()
    raise ServiceError(f"{name} is missing from {package}", hint="install sightpost again")


def unit(name: str, machine: Machine, program: Path) -> str:
    """A unit file that starts ``program``.

    It names the release: another one makes another file, and so what runs starts anew with it.
    """
    head = f"{PUT_HERE}, release {__version__}, in {machine.real(machine.prefix)}.\n"
    return head + shipped(name, machine).replace(PROGRAM, str(program))


def started_by(text: str) -> str:
    """The program that a unit file starts."""
    found = re.search(r"^ExecStart=(\S+)", text, re.MULTILINE)
    return found[1] if found else ""


def is_networked(site: Site) -> bool:
    """Whether its pictures come over a network."""
    return site.source.partition("://")[0] in NETWORK


def camera_drop_in(site: Site) -> str:
    """The lines of pins, and what only a camera in the network needs."""
    lines = ["[Service]"]
    if site.pins:
        lines += ["DeviceAllow=char-gpiochip rw"]
    if is_networked(site):
        lines += ["[Unit]", "Wants=network-online.target", "After=network-online.target"]
    else:
        # The first line takes back what the unit has; libcamera asks udev over netlink.
        lines += ["RestrictAddressFamilies=", "RestrictAddressFamilies=AF_UNIX AF_NETLINK"]
    return _text(lines)


def uplink_drop_in(password: str) -> str:
    """What hands the broker's password over, from the file ``password`` that only root can read."""
    return _text(["[Service]", f"LoadCredential={CREDENTIAL}:{password}"])


def _text(lines: list[str]) -> str:
    return "\n".join([_HEAD, *lines]) + "\n"
