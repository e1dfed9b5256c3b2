"""Figures of the judgement, against hand computations and brute force."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightpost_convert.bulk import Answers
from sightpost_convert.judge import (
    Judgement,
    calibration_error,
    decisions,
    hopeless_after,
    named,
    novelty_auroc,
    recalls,
    right,
    worst_drop,
)
from sightpost_edge.bench import Timing
from sightpost_edge.contract import Contract
from sightpost_edge.novelty import Novelty
from sightpost_edge.pixels import Geometry

pytestmark = pytest.mark.workshop


def table(*rows: list[float]) -> Any:
    return np.array(rows, np.float32)


def truth_of(*rows: str) -> Any:
    """Labels a, b, c of each photo in one word."""
    return np.array([[letter in row for letter in "abc"] for row in rows], np.bool_)


def contract(**fields: Any) -> Contract:
    return Contract(("a", "b", "c"), Geometry(4, 4), **fields)


def test_the_top_label_is_claimed_from_its_threshold_on() -> None:
    """At the threshold itself it is; below it nothing is claimed at all."""
    scores = table([0.5, 0.3, 0.2], [0.49, 0.5, 0.01], [0.1, 0.5, 0.4])
    bars = contract(thresholds=(0.5, 0.6, 0.4))
    assert decisions(scores, bars).tolist() == [[True, False, False], [False] * 3, [False] * 3]


def test_one_threshold_for_all_where_training_gave_none() -> None:
    """The contract's single threshold."""
    scores = table([0.8, 0.1, 0.1], [0.79, 0.2, 0.01])
    assert decisions(scores, contract(threshold=0.8)).tolist() == [
        [True, False, False],
        [False] * 3,
    ]


def test_labels_that_do_not_exclude_each_other_are_claimed_together() -> None:
    """Every label that reaches its own threshold."""
    scores = table([0.5, 0.6, 0.39], [0.49, 0.59, 0.4])
    bars = contract(thresholds=(0.5, 0.6, 0.4), multi_label=True)
    assert decisions(scores, bars).tolist() == [[True, True, False], [False, False, True]]


def test_who_is_named() -> None:
    """The best one even where it is weak; in a multi-label set all from 0.5 on, perhaps none."""
    scores = table([0.4, 0.3, 0.3], [0.5, 0.5, 0.1])
    assert named(scores, multi_label=False).tolist() == [[True, False, False]] * 2
    assert named(scores, multi_label=True).tolist() == [[False] * 3, [True, True, False]]


def test_right_is_all_labels_and_no_other() -> None:
    scores = table([0.9, 0.9, 0.1], [0.9, 0.1, 0.1], [0.9, 0.9, 0.9])
    assert right(scores, truth_of("ab", "ab", "ab"), multi_label=True).tolist() == [
        True,
        False,
        False,
    ]
    assert right(table([0.4, 0.3, 0.3]), truth_of("a"), multi_label=False).tolist() == [True]


def test_recalls_by_class() -> None:
    """Of photos that show it; unknown where none does."""
    scores = table([0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.8, 0.2, 0.0])
    found = recalls(scores, truth_of("a", "a", "b"), multi_label=False)
    np.testing.assert_array_equal(found, [0.5, 0.0, np.nan])
    both = recalls(table([0.9, 0.2, 0.9]), truth_of("ab"), multi_label=True)
    np.testing.assert_array_equal(both, [1.0, 0.0, np.nan])


def test_the_class_that_lost_most() -> None:
    """Index, recall lost against the reference, and how many photos that is."""
    truth = truth_of("a", "a", "a", "b", "b", "c")
    reference = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 0, 2]]
    scores = np.eye(3, dtype=np.float32)[[0, 0, 1, 0, 0, 2]]
    assert worst_drop(scores, reference, truth, multi_label=False) == (1, 0.5)
    _, lost = worst_drop(reference, reference, truth, multi_label=False)
    assert lost == 0.0
    gained = worst_drop(np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 2]], reference, truth,
                        multi_label=False)  # fmt: skip
    assert gained[1] <= 0


def test_photos_without_any_label_are_no_class() -> None:
    """Where no photo shows a class, as at the start of a multi-label set, nothing was lost."""
    scores = table([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    index, lost = worst_drop(scores, scores, truth_of("", ""), multi_label=True)
    assert index == 0
    assert np.isnan(lost)


def test_a_rare_class_hides_no_common_one() -> None:
    """One lost photo of one is 100 %, and no evidence; thirty of a hundred are."""
    truth = np.eye(2, dtype=bool)[[0] + [1] * 100]
    right_answers = np.eye(2, dtype=np.float32)[[0] + [1] * 100]
    scores = np.eye(2, dtype=np.float32)[[1] + [0] * 30 + [1] * 70]
    assert worst_drop(scores, right_answers, truth, multi_label=False) == (1, pytest.approx(0.3))


def test_calibration_by_hand() -> None:
    """30 photos in 15 bins of two, every other bin right: the mean gap to what is claimed."""
    claimed = np.repeat(np.linspace(0.55, 0.99, 15), 2)
    scores = np.column_stack([claimed, 1 - claimed]).astype(np.float32)
    held = np.repeat(np.arange(15) % 2 == 0, 2)
    truth = np.column_stack([held, ~held])
    expected = np.mean(np.abs(np.linspace(0.55, 0.99, 15) - (np.arange(15) % 2 == 0)))
    found = calibration_error(scores, truth, multi_label=False)
    assert found == pytest.approx(expected, abs=1e-6)


def test_calibration_of_independent_labels_counts_all_scores() -> None:
    """Three scores in bins of their own: |0.9 - 1|, |0.2 - 0|, |0.6 - 0| on average."""
    found = calibration_error(table([0.9, 0.2, 0.6]), truth_of("a"), multi_label=True)
    assert found == pytest.approx((0.1 + 0.2 + 0.6) / 3)


def test_certain_and_right_is_perfectly_calibrated() -> None:
    scores = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    assert calibration_error(scores, truth_of("a", "b", "c", "a"), multi_label=False) == 0.0


CORNERS = np.array([[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]], np.float32)


def known_things(method: str = "gaussian") -> Novelty:
    """Three points far apart, one a class."""
    parameters = {
        "centre": np.zeros(3), "projection": np.eye(3), "whitening": np.eye(3),
        "points": np.eye(3), "weight": np.ones(1), "labels": np.arange(3.0),
    }  # fmt: skip
    return Novelty(method, 0.1, {n: np.asarray(v, np.float32) for n, v in parameters.items()})


def shown(per_class: int) -> tuple[Answers, Any]:
    """Photos of each class near its corner, with certain scores."""
    of = np.repeat(np.arange(3), per_class)
    noise = np.random.default_rng(0).normal(0, 0.1, (len(of), 3)).astype(np.float32)
    return Answers(np.eye(3, dtype=np.float32)[of], CORNERS[of] + noise), np.eye(3, dtype=bool)[of]


def test_novelty_of_things_far_apart_is_told_perfectly() -> None:
    """Each class left out in turn lies far from the two that are known."""
    answers, truth = shown(5)
    assert novelty_auroc(answers, truth, known_things()) == 1.0


def test_novelty_of_things_all_alike_is_chance() -> None:
    """The same embedding for every photo: a half."""
    answers, truth = shown(5)
    alike = Answers(answers.scores, np.ones_like(answers.embeddings))
    assert novelty_auroc(alike, truth, known_things()) == 0.5


def test_novelty_by_the_scores_alone_lacks_the_class_left_out() -> None:
    """Scores of the class are taken away, so its photos look undecided."""
    of = np.repeat(np.arange(3), 4)
    scores = np.where(np.eye(3)[of] > 0, 0.9, 0.05).astype(np.float32)
    truth = np.eye(3, dtype=bool)[of]
    assert novelty_auroc(Answers(scores, None), truth, Novelty("max_score", 0.5, {})) == 1.0


@pytest.mark.parametrize("case", ["no novelty", "two photos", "one class", "not finite"])
def test_novelty_is_unknown_where_nothing_can_be_said(case: str) -> None:
    answers, truth = shown(2 if case == "two photos" else 5)
    novelty: Novelty | None = known_things()
    if case == "no novelty":
        novelty = None
    if case == "one class":
        answers, truth = Answers(answers.scores[:5], answers.embeddings[:5]), truth[:5]  # type: ignore[index]
    if case == "not finite":
        answers.scores[0, 0] = np.nan
    assert np.isnan(novelty_auroc(answers, truth, novelty))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_hopeless_is_exactly_when_nothing_can_help(data: st.DataObject) -> None:
    """Among all ways the remaining photos may end, hopeless says that none is within budget."""
    total = data.draw(st.integers(1, 9))
    seen = data.draw(st.integers(1, total))
    needed = data.draw(st.integers(-3, 9))
    labels = data.draw(st.lists(st.integers(0, 2), min_size=total, max_size=total))
    mine = data.draw(st.lists(st.integers(0, 2), min_size=seen, max_size=seen))
    one_hot = np.eye(3, dtype=np.float32)
    truth = np.eye(3, dtype=bool)[labels]
    found = hopeless_after(one_hot[mine], truth, needed, multi_label=False)
    mine_right = sum(a == b for a, b in zip(mine, labels, strict=False))
    possible = [mine_right + more for more in range(total - seen + 1)]
    assert found == all(whole < needed for whole in possible)


def test_hopeless_knows_several_labels() -> None:
    """A photo with one of its two labels named is not right."""
    scores, truth = table([0.9, 0.1, 0]), truth_of("ab", "ab")
    assert hopeless_after(scores, truth, 2, multi_label=True)
    assert not hopeless_after(scores, truth, 1, multi_label=True)


def test_times_of_a_row() -> None:
    """One thread's median is compared; the best number of threads is held to the limit."""
    row = Judgement("int8", "", timings=(Timing(1, 3.0, 4.0, 9), Timing(2, 2.0, 5.0, 9)))
    assert row.median_ms == 3.0
    assert row.best == Timing(2, 2.0, 5.0, 9)
    unknown = Judgement("int8", "")
    assert np.isnan(unknown.median_ms)
    assert unknown.best is None
    assert unknown.within_budget
    assert not Judgement("int8", "", verdict="loses").within_budget
