"""The tutorial for the Pi: what it has the reader type can be typed (`make test-pi` types it)."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from sightpost_edge.cli import app
from sightpost_edge.support.readme import GOES, STAYS

PAGE = (Path(__file__).parents[2] / "docs" / "raspberry-pi.md").read_text()
BLOCKS = re.findall(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)
NOT_EMULATED = {"apt", "camera", "ssh", "systemd", "training"}


def commands() -> list[str]:
    """Every line of the page that starts sightpost, without sudo and the folder of a release."""
    found = []
    for _, _, text in BLOCKS:
        plain = re.sub(r"<<'END'\n.*?^END$", "", text, flags=re.M | re.S)
        lines = [re.sub(r"\s+#.*", "", x).removeprefix("sudo ") for x in plain.splitlines()]
        found += [x for x in lines if re.match(r"\S*\bsightpost(-\$version/bin/sightpost)? ", x)]
    return found


def parse(command: Any, words: list[str], parent: Any = None) -> None:
    """By the parser that the program has; what it does not know it raises."""
    context = command.make_context("sightpost", words, parent=parent)
    rest = [*context._protected_args, *context.args]
    if rest:
        inner = command.get_command(context, rest[0])
        assert inner is not None, f"no command {rest[0]}"
        parse(inner, rest[1:], context)


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_every_command_can_be_parsed(line: str) -> None:
    """Command, sub-command, options and arguments."""
    words = shlex.split(line)[1:]
    if words != ["--version"]:
        parse(typer.main.get_command(app), words)


@pytest.mark.parametrize("line", ["run --modle x", "servce status x", "model intsall x", "why"])
def test_a_wrong_command_would_be_found(line: str) -> None:
    """Option, command, sub-command, a missing argument."""
    with pytest.raises(Exception, match=r"(?i)no such|no command|missing|requires|usage"):
        parse(typer.main.get_command(app), line.split())


def test_the_page_has_the_commands_it_is_about() -> None:
    """The parser above had something to do."""
    firsts = {shlex.split(line)[1] for line in commands()}
    assert {"run", "events", "inspect", "why", "doctor", "service", "model"} <= firsts


def test_every_block_is_run_or_says_why_not() -> None:
    """Shell, all of it; what no test can follow is marked, and the text beside it says so."""
    assert {language for _, language, _ in BLOCKS} == {"sh"}
    marks = {mark for mark, _, _ in BLOCKS if mark}
    assert {mark.partition(":")[0] for mark in marks} <= {"not emulated", "on the PC"}
    reasons = {mark.partition(": ")[2] for mark in marks if mark.startswith("not emulated")}
    assert reasons == NOT_EMULATED
    assert PAGE.count("Not tried: ") >= len(NOT_EMULATED) - 1


def test_the_page_promises_no_more_than_a_report_keeps() -> None:
    """What goes and what stays, in the archive's own words."""
    said = " ".join(PAGE.partition("## 10. ")[2].partition("## 11. ")[0].split())
    goes, stays = said.split(" are taken out. ")
    for word in ("tokens", "logins", "mail addresses", "wireless networks", "hardware addresses"):
        assert word in goes
        assert word in GOES
    for word in ("station's name", "names and addresses of hosts", "labels", "[deployment]"):
        assert word in stays
        assert word in STAYS
