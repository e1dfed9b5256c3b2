"""What a candidate's answers are worth, against the truth and against the float model's answers."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sightpost_edge.bench import Timing
from sightpost_edge.contract import Contract
from sightpost_edge.novelty import Novelty
from sightpost_edge.records import Scores

from .bulk import Answers

BINS = 15
"""Of equal counts, for the calibration error."""
CHANCE = 1
"""Photos: losing a single one is no evidence, however few there are."""
FEWEST_NOVEL = 3
"""Photos of a class before its absence says anything about novelty."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One row of the court's table; figures are NaN where they could not be had.

    ``drop`` is against what training measured, ``class_drop`` and ``agreement`` against the float
    model on the same photos: recall lost by ``worst_class``, and the share of equal decisions at
    the thresholds that the device will use. ``calibration_error`` is the expected calibration
    error. ``photos`` is less than the whole where the candidate was ``stopped`` as hopeless; its
    ``drop`` is then what it loses even if it named all others rightly.
    ``timings``, ``peak_mb``, ``partitions`` come from the machine that was measured.
    """

    kind: str
    maker: str
    size_bytes: int = 0
    photos: int = 0
    accuracy: float = float("nan")
    drop: float = float("nan")
    class_recall: tuple[float, ...] = ()
    worst_class: str = ""
    class_drop: float = float("nan")
    agreement: float = float("nan")
    calibration_error: float = float("nan")
    novelty_auroc: float = float("nan")
    finite: bool = True
    stopped: bool = False
    timings: tuple[Timing, ...] = ()
    peak_mb: float = float("nan")
    partitions: int = 0
    note: str = ""
    verdict: str = ""
    too_costly: bool = False
    answers: Answers | None = field(default=None, repr=False)

    @property
    def within_budget(self) -> bool:
        """Whether it may be chosen."""
        return not self.verdict

    @property
    def keeps_accuracy(self) -> bool:
        """Whether only its cost can be against it."""
        return self.finite and (self.within_budget or self.too_costly)

    @property
    def median_ms(self) -> float:
        """One thread's median, by which candidates are compared."""
        return self.timings[0].median_ms if self.timings else float("nan")

    @property
    def best(self) -> Timing | None:
        """The number of threads with the least median."""
        return min(self.timings, key=lambda timing: timing.median_ms, default=None)


def decisions(scores: Scores, contract: Contract) -> NDArray[np.bool_]:
    """(n, classes): what the device would claim, at its thresholds.

    The top label where it reaches its threshold, else nothing; in a multi-label set every label
    that does.
    """
    bar = np.array(contract.thresholds or [contract.threshold] * len(contract.labels), np.float32)
    reached = scores >= bar
    return reached if contract.multi_label else reached & named(scores, multi_label=False)


def named(scores: Scores, *, multi_label: bool) -> NDArray[np.bool_]:
    """(n, classes): the top label, or in a multi-label set every label from 0.5 on."""
    if multi_label:
        return np.asarray(scores >= 0.5)
    first = np.zeros(scores.shape, np.bool_)
    first[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return first


def right(scores: Scores, truth: NDArray[np.bool_], *, multi_label: bool) -> NDArray[np.bool_]:
    """(n,): whether exactly the true labels are named."""
    return np.asarray((named(scores, multi_label=multi_label) == truth).all(axis=1))


def recalls(scores: Scores, truth: NDArray[np.bool_], *, multi_label: bool) -> NDArray[np.float64]:
    """(classes,): of the photos that show a class, the share in which it is named; NaN without."""
    hit = (named(scores, multi_label=multi_label) & truth).sum(axis=0)
    shown = truth.sum(axis=0)
    return np.where(shown > 0, hit / np.maximum(shown, 1), np.nan)


def worst_drop(
    scores: Scores, reference: Scores, truth: NDArray[np.bool_], *, multi_label: bool
) -> tuple[int, float]:
    """The class that lost most recall against the reference: its index, and how much.

    Classes that lost a single photo count only where no class lost more: one photo is no evidence,
    and one of two photos would hide thirty of a hundred. (0, NaN) where no photo has a label.
    """
    shown = truth.sum(axis=0)
    lost = recalls(reference, truth, multi_label=multi_label) - recalls(
        scores, truth, multi_label=multi_label
    )
    if not shown.any():
        return 0, float("nan")
    telling = np.where(np.rint(lost * shown) > CHANCE, lost, np.nan)
    judged = telling if np.isfinite(telling).any() else np.where(shown > 0, lost, np.nan)
    index = int(np.nanargmax(judged))
    return index, float(lost[index])


def calibration_error(scores: Scores, truth: NDArray[np.bool_], *, multi_label: bool) -> float:
    """Expected calibration error over bins of equal counts (Nixon et al. 2019, arXiv:1904.01685).

    Of the top label's score, or of all labels' scores where several may apply.
    """
    if multi_label:
        claimed, held = scores.reshape(-1), truth.reshape(-1)
    else:
        claimed = scores.max(axis=1)
        held = right(scores, truth, multi_label=False)
    order = np.argsort(claimed, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    gaps = [len(part) * abs(claimed[part].mean() - held[part].mean()) for part in parts]
    return float(np.sum(gaps) / len(claimed))


def novelty_auroc(answers: Answers, truth: NDArray[np.bool_], novelty: Novelty | None) -> float:
    """How well unknown things would be told: each class left out of the novelty model in turn.

    Its photos then stand for something never seen; the mean area under the ROC curve. The network
    has learnt the class all the same, which flatters every candidate alike.
    """
    if novelty is None or not np.isfinite(answers.scores).all():
        return float("nan")
    areas = []
    for index in range(truth.shape[1]):
        rest, strange = novelty.without(index), truth[:, index]
        if rest is None or strange.sum() < FEWEST_NOVEL or strange.all():
            continue
        scores = np.delete(answers.scores, index, axis=1)
        areas.append(_auroc(rest.scores(answers.embeddings, scores), strange))
    return float(np.mean(areas)) if areas else float("nan")


def _auroc(score: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, score))


def hopeless_after(
    scores: Scores, truth: NDArray[np.bool_], needed: int, *, multi_label: bool
) -> bool:
    """Whether fewer than ``needed`` photos of ``truth`` can still be named rightly.

    The (n, classes) ``scores`` are those of its first n photos; all others may turn out right.
    """
    mine = int(right(scores, truth[: len(scores)], multi_label=multi_label).sum())
    return mine + len(truth) - len(scores) < needed
