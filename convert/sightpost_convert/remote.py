"""Measures models on another machine: one ssh connection carries them there and figures back."""

import io
import logging
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import IO, TypeVar

from sightpost_edge.bench import Progress
from sightpost_edge.bench_report import BenchReport, Measured, from_json
from sightpost_edge.errors import ReportUnreadable, TargetUnreachable
from sightpost_edge.machine import Machine
from sightpost_edge.text import printable

from .remote_answer import (
    DEVICE_PROGRAM,
    MOST_WORDS,
    NO_COPY,
    NO_FOLDER,
    NO_PROGRAM,
    SIGN,
    TOO_MUCH,
    Answer,
    failure,
)
from .target import Report, Target

Record = TypeVar("Record", Measured, Machine)

log = logging.getLogger("sightpost")

CONNECT_S = 10
MOST_BYTES = 4 * 1024 * 1024
"""Of each stream that is taken from a host; a report of 100 models has 0.1 MiB."""
TAIL_BYTES = 64 * 1024
"""Of its stderr: what went wrong stands at the end."""
LOOK_S = 0.1

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
    ordered = [replace(_cleaned(rows[f]), name=name) for f, name in names.items()]
    machine = _cleaned(report.machine)
    where = f"{target.address} ({machine.board or machine.cpu or machine.architecture})"
    return Report(machine, tuple(ordered), where, "; ".join(machine.warnings()))


def _cleaned(record: Record) -> Record:
    """A record of the host's, its words such as may stand in a table, a report or a contract."""
    words = {field.name: getattr(record, field.name) for field in fields(record)}
    words = {k: printable(v, most=MOST_WORDS) for k, v in words.items() if isinstance(v, str)}
    return replace(record, **words)


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


def _ask(target: Target, cargo: io.BytesIO, words: Sequence[str], *, limit_s: float) -> Answer:
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
            answer = Answer(-1, _text(stdout), _text(stderr, tail=TAIL_BYTES))
            if answer.folder:
                _remove(target, answer.folder)
        return replace(answer, code=code)


def _wait(
    line: Sequence[str], stdin: IO[bytes], stdout: IO[bytes], stderr: IO[bytes], *, limit_s: float
) -> int:
    """ssh's exit status; TOO_MUCH where it was ended for what it brought."""
    end = time.monotonic() + limit_s
    environment = {**os.environ, "LC_ALL": "C"}
    with subprocess.Popen(
        line, stdin=stdin, stdout=stdout, stderr=stderr, env=environment
    ) as process:
        try:
            while True:
                code = _ended(process, min(LOOK_S, max(0.0, end - time.monotonic())))
                if max(os.fstat(file.fileno()).st_size for file in (stdout, stderr)) > MOST_BYTES:
                    process.kill()
                    return TOO_MUCH
                if code is not None:
                    return code
                if time.monotonic() >= end:
                    raise subprocess.TimeoutExpired(process.args, limit_s)
        except BaseException:
            process.kill()
            raise


def _ended(process: "subprocess.Popen[bytes]", wait_s: float) -> int | None:
    try:
        return process.wait(wait_s)
    except subprocess.TimeoutExpired:
        return None


def _text(file: IO[bytes], *, tail: int = 0) -> str:
    """The first MOST_BYTES of it, or the last ``tail``."""
    file.seek(max(0, os.fstat(file.fileno()).st_size - tail) if tail else 0)
    return file.read(tail or MOST_BYTES).decode(errors="replace")


def _remove(target: Target, folder: str) -> None:
    line, quiet = ssh_command(target, "rm", "-rf", "--", folder), subprocess.DEVNULL
    try:
        done = subprocess.run(
            line, stdin=quiet, stdout=quiet, stderr=quiet, timeout=3 * CONNECT_S, check=False
        )
        gone = done.returncode == 0
    except (subprocess.TimeoutExpired, OSError):
        gone = False
    if not gone:
        log.warning("could not remove %s on %s", folder, target.address)


def _read(target: Target, answer: Answer) -> BenchReport:
    """The report, or the reason why there is none; a report counts whatever the exit code."""
    if not answer.json or answer.code == TOO_MUCH:
        raise failure(target, answer)
    try:
        return from_json(answer.json)
    except (ReportUnreadable, RecursionError, OverflowError) as exc:
        why = printable(str(exc), most=MOST_WORDS)
        raise TargetUnreachable(
            f"sightpost on {target.address} gave a measurement that cannot be read: {why}",
            hint="install the same release of sightpost there (make dist)",
        ) from exc
