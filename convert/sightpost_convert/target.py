"""Where candidates are measured: on this machine, on a named board's behalf, or on a device by ssh.

target = parse_target("pi@raspberrypi.local")
report = measure_on(target, {"int8": model})
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sightpost_edge.bench import SECONDS, Measured, Progress, default_threads, measure
from sightpost_edge.errors import ConfigError, nearest
from sightpost_edge.machine import Machine, cores_here, this_machine

HERE = "this-machine"
FORMS = f"{HERE}, a board's name, user@host, user@host:/path/to/sightpost, ssh://user@host:port"

# The first letter of each is fixed, so that none can be taken for an option of ssh.
_USER = r"(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)"
_HOST = r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
_HOST6 = r"\[(?P<host6>[0-9A-Fa-f:]+(?:%[A-Za-z0-9._-]+)?)\]"
_PROGRAM = r"(?P<program>(?:~/|/)[^\x00-\x1f]+)"
_URL = re.compile(rf"ssh://(?:{_USER}@)?(?:{_HOST}|{_HOST6})(?::(?P<port>\d+))?(?:/|{_PROGRAM})?")
_PLAIN = re.compile(rf"(?:{_USER}@)?{_HOST}(?::{_PROGRAM})?")


@dataclass(frozen=True, slots=True)
class Board:
    """A kind of device; ``model_mb`` is what is left for a model's peak when all else runs.

    ``memory_mb`` is that of the smallest version sold.
    """

    title: str
    cores: int
    cpu: str
    memory_mb: int
    model_mb: int


# What is left is an estimate, not a measurement on a board. Each starts from the smallest version:
# 512 MB: the firmware and kernel keep ~90, Raspberry Pi OS Lite with ssh and a network ~110, the
#   camera's buffers ~80 (libcamera, four 720p frames and the ISP's), sightpost with OpenCV, LiteRT
#   and a decoder 80 (81 was measured, of which a model took 12); half of the rest stays free for
#   the page cache, without which a card stalls everything.
# 1 GB (both): ~120 for firmware and kernel, ~250 with a desktop, 80 and 80 as above; half of that.
BOARDS: Mapping[str, Board] = {
    "pi-zero2": Board("Raspberry Pi Zero 2 W", 4, "Cortex-A53", 512, 75),
    "pi4": Board("Raspberry Pi 4 Model B", 4, "Cortex-A72", 1024, 240),
    "pi5": Board("Raspberry Pi 5", 4, "Cortex-A76", 1024, 240),
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where to measure. ``program`` is the sightpost to run on a host, empty for the usual places;
    ``port`` 0 and ``user`` "" leave the choice to ssh.
    """

    text: str
    kind: Literal["here", "board", "host"]
    board: Board | None = None
    user: str = ""
    host: str = ""
    port: int = 0
    program: str = ""

    @property
    def measured(self) -> bool:
        """Whether times are those of the target itself: a limit in ms means nothing otherwise."""
        return self.kind != "board"

    @property
    def address(self) -> str:
        """user@host, for messages."""
        return f"{self.user}@{self.host}" if self.user else self.host


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured: ``machine`` did it, ``measured_on`` says it in words, ``note`` what not to
    conclude from it (empty where there is nothing to say). Rows are in the order of the models.
    """

    machine: Machine
    rows: tuple[Measured, ...]
    measured_on: str
    note: str


def parse_target(text: str) -> Target:
    """Understand ``this-machine``, a board's name, or a host for ssh.

    Raises:
        ConfigError: none of these; names the nearest.
    """
    if text == HERE:
        return Target(text, "here")
    if text in BOARDS:
        return Target(text, "board", board=BOARDS[text])
    if "://" in text:
        return _host(text, _URL.fullmatch(text))
    if "@" in text or "." in text or ":" in text:
        return _host(text, _PLAIN.fullmatch(text))
    near = nearest(text, [HERE, *BOARDS])
    raise ConfigError(
        f"no target {text!r}", hint=f"{near}; a host is written user@{text or 'host'}"
    )


def _host(text: str, found: re.Match[str] | None) -> Target:
    if found is None:
        raise ConfigError(f"{text!r} is not a target", hint=f"targets: {FORMS}")
    parts = {"port": None, "host6": None, **found.groupdict()}
    port = int(parts["port"] or 0)
    if parts["port"] is not None and not 1 <= port <= 65535:
        raise ConfigError(f"{text!r} has no valid port", hint="ports are 1 to 65535")
    program = parts["program"] or ""
    # In a URL the home folder is written as in git's: ssh://pi@host/~/venv/bin/sightpost.
    program = program.removeprefix("/") if program.startswith("/~/") else program
    host = parts["host"] or parts["host6"] or ""
    return Target(text, "host", None, parts["user"] or "", host, port, program)


def measure_on(
    target: Target,
    models: Mapping[str, bytes],
    *,
    threads: Sequence[int] = (),
    seconds: float = SECONDS,
    progress: Progress | None = None,
) -> Report:
    """Measure models against each other on the target.

    Args:
        target: from ``parse_target``.
        models: FlatBuffers by name, with or without a Bundle's files behind them.
        threads: numbers of threads; default 1, 2, 4 up to the cores of the machine that measures
            and of the board that is meant.
        seconds: for each number of threads, shared by all models.
        progress: is told what is going on, a few words at a time.

    Raises:
        TargetUnreachable: the host, or sightpost on it, cannot be used.
        DiskFull: no space for the models there.
        MissingExtra: no TFLite runtime here.
    """
    if target.kind == "host":
        from .remote import measure_there

        return measure_there(target, models, threads=threads, seconds=seconds, progress=progress)
    if target.board:
        threads = _for_board(target.board, threads)
    rows = tuple(measure(models, threads=threads, seconds=seconds, progress=progress))
    machine = this_machine()
    here = f"this machine ({machine.board or machine.cpu or machine.architecture})"
    notes = [_board_note(target.board)] if target.board else []
    return Report(machine, rows, here, "; ".join([*notes, *machine.warnings()]))


def _for_board(board: Board, threads: Sequence[int]) -> tuple[int, ...]:
    cores = min(board.cores, cores_here())
    if threads and min(threads) > board.cores:
        raise ConfigError(
            f"the {board.title} has {board.cores} cores, {min(threads)} threads asked"
        )
    return tuple(n for n in threads if n <= board.cores) or default_threads(cores)


def _board_note(board: Board) -> str:
    return (
        f"NOT measured on a {board.title}: only the order of the models is a hint, and int8 and "
        f"float32 may change places on its {board.cpu}; give user@host to measure on one"
    )
