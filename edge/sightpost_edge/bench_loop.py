"""How well this machine keeps up with a camera: the loop of ``sightpost run`` without a store."""

import time
from collections.abc import Callable

import numpy as np

from .bench_report import Loop
from .classifier import BundleClassifier
from .look import look
from .probe import peak_kb
from .sources import Source

WARM_UP = 5
"""The first Predictions touch memory that later ones find ready."""


def measure_loop(
    classifier: BundleClassifier,
    source: Source,
    *,
    seconds: float,
    progress: Callable[[str], None] = lambda text: None,
) -> Loop:
    """Classify what the source gives for so long, every Frame anew, and say what it cost.

    Args:
        classifier: of the model to measure.
        source: closed in the end; a recording may be over sooner.
        seconds: wall time after the first Predictions.
        progress: is told what is going on, a few words at a time.
    """
    latency_ms: list[float] = []
    classify_ms: list[float] = []
    predictions = look(source, classifier)
    began_s, spent_s, dropped = time.monotonic(), time.process_time(), 0
    for number, prediction in enumerate(predictions):
        if number == WARM_UP:
            began_s, spent_s, dropped = time.monotonic(), time.process_time(), source.dropped
        latency_ms.append((time.monotonic_ns() - prediction.frame.monotonic_ns) / 1e6)
        classify_ms.append(prediction.inference_ms)
        took_s = time.monotonic() - began_s
        progress(f"{source.uri}: {number + 1} pictures in {took_s:.0f} s")
        if number > WARM_UP and took_s >= seconds:
            break
    took_s, spent_s = time.monotonic() - began_s, time.process_time() - spent_s
    source.close()
    predictions.close()
    measured = max(1, len(latency_ms) - WARM_UP)
    latency = np.percentile(latency_ms[WARM_UP:] or [0.0], (50, 95))
    return Loop(
        model=classifier.bundle.contract.name or classifier.bundle.path.stem,
        source=source.uri,
        threads=classifier.bundle.network.threads,
        decisions=measured,
        per_second=round(measured / max(took_s, 1e-9), 2),
        latency_median_ms=round(float(latency[0]), 2),
        latency_p95_ms=round(float(latency[1]), 2),
        classify_median_ms=round(float(np.median(classify_ms[WARM_UP:] or [0.0])), 2),
        cpu_ms=round(spent_s * 1000 / measured, 2),
        dropped=source.dropped - dropped,
        peak_mb=round(peak_kb() / 1024, 1),
    )
