"""A model as a thing that runs on random pixels, and a child process that tries one first."""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError, SightpostError
from .interpreter import interpreter_class
from .native import quiet_native
from .trial import memory_for
from .trial_child import limit_memory

PROBE_TIMEOUT_S = 180.0
"""A Pi Zero 2 needs seconds for the imports alone; a model this slow is of no use there."""
PROBE_RUNS = 3


@dataclass(frozen=True, slots=True)
class Probed:
    """What a fresh process found out about one model; ``failure`` says why it found nothing.

    ``peak_mb``: resident memory that loading and running added at its peak; ``partitions``: nodes
    that XNNPACK took over; ``nodes``: operations left outside of them.
    """

    peak_mb: float = 0.0
    partitions: int = 0
    nodes: int = 0
    input_type: str = ""
    failure: str = ""


class Loaded:
    """An interpreter with its random inputs, ready to run.

    Raises:
        ModelError: the runtime refuses the file, or its inputs are not numbers.
        MissingExtra: no runtime is installed.
    """

    def __init__(self, model: bytes, threads: int) -> None:
        interpreter_type = interpreter_class()
        try:
            with quiet_native():
                self._interpreter = interpreter_type(model_content=model, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as exc:
            raise ModelError(f"the TFLite runtime refuses it ({_first_line(exc)})") from exc
        rng = np.random.default_rng(0)
        details = self._interpreter.get_input_details()
        self._inputs = {d["index"]: random_input(d["shape"], d["dtype"], rng) for d in details}
        self.input_type = ",".join(np.dtype(d["dtype"]).name for d in details)

    def fill(self) -> None:
        """Set the inputs anew; not part of what is timed."""
        for index, values in self._inputs.items():
            self._interpreter.set_tensor(index, values)

    def run(self) -> None:
        """Invoke the graph once."""
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as exc:
            raise ModelError(f"the TFLite runtime cannot run it ({_first_line(exc)})") from exc

    def operations(self) -> list[dict[str, Any]]:
        """Every node of the prepared graph, delegates included, as the runtime lists them."""
        return list(self._interpreter._get_ops_details())


def random_input(shape: Any, dtype: Any, rng: np.random.Generator) -> NDArray[Any]:
    """Values as a picture would give: -1..1 for floats, all levels for bytes, else 0 and 1."""
    kind = np.dtype(dtype)
    if kind.kind not in "fiub":
        raise ModelError(f"it takes {kind.name} inputs, not numbers")
    values: NDArray[Any] = rng.integers(0, 2, shape)
    if kind.kind == "f":
        values = rng.uniform(-1, 1, shape)
    elif kind.itemsize == 1 and kind.kind != "b":
        info = np.iinfo(kind)
        values = rng.integers(info.min, info.max + 1, shape)
    return values.astype(kind)


def count_nodes(operations: list[dict[str, Any]]) -> tuple[int, int]:
    """Delegate nodes, and operations outside of them.

    LiteRT 2.3 and tflite-runtime 2.14 append one "DELEGATE" node for each partition and keep those
    it replaced in the list. Those are found by walking from a partition's outputs to its inputs.
    """
    delegates = [op for op in operations if op["op_name"] == "DELEGATE"]
    plain = [op for op in operations if op["op_name"] != "DELEGATE"]
    maker = {int(t): op["index"] for op in plain for t in op["outputs"]}
    inputs = {op["index"]: [int(t) for t in op["inputs"]] for op in plain}
    taken: set[int] = set()
    for delegate in delegates:
        border = {int(t) for t in delegate["inputs"]}
        waiting = [int(t) for t in delegate["outputs"]]
        while waiting:
            tensor = waiting.pop()
            node = maker.get(tensor)
            if tensor in border or node is None or node in taken:
                continue
            taken.add(node)
            waiting.extend(inputs[node])
    return len(delegates), len(plain) - len(taken)


def probe(model: bytes) -> Probed:
    """Load and run a model in a process of its own; whatever it does to that is only a failure.

    It may ask for as much memory as in ``trial``: a board must outlive what is measured on it.
    """
    memory_mb = memory_for(model)
    # -P: a numpy.py in the current folder is not ours.
    command = [sys.executable, "-P", "-m", "sightpost_edge.probe", str(memory_mb)]
    try:
        done = subprocess.run(
            command, input=model, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Probed(failure=f"it did not run within {PROBE_TIMEOUT_S:.0f} s")
    if b"bad_alloc" in done.stderr or b"\nMemoryError" in done.stderr:
        return Probed(failure=f"it wants more than {memory_mb} MiB of memory")
    if done.returncode:
        return Probed(failure=_death(done.returncode, done.stderr))
    return Probed(**json.loads(done.stdout.splitlines()[-1]))


def _death(code: int, stderr: bytes) -> str:
    if code < 0:
        memory = ", most likely for want of memory" if -code == signal.SIGKILL else ""
        return f"it kills the process that runs it ({signal.strsignal(-code)}{memory})"
    lines = stderr.decode(errors="replace").strip().splitlines()
    return f"its process ended with code {code} ({lines[-1] if lines else 'no message'})"


def examine(model: bytes, *, before_kb: int) -> Probed:
    """Load and run it here, in a process that has done nothing else.

    Args:
        model: the FlatBuffer, with or without a Bundle's files behind it.
        before_kb: this process's peak before it read ``model``.
    """
    try:
        loaded = Loaded(model, threads=1)
        for _ in range(PROBE_RUNS):
            loaded.fill()
            loaded.run()
    except SightpostError as exc:
        return Probed(failure=str(exc))
    except MemoryError:
        return Probed(failure="not enough memory to load it")
    peak_mb = max(0, peak_kb() - before_kb) / 1024
    partitions, nodes = count_nodes(loaded.operations())
    return Probed(round(peak_mb, 2), partitions, nodes, loaded.input_type)


def peak_kb(*, reset: bool = False) -> int:
    """This process's peak resident memory in KiB; ``reset`` begins a new peak first.

    ``ru_maxrss`` would start at the parent's peak: VmHWM belongs to this process alone.
    """
    if reset:
        with contextlib.suppress(OSError):  # then a peak of the imports may hide a small model
            Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def main() -> None:
    """The child: a model on stdin, MiB it may ask for as argument, one JSON line on stdout."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    interpreter_class()
    limit_memory(int(sys.argv[1]))
    before_kb = peak_kb(reset=True)
    found = examine(sys.stdin.buffer.read(), before_kb=before_kb)
    print(json.dumps(asdict(found)), file=answer)
    answer.close()


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).strip().splitlines()), type(exc).__name__)


if __name__ == "__main__":
    main()
