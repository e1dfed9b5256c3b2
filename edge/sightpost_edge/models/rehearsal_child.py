"""The child of ``rehearsal``: shuts itself in, opens the Bundle, runs it, says how that went."""

import statistics
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..bundle import Bundle
from ..classifier import BundleClassifier, refuse_not_finite
from ..container import read_file, read_members
from ..errors import ModelError
from ..interpreter import interpreter_class
from ..pixels import decode, fit
from ..records import Pixels
from ..trial_child import pictures, say, shut_in

RUNS = 36
LEAST_RUNS = 6
ENOUGH_S = 5.0
"""A slow model is not run more often than ``LEAST_RUNS`` once so much time is spent."""


def main(memory_mb: int, cpu_s: int, digest: str, path: str) -> None:
    """Rehearse the Bundle with that digest within ``memory_mb`` MiB beyond what is in use now."""
    say(lambda: _rehearsed(memory_mb, cpu_s, digest, Path(path)))


def _rehearsed(memory_mb: int, cpu_s: int, digest: str, path: Path) -> dict[str, Any]:
    interpreter_class()
    cv2.setNumThreads(1)  # each thread reserves address space, which is what is limited
    shut_in(memory_mb, cpu_s)
    bundle = Bundle.open(path, signed_sha256=digest, every_golden=True)
    median_ms = _timed(BundleClassifier(bundle), list(_inputs(bundle)))
    golden = len(bundle.golden)
    del bundle  # frees what was allocated, which is when an overrun of the heap shows
    return {"verdict": "passed", "median_ms": median_ms, "golden": golden}


def _inputs(bundle: Bundle) -> Iterator[Pixels]:
    """What the model is run on: plain pictures of every grey level, and the golden frames."""
    yield from pictures(bundle.network.input_shape)
    files = read_members(read_file(bundle.path))
    for golden in bundle.contract.golden:
        yield fit(decode(files[golden.member]), bundle.contract.geometry)


def _timed(classifier: BundleClassifier, inputs: list[Pixels]) -> float:
    """The median of many runs in milliseconds; scores and embedding must be finite in each."""
    began, took_ms = time.perf_counter(), []
    for fitted in islice(cycle(inputs), max(RUNS, len(inputs))):
        before = time.perf_counter()
        outputs = classifier.answer(fitted)
        classifier.novelty(outputs)
        took_ms.append((time.perf_counter() - before) * 1000)
        refuse_not_finite(outputs.scores)
        if outputs.embedding is not None and not np.isfinite(outputs.embedding).all():
            raise ModelError("the model gives an embedding that is not finite")
        if len(took_ms) >= LEAST_RUNS and time.perf_counter() - began > ENOUGH_S:
            break
    return statistics.median(took_ms)
