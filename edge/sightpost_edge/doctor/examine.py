"""All checks in their order, each guarded: what one of them meets ends neither it nor the others.

findings = examine(host)
"""

import importlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from ..errors import first_line
from .finding import Finding
from .host import Host
from .unseen import gathered, unseen

Check = Callable[[Host], Iterable[Finding]]

MODULES = (
    "python", "wheels", "config", "picamera", "cameras", "model", "board",
    "time", "storage", "network", "unit", "known",
)  # fmt: skip
"""Modules of this package, in the order in which people read them; each has its ``CHECKS``."""
_OF_SYSTEMD = re.compile(r"(?:sudo )?(?:systemctl|journalctl|timedatectl|loginctl|resolvectl)\b")
_ELSEWHERE = "# on the broker's machine"
LONGEST_S = 45.0
"""A check that takes longer is left behind in its thread: a read from a dead disk never returns."""


def checks() -> Iterator[tuple[str, Check]]:
    """Every check with its name, "board.temperature" for ``check_temperature`` of ``board``."""
    for module in MODULES:
        try:
            found = importlib.import_module(f".{module}", __package__).CHECKS
        except Exception as exc:  # noqa: BLE001 - a library it needs may raise anything
            yield module, partial(_unloaded, module, exc)
            continue
        for check in found:
            yield f"{module}.{check.__name__.removeprefix('check_')}", check


def examine(
    host: Host,
    on_check: Callable[[str], None] = lambda name: None,
    *,
    only: Iterable[str] = (),
    longest_s: float = LONGEST_S,
) -> list[Finding]:
    """Look at everything, or only at the checks named; never raises, never hangs.

    Args:
        host: the machine.
        on_check: is told each check's name before it begins.
        only: names of checks, all by default.
        longest_s: how long each may take.
    """
    wanted = set(only)
    found: list[Finding] = []
    for name, check in checks():
        if not wanted or name in wanted:
            on_check(name)
            found.extend(_guarded(name, check, host, longest_s))
    return [_exact(one, host) for one in gathered(found, host)]


def _exact(finding: Finding, host: Host) -> Finding:
    """Its commands as they can be typed here: ``sightpost`` alone may not be found, root needs no
    sudo, which small systems lack, and without systemd its programs do nothing.
    """

    def typed(found: re.Match[str]) -> str:
        return f"{found[1] or ''}{host.sightpost} "

    fix = re.sub(r"^(sudo )?sightpost ", typed, finding.fix, flags=re.MULTILINE)
    if host.is_root:
        fix = re.sub(r"^sudo ", "", fix, flags=re.MULTILINE)
    possible = fix if host.has_systemd else _without_systemd(fix)
    return replace(finding, fix=possible, safe=finding.safe and possible == fix)


def _without_systemd(fix: str) -> str:
    """The other commands; where there are none a sentence."""
    lines = fix.splitlines()
    others = [line for line in lines if not _OF_SYSTEMD.match(line) or _ELSEWHERE in line]
    if others or not lines:
        return "\n".join(others)
    return f"Systemd does not run here; where it does: {'; '.join(lines)}"


def _guarded(name: str, check: Check, host: Host, longest_s: float) -> list[Finding]:
    found: list[Finding] = []

    def look() -> None:
        try:
            for finding in check(host):
                found.append(finding)
        except PermissionError as exc:
            found.append(_may_not(name, exc, host))
        except Exception as exc:  # noqa: BLE001 - a strange machine is what a doctor is called for
            found.append(_could_not(name, exc, host))

    thread = threading.Thread(target=look, name=f"doctor-{name}", daemon=True)
    thread.start()
    thread.join(longest_s)
    if thread.is_alive():
        late = TimeoutError(f"nothing came back within {longest_s:g} s")
        return [*found, _could_not(name, late, host)]
    return found


def _unloaded(module: str, exc: Exception, host: Host) -> Iterator[Finding]:
    yield _could_not(module, exc, host)


def _may_not(name: str, exc: PermissionError, host: Host) -> Finding:
    """Root meets one only where something is wrong."""
    if host.is_root:
        return _could_not(name, exc, host)
    return unseen(host, name, str(exc.filename or name))


def _could_not(name: str, exc: Exception, host: Host) -> Finding:
    if not host.native and isinstance(exc, ImportError):
        return Finding(
            name, "note", "not looked at: numpy or OpenCV cannot be loaded",
            why="the libraries come first", fix="Mend what stands under Libraries, then look again",
        )  # fmt: skip
    return Finding(
        name, "warning", f"could not look: {type(exc).__name__}: {first_line(exc)}",
        why="whether this is well is not known",
        fix=f"A report of this defect should quote this line and {name}",
    )  # fmt: skip
