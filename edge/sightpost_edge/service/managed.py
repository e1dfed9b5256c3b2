"""The steps that systemd does: units read, running and enabled, or neither."""

from collections.abc import Set
from dataclasses import dataclass

from ..errors import ServiceError
from .journal import why_it_ended
from .machine import START_S, Machine
from .places import USER
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
    """A unit starts with the machine and is active; anew where a step before ``tells`` so."""

    unit: str
    heeds: frozenset[str] = frozenset({UNITS_CHANGED})

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
            raise ServiceError(
                f"{self.unit} did not start: {why_it_ended(machine, self.unit)}",
                hint=f"mend it and repeat this (systemd goes on trying meanwhile); journalctl -u "
                f"{self.unit} has it all",
            )


@dataclass(frozen=True, slots=True)
class Off(Step):
    """A unit neither runs nor starts with the machine."""

    unit: str

    def _what(self) -> str:
        return self.unit

    def _lacking(self, machine: Machine, changed: Set[str]) -> str:
        if machine.ask("systemctl", "is-enabled", self.unit).out.strip() == "enabled":
            return "is to be stopped and disabled"
        state = machine.ask("systemctl", "is-active", self.unit).out.strip()
        return "" if state in ("", "inactive", "unknown") else "is to be stopped"

    def _how(self, machine: Machine) -> list[str]:
        return [f"systemctl disable --now {self.unit}"]

    def _do(self, machine: Machine) -> None:
        machine.run("systemctl", "disable", "--now", self.unit, timeout_s=START_S)
        machine.ask("systemctl", "reset-failed", self.unit)
