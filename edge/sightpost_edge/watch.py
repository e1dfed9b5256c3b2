"""The running device: source, classifier, decider and store composed into one loop."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from .classifier import Classifier, classify
from .decide import Rules, decide
from .records import Prediction
from .sources import Source
from .store import EventStore, StoredEvent


class PredictionSink(Protocol):
    """Anything that takes Predictions, as ``sinks.log.PredictionLog`` does."""

    def write(self, prediction: Prediction) -> None:
        """Keep one Prediction."""


@dataclass(slots=True)
class Tally:
    """Running figures of a watch; times of the last 1,000 frames only, so that it never grows."""

    frames: int = 0
    logged: int = 0
    events: int = 0
    last: str = ""
    began_s: float = field(default_factory=time.monotonic)
    inference_ms: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    at_s: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    @property
    def seconds(self) -> float:
        """Wall seconds since the start."""
        return time.monotonic() - self.began_s

    @property
    def fps(self) -> float:
        """Classified frames per second since the start."""
        return self.frames / max(self.seconds, 1e-9)

    @property
    def recent_fps(self) -> float:
        """Frames per second over the last hundred frames: a slowdown after hours shows."""
        if len(self.at_s) < 2:
            return 0.0
        return (len(self.at_s) - 1) / max(self.at_s[-1] - self.at_s[0], 1e-9)

    def inference_percentile(self, percent: float) -> float:
        """Milliseconds from picture to scores, crop and resize included."""
        return float(np.percentile(self.inference_ms, percent)) if self.inference_ms else 0.0


def watch(
    source: Source,
    classifier: Classifier,
    store: EventStore,
    *,
    rules: Rules,
    nothing: frozenset[str] = frozenset(),
    snapshots: bool = True,
    log: PredictionSink | None = None,
    on_event: Callable[[StoredEvent], None] = lambda event: None,
    on_frame: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Run until the source ends or is closed.

    ``on_event`` is called after the Event is durable: what it prints is an acknowledgement.
    Predictions of a ``nothing`` label are logged like all others but never open an Event.
    """
    tally = Tally()
    seen = _observe(classify(source, classifier), tally, rules.threshold, log, on_frame)
    for event in decide(seen, rules, labels=classifier.labels, nothing=nothing):
        on_event(store.write(event, snapshot=snapshots))
        tally.events += 1
    return tally


def _observe(
    predictions: Iterable[Prediction],
    tally: Tally,
    threshold: float,
    log: PredictionSink | None,
    on_frame: Callable[[Tally], None],
) -> Iterator[Prediction]:
    for prediction in predictions:
        tally.frames += 1
        tally.inference_ms.append(prediction.inference_ms)
        tally.at_s.append(time.monotonic())
        if prediction.score >= threshold:
            tally.last = f"{prediction.label} {prediction.score:.2f}"
            if log is not None:
                log.write(prediction)
                tally.logged += 1
        on_frame(tally)
        yield prediction
