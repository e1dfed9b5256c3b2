"""The steps that systemd does: units read, running and enabled, or neither."""

from collections.abc import Set
from dataclasses import dataclass

from ..errors import ServiceError
from .journal import why_it_ended
from .machine import START_S, Machine
from .places import UNITS, USER
from .steps import UNITS_CHANGED, Step


@dataclass(frozen=True, slots=True)
class Reloaded(Step):
    """systemd has read the unit files that are there, and has no complaint about ``units``."""

    units: tuple[str, ...] = ()

    def _what(self) -> str:
        return "systemd"

    def _lacking(self, machine: Machine, changed: Set[str]) -> str:
        if UNITS_CHANGED in changed:
            return "is to read the units again"
        found = machine.ask("systemctl", "show", "--property=NeedDaemonReload", *self.units).out
        return "is to read the units again" if self.units and "=yes" in found else ""

    def _how(self, machine: Machine) -> list[str]:
        check = [f"systemd-analyze verify {' '.join(self.units)}"] if self.units else []
        return ["systemctl daemon-reload", *check]

    def _do(self, machine: Machine) -> None:
        machine.run("systemctl", "daemon-reload")
        if not self.units:
            return
        said = machine.ask("systemd-analyze", "--man=no", "verify", *self.units).err
        ours = [line for line in said.splitlines() if USER in line]
        if ours:
            raise ServiceError(f"systemd does not take the units: {ours[0]}")


@dataclass(frozen=True, slots=True)
class Running(Step):
    """A unit starts with the machine and is active; anew where a step before ``tells`` so.

    ``before``: what puts its files back, for where it does not start with those it has got.
    """

    unit: str
    heeds: frozenset[str] = frozenset({UNITS_CHANGED})
    before: tuple[Step, ...] = ()

    def _what(self) -> str:
        return self.unit

    def _lacking(self, machine: Machine, changed: Set[str]) -> str:
        if machine.ask("systemctl", "is-enabled", self.unit).out.strip() != "enabled":
            return "is to be enabled and started"
        state = machine.ask("systemctl", "is-active", self.unit).out.strip()
        if state != "active":
            return f"is {state or 'inactive'}"
        return "is to be started again with what has changed" if self.heeds & changed else ""

    def _how(self, machine: Machine) -> list[str]:
        return [f"systemctl enable {self.unit}", f"systemctl restart {self.unit}"]

    def _do(self, machine: Machine) -> None:
        machine.run("systemctl", "enable", self.unit)
        machine.ask("systemctl", "reset-failed", self.unit)
        ran = machine.ask("systemctl", "restart", self.unit, timeout_s=START_S)
        if ran.code:
            why = f"{self.unit} did not start: {why_it_ended(machine, self.unit)}"
            back = self._put_back(machine)
            raise ServiceError(
                f"{why}; {', '.join(back)} put back, as before" if back else why,
                hint=f"mend it and repeat this (systemd goes on trying meanwhile); journalctl -u "
                f"{self.unit} has it all",
            )

    def _put_back(self, machine: Machine) -> list[str]:
        """After code 2, a config that cannot be used, systemd would leave it off for good."""
        steps = [step for step in self.before if step.lacking(machine, frozenset())]
        for step in steps:
            step.do(machine)
        if steps:
            machine.ask("systemctl", "daemon-reload")
            machine.ask("systemctl", "restart", "--no-block", self.unit)
        return [step.what() for step in steps]


@dataclass(frozen=True, slots=True)
class Off(Step):
    """A unit neither runs nor starts with the machine."""

    unit: str

    def _what(self) -> str:
        return self.unit

    def _lacking(self, machine: Machine, changed: Set[str]) -> str:
        if self._starts(machine):
            return "is to be stopped and disabled"
        return "is to be stopped" if self._runs(machine) else ""

    def _how(self, machine: Machine) -> list[str]:
        return [f"systemctl stop {self.unit}", f"systemctl disable {self.unit}"]

    def _do(self, machine: Machine) -> None:
        """``disable --now`` would stop nothing where the unit's file has gone already."""
        if self._runs(machine):
            machine.run("systemctl", "stop", self.unit, timeout_s=START_S)
        if self._starts(machine):
            machine.run("systemctl", "disable", self.unit)
        machine.ask("systemctl", "reset-failed", self.unit)

    def _runs(self, machine: Machine) -> bool:
        state = machine.ask("systemctl", "is-active", self.unit).out.strip()
        return state not in ("", "inactive", "unknown")

    def _starts(self, machine: Machine) -> bool:
        """By what it was enabled with: without the unit's file it counts as "not-found"."""
        linked = any(machine.path(UNITS).glob(f"*.wants/{self.unit}"))
        said = machine.ask("systemctl", "is-enabled", self.unit).out.strip()
        return linked or said == "enabled"
