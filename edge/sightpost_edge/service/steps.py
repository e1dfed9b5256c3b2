"""The steps that a plan is made of: each knows what it is about, what is lacking, and how to do it.

A step whose ``lacking`` is "" is done already; that is what makes an installation repeatable.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path

from ..durable import make_folder, writing
from .machine import Machine
from .places import RULES, USER
from .wish import config_changes

UNITS_CHANGED = "units"
"""Told by a step that changed a unit file: systemd reads them again, and what runs starts anew."""


@dataclass(frozen=True, slots=True)
class Step(ABC):
    """One thing that is to be so. ``tells``: the word that it adds to ``changed`` when it is done,
    "" for none; ``changed`` has those of the steps before it."""

    tells: str = field(default="", kw_only=True)

    def what(self) -> str:
        """What it is about, in a few words."""
        return self._what()

    def lacking(self, machine: Machine, changed: Set[str]) -> str:
        """What is not so yet, "" where nothing is to be done."""
        return self._lacking(machine, changed)

    def how(self, machine: Machine) -> list[str]:
        """What ``do`` does, line by line, as ``--dry-run`` shows it."""
        return self._how(machine)

    def do(self, machine: Machine) -> None:
        """Make it so.

        Raises:
            SightpostError: it cannot be.
        """
        self._do(machine)

    @abstractmethod
    def _what(self) -> str: ...

    @abstractmethod
    def _lacking(self, machine: Machine, changed: Set[str]) -> str: ...

    @abstractmethod
    def _how(self, machine: Machine) -> list[str]: ...

    @abstractmethod
    def _do(self, machine: Machine) -> None: ...


@dataclass(frozen=True, slots=True)
class Account(Step):
    """The services' user, a member of those of ``groups`` that exist here."""

    groups: tuple[str, ...]

    def _what(self) -> str:
        return f"user {USER}"

    def _lacking(self, machine: Machine, changed: Set[str]) -> str:
        if USER not in machine.accounts("passwd"):
            return "is to be made"
        missing = self._missing(machine)
        return f"is not in {', '.join(missing)}" if missing else ""

    def _how(self, machine: Machine) -> list[str]:
        return [" ".join(words) for words in self._commands(machine)]

    def _do(self, machine: Machine) -> None:
        for words in self._commands(machine):
            machine.run(*words)

    def _missing(self, machine: Machine) -> list[str]:
        groups = machine.accounts("group")
        return [
            name
            for name in self.groups
            if name in groups and USER not in groups[name][-1].split(",")
        ]

    def _commands(self, machine: Machine) -> list[list[str]]:
        commands = []
        if USER not in machine.accounts("passwd"):
            group = ["--gid", USER] if USER in machine.accounts("group") else ["--user-group"]
            commands.append(
                ["useradd", "--system", *group, "--no-create-home", "--home-dir", "/nonexistent",
                 "--shell", "/usr/sbin/nologin", "--comment", "sightpost", USER]
            )  # fmt: skip
        if missing := self._missing(machine):
            commands.append(["usermod", "--append", "--groups", ",".join(missing), USER])
        return commands


@dataclass(frozen=True, slots=True)
class Folder(Step):
    """A folder, or what a link leads to, and who owns it; ``deep``: with all that is in it where
    the owner was another one."""

    place: str
    owner: str = "root:root"
    mode: int = 0o755
    deep: bool = False

    def _what(self) -> str:
        return self.place

    def _lacking(self, machine: Machine, changed: Set[str]) -> str:
        path = machine.path(self.place)
        if not path.is_dir():
            return "is to be made"
        return _rights(machine, machine.real(self.place), self.owner, self.mode)

    def _how(self, machine: Machine) -> list[str]:
        mode, group = f"{self.mode:04o}", self.owner.partition(":")
        return [f"install -d -m {mode} -o {group[0]} -g {group[2]} {self.place}"]

    def _do(self, machine: Machine) -> None:
        path = machine.path(self.place)
        make_folder(path)
        path.chmod(self.mode)
        real = machine.real(self.place)
        if machine.owner(real) != self.owner:
            machine.own(real, self.owner, deep=self.deep)


@dataclass(frozen=True, slots=True)
class File(Step):
    """A file with this content; ``secret``: of which nothing is shown; ``note`` is said with it."""

    place: str
    content: bytes
    owner: str = "root:root"
    mode: int = 0o644
    secret: bool = False
    note: str = ""

    def _what(self) -> str:
        return self.place

    def _lacking(self, machine: Machine, changed: Set[str]) -> str:
        lacking = self._differs(machine)
        return f"{lacking}; {self.note}" if lacking and self.note else lacking

    def _differs(self, machine: Machine) -> str:
        old = machine.peek(self.place)
        if old is None:
            return "is to be written"
        if old != self.content:
            lines = 0 if self.secret else config_changes(_text(old), _text(self.content))
            return f"differs in {lines} {'line' if lines == 1 else 'lines'}" if lines else "differs"
        return _rights(machine, self.place, self.owner, self.mode)

    def _how(self, machine: Machine) -> list[str]:
        lines = [f"{len(self.content)} bytes, {self.owner}, mode {self.mode:04o}"]
        if self.place.endswith((".conf", ".rules")):
            lines += [f"  {line}" for line in _text(self.content).splitlines()]
        return lines

    def _do(self, machine: Machine) -> None:
        path = machine.path(self.place)
        make_folder(path.parent)
        with writing(path) as file:
            os.fchmod(file.fileno(), self.mode)  # before there is anything in it
            file.write(self.content)
        if machine.owner(self.place) != self.owner:
            machine.own(self.place, self.owner)


@dataclass(frozen=True, slots=True)
class DeviceRule(Step):
    """udev gives these devices to the services' group; only where no group has them."""

    rules: tuple[str, ...]

    def _what(self) -> str:
        return RULES

    def _lacking(self, machine: Machine, changed: Set[str]) -> str:
        old = _text(machine.read(RULES) or b"")
        return "" if all(rule in old for rule in self.rules) else "is to be written"

    def _how(self, machine: Machine) -> list[str]:
        return [*self.rules, "udevadm control --reload && udevadm trigger --action=change"]

    def _do(self, machine: Machine) -> None:
        old = _text(machine.read(RULES) or b"# Written by `sightpost service install`.\n")
        new = [rule for rule in self.rules if rule not in old]
        File(RULES, "".join([old, *(f"{rule}\n" for rule in new)]).encode()).do(machine)
        machine.run("udevadm", "control", "--reload")
        for subsystem in ("dma_heap", "gpio"):
            machine.run("udevadm", "trigger", "--action=change", f"--subsystem-match={subsystem}")
        machine.run("udevadm", "settle", "--timeout=10")


def _rights(machine: Machine, place: str | Path, owner: str, mode: int) -> str:
    found, is_mode = machine.owner(place), machine.path(place).stat().st_mode & 0o7777
    if found != owner:
        return f"belongs to {found}, not to {owner}"
    return f"has mode {is_mode:04o}, not {mode:04o}" if is_mode != mode else ""


def _text(content: bytes) -> str:
    return content.decode(errors="replace")
