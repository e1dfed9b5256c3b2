"""What a host answered over ssh, and where that is no measurement, what it means."""

import re
from dataclasses import dataclass

from sightpost_edge.errors import DiskFull, SightpostError, TargetUnreachable
from sightpost_edge.text import printable

from .target import Target

DEVICE_PROGRAM = "/opt/sightpost/bin/sightpost"
"""Where README.md installs it."""
SIGN = "sightpost-bench:"
"""Begins every line of ours, so that what a login prints is told from it."""
NO_PROGRAM, NO_FOLDER, NO_COPY = 71, 72, 73
"""The script's own exit codes."""
TOO_OLD, TIMED_OUT, TOO_MUCH = 74, 124, 256
"""The first is ours alone, the second that of timeout(1); no process ends with the third."""
MOST_WORDS = 200
"""Characters of a host's text in one place."""

_FOLDER = re.compile(r"(/[A-Za-z0-9._+-]+)*/sightpost-bench\.[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the exit status of ssh (255: its own), and both streams."""

    code: int
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        """The last line on stderr that is no hint, for a message."""
        lines = [x for x in self.stderr.splitlines() if x.strip() and "hint:" not in x]
        return printable(lines[-1].strip(), most=MOST_WORDS) if lines else "no message"

    @property
    def folder(self) -> str:
        """The temporary folder there, until it is removed; only a name that mktemp can give."""
        found = re.search(rf"^{SIGN} folder (.*)$", self.stdout, re.MULTILINE)
        if not found or f"{SIGN} removed" in self.stdout:
            return ""
        name = found[1][: MOST_WORDS + 1]
        good = _FOLDER.fullmatch(name) and "/../" not in name and len(name) <= MOST_WORDS
        return name if good else ""

    @property
    def json(self) -> str:
        """The last line between our signs that may be JSON; nothing where the end is missing."""
        _, _, rest = self.stdout.partition(f"{SIGN} begin\n")
        inside, end, _ = rest.partition(f"{SIGN} end")
        lines = reversed(inside.splitlines() if end else [])
        return next((line for line in lines if line.startswith("{")), "")


def failure(target: Target, answer: Answer) -> SightpostError:
    """The error that says why there is no measurement, and what to do."""
    where = target.address
    if "No space left" in answer.stderr or "quota exceeded" in answer.stderr:
        return DiskFull(f"no space left on {where} for the models", hint="df -h there shows where")
    if answer.code == 255:
        return _no_connection(where, answer)
    looked = f"at {target.program}" if target.program else f"on the PATH or at {DEVICE_PROGRAM}"
    code = TOO_OLD if NO_BENCH.search(answer.stderr) else answer.code
    message, hint = STAGES.get(code, STAGES[-1])
    facts = {"where": where, "looked": looked, "code": answer.code, "words": answer.last_words}
    return TargetUnreachable(message.format(**facts), hint=hint.format(**facts))


NO_BENCH = re.compile(r"no command .?bench|No such command .?bench")
STAGES = {
    NO_PROGRAM: ("no sightpost on {where} {looked}",
                 "install it as README.md says, or name it: user@host:/path/to/sightpost"),
    NO_FOLDER: ("no temporary folder can be made on {where} ({words})", ""),
    NO_COPY: ("the models could not be copied to {where} ({words})", ""),
    TOO_OLD: ("sightpost on {where} is too old to measure: it has no bench command",
              "install this release there (make dist)"),
    TOO_MUCH: ("{where} sent more than can be a measurement, and was cut off",
               "ssh {where} true, and see what it prints"),
    TIMED_OUT: ("sightpost on {where} did not come to an end", "ssh {where}, and look with top"),
    -1: ("sightpost on {where} gave no measurement (exit code {code}: {words})",
         "ssh {where}, and try sightpost bench there"),
}  # fmt: skip
"""What the exit code of the script means, what to do; -1 stands for all others."""


REASONS = (
    ("Could not resolve hostname", "its name is unknown", "is it switched on, and spelt so?"),
    ("Permission denied", "it refuses the login", "ssh-copy-id {where} lets your key in"),
    ("IDENTIFICATION HAS CHANGED", "its host key has changed",
     "if the system was installed anew: ssh-keygen -R {host}"),
    ("Host key verification failed", "its host key is not known yet", "ssh {where} once by hand"),
    ("refused", "nothing listens for ssh there", "enable ssh: sudo raspi-config nonint do_ssh 0"),
    ("timed out", "it does not answer", "is it switched on and in this network?"),
    ("No route to host", "there is no way to it", "is it switched on and in this network?"),
    ("unreachable", "there is no way to it", "is this machine in a network?"),
)  # fmt: skip
"""What OpenSSH says, what that means, what to do."""


def _no_connection(where: str, answer: Answer) -> TargetUnreachable:
    for words, meaning, hint in REASONS:
        if words in answer.stderr:
            host = where.rpartition("@")[2]
            return TargetUnreachable(
                f"cannot reach {where}: {meaning} ({answer.last_words})",
                hint=hint.format(where=where, host=host),
            )
    broke = f"{SIGN} folder" in answer.stdout
    what = "the connection to {} broke" if broke else "ssh cannot reach {}"
    return TargetUnreachable(
        f"{what.format(where)} ({answer.last_words})", hint=f"does ssh {where} true work?"
    )
