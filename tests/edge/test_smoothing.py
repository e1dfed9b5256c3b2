"""Smoothing over time: the same seconds weigh the same, at whatever rate frames come."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightpost_edge.smoothing import SMOOTHERS, Exponential, Majority, Row, Smoother

NOBODY, DEER, FOX = range(3)


def row(deer: float = 0.0, fox: float = 0.0, nobody: float = 0.0) -> Row:
    return np.array([nobody, deer, fox])


def play(smooth: Smoother, *shots: tuple[float, Row]) -> Row:
    """The smoothed row after the last of (seconds passed, row); the first starts afresh."""
    smoothed = smooth(shots[0][1], None)
    for passed_s, scores in shots[1:]:
        smoothed = smooth(scores, passed_s)
    return smoothed


@pytest.mark.parametrize("name", SMOOTHERS)
def test_none_means_none(name: str) -> None:
    """0 s of smoothing gives each frame as it is."""
    smoothed = play(SMOOTHERS[name](0.0), (0, row(fox=0.9)), (0.1, row(deer=0.4, fox=0.3)))
    assert smoothed.tolist() == [0, 0.4, 0.3]


@pytest.mark.parametrize("name", SMOOTHERS)
def test_a_break_starts_afresh(name: str) -> None:
    """Nothing of the fox is left."""
    smooth = SMOOTHERS[name](1.0)
    play(smooth, (0, row(fox=0.9)), (0.5, row(fox=0.9)))
    assert smooth(row(deer=0.8), None).tolist() == [0, 0.8, 0]


@pytest.mark.parametrize("name", SMOOTHERS)
def test_frames_of_one_instant_weigh_nothing(name: str) -> None:
    """The first one stands."""
    assert play(SMOOTHERS[name](1.0), (0, row(fox=0.9)), (0, row(deer=0.9)))[FOX] == 0.9


@pytest.mark.parametrize("name", SMOOTHERS)
@pytest.mark.parametrize("fps", [3, 10, 240])
def test_a_second_is_a_second_at_any_rate(name: str, fps: int) -> None:
    """A second of fox after long nothing, seen 3 or 240 times, comes out the same."""
    shots = [(0.0, row(nobody=1.0)), *[(1 / fps, row(fox=0.9))] * fps]
    wanted = {"exponential": 0.9 * (1 - math.exp(-1 / 2.5)), "majority": 0.9 * 1 / 2.5}[name]
    assert play(SMOOTHERS[name](2.5), *shots)[FOX] == pytest.approx(wanted)


def test_exponential_forgets_by_the_time_constant() -> None:
    """37 % after one, 14 % after two."""
    shots = [(0.0, row(fox=1.0)), (0.5, row())]
    assert play(Exponential(0.5), *shots)[FOX] == pytest.approx(0.368, abs=1e-3)
    assert play(Exponential(0.5), *shots, (0.5, row()))[FOX] == pytest.approx(0.135, abs=1e-3)


def test_the_majority_outvotes_a_surer_flash() -> None:
    """0.3 s of deer at 0.99 within a second of fox at 0.85: the fox has its own mean."""
    shots = [(0.0, row(fox=0.85)), (0.7, row(fox=0.85)), (0.3, row(deer=0.99))]
    smoothed = play(Majority(1.0), *shots)
    assert smoothed[FOX] == pytest.approx(0.85)
    assert smoothed[DEER] == pytest.approx(0.3 * 0.99)


def test_half_is_no_majority() -> None:
    """Two labels with half of the window each have half of their score each."""
    smoothed = play(Majority(1.0), (0.0, row(fox=0.9)), (0.5, row(deer=0.8)))
    assert smoothed.tolist() == pytest.approx([0, 0.4, 0.45])


def test_nothing_has_a_vote() -> None:
    """A fox that comes second to "empty" has not led."""
    smoothed = play(Majority(1.0), (0.0, row(fox=0.9)), (0.8, row(fox=0.4, nobody=0.6)))
    assert smoothed.tolist() == pytest.approx([0.6, 0, 0.18])


def test_a_vote_expires_in_part() -> None:
    """Of a fox's second 0.6 s are still in the window 0.4 s later."""
    smoothed = play(Majority(1.0), (0.0, row(fox=0.9)), (0.4, row(deer=0.8)))
    assert smoothed[FOX] == pytest.approx(0.9)
    assert smoothed[DEER] == pytest.approx(0.4 * 0.8)


def test_a_long_gap_leaves_the_last_frame_alone() -> None:
    """What came before a minute's silence is no evidence."""
    for smooth in (Exponential(0.5), Majority(0.5)):
        assert play(smooth, (0.0, row(fox=0.9)), (60.0, row(deer=0.8)))[DEER] == pytest.approx(0.8)


SCORES = st.tuples(*[st.floats(0, 1, width=32)] * 3)
PASSED = st.one_of(st.none(), st.floats(0, 1e9), st.floats(0, 1e-9), st.floats(0, 0.2))


@pytest.mark.parametrize("name", SMOOTHERS)
@settings(deadline=None)
@given(smoothing_s=st.floats(0, 1e6), shots=st.lists(st.tuples(PASSED, SCORES), max_size=60))
def test_scores_stay_scores(
    name: str, smoothing_s: float, shots: list[tuple[float | None, tuple[float, ...]]]
) -> None:
    """From 0 to 1 and finite, with any times and any window, down to the smallest."""
    smooth = SMOOTHERS[name](smoothing_s)
    for passed_s, scores in shots:
        given_row = np.array(scores)
        smoothed = smooth(given_row, passed_s)
        assert np.isfinite(smoothed).all()
        assert smoothed.min() >= -1e-12
        assert smoothed.max() <= 1 + 1e-12
        assert given_row.tolist() == list(scores)


def test_a_long_run_adds_up_no_error() -> None:
    """30,000 frames of odd lengths later the majority is what it was."""
    smooth = Majority(0.5)
    smooth(row(fox=0.9), None)
    for i in range(30_000):
        smoothed = smooth(row(fox=0.9), 0.03 + (i % 7) * 0.001)
    assert smoothed.tolist() == pytest.approx([0, 0, 0.9], abs=1e-12)
