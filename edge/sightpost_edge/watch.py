"""The running device: Predictions become Events, Events are kept and drive what is connected."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from .decide import Rules, Step, decide
from .records import Event, Prediction


class PredictionSink(Protocol):
    """Anything that takes Predictions, as ``sinks.log.PredictionLog`` does."""

    def write(self, prediction: Prediction) -> None:
        """Keep one Prediction."""


class EventSink(Protocol):
    """Keeps Events and says when they are durable, as ``store.Keeper`` does."""

    def put(self, event: Event, *, snapshot: bool) -> None:
        """Have an Event kept; it may be some time before it is."""

    def deliver(self) -> None:
        """Pass on what has become durable since the last call."""

    def flush(self) -> None:
        """Wait until all that was put is durable, unless the disk is full."""

    def close(self) -> None:
        """Keep all that was put; ``deliver`` still passes it on."""


class Onlooker(Protocol):
    """Anything else that watches along, as ``keepsakes.Keepsakes`` does."""

    def see(self, prediction: Prediction) -> None:
        """The next Prediction."""

    def step(self, step: Step) -> None:
        """What the rules said."""

    def finish(self) -> None:
        """The Predictions have ended, and all Events are delivered; the keeper is still open."""


class Actuator(Protocol):
    """Anything that acts on Events, as ``sinks.gpio.Pins`` does."""

    def beat(self) -> None:
        """The loop is alive; called for every Prediction."""

    def opened(self, label: str, *, at_ns: int | None = None, region: str = "") -> None:
        """An Event opened, or is called something else by now."""

    def closed(self, label: str, *, at_ns: int | None = None, region: str = "") -> None:
        """An Event closed, and ``label`` is its verdict."""

    def withdrawn(self, region: str | None = None) -> None:
        """What was open is no Event after all, or nothing can be seen any more (None: anywhere)."""


@dataclass(slots=True)
class Tally:
    """Running figures of a watch; times of the last 1,000 looks only, so that it never grows.

    ``looks`` counts Predictions made by the model, ``still`` those carried on because nothing had
    moved. ``reasons`` counts what the rules said, by name; ``open`` is what the Event open in each
    region would be called now; ``withheld`` counts Frames on which nothing could be seen, by fault.
    """

    looks: int = 0
    still: int = 0
    logged: int = 0
    events: int = 0
    last: str = ""
    reasons: Counter[str] = field(default_factory=Counter)
    open: dict[str, str] = field(default_factory=dict)
    withheld: Counter[str] = field(default_factory=Counter)
    began_s: float = field(default_factory=time.monotonic)
    inference_ms: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    latency_ms: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    at_s: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    @property
    def frames(self) -> int:
        """All Predictions, looked at or still."""
        return self.looks + self.still

    @property
    def seconds(self) -> float:
        """Wall seconds since the start."""
        return time.monotonic() - self.began_s

    @property
    def fps(self) -> float:
        """Frames per second since the start."""
        return self.frames / max(self.seconds, 1e-9)

    @property
    def recent_fps(self) -> float:
        """Frames per second over the last hundred: a slowdown after hours shows."""
        if len(self.at_s) < 2:
            return 0.0
        return (len(self.at_s) - 1) / max(self.at_s[-1] - self.at_s[0], 1e-9)

    def count(self, prediction: Prediction) -> None:
        """Take one Prediction in."""
        self.at_s.append(time.monotonic())
        self.latency_ms.append((time.monotonic_ns() - prediction.frame.monotonic_ns) / 1e6)
        if prediction.carried:
            self.still += 1
            return
        self.looks += 1
        self.inference_ms.append(prediction.inference_ms)

    def inference_percentile(self, percent: float) -> float:
        """Milliseconds from picture to scores, decoding included."""
        return float(np.percentile(self.inference_ms, percent)) if self.inference_ms else 0.0

    def latency_percentile(self, percent: float) -> float:
        """Milliseconds from the moment a Frame was taken to its Prediction."""
        return float(np.percentile(self.latency_ms, percent)) if self.latency_ms else 0.0


def watch(
    predictions: Iterable[Prediction],
    keeper: EventSink,
    *,
    rules: Rules,
    labels: tuple[str, ...],
    nothing: frozenset[str] = frozenset(),
    multi_label: bool = False,
    snapshots: bool = True,
    log: PredictionSink | None = None,
    pins: Actuator | None = None,
    tally: Tally | None = None,
    beside: Onlooker | None = None,
    in_force: Callable[[], Rules | None] | None = None,
    on_frame: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Have the Events kept until the Predictions end; ``finish`` closes the keeper.

    ``in_force`` may change the rules meanwhile; see ``decide``. Predictions of a ``nothing`` label
    are logged like all others but never open an Event.
    """
    tally = tally or Tally()
    bars = _Bars(rules, labels, in_force)

    def on_seen(tally: Tally, prediction: Prediction) -> None:
        keeper.deliver()
        if beside is not None:
            beside.see(prediction)
        on_frame(tally)

    def on_step(step: Step) -> None:
        acting.step(step)
        if beside is not None:
            beside.step(step)

    seen = _observe(predictions, tally, bars, log, pins, on_seen)
    acting = Acting(pins, tally, gap_s=rules.gap_s)
    for event in decide(
        seen, rules, labels=labels, nothing=nothing, multi_label=multi_label,
        on_step=on_step, in_force=in_force,
    ):  # fmt: skip
        tally.events += 1
        keeper.put(event, snapshot=snapshots)
    return tally


def finish(keeper: EventSink, beside: Onlooker | None) -> None:
    """What was seen until now is kept and told, whatever ended the Predictions."""
    try:
        keeper.flush()
        keeper.deliver()
        if beside is not None:
            beside.finish()
    finally:
        keeper.close()
        keeper.deliver()


class Acting:
    """Counts what the rules say and passes on to the pins what they are about, before any disk."""

    def __init__(self, pins: Actuator | None, tally: Tally, *, gap_s: float = 0.0) -> None:
        self._pins, self._tally = pins, tally
        self._gap_ns = round(gap_s * 1e9)

    def step(self, step: Step) -> None:
        """Take one Step of the rules."""
        self._tally.reasons[step.reason] += 1
        before = self._tally.open.pop(step.region, "")
        if step.open:
            self._tally.open[step.region] = step.open
        if self._pins is None:
            return
        at_ns, region = step.frame.monotonic_ns, step.region
        if step.event is not None:
            # After a blind time the closing Frame is fresh, and what it closes long gone.
            over_ns = step.event.ended.monotonic_ns + self._gap_ns
            self._pins.closed(step.event.label, at_ns=min(at_ns, over_ns), region=region)
        elif step.closed:
            self._pins.withdrawn(region)
        if step.closed:
            self._pins.beat()  # levels end now, not when the disk has taken the Event
        if step.open and (step.closed or step.open != before):
            self._pins.opened(step.open, at_ns=at_ns, region=region)


class _Bars:
    """The score from which a label's Predictions are logged, by the rules of the moment."""

    def __init__(
        self, rules: Rules, labels: tuple[str, ...], in_force: Callable[[], Rules | None] | None
    ) -> None:
        self._labels, self._in_force = labels, in_force or (lambda: rules)
        self._follow(rules)

    def of(self, label: str) -> float:
        """Of one label; while disarmed what held before."""
        rules = self._in_force()
        if rules is not None and rules is not self._rules:
            self._follow(rules)
        return self._bars[label]

    def _follow(self, rules: Rules) -> None:
        self._rules = rules
        self._bars = {label: rules.of(label).threshold or 0.0 for label in self._labels}


def _observe(
    predictions: Iterable[Prediction],
    tally: Tally,
    bars: _Bars,
    log: PredictionSink | None,
    pins: Actuator | None,
    on_seen: Callable[[Tally, Prediction], None],
) -> Iterator[Prediction]:
    for prediction in predictions:
        tally.count(prediction)
        if pins is not None:
            pins.beat()
        if not prediction.carried and prediction.score >= bars.of(prediction.label):
            tally.last = f"{prediction.label} {prediction.score:.2f}"
            if log is not None:
                log.write(prediction)
                tally.logged += 1
        on_seen(tally, prediction)
        yield prediction
