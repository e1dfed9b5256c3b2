"""A new model is opened as a run would and put to work in a child process before anything changes.

What the trial (``trial``) is for a bare graph this is for the whole file: contract, all golden
frames, the novelty's figures, and so many runs that their time can be told.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import trial
from ..container import read_file
from ..errors import ModelError
from ..text import printable

TIMEOUT_S = 30.0
"""A Pi Zero opens a model of 7 MB with six golden frames in about ten."""

PROGRAM = (
    "import sys; memory, cpu, digest, path, *sys.path[:] = sys.argv[1:]; "
    "from sightpost_edge.models.rehearsal_child import main; "
    "main(int(memory), int(cpu), digest, path)"
)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How it went: milliseconds for a picture (the median), and how many golden frames agreed."""

    median_ms: float
    golden: int


def rehearse(path: Path, *, signed_sha256: str = "", timeout_s: float = TIMEOUT_S) -> Rehearsal:
    """Open the Bundle in a child process, recompute all its golden frames, and time it.

    The child may use 256 MiB and eight times the file beyond its libraries, ``timeout_s`` of wall
    and CPU time, leaves no core and writes no file.

    Args:
        path: the model, as a run would be given it.
        signed_sha256: what was signed; another file is refused.
        timeout_s: for all of it.

    Raises:
        ModelError: missing, or why it failed: killed by a signal, too slow, too much memory, or
            refused; for the latter the class is that of the refusal.
        MissingExtra: no TFLite runtime is installed.
    """
    content = read_file(path)
    digest = signed_sha256 or hashlib.sha256(content).hexdigest()
    limits = trial.Limits(timeout_s, trial.memory_for(content))
    del content
    outcome = trial.run_child(PROGRAM, b"", limits, digest, str(path.absolute()))
    if outcome.kind != "passed":
        raise trial.refusal(outcome, limits, what="rehearsal")
    return _told(outcome.said)


def _told(said: Mapping[str, Any]) -> Rehearsal:
    """What the child says, which a hostile model may have written."""
    try:
        told = Rehearsal(float(said["median_ms"]), int(said["golden"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        told = Rehearsal(math.nan, 0)
    if not (0 <= told.median_ms < math.inf and told.golden >= 0):
        raise ModelError(f"the model's rehearsal ended oddly ({printable(str(dict(said)))})")
    return told
