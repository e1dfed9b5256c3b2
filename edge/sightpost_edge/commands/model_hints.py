"""Hints of ``sightpost model`` that can be pasted as they are, and refusals as JSON."""

import json as jsonlib
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import typer.core

from ..errors import SightpostError, SignatureRefused, UpdateRefused

_COMMAND = re.compile(r"\bsightpost model (install|list|rollback|trust|use)\b")
_FIELD = re.compile(r"([a-z_0-9]+): ")
_SECURE_PATH = "/usr/local/bin:/usr/bin"


class Guided(typer.core.TyperCommand):
    """A command whose hints act on the store that was given, and that refuses in JSON if asked."""

    def invoke(self, ctx: Any) -> Any:
        """As ever; what is raised is raised on."""
        try:
            return super().invoke(ctx)
        except SightpostError as exc:
            exc.hint = pasted(exc.hint, ctx.params.get("store"))
            if ctx.params.get("json"):
                facts = {"refused": _kind(exc), "message": str(exc), "hint": exc.hint}
                print(jsonlib.dumps(facts, indent=1, ensure_ascii=False))
            raise


def pasted(text: str, store: Path | str | None) -> str:
    """``text`` with its ``sightpost model`` commands as this user must write them here."""
    chosen = f" --store {shlex.quote(str(store))}" if store else ""
    return _COMMAND.sub(lambda found: f"{_program(store)} model {found[1]}{chosen}", text)


def _program(store: Path | str | None) -> str:
    """With sudo where that was used, or the store is another's; sudo looks into few folders."""
    if os.geteuid() == 0 or store is None:
        as_root = "SUDO_USER" in os.environ
    else:
        there = Path(store).absolute()
        while not os.path.lexists(there):
            there = there.parent
        as_root = not os.access(there, os.W_OK)
    path = _SECURE_PATH if as_root else None
    program = "sightpost" if shutil.which("sightpost", path=path) else _installed()
    return f"sudo {program}" if as_root else program


def _installed() -> str:
    own = Path(sys.prefix) / "bin" / "sightpost"
    return shlex.quote(str(own)) if own.exists() else "sightpost"


def _kind(exc: SightpostError) -> str:
    """The field that does not hold, else what kind of failure it is."""
    found = _FIELD.match(str(exc)) if isinstance(exc, UpdateRefused | SignatureRefused) else None
    return found[1] if found else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(exc).__name__).lower()
