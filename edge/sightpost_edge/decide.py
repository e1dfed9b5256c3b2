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

from .errors import ConfigError
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
    rival_since: Frame | None = None

    @classmethod
    def begin(cls, frame: Frame, classes: int) -> "_Open":
        """An Event of which only the first Frame is known."""
        return cls(frame, np.zeros(classes), np.zeros(classes), [frame] * classes, frame)


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
    current: _Open | None = None
    frame: Frame | None = None
    for prediction in predictions:
        scores, frame = smooth(prediction) * something, prediction.frame
        if current is not None:
            reason = _closing_reason(current, scores, frame, rules)
            if reason:
                yield _close(current, labels, rules, reason, frame)
                current = None
        if current is None and scores.max(initial=0.0) >= rules.threshold:
            current = _Open.begin(frame, len(labels))
        if current is not None:
            _gather(current, scores, frame, rules)
    if current is not None and frame is not None:
        yield _close(current, labels, rules, "source ended", frame)


class _Smoother:
    """Exponential smoothing in time, not in frames, so that dropped frames change little."""

    def __init__(self, time_constant_s: float) -> None:
        self._time_constant_s = time_constant_s
        self._value: Any = 0.0
        self._at_s: float | None = None

    def __call__(self, prediction: Prediction) -> NDArray[np.float64]:
        now_s = prediction.frame.elapsed_s
        weight = 1.0
        if self._time_constant_s > 0 and self._at_s is not None:
            weight = 1.0 - math.exp(-max(0.0, now_s - self._at_s) / self._time_constant_s)
        self._at_s = now_s
        self._value = self._value + weight * (prediction.scores.astype(np.float64) - self._value)
        return np.asarray(self._value, np.float64)


def _gather(event: _Open, scores: NDArray[np.float64], frame: Frame, rules: Rules) -> None:
    event.totals += scores
    event.frames += 1
    for index in np.flatnonzero(scores > event.best):
        event.best[index] = scores[index]
        event.peaks[index] = frame
    if _alive(scores, rules):
        event.last_alive = frame
    leads = int(scores.argmax())
    if leads == int(event.totals.argmax()) or scores[leads] < rules.threshold:
        event.rival_since = None
    elif event.rival_since is None:
        event.rival_since = frame


def _alive(scores: NDArray[np.float64], rules: Rules) -> bool:
    return bool(scores.max(initial=0.0) >= min(rules.leave, rules.threshold))


def _closing_reason(
    event: _Open, scores: NDArray[np.float64], frame: Frame, rules: Rules
) -> str | None:
    now_s = frame.elapsed_s
    if frame.name != event.started.name:
        return "next photo"
    if now_s - event.last_alive.elapsed_s >= rules.gap_s and not _alive(scores, rules):
        return "left"
    if event.rival_since and now_s - event.rival_since.elapsed_s >= rules.switch_s:
        return "another label took over"
    if now_s - event.started.elapsed_s >= rules.max_s:
        return "still there"
    return None


def _close(
    event: _Open, labels: tuple[str, ...], rules: Rules, reason: str, decided: Frame
) -> Event:
    """The label is the heaviest among those that ever passed the threshold."""
    eligible = np.where(event.best >= rules.threshold, event.totals, -1.0)
    index = int(eligible.argmax())
    return Event(
        label=labels[index],
        score=float(event.best[index]),
        started=event.started,
        ended=event.rival_since or event.last_alive,
        peak=event.peaks[index],
        decided=decided,
        frames=event.frames,
        reason=reason,
    )
