"""The step that has a model installed."""

from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import SightpostError
from ..minisign import SUFFIX as SIGNATURE
from .machine import START_S, Machine
from .removal import Gone
from .steps import Step


@dataclass(frozen=True, slots=True)
class Model(Step):
    """A model file is installed by ``sightpost model install``, which puts root's rights down.

    ``signed``: by a key that is trusted, else nobody looks at a signature. ``key``: that of a key
    which came with it; it goes again where the model does not come in, for the next start would
    refuse what is there.
    """

    file: Path
    models: str
    program: Path
    signed: bool
    key: str = ""

    def _what(self) -> str:
        return f"model {self.file.name}"

    def _lacking(self, machine: Machine, changed: Set[str]) -> str:
        signature = Path(f"{self.file}{SIGNATURE}")
        if self.signed or not signature.exists():
            return "is to be installed"
        return f"is to be installed unsigned: {signature.name} is looked at with --key KEY.pub only"

    def _how(self, machine: Machine) -> list[str]:
        return [" ".join(self._words(machine))]

    def _do(self, machine: Machine) -> None:
        try:
            machine.run(*self._words(machine), timeout_s=START_S)
        except BaseException:  # whoever waits presses ctrl-c
            if self.key:
                with suppress(SightpostError):
                    Gone(self.key).do(machine)
            raise

    def _words(self, machine: Machine) -> list[str]:
        store = str(machine.path(self.models).parent)
        words = [str(self.program), "model", "install", str(self.file), "--store", store]
        return words if self.signed else [*words, "--unsigned"]
