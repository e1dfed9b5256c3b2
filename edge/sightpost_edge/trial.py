"""A model is first opened in a child process: a file that crashes its reader crashes only that.

Of 3,000 random mutants of a good .tflite two killed the interpreter, and files are known that
write beyond the heap while tensors are laid out (tensorflow#124982), run for ever (CVE-2021-37686)
or ask for all memory. What passes is remembered by its digest, so a device pays once per model.

The child is no prison: who must reckon with files made to take it over needs signed models.
"""

import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from . import errors
from .errors import LibraryError, MissingExtra, ModelError, SightpostError
from .text import printable
from .tried import passed_before, remember

__all__ = [
    "Limits", "Outcome", "memory_for", "refusal", "remember", "run_child", "run_trial", "try_model",
    "try_once",
]  # fmt: skip

TIMEOUT_S = 10.0
MEMORY_MB = 256
"""MobileNetV2 (int8, 224 pixels) takes 12 MiB beyond the libraries' 118 with LiteRT 2.3; as floats
at 640 pixels its two largest activations would take 80."""
MEMORY_PER_BYTE = 8
"""The model is held by Python, the runtime and, packed anew as floats, by XNNPACK: 1 + 1 + 4."""

Kind = Literal["passed", "refused", "memory", "timeout", "killed", "broken", "unstarted"]

PROGRAM = (
    "import sys; memory, cpu, delegate, *sys.path[:] = sys.argv[1:]; "
    "from sightpost_edge.trial_child import main; main(int(memory), int(cpu), delegate)"
)
"""Starts without the site module: the paths are those of this process."""
_TAIL = 64 * 1024
_ANOTHER = "do not use this file; copy or convert it again, and if that gives the same, report it"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the child may use: wall time, MiB beyond its libraries; and the delegate to try."""

    timeout_s: float
    memory_mb: int
    delegate: str = "xnnpack"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended; ``detail`` is the signal's name, or what was said last.

    ``said`` is all that a child which passed had to say.
    """

    kind: Kind
    detail: str = ""
    error: SightpostError | None = None
    said: Mapping[str, Any] = field(default_factory=dict)


def try_once(model: bytes, *, delegate: str = "xnnpack") -> None:
    """``try_model`` unless this model passed before; see ``tried`` for where that is noted."""
    if not passed_before(model, delegate):
        try_model(model, delegate=delegate)
        remember(model, delegate)


def try_model(
    model: bytes,
    *,
    timeout_s: float = TIMEOUT_S,
    memory_mb: int | None = None,
    delegate: str = "xnnpack",
) -> None:
    """Return if a child process could open the model and run it three times.

    Costs 0.1 s of CPU time and 0.15 s on a desktop, plus the three runs.

    Args:
        model: the FlatBuffer.
        timeout_s: wall time for all of it.
        memory_mb: MiB that it may ask for; 256 and eight times its size unless told otherwise.
        delegate: "xnnpack" or "none", as it will be opened here.

    Raises:
        ModelError: it killed the child, took too long, wanted more memory, or was refused; for
            the latter the class is the one that opening it here would have raised.
        MissingExtra: no TFLite runtime is installed.
        LibraryError: it cannot be loaded, or no child started, which is not the model's fault.
    """
    limits = Limits(timeout_s, memory_mb or memory_for(model), delegate)
    outcome = run_trial(model, limits)
    if outcome.kind != "passed":
        raise refusal(outcome, limits)


def refusal(outcome: Outcome, limits: Limits, *, what: str = "trial") -> SightpostError:
    """The error for a trial, or ``what`` it was, that was not passed."""
    if outcome.error is not None:
        return outcome.error
    refused = "the model is refused:"
    message, hint = {
        "killed": (f"{refused} it killed the interpreter in a {what} ({outcome.detail})", _ANOTHER),
        "timeout": (
            f"{refused} a {what} of it took longer than {limits.timeout_s:g} s",
            f"on a busy device stop other programs and start again; else {_ANOTHER}",
        ),
        "memory": (
            f"{refused} it wanted more than {limits.memory_mb} MiB of memory in a {what}",
            f"a smaller input or width needs less; else {_ANOTHER}",
        ),
    }.get(outcome.kind, (
        f"the model could not be tried in a process of its own ({outcome.detail})",
        "is there memory left (free -m), and can this user start programs?",
    ))  # fmt: skip
    kind = LibraryError if outcome.kind == "unstarted" else ModelError
    return kind(message, hint=hint)


def memory_for(model: bytes) -> int:
    """MiB that a model of this size may ask for."""
    return MEMORY_MB + MEMORY_PER_BYTE * len(model) // 2**20


def run_trial(model: bytes, limits: Limits) -> Outcome:
    """Open the model in a child and tell how that ended; the child is gone on return.

    An exception here, such as KeyboardInterrupt, ends the child too.
    """
    return run_child(PROGRAM, model, limits, limits.delegate)


def run_child(program: str, stdin: bytes, limits: Limits, *words: str) -> Outcome:
    """Run ``program`` as ``run_trial`` does: ``sys.argv`` holds MiB, CPU seconds, ``words``, paths.

    It gets ``stdin`` as a file, and must take the paths for its ``sys.path``.
    """
    end = time.monotonic() + limits.timeout_s
    try:
        with _as_file(stdin) as file, _started(program, file, limits, words) as process:
            said = _listen(process, end)
            code = process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return Outcome("timeout")
    except OSError as exc:
        return Outcome("unstarted", exc.strerror or str(exc))
    return _judge(code, said)


@contextmanager
def _as_file(content: bytes) -> Iterator[int]:
    """A descriptor to read it from: a nameless file in memory."""
    with open(os.memfd_create("model"), "w+b") as file:
        file.write(content)
        file.seek(0)
        yield file.fileno()


@contextmanager
def _started(
    program: str, stdin: int, limits: Limits, words: Sequence[str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """The child in a process group of its own, all of which is gone when the block ends."""
    package = str(Path(__file__).parent.parent)
    paths = [*(path for path in sys.path if os.path.isabs(path)), package]
    cpu_s = math.ceil(limits.timeout_s) + 1
    words = [str(limits.memory_mb), str(cpu_s), *words]
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program, *words, *paths],
        stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=_environment(), cwd="/", start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _environment() -> dict[str, str]:
    """One thread; and glibc's checking allocator, which ends the child when it finds that something
    was written beyond an allocation, and fills what is allocated and freed with junk. Mutants were
    seen that only crash with it. Systems that have none of it leave it out."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {
        "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1",
        "LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165",
        **kept,
    }  # fmt: skip


def _listen(process: "subprocess.Popen[bytes]", end: float) -> bytes:
    """The last of what the child writes until it closes its output; more is thrown away."""
    said = b""
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)  # type: ignore[arg-type]
    while (left := end - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            chunk = os.read(process.stdout.fileno(), _TAIL)  # type: ignore[union-attr]
            if not chunk:
                return said
            said = (said + chunk)[-_TAIL:]
    raise subprocess.TimeoutExpired(process.args, 0)


def _judge(code: int, said: bytes) -> Outcome:
    if code == -signal.SIGXCPU:
        return Outcome("timeout")
    if b"bad_alloc" in said or b"\nMemoryError" in said:
        return Outcome("memory")
    if code < 0:
        return Outcome("killed", _signal_name(-code))
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return _verdict(code, printable(lines[-1], most=_TAIL) if lines else "it said nothing")


def _verdict(code: int, last: str) -> Outcome:
    """What the child's last line says; anything but its JSON means that it did not get so far."""
    try:
        said = json.loads(last)
    except ValueError:
        return Outcome("broken", last[-200:])
    verdict = said.get("verdict") if isinstance(said, dict) and not code else None
    if verdict == "refused":
        return Outcome("refused", str(said.get("message")), _same_error(said))
    if verdict in ("passed", "memory"):
        return Outcome(verdict, said=said)
    return Outcome("broken", f"exit code {code}")


def _same_error(verdict: dict[str, str]) -> SightpostError:
    """The exception of the child, as one of this process."""
    kind = getattr(errors, str(verdict.get("error")), None)
    if not (isinstance(kind, type) and issubclass(kind, (ModelError, MissingExtra, LibraryError))):
        kind = ModelError
    message, hint = (printable(str(verdict.get(key, ""))) for key in ("message", "hint"))
    return kind(message, hint=hint)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
