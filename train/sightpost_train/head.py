"""The head on frozen features: logistic regression, its strength chosen by validation."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse regularisation, from strong to weak; each starts where the last one ended, which makes
the path seven times faster than six cold starts."""


CONSTANT = 12.0
"""Logit of what is always so: a probability of 0.999994."""


@dataclass(frozen=True, slots=True)
class Head:
    """A dense layer, (features, classes) kernel and (classes,) bias; ``strength`` won."""

    kernel: Floats = field(repr=False)
    bias: Floats = field(repr=False)
    strength: float

    def scores(self, features: Floats, *, multi_label: bool) -> Floats:
        """(n, features) to (n, classes) probabilities."""
        logits = np.asarray(features @ self.kernel + self.bias)
        return probabilities(logits, multi_label=multi_label)


def probabilities(logits: NDArray[Any], *, multi_label: bool) -> Floats:
    """Softmax over classes, or one sigmoid per label; (n, classes) in and out."""
    logits = logits.astype(np.float64)
    if multi_label:
        return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)
    logits -= logits.max(axis=1, keepdims=True)
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def accuracy(scores: Floats, truth: Floats, *, multi_label: bool) -> float:
    """The share of photos named rightly; in a multi-label set, with exactly their labels."""
    if multi_label:
        return float(((scores >= 0.5) == (truth >= 0.5)).all(axis=1).mean())
    return float((scores.argmax(axis=1) == truth.argmax(axis=1)).mean())


def loss(scores: Floats, truth: Floats, *, multi_label: bool) -> float:
    """Mean cross-entropy in nats, per photo, or per label in a multi-label set."""
    scores = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    if multi_label:
        return float(-(truth * np.log(scores) + (1 - truth) * np.log(1 - scores)).mean())
    return float(-(truth * np.log(scores)).sum(axis=1).mean())


def fit_head(
    train: Floats, truth: Floats, val: Floats, val_truth: Floats,
    *, multi_label: bool, weights: Floats,
) -> Head:  # fmt: skip
    """The logistic regression with the smallest validation loss.

    Args:
        train, val: (n, features) frozen features.
        truth, val_truth: (n, classes) of 0 and 1.
        multi_label: one regression per label instead of a joint softmax.
        weights: (n,) weight of each training photo.
    """
    best: tuple[float, Head] | None = None
    for strength, kernel, bias in _path(train, truth, multi_label, weights):
        head = Head(kernel, bias, strength)
        value = loss(head.scores(val, multi_label=multi_label), val_truth, multi_label=multi_label)
        if best is None or value < best[0]:
            best = value, head
    assert best is not None
    return best[1]


def refit(train: Floats, truth: Floats, strength: float, *, multi_label: bool) -> Head:
    """Logistic regression of a strength that was chosen before."""
    from sklearn.linear_model import LogisticRegression

    weights = np.ones(len(train), np.float32)

    def fitted(column: NDArray[Any], _place: int) -> Any:
        return LogisticRegression(C=strength, max_iter=1000).fit(train, column, weights)

    return Head(*_dense(fitted, train.shape[1], truth, multi_label=multi_label), strength)


def _path(
    train: Floats, truth: Floats, multi_label: bool, weights: Floats
) -> Iterator[tuple[float, Floats, Floats]]:
    """Yield (strength, kernel, bias) along ``STRENGTHS``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    models = [
        LogisticRegression(max_iter=300, tol=1e-3, warm_start=True) for _ in range(truth.shape[1])
    ]
    for strength in STRENGTHS:

        def fitted(column: NDArray[Any], place: int, strength: float = strength) -> Any:
            return models[place].set_params(C=strength).fit(train, column, weights)

        with warnings.catch_warnings():
            # The next strength goes on from there; the validation loss judges each.
            warnings.simplefilter("ignore", ConvergenceWarning)
            kernel, bias = _dense(fitted, train.shape[1], truth, multi_label=multi_label)
        yield strength, kernel, bias


def _dense(
    fitted: Callable[[NDArray[Any], int], Any], features: int, truth: Floats, *, multi_label: bool
) -> tuple[Floats, Floats]:
    """Kernel (features, classes) and bias of one joint regression, or of one for each label.

    A class that no training photo shows is never named; a label that all or none show is constant.
    """
    kernel = np.zeros((features, truth.shape[1]), np.float32)
    bias = np.full(truth.shape[1], -CONSTANT, np.float32)
    if not multi_label:
        named = truth.argmax(axis=1)
        if named.min() == named.max():
            bias[named[0]] = CONSTANT
            return kernel, bias
        model = fitted(named, 0)
        weights, offsets = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn gives one sigmoid for two classes
            weights, offsets = np.concatenate([-weights, weights]) / 2, offsets * [-0.5, 0.5]
        kernel[:, model.classes_], bias[model.classes_] = weights.T, offsets
        return kernel, bias
    for place, column in enumerate(truth.T):
        if column.min() == column.max():
            bias[place] = CONSTANT if column[0] else -CONSTANT
            continue
        model = fitted(column, place)
        kernel[:, place], bias[place] = model.coef_[0], model.intercept_[0]
    return kernel, bias
