"""Steps that take away what an installation made."""

import os
import shutil
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..durable import sync_folder
from ..errors import writing_to
from .machine import Machine
from .places import USER
from .steps import Step


@dataclass(frozen=True, slots=True)
class Gone(Step):
    """A file or folder that is not to be there; where a disk is mounted the folder stays, empty."""

    place: str

    def _what(self) -> str:
        return self.place

    def _lacking(self, machine: Machine, changed: Set[str]) -> str:
        if not any(self._going(machine)):
            return ""
        if stays := self._mounted(machine):
            points = ", ".join(f"/{point.relative_to(machine.root.resolve())}" for point in stays)
            return f"is to be emptied; a disk is mounted at {points}, and that folder stays"
        return "is to be removed"

    def _how(self, machine: Machine) -> list[str]:
        inside = "/*" if self._mounted(machine) else ""
        return [f"rm -r {self.place}{inside}"]

    def _do(self, machine: Machine) -> None:
        path = machine.path(self.place)
        with writing_to(path):
            for one in list(self._going(machine)):
                if one.is_dir() and not one.is_symlink():
                    shutil.rmtree(one)
                else:
                    one.unlink(missing_ok=True)
                sync_folder(one.parent)
        with suppress(OSError):  # a folder of drop-ins with nothing left in it
            if path.parent.name.endswith(".d"):
                path.parent.rmdir()

    def _mounted(self, machine: Machine) -> list[Path]:
        """A link is removed, not what it leads to."""
        return [] if machine.path(self.place).is_symlink() else machine.mounted(self.place)

    def _going(self, machine: Machine) -> Iterator[Path]:
        """All that goes: the place itself, or what is in it beside mount points, which the kernel
        does not let go (EBUSY), and the folders that lead to one."""
        stays = {one for point in self._mounted(machine) for one in (point, *point.parents)}
        left = [machine.path(self.place)]
        while left:
            one = left.pop()
            if one.resolve() in stays and not one.is_symlink():
                left += one.iterdir()
            elif os.path.lexists(one):
                yield one


@dataclass(frozen=True, slots=True)
class AccountGone(Step):
    """The services' user is not to be there."""

    def _what(self) -> str:
        return f"user {USER}"

    def _lacking(self, machine: Machine, changed: Set[str]) -> str:
        return "is to be removed" if USER in machine.accounts("passwd") else ""

    def _how(self, machine: Machine) -> list[str]:
        return [f"userdel {USER}"]

    def _do(self, machine: Machine) -> None:
        machine.run("userdel", USER)
