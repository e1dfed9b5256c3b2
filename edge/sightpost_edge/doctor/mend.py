"""The doctor's own hand: runs the fixes that can do no harm, in order and without a shell."""

import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence

from .finding import Finding

LONGEST_S = 120.0
_SHELL = frozenset("|&;<>$`*?")

Run = Callable[[Sequence[str]], int]


def mendable(findings: Iterable[Finding]) -> list[Finding]:
    """Those that may be mended without asking anybody what it may cost; a fix that is there twice
    is done once."""
    found: dict[str, Finding] = {}
    for one in findings:
        if one.level != "ok" and one.safe and one.fix and commands(one):
            found.setdefault(one.fix, one)
    return list(found.values())


def commands(finding: Finding) -> list[list[str]]:
    """The words of each line of its fix; none where a line would need a shell."""
    lines = finding.fix.splitlines()
    if any(_SHELL & set(line) for line in lines):
        return []
    return [shlex.split(line) for line in lines]


def mend(finding: Finding, run: Run | None = None) -> str:
    """Run the commands of a fix in their order; what went wrong, or "" where nothing did."""
    for words in commands(finding):
        try:
            code = (run or _run)(words)
        except FileNotFoundError:
            return f"{words[0]} is not there"
        except (OSError, subprocess.TimeoutExpired) as exc:
            return f"{words[0]}: {exc}"
        if code:
            return f"{shlex.join(words)} ended with {code}"
    return ""


def _run(words: Sequence[str]) -> int:
    """On this terminal, for sudo may ask for a password; where there is none it may not wait."""
    return subprocess.run(words, check=False, timeout=LONGEST_S).returncode
