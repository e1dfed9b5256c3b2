"""The head on frozen features: scikit-learn's logistic regression, as one dense layer."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sightpost_train.head import accuracy, fit_head, loss, probabilities, refit

pytestmark = pytest.mark.workshop


def features(classes: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(90, 6) features and one-hot truth that a linear rule mostly explains."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 6)).astype(np.float32)
    winner = (x[:, :classes] + rng.normal(0, 0.5, (90, classes))).argmax(axis=1)
    return x, np.eye(classes, dtype=np.float32)[winner]


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_logistic_regression(classes: int) -> None:
    """The dense layer gives scikit-learn's own probabilities, for two classes too."""
    from sklearn.linear_model import LogisticRegression

    x, truth = features(classes)
    head = refit(x, truth, 0.3, multi_label=False)
    theirs = LogisticRegression(C=0.3, max_iter=1000).fit(x, truth.argmax(axis=1)).predict_proba(x)
    assert np.abs(head.scores(x, multi_label=False) - theirs).max() < 1e-3


def test_the_validation_photos_choose_the_strength() -> None:
    """No other strength of the path has a smaller validation loss."""
    x, truth = features(3)
    ones = np.ones(60, np.float32)
    head = fit_head(x[:60], truth[:60], x[60:], truth[60:], multi_label=False, weights=ones)
    mine = loss(head.scores(x[60:], multi_label=False), truth[60:], multi_label=False)
    for strength in (0.01, 3.0):
        other = refit(x[:60], truth[:60], strength, multi_label=False)
        theirs = loss(other.scores(x[60:], multi_label=False), truth[60:], multi_label=False)
        assert mine <= theirs + 1e-3


def test_labels_that_do_not_exclude_each_other() -> None:
    """One regression per label; a label that every photo has is not a division by zero."""
    x, _ = features(3)
    truth = np.stack([x[:, 0] > 0, x[:, 1] > 0, np.ones(90)], axis=1).astype(np.float32)
    head = fit_head(x, truth, x, truth, multi_label=True, weights=np.ones(90, np.float32))
    scores = head.scores(x, multi_label=True)
    assert accuracy(scores, truth, multi_label=True) > 0.95
    assert scores[:, 2].min() > 0.9


def test_a_class_without_training_photos_is_never_named() -> None:
    """A fold can leave a rare class out of training; the others keep their places."""
    x, truth = features(3)
    some = truth[:, 1] == 0
    ones = np.ones(int(some.sum()), np.float32)
    head = fit_head(x[some], truth[some], x, truth, multi_label=False, weights=ones)
    scores = head.scores(x, multi_label=False)
    assert scores.shape == (90, 3)
    assert scores[:, 1].max() < 0.01
    assert accuracy(scores[some], truth[some], multi_label=False) > 0.8


def test_weights_count() -> None:
    """A photo of weight zero teaches nothing."""
    x, truth = features(2)
    flipped = truth[::-1].copy()
    both, labels = np.concatenate([x, x]), np.concatenate([truth, flipped])
    weights = np.repeat([1.0, 0.0], 90).astype(np.float32)
    head = fit_head(both, labels, x, truth, multi_label=False, weights=weights)
    assert accuracy(head.scores(x, multi_label=False), truth, multi_label=False) > 0.8


def test_probabilities_of_extreme_logits() -> None:
    """No overflow: sure is 1, not NaN."""
    logits = np.array([[1000.0, -1000.0]])
    for many in (False, True):
        assert np.allclose(probabilities(logits, multi_label=many), [[1.0, 0.0]])
    assert loss(np.array([[0.0, 1.0]], np.float32), np.array([[1.0, 0.0]]), multi_label=False) < 17
