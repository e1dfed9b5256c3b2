"""Decisions: list of Predictions in, list of Events out."""

from collections.abc import Sequence

import numpy as np
import pytest

from sightpost_edge.decide import Rules, decide
from sightpost_edge.errors import ConfigError
from sightpost_edge.records import Event, Prediction
from sightpost_edge.testing import colour, frame

LABELS = ("deer", "empty", "fox")
PIXELS = colour("red", width=2, height=2)


def predictions(
    rows: Sequence[dict[str, float]], *, fps: float = 10.0, names: Sequence[str] = ()
) -> list[Prediction]:
    """One Prediction per row of label scores; "empty" takes what is left."""
    found = []
    for index, row in enumerate(rows):
        scores = np.array([row.get(label, 0.0) for label in LABELS], np.float32)
        scores[1] += max(0.0, 1 - scores.sum())
        best = int(scores.argmax())
        name = names[index] if names else ""
        shot = frame(PIXELS, index=index, elapsed_s=index / fps, name=name)
        found.append(Prediction(shot, LABELS[best], float(scores[best]), scores))
    return found


def events(
    rows: Sequence[dict[str, float]], rules: Rules | None = None, **kw: float
) -> list[Event]:
    rules = rules or Rules(smoothing_s=0)
    return list(decide(predictions(rows, **kw), rules, labels=LABELS, nothing={"empty"}))


FOX, NOTHING, DEER = {"fox": 0.95}, {}, {"deer": 0.95}


def test_one_passage_is_one_event() -> None:
    """A second of fox between seconds of nothing: one event with its times and frames."""
    (event,) = events([*[NOTHING] * 10, *[FOX] * 10, *[NOTHING] * 10])
    assert event.label == "fox"
    assert event.started.elapsed_s == pytest.approx(1.0)
    assert event.ended.elapsed_s == pytest.approx(1.9)
    assert event.decided.elapsed_s == pytest.approx(2.2)
    assert event.score == pytest.approx(0.95)
    assert event.reason == "left"


def test_nothing_never_makes_an_event() -> None:
    """However sure the model is that nothing is there."""
    assert events([NOTHING] * 50) == []


def test_below_the_threshold_is_no_event() -> None:
    """0.79 is not 0.8."""
    assert events([{"fox": 0.79}] * 20) == []
    assert len(events([{"fox": 0.79}] * 20, Rules(threshold=0.78, smoothing_s=0))) == 1


def test_hysteresis_keeps_an_event_together() -> None:
    """Once open, dips that stay above ``leave`` do not split it."""
    rows = [FOX, {"fox": 0.6}] * 10
    assert len(events([*rows, *[NOTHING] * 5])) == 1


def test_a_short_gap_does_not_split() -> None:
    """Two blank frames (0.2 s) are bridged, six (0.6 s) are not."""
    assert len(events([*[FOX] * 5, *[NOTHING] * 2, *[FOX] * 5])) == 1
    assert len(events([*[FOX] * 5, *[NOTHING] * 6, *[FOX] * 5])) == 2


def test_smoothing_ignores_a_single_flash() -> None:
    """One frame of noise at 10 fps does not reach the threshold."""
    rules = Rules(smoothing_s=0.2)
    assert events([*[NOTHING] * 5, FOX, *[NOTHING] * 5], rules) == []
    assert len(events([*[NOTHING] * 5, *[FOX] * 10, *[NOTHING] * 9], rules)) == 1


def test_smoothing_is_in_time_not_in_frames() -> None:
    """At 1 fps the same constant hardly smooths: one frame is a whole second of evidence."""
    rules = Rules(smoothing_s=0.2)
    assert len(events([NOTHING, FOX, NOTHING, NOTHING], rules, fps=1.0)) == 1


def test_the_heavier_label_wins_the_event() -> None:
    """A few frames of deer inside a fox's passage do not make a second event or rename it."""
    (event,) = events([*[FOX] * 6, *[DEER] * 3, *[FOX] * 6, *[NOTHING] * 5])
    assert event.label == "fox"


def test_another_subject_opens_its_own_event() -> None:
    """A deer that stays for longer than ``switch_s`` is not part of the fox."""
    found = events([*[FOX] * 10, *[DEER] * 20, *[NOTHING] * 5])
    assert [event.label for event in found] == ["fox", "deer"]
    assert found[0].reason == "another label took over"
    assert found[0].ended.elapsed_s == pytest.approx(0.9)
    assert found[1].started.elapsed_s == pytest.approx(1.0)
    assert found[0].frames + found[1].frames >= 30


def test_a_subject_that_stays_is_reported_in_time() -> None:
    """After ``max_s`` an event is closed, and the next one begins."""
    found = events([FOX] * 50, Rules(smoothing_s=0, max_s=2.0))
    assert [event.reason for event in found] == ["still there", "still there", "source ended"]


def test_the_end_of_the_source_closes_the_event() -> None:
    """A clip that ends with the fox in view loses nothing."""
    (event,) = events([*[NOTHING] * 3, *[FOX] * 4])
    assert event.reason == "source ended"


def test_photos_stand_for_themselves() -> None:
    """In a folder two photos of foxes are two events, not one long one."""
    rows = predictions([FOX, FOX, NOTHING, DEER], fps=1.0, names=["a", "b", "c", "d"])
    found = list(decide(rows, Rules(), labels=LABELS, nothing={"empty"}))
    assert [(e.label, e.started.name) for e in found] == [("fox", "a"), ("fox", "b"), ("deer", "d")]


def test_the_peak_is_the_best_frame() -> None:
    """The snapshot shows the moment the model was most certain."""
    rows = [{"fox": 0.81}, {"fox": 0.9}, {"fox": 0.97}, {"fox": 0.85}, *[NOTHING] * 5]
    (event,) = events(rows)
    assert event.peak.index == 2
    assert event.score == pytest.approx(0.97)


def test_a_new_photo_starts_afresh() -> None:
    """Smoothing goes over time, not from one photo to the next."""
    rows = predictions([FOX, {"fox": 0.81}, FOX], fps=1.0, names=["a", "b", "c"])
    found = list(decide(rows, Rules(smoothing_s=5.0), labels=LABELS, nothing={"empty"}))
    assert [event.started.name for event in found] == ["a", "b", "c"]


def test_no_predictions_no_events() -> None:
    """An empty source is not an error."""
    assert events([]) == []


@pytest.mark.parametrize(
    "bad", [{"threshold": 0.0}, {"threshold": 1.1}, {"leave": 0.0}, {"gap_s": -1.0}]
)
def test_impossible_rules_are_refused(bad: dict[str, float]) -> None:
    """At the call, not at the first frame."""
    with pytest.raises(ConfigError):
        Rules(**bad)


def test_unknown_labels_are_refused_at_the_call() -> None:
    """``decide`` itself raises; nothing has been iterated yet."""
    with pytest.raises(ConfigError, match="badger"):
        decide([], Rules(), labels=LABELS, nothing={"badger"})
