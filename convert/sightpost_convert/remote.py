"""Measures models on another machine: one ssh connection carries them there and figures back."""

import io
import logging
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO

from sightpost_edge.bench import Progress
from sightpost_edge.bench_report import BenchReport, Measured, from_json
from sightpost_edge.errors import (
    DiskFull,
    ReportUnreadable,
    SightpostError,
    TargetUnreachable,
)

from .target import Report, Target

log = logging.getLogger("sightpost")

DEVICE_PROGRAM = "/opt/sightpost/bin/sightpost"
"""Where README.md installs it."""
CONNECT_S = 10
SIGN = "sightpost-bench:"
"""Begins every line of ours, so that what a login prints is told from it."""
NO_PROGRAM, NO_FOLDER, NO_COPY = 71, 72, 73

# One line without ' so that any login shell passes it on. The models are a tar on stdin. /var/tmp
# first: /tmp of a 512 MB board may be memory. The folder goes in any case, also when the
# connection breaks (the next echo then raises PIPE, or sshd hangs up).
SCRIPT = "; ".join(
    [
        "LC_ALL=C",
        "export LC_ALL",
        'p="$1"',
        'case "$p" in "~/"*) p="$HOME/${p#??}" ;; "")'
        ' p=$("${SHELL:-/bin/sh}" -lc "command -v sightpost" </dev/null 2>/dev/null | tail -n 1)',
        f'[ -x "$p" ] || p={DEVICE_PROGRAM} ;; esac',
        f'[ -x "$p" ] && [ ! -d "$p" ] || exit {NO_PROGRAM}',
        "d=$(mktemp -d /var/tmp/sightpost-bench.XXXXXXXX 2>/dev/null) || "
        'd=$(mktemp -d "${TMPDIR:-/tmp}/sightpost-bench.XXXXXXXX") || '
        f"exit {NO_FOLDER}",
        f'trap "cd /; rm -rf \\"$d\\" && echo {SIGN} removed" EXIT',
        'trap "exit 130" HUP INT TERM PIPE',
        f'echo "{SIGN} folder $d"',
        f'tar -xzf - -C "$d" || exit {NO_COPY}',
        'cd "$d"',
        "t=",
        'command -v timeout >/dev/null && t="timeout $2"',
        "shift 2",
        f"echo {SIGN} begin",
        '$t "$p" bench --json "$@" </dev/null',
        "r=$?",
        f"echo {SIGN} end $r",
        "exit $r",
    ]
)

_FOLDER = re.compile(r"(/[A-Za-z0-9._+-]+)*/sightpost-bench\.[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back: the exit status of ssh (255: its own), and both streams."""

    code: int
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        lines = [x for x in self.stderr.splitlines() if x.strip() and "hint:" not in x]
        return lines[-1].strip() if lines else "no message"

    @property
    def folder(self) -> str:
        """The temporary folder there, until it is removed; only a name that mktemp can give."""
        found = re.search(rf"^{SIGN} folder (.*)$", self.stdout, re.MULTILINE)
        if not found or f"{SIGN} removed" in self.stdout:
            return ""
        return found[1] if _FOLDER.fullmatch(found[1]) and "/../" not in found[1] else ""

    @property
    def json(self) -> str:
        """The last line between our signs that may be JSON; nothing where the end is missing."""
        _, _, rest = self.stdout.partition(f"{SIGN} begin\n")
        inside, end, _ = rest.partition(f"{SIGN} end")
        lines = reversed(inside.splitlines() if end else [])
        return next((line for line in lines if line.startswith("{")), "")


def measure_there(
    target: Target,
    models: Mapping[str, bytes],
    *,
    threads: Sequence[int],
    seconds: float,
    progress: Progress | None = None,
) -> Report:
    """See ``measure_on``; the target's kind is "host"."""
    names = {f"{i:04}.tflite": name for i, name in enumerate(models)}
    cargo = _tar({file: models[name] for file, name in names.items()})
    say = progress or (lambda text: None)
    say(f"measuring {len(models)} models on {target.address}")
    limit_s = 300 + 120 * len(models) + 4 * seconds + cargo.getbuffer().nbytes / 50_000
    options = [f"--seconds={seconds}"]
    options += [f"--threads={','.join(map(str, threads))}"] if threads else []
    answer = _ask(target, cargo, [str(round(limit_s)), *options, *names], limit_s=limit_s + 30)
    report = _read(target, answer)
    rows = {row.name: row for row in report.models}
    if rows.keys() != names.keys():
        raise TargetUnreachable(f"sightpost on {target.address} answered about other models")
    ordered: list[Measured] = [replace(rows[f], name=name) for f, name in names.items()]
    machine = report.machine
    where = f"{target.address} ({machine.board or machine.cpu or machine.architecture})"
    return Report(machine, tuple(ordered), where, "; ".join(machine.warnings()))


def _tar(files: Mapping[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def ssh_command(target: Target, *words: str) -> list[str]:
    """The line that runs ``words`` there, never asking for a password."""
    program = shutil.which("ssh")
    if program is None:
        raise TargetUnreachable(
            "there is no ssh program on this machine", hint="sudo apt install openssh-client"
        )
    line = [program, "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"]
    line += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
    line += ["-p", str(target.port)] if target.port else []
    line += ["-l", target.user] if target.user else []
    return [*line, "--", target.host, shlex.join(words)]


def _ask(target: Target, cargo: io.BytesIO, words: Sequence[str], *, limit_s: float) -> _Answer:
    """Run the script there; whatever happens meanwhile, its folder does not stay."""
    line = ssh_command(target, "exec", "sh", "-c", SCRIPT, "sh", target.program, *words)
    with (
        tempfile.TemporaryFile() as stdin,
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
    ):
        stdin.write(cargo.getbuffer())
        stdin.seek(0)
        try:
            code = _wait(line, stdin, stdout, stderr, limit_s=limit_s)
        except subprocess.TimeoutExpired as exc:
            raise TargetUnreachable(
                f"{target.address} gave no answer within {limit_s:.0f} s",
                hint="fewer models or threads, or fewer --seconds",
            ) from exc
        finally:
            answer = _Answer(-1, _text(stdout), _text(stderr))
            if answer.folder:
                _remove(target, answer.folder)
        return replace(answer, code=code)


def _wait(
    line: Sequence[str], stdin: IO[bytes], stdout: IO[bytes], stderr: IO[bytes], *, limit_s: float
) -> int:
    environment = {**os.environ, "LC_ALL": "C"}
    with subprocess.Popen(
        line, stdin=stdin, stdout=stdout, stderr=stderr, env=environment
    ) as process:
        try:
            return process.wait(limit_s)
        except BaseException:
            process.kill()
            raise


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _remove(target: Target, folder: str) -> None:
    line = ssh_command(target, "rm", "-rf", "--", folder)
    try:
        done = subprocess.run(line, capture_output=True, timeout=3 * CONNECT_S, check=False)
        gone = done.returncode == 0
    except (subprocess.TimeoutExpired, OSError):
        gone = False
    if not gone:
        log.warning("could not remove %s on %s", folder, target.address)


def _read(target: Target, answer: _Answer) -> BenchReport:
    """The report, or the reason why there is none; a report counts whatever the exit code."""
    if not answer.json:
        raise _failure(target, answer)
    try:
        return from_json(answer.json)
    except ReportUnreadable as exc:
        raise TargetUnreachable(
            f"sightpost on {target.address} gave a measurement that cannot be read: {exc}",
            hint=exc.hint or "install the same release of sightpost there (make dist)",
        ) from exc


def _failure(target: Target, answer: _Answer) -> SightpostError:
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
TOO_OLD, TIMED_OUT = 74, 124
STAGES = {
    NO_PROGRAM: ("no sightpost on {where} {looked}",
                 "install it as README.md says, or name it: user@host:/path/to/sightpost"),
    NO_FOLDER: ("no temporary folder can be made on {where} ({words})", ""),
    NO_COPY: ("the models could not be copied to {where} ({words})", ""),
    TOO_OLD: ("sightpost on {where} is too old to measure: it has no bench command",
              "install this release there (make dist)"),
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


def _no_connection(where: str, answer: _Answer) -> TargetUnreachable:
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
