"""Scoring events against what really passed."""

from sightpost_edge.conveyor import Passing
from sightpost_edge.truth import Sighting, score_events


def passing(label: str, centre_s: float) -> Passing:
    return Passing(label, centre_s - 1, centre_s, centre_s + 1)


def seen(label: str, middle_s: float) -> Sighting:
    return Sighting(label, middle_s, middle_s + 0.6)


def test_all_right() -> None:
    """Every passage has its event: precision and recall are 1, the delay is the median."""
    score = score_events([seen("ok", 2.1), seen("scratch", 4.0)],
                         [passing("ok", 2.0), passing("scratch", 4.0)])  # fmt: skip
    assert (score.precision, score.recall, score.matched) == (1.0, 1.0, 2)
    assert abs(score.delay_s - 0.65) < 1e-9


def test_one_event_serves_one_passage() -> None:
    """Two parts close together need two events."""
    score = score_events([seen("ok", 2.2)], [passing("ok", 2.0), passing("ok", 2.4)])
    assert (score.precision, score.recall) == (1.0, 0.5)
    assert score.missed == (1,)


def test_the_wrong_verdict_costs_twice() -> None:
    """A scratch called ok is a missed scratch and a false ok."""
    score = score_events([seen("ok", 2.0)], [passing("scratch", 2.0)])
    assert (score.precision, score.recall) == (0.0, 0.0)
    assert (score.missed, score.false) == ((0,), (0,))


def test_half_a_second_and_no_more() -> None:
    """The tolerance is a border."""
    assert score_events([seen("ok", 2.5)], [passing("ok", 2.0)]).matched == 1
    assert score_events([seen("ok", 2.51)], [passing("ok", 2.0)]).matched == 0


def test_tight_chains_are_matched_completely() -> None:
    """Events shifted by 0.4 s on parts 0.6 s apart: the earliest free one, not the nearest."""
    parts = [passing("ok", 1.0), passing("ok", 1.6), passing("ok", 2.2)]
    events = [seen("ok", 1.4), seen("ok", 2.0), seen("ok", 2.6)]
    assert score_events(events, parts).matched == 3


def test_silence_is_not_precision() -> None:
    """No events where parts passed is 0, not a perfect score; nothing at all is perfect."""
    assert score_events([], [passing("ok", 2.0)]).precision == 0.0
    assert score_events([], []).precision == 1.0
