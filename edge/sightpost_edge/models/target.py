"""Whether a model is meant for this board; a word that names no board is held against the host.

    target            here                          fits
    ""                anything                      yes
    pi4               a Raspberry Pi 4, 400, CM4    yes
    pi4               a Raspberry Pi 5              no
    pi4               a PC                          no
    pi4               Arm, board unknown            yes, and it is said
    raspberry-pi-4    a Raspberry Pi 4              yes: how the board's own words begin
    garden            the host named garden         yes
    pi@garden.local   the host named garden         yes
    anything else                                   no

``convert`` signs a board's name only, so that one measured on a host by ssh fits everywhere.
"""

import re
from dataclasses import dataclass
from typing import Literal

from ..machine import Machine

BOARDS = {
    "pi-zero2": ("raspberry pi zero 2",),
    "pi4": ("raspberry pi 4 ", "raspberry pi 400", "raspberry pi compute module 4"),
    "pi5": ("raspberry pi 5 ", "raspberry pi 500", "raspberry pi compute module 5"),
}
"""How the device tree's model begins, for each name that ``convert --target`` knows."""

_HOST = re.compile(r"(?:ssh://)?(?:[^@/]+@)?([A-Za-z0-9-]+)(?:[.:/].*)?")


@dataclass(frozen=True, slots=True)
class Fit:
    """``no`` is a reason to refuse, ``unknown`` one to say that it could not be found out."""

    verdict: Literal["yes", "no", "unknown"]
    why: str = ""


def fit_target(target: str, machine: Machine) -> Fit:
    """Whether a model signed for ``target`` is meant for ``machine``; see the table above."""
    board = _plain(machine.board)
    if not target:
        return Fit("yes")
    if target not in BOARDS:
        words = _plain(target)
        named = bool(words) and f"{board} ".startswith(f"{words} ")
        meant = named or _host(target) == machine.name.lower()
        return Fit("yes") if meant else Fit("no", _not_here(target, machine))
    if board:
        meant = f"{board} ".startswith(BOARDS[target])
        return Fit("yes") if meant else Fit("no", _not_here(target, machine))
    if machine.architecture.startswith(("arm", "aarch64")):
        return Fit("unknown", f"it is for {target}; what board this is cannot be seen here")
    return Fit("no", _not_here(target, machine))


def _not_here(target: str, machine: Machine) -> str:
    here = machine.board or f"{machine.name} ({machine.architecture})"
    return f"it was made for {target}, this is {here}"


def _plain(text: str) -> str:
    return " ".join(re.findall("[a-z0-9]+", text.lower()))


def _host(target: str) -> str:
    found = _HOST.fullmatch(target)
    return found[1].lower() if found else ""
