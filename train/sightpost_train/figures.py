"""The numbers of a training run: accuracy, classes, curves, confusions and mistakes."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .results import Results

NAMED_FROM = 0.5
"""A label of a multi-label set counts as named from this score: more likely there than not."""

CURVE_POINTS = 100
"""Kept of a curve: more cannot be told apart in a drawing 400 px wide."""

Z_95 = 1.959964
"""Standard deviations on either side that hold 95 % of a normal distribution."""

Marks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a ROC or precision-recall curve and the area under it.

    No points and a NaN area where every test photo, or none, shows the class.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    area: float


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class against all others on the test photos.

    ``recall_low`` and ``recall_high`` are the 95 % Wilson interval; ``average_precision`` is the
    step-wise area under ``precision_recall``. NaN: nothing to divide by.
    """

    label: str
    train_photos: int
    photos: int
    precision: float
    recall: float
    recall_low: float
    recall_high: float
    f1: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    roc: Curve
    precision_recall: Curve


@dataclass(frozen=True, slots=True)
class Mistake:
    """A test photo that got a wrong answer, ``row`` in the test split.

    ``what`` says it in words; ``sure`` is how sure the model was of the wrong answer, ``index``
    the class that the answer is about.
    """

    row: int
    path: str
    what: str
    sure: float
    index: int


@dataclass(frozen=True, slots=True)
class Figures:
    """How the kept model does on photos it never saw.

    ``right`` of ``photos`` got exactly their labels; ``low`` and ``high`` are the 95 % Wilson
    interval of that share. ``confusion[i][j]`` counts true i named j, and is empty in a
    multi-label set, where each class has a two-by-two table of its own. ``mistakes`` begin with
    the one the model was surest of.
    """

    photos: int
    right: int
    accuracy: float
    low: float
    high: float
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    mistakes: tuple[Mistake, ...]

    @property
    def worst(self) -> ClassFigures | None:
        """The class with the smallest recall, of several the one with more test photos."""
        tested = [c for c in self.classes if c.photos]
        return min(tested, key=lambda c: (c.recall, -c.photos), default=None)

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have test photos: each counts the same, rare or not."""
        return mean_of([c.f1 for c in self.classes if c.photos])


def figures(results: Results) -> Figures:
    """Judge the test photos; a NaN score counts as 0."""
    test = results.test
    scores = np.nan_to_num(np.asarray(test.scores, np.float32), nan=0.0)
    truth = np.asarray(test.truth) > 0.5
    named = _named(scores, multi_label=results.multi_label)
    right = int((named == truth).all(axis=1).sum())
    low, high = wilson(right, len(truth))
    trained = np.asarray(results.train.truth).sum(axis=0)
    return Figures(
        photos=len(truth), right=right, accuracy=ratio(right, len(truth)), low=low, high=high,
        classes=tuple(
            _class(label, int(trained[i]), truth[:, i], named[:, i], scores[:, i])
            for i, label in enumerate(results.labels)
        ),
        confusion=() if results.multi_label else _confusion(truth, named),
        mistakes=_mistakes(results, truth, named, scores),
    )  # fmt: skip


def as_json(results: Results, figures: Figures) -> dict[str, Any]:
    """Everything that the page shows, as plain JSON; NaN and infinity become null."""
    from .advice import advice, headline

    # Its parameters are arrays for the device; the run folder keeps them.
    novelty = dataclasses.replace(results.novelty, parameters={})
    content: dict[str, Any] = plain({
        "name": results.name,
        "headline": headline(results, figures),
        "advice": advice(results, figures),
        "labels": results.labels,
        "multi_label": results.multi_label,
        "photos": {s: len(getattr(results, s).photos) for s in ("train", "validation", "test")},
        "test": figures,
        "macro_f1": figures.macro_f1,
        "calibration": results.calibration,
        "precision_wanted": results.precision_wanted,
        "thresholds": results.thresholds,
        "novelty": novelty,
        "stages": results.stages,
        "kept": results.kept,
        "history": results.history,
        "suspects": results.suspects,
        "left_out": results.left_out,
        "duplicates": results.duplicates,
        "fingerprint": results.fingerprint,
        "recipe": results.recipe,
        "seconds": results.seconds,
        "energy_wh": results.energy_wh,
        "versions": results.versions,
    })  # fmt: skip
    return content


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    Unlike the usual one it stays inside 0 and 1 and has a width when all of few photos are right.
    """
    if not trials:
        return 0.0, 1.0
    share, z2 = hits / trials, Z_95 * Z_95
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    half = Z_95 / (1 + z2 / trials) * spread
    return max(0.0, centre - half), min(1.0, centre + half)


def ratio(part: float, whole: float) -> float:
    """``part / whole``, NaN of nothing."""
    return part / whole if whole else math.nan


def mean_of(values: list[float]) -> float:
    """The mean of those that are finite, NaN where none is."""
    finite = [value for value in values if math.isfinite(value)]
    return ratio(sum(finite), len(finite))


def percent(share: float, digits: int = 1) -> str:
    """91.8 %, unbroken; a dash where there is nothing to say."""
    return f"{share * 100:.{digits}f}\u00a0%" if math.isfinite(share) else "–"


def quoted(label: str) -> str:
    """A label in a sentence."""
    return f"“{label}”"


def _named(scores: NDArray[np.float32], *, multi_label: bool) -> Marks:
    if multi_label:
        return np.asarray(scores >= NAMED_FROM)
    return np.asarray(np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, None])


def _class(
    label: str, train_photos: int, truth: Marks, named: Marks, scores: NDArray[np.float32]
) -> ClassFigures:
    hits, photos, calls = int((truth & named).sum()), int(truth.sum()), int(named.sum())
    low, high = wilson(hits, photos)
    roc, precision_recall = _curves(truth, scores)
    return ClassFigures(
        label=label, train_photos=train_photos, photos=photos,
        precision=ratio(hits, calls), recall=ratio(hits, photos),
        recall_low=low, recall_high=high, f1=ratio(2 * hits, photos + calls),
        true_positives=hits, false_positives=calls - hits, false_negatives=photos - hits,
        true_negatives=len(truth) - photos - calls + hits,
        roc=roc, precision_recall=precision_recall,
    )  # fmt: skip


def _curves(truth: Marks, scores: NDArray[np.float32]) -> tuple[Curve, Curve]:
    """ROC (false alarms to recall) and precision-recall (recall to precision) of one class."""
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    if truth.all() or not truth.any():
        return Curve((), (), math.nan), Curve((), (), math.nan)
    alarms, recall, _ = roc_curve(truth, scores)
    precision, share_found, _ = precision_recall_curve(truth, scores)
    return (
        Curve(*_thinned(alarms, recall), float(auc(alarms, recall))),
        Curve(
            *_thinned(share_found[::-1], precision[::-1]),
            float(average_precision_score(truth, scores)),
        ),
    )


def _thinned(x: NDArray[Any], y: NDArray[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    rows = np.unique(np.linspace(0, len(x) - 1, CURVE_POINTS).round().astype(int))
    return tuple(x[rows].round(4).tolist()), tuple(y[rows].round(4).tolist())


def _confusion(truth: Marks, named: Marks) -> tuple[tuple[int, ...], ...]:
    from sklearn.metrics import confusion_matrix

    indices = range(truth.shape[1])
    counts = confusion_matrix(truth.argmax(axis=1), named.argmax(axis=1), labels=list(indices))
    return tuple(tuple(int(count) for count in row) for row in counts)


def _mistakes(
    results: Results, truth: Marks, named: Marks, scores: NDArray[np.float32]
) -> tuple[Mistake, ...]:
    found = []
    for row in np.flatnonzero((truth != named).any(axis=1)):
        wrong = truth[row] != named[row]
        sure = np.where(named[row], scores[row], 1 - scores[row])
        # With one label per photo a mistake is two wrong answers: the name given is the one meant.
        index = int(np.where(wrong & (named[row] | results.multi_label), sure, -1).argmax())
        what = _what(results, truth[row], index, there=bool(named[row][index]))
        path = results.test.photos[row].path
        found.append(Mistake(int(row), path, what, float(sure[index]), index))
    return tuple(sorted(found, key=lambda mistake: -mistake.sure))


def _what(results: Results, truth: Marks, index: int, *, there: bool) -> str:
    label = quoted(results.labels[index])
    if not results.multi_label:
        return f"{quoted(results.labels[int(truth.argmax())])} taken for {label}"
    return f"{label} seen where there is none" if there else f"{label} overlooked"


def plain(value: Any) -> Any:
    """What JSON can hold: dictionaries, lists, words, finite numbers; None for NaN and infinity."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
