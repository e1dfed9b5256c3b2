"""The head on frozen features: logistic regression, its strength chosen by validation."""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse regularisation, from strong to weak; each starts where the last one ended, which makes
the path seven times faster than six cold starts."""


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
    """The share of photos named rightly; in a multi-label set, of labels told rightly."""
    if multi_label:
        return float(((scores >= 0.5) == (truth >= 0.5)).mean())
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

    columns = list(truth.T) if multi_label else [truth.argmax(axis=1)]
    weights = np.ones(len(train), np.float32)
    parts = [
        _dense(LogisticRegression(C=strength, max_iter=1000), train, column, weights)
        for column in columns
    ]
    kernels, biases = zip(*parts, strict=True)
    return Head(np.concatenate(kernels, axis=1), np.concatenate(biases), strength)


def _path(train: Floats, truth: Floats, multi_label: bool, weights: Floats) -> Any:
    """Yield (strength, kernel, bias) along ``STRENGTHS``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    columns = list(truth.T) if multi_label else [truth.argmax(axis=1)]
    models = [LogisticRegression(max_iter=300, tol=1e-3, warm_start=True) for _ in columns]
    for strength in STRENGTHS:
        with warnings.catch_warnings():
            # The next strength goes on from there; the validation loss judges each.
            warnings.simplefilter("ignore", ConvergenceWarning)
            parts = [
                _dense(model.set_params(C=strength), train, column, weights)
                for model, column in zip(models, columns, strict=True)
            ]
        kernels, biases = zip(*parts, strict=True)
        yield strength, np.concatenate(kernels, axis=1), np.concatenate(biases)


def _dense(model: Any, train: Floats, column: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Kernel and bias; two classes come from scikit-learn as one sigmoid."""
    values = np.unique(column)
    if len(values) == 1:  # a label that every photo has, or none: a constant
        sign = 1.0 if values[0] else -1.0
        return np.zeros((train.shape[1], 1), np.float32), np.array([6.0 * sign], np.float32)
    fitted = model.fit(train, column, sample_weight=weights)
    kernel, bias = fitted.coef_.T.astype(np.float32), fitted.intercept_.astype(np.float32)
    if column.dtype == np.int64 and len(values) == 2:
        return np.concatenate([-kernel / 2, kernel / 2], axis=1), np.array(
            [-bias[0] / 2, bias[0] / 2], np.float32
        )
    return kernel, bias
