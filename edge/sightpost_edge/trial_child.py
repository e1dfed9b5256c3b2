"""The child of ``trial``: shuts itself in, opens the model on its standard input, says how it went.

Its last line of output is JSON: ``verdict`` is "passed", "memory" or "refused" (then ``error``,
``message`` and ``hint`` are those of the exception). Any other end means that the model broke it.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import SightpostError
from .interpreter import Network, interpreter_class

OPEN_FILES = 32
OUTPUT_BYTES = 64 * 1024
"""For a file: enough for an emulator's copy of /proc/cpuinfo, too little to fill a disk."""
NICE = 5
MAX_MESSAGE = 500
_PR_SET_NO_NEW_PRIVS = 38


def main(memory_mb: int, cpu_s: int, delegate: str) -> None:
    """Try the model on standard input within ``memory_mb`` MiB beyond what is in use by now."""
    say(lambda: _tried(memory_mb, cpu_s, delegate))


def say(work: Callable[[], dict[str, Any]]) -> None:
    """Do the work, say how it went, and end this process."""
    try:
        said = work()
    except MemoryError:
        said = {"verdict": "memory"}
    except SightpostError as exc:
        said = _refused(type(exc).__name__, str(exc), exc.hint)
    except Exception as exc:  # noqa: BLE001 - whatever a hostile file makes the runtime raise
        why = str(exc).strip().splitlines() or [type(exc).__name__]
        said = _refused("ModelError", f"the TFLite runtime refuses this file ({why[0]})", "")
    os.write(1, b"\n" + json.dumps(said).encode() + b"\n")
    os._exit(0)  # what a broken library does at its own end is of no interest any more


def _refused(error: str, message: str, hint: str) -> dict[str, str]:
    cut = slice(0, MAX_MESSAGE)
    return {"verdict": "refused", "error": error, "message": message[cut], "hint": hint[cut]}


def _tried(memory_mb: int, cpu_s: int, delegate: str) -> dict[str, str]:
    interpreter_class()
    shut_in(memory_mb, cpu_s)
    with open(0, "rb") as file:
        model = file.read()
    network = Network(model, delegate=delegate)
    for pixels in pictures(network.input_shape):
        network.scores(pixels, mean=127.5, std=127.5)
    del network  # frees what was allocated, which is when an overrun of the heap shows
    return {"verdict": "passed"}


def pictures(shape: tuple[int, int]) -> Any:
    """Black, mid-grey, and all grey levels, (height, width, 3) uint8: an index made from pixels
    must stay inside its table for each of them."""
    yield np.zeros((*shape, 3), np.uint8)
    yield np.full((*shape, 3), 128, np.uint8)
    yield np.resize(np.arange(256, dtype=np.uint8), (*shape, 3))


def shut_in(memory_mb: int, cpu_s: int) -> None:
    """Limits for this process and whatever it starts; one that the system refuses is left out.

    A service under ``SystemCallFilter=~@resources`` may not change its priority, for one.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, OUTPUT_BYTES)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_CPU, cpu_s)
    limit_memory(memory_mb)
    for step in (_no_new_privileges, _first_to_go, lambda: os.nice(NICE)):
        try:
            step()
        except (OSError, AttributeError):
            continue


def limit_memory(memory_mb: int) -> None:
    """This process may ask for so many MiB beyond what is in use by now."""
    _limit(resource.RLIMIT_AS, _address_space() + memory_mb * 2**20)


def _limit(what: int, value: int) -> None:
    try:
        resource.setrlimit(what, (value, value))
    except (OSError, ValueError):
        print(f"limit {what} could not be set", file=sys.stderr)


def _address_space() -> int:
    """Bytes in use; the libraries and their reserves differ from board to board."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _no_new_privileges() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _first_to_go() -> None:
    """Where memory runs out all the same, the kernel shall end this process before any other."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
