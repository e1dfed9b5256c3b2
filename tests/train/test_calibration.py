"""Scores that mean what they say: temperature, calibration error, thresholds."""

import numpy as np
import pytest

from sightpost_train.calibration import (
    calibrate,
    expected_calibration_error,
    reliability,
    temperature,
    thresholds,
)
from sightpost_train.head import probabilities

pytestmark = pytest.mark.workshop


def drawn(
    photos: int, classes: int, *, seed: int, multi_label: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and truth drawn with the very probabilities they stand for."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(photos, classes)) * 2
    scores = probabilities(logits, multi_label=multi_label)
    chance = rng.random((photos, classes if multi_label else 1))
    if multi_label:
        return logits, (chance < scores).astype(np.float32)
    named = (chance > scores.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
    return logits, np.eye(classes, dtype=np.float32)[named]


def told_apart(photos: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits without a single mistake."""
    truth = np.eye(3, dtype=np.float32)[np.arange(photos) % 3]
    return truth * margin, truth


def column(*scores: float) -> np.ndarray:
    return np.array(scores, np.float32)[:, None]


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("hidden", [0.4, 1.0, 3.0])
def test_the_temperature_that_was_hidden_is_found(hidden: float, multi_label: bool) -> None:
    """Logits made too large or too small by a known figure give that figure back."""
    logits, truth = drawn(3000, 4, seed=1, multi_label=multi_label)
    found = temperature(logits * hidden, truth, multi_label=multi_label)
    assert found == pytest.approx(hidden, rel=0.1)


@pytest.mark.parametrize("photos", [9, 90, 900])
def test_no_mistake_is_not_certainty(photos: int) -> None:
    """Scores of photos without a mistake rise as far as their number allows, and no further."""
    logits, truth = told_apart(photos, margin=1.0)
    found = temperature(logits, truth, multi_label=False)
    wrong = 1 - probabilities(logits / found, multi_label=False).max()
    assert wrong == pytest.approx(2 / 3 / (photos + 2), rel=0.05)


def test_scores_surer_than_the_photos_can_show_stay() -> None:
    """Nothing contradicts them: the plain likelihood does not gain, so nothing is scaled."""
    logits, truth = told_apart(9, margin=30.0)
    assert temperature(logits, truth, multi_label=False) == 1.0


@pytest.mark.parametrize("multi_label", [False, True])
def test_scores_without_content_stay(multi_label: bool) -> None:
    """Equal logits fit no better at any temperature; no photo at all says nothing."""
    _, truth = told_apart(6, margin=1.0)
    assert temperature(np.zeros((6, 3)), truth, multi_label=multi_label) == 1.0
    assert temperature(np.zeros((0, 3)), truth[:0], multi_label=multi_label) == 1.0


def test_one_wild_photo_does_not_break_the_search() -> None:
    """A logit of 1e4 for the wrong class asks for the greatest temperature, and gets no more."""
    logits, truth = told_apart(30, margin=5.0)
    logits[0] = (-1e4, 1e4, 0)
    found = temperature(logits, truth, multi_label=False)
    assert 19 < found <= 20


def test_calibration_error_by_hand() -> None:
    """Two bins: 0.9 said and 0.5 right, 0.6 said and all right: 2/3 of 0.4 and 1/3 of 0.4."""
    scores = np.array([(0.9, 0.1), (0.9, 0.1), (0.4, 0.6)])
    truth = np.array([(1, 0), (0, 1), (0, 1)], np.float32)
    rows = reliability(scores, truth, multi_label=False, bins=10)
    assert [count for _, _, count in rows] == [1, 2]
    np.testing.assert_allclose([row[:2] for row in rows], [(0.6, 1), (0.9, 0.5)])
    error = expected_calibration_error(scores, truth, multi_label=False, bins=10)
    assert error == pytest.approx(0.4)


def test_every_label_counts_in_a_multi_label_set() -> None:
    """Labels that are rightly absent are predictions too; 0 and 1 have bins."""
    scores = np.array([(1.0, 0.0), (1.0, 0.25)])
    truth = np.array([(1, 0), (1, 0)], np.float32)
    rows = reliability(scores, truth, multi_label=True, bins=4)
    assert rows == ((0.125, 0.0, 2), (1.0, 1.0, 2))
    assert expected_calibration_error(scores, truth, multi_label=True, bins=4) == 0.0625


@pytest.mark.parametrize("multi_label", [False, True])
def test_calibration_learns_on_validation_and_is_judged_on_test(multi_label: bool) -> None:
    """Three times too sure: the error on other photos falls to under a third."""
    val, val_truth = drawn(600, 4, seed=1, multi_label=multi_label)
    test, test_truth = drawn(3000, 4, seed=2, multi_label=multi_label)
    found = calibrate(val * 3, val_truth, test * 3, test_truth, multi_label=multi_label)
    assert found.ece_after < found.ece_before / 3
    scores = probabilities(test * 3, multi_label=multi_label)
    assert found.ece_before == expected_calibration_error(
        scores, test_truth, multi_label=multi_label
    )
    weight = test_truth.size if multi_label else len(test_truth)
    assert sum(row[2] for row in found.reliability) == weight
    assert len(found.reliability_before) <= found.bins


def test_a_threshold_keeps_its_word_on_other_photos() -> None:
    """With 4,000 photos and honest scores, the precision asked for is what comes, not more."""
    val, test = drawn(4000, 3, seed=3), drawn(4000, 3, seed=4)
    rows = thresholds(
        ("a", "b", "c"), probabilities(val[0], multi_label=False), val[1],
        probabilities(test[0], multi_label=False), test[1], precision=0.9,
    )  # fmt: skip
    assert [row.label for row in rows] == ["a", "b", "c"]
    for row in rows:
        assert row.reached
        assert 0.5 < row.score < 0.9
        assert 0.87 < row.precision < 0.93
        assert 0.3 < row.recall < 0.9


def test_a_perfectly_told_class_gets_the_middle_of_the_gap() -> None:
    """Halfway between the best wrong and the worst right one, but never under a half."""
    right, wrong = [0.92] * 20, [0.60, 0.1]
    scores, truth = column(*right, *wrong), column(*[1] * 20, 0, 0)
    (row,) = thresholds(("a",), scores, truth, scores, truth, precision=0.95)
    assert (row.reached, row.precision, row.recall) == (True, 1.0, 1.0)
    assert row.score == pytest.approx(0.76)
    scores[-2:] = 0.02
    (row,) = thresholds(("a",), scores, truth, scores, truth, precision=0.95)
    assert row.score == 0.5


@pytest.mark.parametrize(("photos", "reached"), [(8, False), (9, True)])
def test_few_photos_show_little(photos: int, reached: bool) -> None:
    """Eight of eight right do not show 0.95, nine of nine do."""
    scores, truth = np.full((photos, 1), 0.9), np.ones((photos, 1))
    (row,) = thresholds(("a",), scores, truth, scores, truth, precision=0.95)
    assert row.reached is reached


def test_out_of_reach_gives_the_most_precise() -> None:
    """Every second one wrong below 0.8, one in four above: the cut lies there."""
    low, high = np.linspace(0.55, 0.75, 40), np.full(12, 0.9)
    truth = column(*[1, 0] * 20, *[1, 1, 1, 0] * 3)
    scores = column(*low, *high)
    (row,) = thresholds(("a",), scores, truth, scores, truth, precision=0.95)
    assert not row.reached
    assert row.score == pytest.approx((0.75 + 0.9) / 2)
    assert row.precision == 0.75


def test_equal_scores_pass_together() -> None:
    """Twenty right and twenty wrong at one score are half right, in whatever order they come."""
    scores = column(*[0.8] * 40)
    for truth in (column(*[1] * 20, *[0] * 20), column(*[0] * 20, *[1] * 20)):
        (row,) = thresholds(("a",), scores, truth, scores, truth, precision=0.9)
        assert (row.reached, row.precision) == (False, 0.5)


def test_a_threshold_can_be_passed_on_the_device() -> None:
    """Right only above 0.999, where an int8 softmax cannot reach: not promised."""
    scores = column(*[0.9995] * 30, *[0.995] * 30)
    truth = column(*[1] * 30, *[0] * 30)
    (row,) = thresholds(("a",), scores, truth, scores, truth, precision=0.95)
    assert not row.reached
    assert row.score <= 0.99


def test_a_label_that_never_scores() -> None:
    """The device's own default is given; figures of nothing are NaN."""
    scores, truth = column(0.1, 0.2), column(1, 0)
    (row,) = thresholds(("a",), scores, truth, scores, column(0, 0), precision=0.95)
    assert (row.score, row.reached) == (0.8, False)
    assert np.isnan([row.precision, row.recall]).all()
