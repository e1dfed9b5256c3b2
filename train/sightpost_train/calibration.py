"""How far scores can be taken at their word: temperature, calibration error, thresholds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .head import probabilities
from .results import Calibration, Threshold

Floats = NDArray[np.floating[Any]]
Reliability = tuple[tuple[float, float, int], ...]

COLDEST, HOTTEST = 0.05, 20.0
"""Between these a temperature is looked for; a sane classifier needs 0.5 to 5."""

LOWEST = 0.5
"""No label is believed that is less likely than not. Above it only the top label can be."""

HIGHEST = 0.99
"""An int8 softmax steps by 1/256 and ends at 0.996: the device could not pass a higher one."""

UNKNOWN = 0.8
"""Where no validation photo scores ``LOWEST`` for a label: what the device takes unasked."""


def temperature(logits: Floats, truth: Floats, *, multi_label: bool) -> float:
    """The figure to divide (n, classes) logits by so that scores are shares (Guo et al. 2017).

    Least negative log-likelihood of ``truth`` (n, classes), 0 or 1, with the softmax or (multi-
    label) sigmoid cross-entropy (arXiv:1706.04599). n photos without a mistake would ask for zero,
    that is for certainty. They show no more than a mistake rate near 1 / (n + 2), the rule of
    succession, so ``truth`` is softened by that much, as Platt (1999) does. Where the plain
    likelihood does not gain, 1.
    """
    if not len(logits):
        return 1.0
    doubt = 1 / (len(truth) + 2)
    soft = truth * (1 - doubt) + doubt / (2 if multi_label else truth.shape[1])
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(40):  # thirds: 6 log units shrink to 5e-7; the loss is convex in 1/T
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if _loss(logits / np.exp(left), soft, multi_label) <= _loss(
            logits / np.exp(right), soft, multi_label
        ):
            high = right
        else:
            low = left
    found = float(np.exp((low + high) / 2))
    gains = _loss(logits / found, truth, multi_label) < _loss(logits, truth, multi_label)
    return found if gains else 1.0


def calibrated_loss(scores: Floats, truth: Floats, *, multi_label: bool) -> float:
    """Cross-entropy of (n, classes) scores at their best temperature; infinite where undefined.

    Label smoothing makes a network timid, a regression on few photos bold. One figure mends both
    later, so neither shall count when classifiers are compared.
    """
    sure = np.clip(np.asarray(scores, np.float64), 1e-7, 1 - 1e-7)
    logits = np.log(sure / (1 - sure)) if multi_label else np.log(sure)
    figure = temperature(logits, truth, multi_label=multi_label)
    found = _loss(logits / figure, truth, multi_label)
    return found if np.isfinite(found) else float("inf")


def reliability(scores: Floats, truth: Floats, *, multi_label: bool, bins: int = 15) -> Reliability:
    """(Mean score, share right, predictions) of each non-empty one of ``bins`` equal-width bins.

    ``scores`` and ``truth`` are (n, classes). The prediction is the top label; in a multi-label
    set every label of every photo is one.
    """
    if multi_label:
        sure, right = np.asarray(scores, np.float64).ravel(), truth.ravel() > 0.5
    else:
        rows, top = np.arange(len(scores)), scores.argmax(axis=1)
        sure, right = np.asarray(scores, np.float64)[rows, top], truth[rows, top] > 0.5
    bin_of = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    sums = [np.bincount(bin_of, weights=x, minlength=bins) for x in (sure, right)]
    return tuple(
        (float(sums[0][i] / count[i]), float(sums[1][i] / count[i]), int(count[i]))
        for i in np.flatnonzero(count)
    )


def expected_calibration_error(
    scores: Floats, truth: Floats, *, multi_label: bool, bins: int = 15
) -> float:
    """Mean gap between score and share right, each bin by its photos (Guo et al. 2017)."""
    return _error(reliability(scores, truth, multi_label=multi_label, bins=bins))


def calibrate(
    val_logits: Floats,
    val_truth: Floats,
    test_logits: Floats,
    test_truth: Floats,
    *,
    multi_label: bool,
    bins: int = 15,
) -> Calibration:
    """Temperature from the validation photos, its effect on the test photos; (n, classes) each."""
    found = temperature(val_logits, val_truth, multi_label=multi_label)
    before, after = (
        reliability(
            probabilities(logits, multi_label=multi_label),
            test_truth,
            multi_label=multi_label,
            bins=bins,
        )
        for logits in (test_logits, test_logits / found)
    )
    return Calibration(found, _error(before), _error(after), bins, before, after)


def thresholds(
    labels: Sequence[str],
    val_scores: Floats,
    val_truth: Floats,
    test_scores: Floats,
    test_truth: Floats,
    *,
    precision: float,
) -> tuple[Threshold, ...]:
    """For each label the lowest score that shows ``precision``; arrays are (n, classes).

    r right photos of n passing a score show (r + 1/2) / (n + 1), the mean under Jeffreys' prior
    (Brown, Cai, DasGupta 2001, doi:10.1214/ss/1009213286): 9 of 9 show 0.95, 3 of 3 do not. Scores
    above may show less, being passed by fewer. On five flowers (40 validation photos each) 0.95
    then gave 0.953 on new photos and fell more than 0.03 short for 12 % of the labels; the plain
    share r / n gave 0.946 and 22 %. The threshold lies halfway to the next lower score, so that
    neither a perfectly told class nor rounding on the device depends on one photo's last digit.
    """
    return tuple(
        _threshold(
            label, val_scores[:, i], val_truth[:, i], test_scores[:, i], test_truth[:, i], precision
        )
        for i, label in enumerate(labels)
    )


def _threshold(
    label: str,
    val_scores: Floats,
    val_truth: Floats,
    test_scores: Floats,
    test_truth: Floats,
    wanted: float,
) -> Threshold:
    score, reached = _cut(np.asarray(val_scores, np.float64), val_truth > 0.5, wanted)
    passed, bearing = np.asarray(test_scores, np.float64) >= score, test_truth > 0.5
    both = int((passed & bearing).sum())
    return Threshold(
        label, score, reached, _share(both, int(passed.sum())), _share(both, int(bearing.sum()))
    )


def _cut(scores: Floats, right: NDArray[np.bool_], wanted: float) -> tuple[float, bool]:
    """The threshold of one label and whether it shows what was ``wanted``; both inputs (n,)."""
    order = np.argsort(-scores, kind="stable")
    falling = np.minimum(scores[order], HIGHEST)
    shown = (np.cumsum(right[order]) + 0.5) / (np.arange(len(falling)) + 2)
    shown[falling < LOWEST] = -1.0
    shown[:-1][falling[1:] == falling[:-1]] = -1.0  # equal scores pass together
    if not (shown >= 0).any():
        return UNKNOWN, False
    enough = np.flatnonzero(shown >= wanted)
    at = int(enough[-1]) if len(enough) else int(shown.argmax())
    below = falling[at + 1] if at + 1 < len(falling) else 0.0
    return max(LOWEST, float(falling[at] + below) / 2), bool(len(enough))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _error(rows: Reliability) -> float:
    photos = sum(count for _, _, count in rows)
    gaps = sum(abs(sure - right) * count for sure, right, count in rows)
    return gaps / photos if photos else float("nan")


def _loss(logits: Floats, truth: Floats, multi_label: bool) -> float:
    """Mean cross-entropy of a photo, or of a label of a photo."""
    named = truth * _log_probabilities(logits, multi_label=multi_label)
    if multi_label:
        named = named + (1 - truth) * _log_probabilities(-logits, multi_label=True)
        return float(-named.mean())
    return float(-named.sum(axis=1).mean())


def _log_probabilities(logits: Floats, *, multi_label: bool) -> NDArray[np.float64]:
    wide = np.asarray(logits, np.float64)
    if multi_label:
        return -np.logaddexp(0, -wide)
    wide = wide - wide.max(axis=1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=1, keepdims=True)))
