"""``sightpost doctor``: what is wrong with a station, why it matters, the command that mends it."""

import dataclasses
import json as jsonlib
import sys
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..text import printable

if TYPE_CHECKING:
    from ..doctor.finding import Finding
    from ..doctor.host import Host

FAULTY = 13
"""The exit code where a fault remains."""
_MARKS = {"note": "note", "warning": "warning", "fault": "FAULT"}
_TITLES = {
    "python": "System and Python", "wheels": "Libraries", "config": "Config",
    "picamera": "Raspberry Pi camera", "cameras": "Cameras", "model": "Model", "board": "Board",
    "time": "Clock", "storage": "Store and disk", "network": "Network and broker",
    "unit": "Service", "known": "Known bad combinations",
}  # fmt: skip


def doctor(
    name: Annotated[
        str, typer.Argument(help="A service's station: NAME of /etc/sightpost/NAME.toml.")
    ] = "",
    config: Annotated[
        Path | None, typer.Option(help="A station's config; without, only the machine.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Run the fixes that can do no harm, then look again.")
    ] = False,
) -> None:
    """Find out what is wrong, why it matters, and the exact command that mends it.

    Nothing is changed without --fix. A test picture is taken unless a run has the camera. Exit
    code 13 while a fault remains.
    """
    from ..doctor.finding import worst

    host = _host(name, config)
    findings = _examined(host)
    mended: list[str] = []
    if fix:
        findings, mended = _mended(findings, lambda: _host(name, config))
    if json:
        print(jsonlib.dumps(_facts(findings, mended), indent=1, ensure_ascii=False))
    else:
        _print(findings, "" if fix else host.again.replace("sightpost", host.sightpost, 1))
    if worst(findings) == "fault":
        raise typer.Exit(FAULTY)


def _host(name: str, config: Path | None) -> "Host":
    from ..doctor.host import this_host

    return this_host(name, config)


def _examined(host: "Host", only: tuple[str, ...] = ()) -> "list[Finding]":
    from ..doctor.examine import examine
    from .progress import Line

    line = Line()
    try:
        return examine(host, lambda check: line.show(f"looking at {check}"), only=only)
    finally:
        line.close()


def _mended(
    findings: "list[Finding]", host: "Callable[[], Host]"
) -> "tuple[list[Finding], list[str]]":
    """Run the safe fixes and look again where they were run; what was done is said on stderr."""
    from ..doctor.mend import mend, mendable
    from .common import ask

    done: list[Finding] = []
    for one in mendable(findings):
        _say(f"{one.what}\n{_indented(one.fix, '  ')}")
        if sys.stdin.isatty() and sys.stderr.isatty() and not ask("run this?"):
            continue
        if failure := mend(one):
            _say(f"  that did not work: {failure}")
        done.append(one)
    if not done:
        _say("nothing that could be mended without asking")
        return findings, []
    again = tuple({one.check for one in done})
    anew = _examined(host(), again)
    return _merged(findings, anew), [one.fix for one in done]


def _merged(before: "list[Finding]", anew: "list[Finding]") -> "list[Finding]":
    """What was found again stands where it stood before."""
    checks = list(dict.fromkeys(one.check for one in before))
    looked = {one.check for one in anew}
    return [
        one
        for check in checks
        for one in (anew if check in looked else before)
        if one.check == check
    ]


def _facts(findings: "list[Finding]", mended: list[str]) -> dict[str, object]:
    from ..doctor.finding import LEVELS, worst

    counted = Counter(one.level for one in findings)
    summary: dict[str, object] = {level: counted[level] for level in LEVELS}
    return {
        "findings": [dataclasses.asdict(one) for one in findings],
        "mended": mended,
        "summary": {**summary, "worst": worst(findings)},
    }


def _print(findings: "list[Finding]", again: str) -> None:
    """What is well is only counted: ``--json`` has it. ``again`` is how to ask for the mending, ""
    where it was done."""
    for group, members in groupby(findings, key=lambda one: one.group):
        told = list(members)
        fine = sum(one.level == "ok" for one in told)
        print(f"{_TITLES.get(group, group):<23}{fine} ok")
        for one in told:
            if one.level != "ok":
                _print_one(one)
    print(_summary(findings, again))


def _print_one(one: "Finding") -> None:
    print(f"  {_MARKS[one.level]:<8} {printable(one.what)}")
    if one.why:
        print(f"           why  {printable(one.why)}")
    margin = "           fix  "
    for line in one.fix.splitlines():
        print(f"{margin}{printable(line)}")
        margin = " " * len(margin)


def _summary(findings: "list[Finding]", again: str) -> str:
    from ..doctor.finding import LEVELS
    from ..doctor.mend import mendable

    counted = Counter(one.level for one in findings)
    words = [_counted(counted[level], level) for level in reversed(LEVELS) if counted[level]]
    could = len(mendable(findings))
    offer = f"; {again} --fix mends {could} of them" if could and again else ""
    return f"{', '.join(words)}{offer}"


def _counted(number: int, level: str) -> str:
    return f"{number} ok" if level == "ok" else f"{number} {level}{'s' * (number > 1)}"


def _indented(text: str, margin: str) -> str:
    return "\n".join(f"{margin}{line}" for line in text.splitlines())


def _say(text: str) -> None:
    print(f"sightpost: {text}", file=sys.stderr)
