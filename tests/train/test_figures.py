"""The figures of a run: against scikit-learn, by hand, and at their edges."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from sightpost_train.figures import as_json, figures, percent, wilson

from .results_maker import FLOWERS, make_results, with_scores


def test_classes_agree_with_scikit_learn() -> None:
    """Precision, recall, F1 and both areas are the textbook's."""
    results = make_results()
    judged = figures(results)
    truth, scores = results.test.truth, results.test.scores
    columns = precision_recall_fscore_support(truth.argmax(1), scores.argmax(1))
    for index, row in enumerate(judged.classes):
        ours = (row.precision, row.recall, row.f1, row.photos)
        assert ours == pytest.approx([column[index] for column in columns])
        here = truth[:, index], scores[:, index]
        assert row.roc.area == pytest.approx(roc_auc_score(*here))
        assert row.precision_recall.area == pytest.approx(average_precision_score(*here))


def test_confusions_and_mistakes_add_up() -> None:
    """Right answers are the diagonal, wrong ones the mistakes, the surest first."""
    judged = figures(make_results(skill=1.0))
    counts = np.array(judged.confusion)
    assert np.trace(counts) == judged.right
    assert counts.sum() - judged.right == len(judged.mistakes) > 5
    sure = [mistake.sure for mistake in judged.mistakes]
    assert sure == sorted(sure, reverse=True)


def test_a_mistake_says_what_happened() -> None:
    """A daisy scored as a rose: the row, the words and the class for the attention map."""
    results = make_results(skill=50)
    scores = results.test.scores.copy()
    scores[3] = [0.1, 0, 0.9, 0, 0]
    (mistake,) = figures(with_scores(results, scores)).mistakes
    assert (mistake.row, mistake.index) == (3, 2)
    assert mistake.what == "“daisy” taken for “roses”"
    assert mistake.sure == pytest.approx(0.9)


def test_many_labels_are_judged_one_by_one() -> None:
    """Overlooked and falsely seen labels have words of their own; no label is taken for another."""
    results = make_results(("wet", "rusty"), each=2, multi_label=True, skill=50)
    truth = np.array([[1, 0], [1, 1], [0, 1], [0, 1]], np.float32)
    scores = np.array([[0.9, 0.8], [0.2, 0.9], [0.1, 0.9], [0.1, 0.7]], np.float32)
    judged = figures(replace(results, test=replace(results.test, truth=truth, scores=scores)))
    assert [m.what for m in judged.mistakes] == [
        "“rusty” seen where there is none", "“wet” overlooked",
    ]  # fmt: skip
    assert judged.confusion == ()
    wet = judged.classes[0]
    counts = (wet.true_positives, wet.false_negatives, wet.false_positives, wet.true_negatives)
    assert counts == (1, 1, 0, 2)
    assert (judged.right, judged.photos) == (2, 4)


def test_the_interval_is_wilsons() -> None:
    """Newcombe 1998 (doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E)
    prints these; nothing tested leaves everything open."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(0, 0) == (0, 1)


def test_a_class_without_test_photos_has_no_figures() -> None:
    """NaN instead of a made-up zero, and it is never called the weakest."""
    results = make_results()
    rows = np.flatnonzero(results.test.truth[:, 0] == 0)
    test = replace(
        results.test, truth=results.test.truth[rows], scores=results.test.scores[rows],
        photos=tuple(results.test.photos[row] for row in rows), pixels=results.test.pixels[rows],
    )  # fmt: skip
    judged = figures(replace(results, test=test))
    assert math.isnan(judged.classes[0].recall)
    assert math.isnan(judged.classes[0].roc.area)
    assert judged.worst is not None
    assert judged.worst.label != FLOWERS[0]
    assert math.isfinite(judged.macro_f1)


def test_a_nan_score_is_a_wrong_answer() -> None:
    """A model that computes nothing is judged, not refused."""
    results = make_results(skill=50)
    scores = results.test.scores.copy()
    scores[-1] = np.nan
    assert figures(with_scores(results, scores)).right == len(scores) - 1


def test_the_json_holds_no_nan_and_no_array() -> None:
    """Strict JSON, whatever could not be computed; the device's arrays stay out."""
    results = replace(make_results(), energy_wh=math.nan)
    content = json.loads(json.dumps(as_json(results, figures(results)), allow_nan=False))
    assert content["energy_wh"] is None
    assert content["test"]["classes"][0]["label"] == "daisy"
    assert content["novelty"]["parameters"] == {}
    assert content["headline"]
    assert content["advice"][0]["why"]
    assert len(content["history"]) == len(results.history)


def test_curves_stay_small() -> None:
    """A thousand photos give a hundred points with the ends kept."""
    judged = figures(make_results(("a", "b"), each=500, skill=0.3))
    curve = judged.classes[0].roc
    assert len(curve.x) <= 100
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)


def test_percent() -> None:
    """The figure and its sign do not part at a line's end; nothing is a dash."""
    assert percent(0.9182) == "91.8\u00a0%"
    assert percent(math.nan) == "–"
