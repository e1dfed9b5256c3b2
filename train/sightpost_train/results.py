"""What a finished training run knows: scores by split, how sure it may be, what looks wrong."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightpost_edge.records import Pixels

from .cache import Stack
from .photos import LeftOut, Photo


@dataclass(frozen=True, slots=True)
class Scored:
    """One split through the kept model.

    ``pixels`` (n, h, w, 3) uint8 R,G,B, copied from the cache when indexed; ``truth`` (n, classes)
    float32, one 1 per row, or any number of them in a multi-label set; ``scores`` (n, classes)
    float32, probabilities; ``embeddings`` (n, features) float32, what the head sees.
    """

    photos: tuple[Photo, ...]
    pixels: Pixels | Stack = field(repr=False)
    truth: NDArray[np.float32] = field(repr=False)
    scores: NDArray[np.float32] = field(repr=False)
    embeddings: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One row of history.csv."""

    phase: str
    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Stage:
    """A classifier that was a candidate for being kept, and its figures.

    ``val_loss`` is the cross-entropy at the best temperature (see ``calibrated_loss``).
    """

    name: str
    val_accuracy: float
    val_loss: float
    test_accuracy: float

    @property
    def rank(self) -> float:
        """Greater is better: the smaller loss. Accuracy on 200 photos moves by half a point with
        every single photo; the loss weighs how sure the model was of each."""
        return -self.val_loss


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far scores can be taken at their word, on the test photos, before and after.

    ``temperature`` divides the logits (Guo et al. 2017, arXiv:1706.04599) and is folded into the
    head, so the device computes nothing more. ``ece`` is the expected calibration error over
    ``bins`` equal-width bins; ``reliability`` rows are (mean score, share right, photos) of each
    non-empty bin after scaling, ``reliability_before`` likewise before.
    """

    temperature: float
    ece_before: float
    ece_after: float
    bins: int
    reliability_before: tuple[tuple[float, float, int], ...]
    reliability: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True, slots=True)
class Threshold:
    """The score from which a label is believed, chosen on validation photos, tried on test photos.

    ``reached`` is False where no score gave the precision asked for; ``precision`` and ``recall``
    are of the test photos at ``score`` (NaN precision: no photo passed).
    """

    label: str
    score: float
    reached: bool
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Novelty:
    """How the model tells a thing it never saw.

    ``method`` won among ``aurocs`` (name to mean AUROC with each class left out in turn, or
    against ``unseen`` photos where some were given). A photo whose novelty score exceeds
    ``threshold`` is called novel; ``false_alarm`` is the share of known test photos that are.
    ``parameters`` are the arrays that computing the score needs.
    """

    method: str
    threshold: float
    false_alarm: float
    auroc: float
    aurocs: dict[str, float]
    against: str
    parameters: dict[str, NDArray[np.float32]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A training photo whose label other photos contradict (cross-validated confidence)."""

    photo: Photo
    suggested: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Results:
    """Everything the report, the model card and the converter are made from."""

    name: str
    labels: tuple[str, ...]
    multi_label: bool
    recipe: dict[str, Any]
    train: Scored
    validation: Scored
    test: Scored
    history: tuple[Epoch, ...]
    stages: tuple[Stage, ...]
    kept: str
    calibration: Calibration
    thresholds: tuple[Threshold, ...]
    precision_wanted: float
    novelty: Novelty
    suspects: tuple[Suspect, ...]
    left_out: tuple[LeftOut, ...]
    duplicates: int
    fingerprint: str
    seconds: float
    energy_wh: float
    versions: dict[str, str]
