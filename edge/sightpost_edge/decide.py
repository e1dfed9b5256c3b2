"""From Predictions to Events: smoothing, thresholds, hysteresis - pure, list in, list out.

    list(decide(predictions, Rules(threshold=0.8), labels=("empty", "fox"), nothing={"empty"}))

One thing passing in front of the camera is one Event, even where single frames disagree about it:
the Event's label is the one with the largest smoothed score summed over the time it was there.
"""

import math
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError, SightpostError
from .records import Event, Frame, Prediction


@dataclass(frozen=True, slots=True)
class Rules:
    """When Predictions become an Event; times are in seconds of the source's own clock.

    ``threshold``: smoothed score at which an Event opens. ``leave``: below it (or below the
    threshold, where that is lower) for ``gap_s`` the Event closes. ``smoothing_s``: time constant
    of the exponential smoothing, 0 switches it off. ``switch_s``: another label must lead this
    long, above ``threshold``, to end the Event and open its own. ``max_s``: a subject that stays
    is reported this often.
    """

    threshold: float = 0.8
    leave: float = 0.5
    smoothing_s: float = 0.15
    gap_s: float = 0.3
    switch_s: float = 0.8
    max_s: float = 30.0

    def __post_init__(self) -> None:
        if not (0 < self.threshold <= 1 and 0 < self.leave <= 1):
            raise ConfigError(
                f"threshold ({self.threshold}) and leave ({self.leave}) must lie in (0, 1]"
            )
        for name in ("smoothing_s", "gap_s", "switch_s", "max_s"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"rules: {name} must not be negative")


@dataclass(slots=True)
class _Open:
    """The Event being gathered."""

    started: Frame
    totals: NDArray[np.float64]
    best: NDArray[np.float64]
    peaks: list[Frame]
    last_alive: Frame
    frames: int = 0

    @classmethod
    def begin(cls, frame: Frame, classes: int) -> "_Open":
        """An Event of which only the first Frame is known."""
        return cls(frame, np.zeros(classes), np.zeros(classes), [frame] * classes, frame)

    @property
    def leader(self) -> int:
        """Index of the heaviest label so far."""
        return int(self.totals.argmax())

    def gather(self, scores: NDArray[np.float64], frame: Frame, *, alive: bool) -> None:
        """Take one more Frame in."""
        self.totals += scores
        self.frames += 1
        self._raise_best(scores, [frame] * len(scores))
        if alive:
            self.last_alive = frame

    def absorb(self, other: "_Open") -> None:
        """Take a later stretch in: it was no Event of its own after all."""
        self.totals += other.totals
        self.frames += other.frames
        self._raise_best(other.best, other.peaks)
        self.last_alive = other.last_alive

    def _raise_best(self, scores: NDArray[np.float64], frames: list[Frame]) -> None:
        for index in np.flatnonzero(scores > self.best):
            self.best[index] = scores[index]
            self.peaks[index] = frames[index]


def decide(
    predictions: Iterable[Prediction],
    rules: Rules,
    *,
    labels: tuple[str, ...],
    nothing: Set[str] = frozenset(),
) -> Iterator[Event]:
    """Gather Predictions into Events; each Event is yielded when it closes.

    Args:
        predictions: in time order; their ``scores`` are in the order of ``labels``.
        rules: see ``Rules``.
        labels: the classifier's labels.
        nothing: labels that mean "nothing is there"; they never make an Event.
    """
    if unknown := set(nothing) - set(labels):
        raise ConfigError(f"rules name labels the model does not have: {sorted(unknown)}")
    return _decide(predictions, rules, labels, nothing)


def _decide(
    predictions: Iterable[Prediction], rules: Rules, labels: tuple[str, ...], nothing: Set[str]
) -> Iterator[Event]:
    something = np.array([label not in nothing for label in labels])
    smooth = _Smoother(rules.smoothing_s)
    gathering = _Gathering(rules, labels)
    try:
        for prediction in predictions:
            yield from gathering.step(smooth(prediction) * something, prediction.frame)
    except SightpostError:
        # What was seen until now is not lost with the camera.
        yield from gathering.close("source lost")
        raise
    yield from gathering.close("source ended")


class _Gathering:
    """The Event that is open and, within it, the stretch in which another label leads."""

    def __init__(self, rules: Rules, labels: tuple[str, ...]) -> None:
        self._rules, self._labels = rules, labels
        self._current: _Open | None = None
        self._rival: _Open | None = None
        self._now: Frame | None = None

    def step(self, scores: NDArray[np.float64], frame: Frame) -> Iterator[Event]:
        self._now = frame
        top = float(scores.max(initial=0.0))
        alive = top >= min(self._rules.leave, self._rules.threshold)
        if reason := self._over(frame, alive=alive):
            yield from self.close(reason)
        if self._current is None and top >= self._rules.threshold:
            self._current = _Open.begin(frame, len(scores))
        if self._current is None:
            return
        if self._challenged(scores):
            self._rival = self._rival or _Open.begin(frame, len(scores))
            self._rival.gather(scores, frame, alive=alive)
            if frame.elapsed_s - self._rival.started.elapsed_s >= self._rules.switch_s:
                rival, self._rival = self._rival, None
                yield from self.close("another label took over")
                self._current = rival
            return
        self._settle()
        self._current.gather(scores, frame, alive=alive)

    def close(self, reason: str) -> Iterator[Event]:
        """Yield the open Event, if there is one."""
        self._settle()
        if self._current is not None and self._now is not None:
            yield _event(self._current, self._labels, self._rules, reason, self._now)
        self._current = None

    def _challenged(self, scores: NDArray[np.float64]) -> bool:
        """Whether a label other than the Event's leads, above the threshold."""
        if self._current is None or not self._current.frames:
            return False
        leads = int(scores.argmax())
        return leads != self._current.leader and scores[leads] >= self._rules.threshold

    def _settle(self) -> None:
        """A rival that gave way was part of the Event."""
        if self._current is not None and self._rival is not None:
            self._current.absorb(self._rival)
        self._rival = None

    def _over(self, frame: Frame, *, alive: bool) -> str | None:
        if self._current is None:
            return None
        last = (self._rival or self._current).last_alive
        if frame.name != self._current.started.name:
            return "next photo"
        if not alive and frame.elapsed_s - last.elapsed_s >= self._rules.gap_s:
            return "left"
        if frame.elapsed_s - self._current.started.elapsed_s >= self._rules.max_s:
            return "still there"
        return None


class _Smoother:
    """Exponential smoothing in time, not in frames; a new photo (another name) starts afresh."""

    def __init__(self, time_constant_s: float) -> None:
        self._time_constant_s = time_constant_s
        self._value: Any = 0.0
        self._last: Frame | None = None

    def __call__(self, prediction: Prediction) -> NDArray[np.float64]:
        frame, last = prediction.frame, self._last
        weight = 1.0
        if self._time_constant_s > 0 and last is not None and last.name == frame.name:
            passed_s = max(0.0, frame.elapsed_s - last.elapsed_s)
            weight = 1.0 - math.exp(-passed_s / self._time_constant_s)
        self._last = frame
        self._value = self._value + weight * (prediction.scores.astype(np.float64) - self._value)
        return np.asarray(self._value, np.float64)


def _event(
    event: _Open, labels: tuple[str, ...], rules: Rules, reason: str, decided: Frame
) -> Event:
    """The label is the heaviest among those that ever passed the threshold."""
    eligible = np.where(event.best >= rules.threshold, event.totals, -1.0)
    index = int(eligible.argmax())
    return Event(
        label=labels[index],
        score=float(event.best[index]),
        started=event.started,
        ended=event.last_alive,
        peak=event.peaks[index],
        decided=decided,
        frames=event.frames,
        reason=reason,
    )
