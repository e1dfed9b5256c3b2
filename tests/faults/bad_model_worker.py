"""``sightpost run`` with models that are as bad as their names say; each look is written down.

Words: the folder of the notes, then those of the command line.
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sightpost_edge import cli
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.errors import ModelError
from sightpost_edge.records import Frame, Prediction

SLOW_S = 0.1


def spoilt(notes: Path, whole: Any) -> Any:
    def classify(self: BundleClassifier, frame: Frame, *given: Any, **named: Any) -> Prediction:
        kind = self.bundle.contract.name
        with (notes / "looks").open("a") as file:
            file.write(f"{time.monotonic()} {kind}\n")
        if kind == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if kind == "hang":
            time.sleep(3600)
        if kind == "nan":
            raise ModelError("the model gives scores that are not finite")
        began_s = time.perf_counter()
        found: Prediction = whole(self, frame, *given, **named)
        if kind == "slow":
            time.sleep(SLOW_S)
            took_ms = (time.perf_counter() - began_s) * 1000
            return replace(found, inference_ms=took_ms)
        if kind == "flat":
            scores = np.array([0.98, 0.01, 0.01], np.float32)
            return replace(found, label=self.labels[0], score=0.98, scores=scores)
        return found

    return classify


if __name__ == "__main__":
    place = Path(sys.argv.pop(1))
    BundleClassifier.classify = spoilt(place, BundleClassifier.classify)  # type: ignore[method-assign]
    cli.main()
