"""Scores every candidate on held-out photos through the device's own classifier, and chooses."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.contract import Contract
from sightpost_edge.errors import ConversionRefused
from sightpost_edge.interpreter import Network
from sightpost_edge.records import Pixels

from .candidates import Candidate

MAX_DROP = 0.01
"""A candidate may lose this much accuracy against the float model, and no more."""
SAME_SPEED = 1.1
"""Median times within a tenth are the same on a noisy machine; then the smaller file wins."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One row of the table; times are this machine's, one thread, picture to scores."""

    kind: str
    accuracy: float
    drop: float
    agreement: float
    size_bytes: int
    median_ms: float
    verdict: str
    scores: NDArray[np.float32] = field(repr=False)

    @property
    def within_budget(self) -> bool:
        """Whether it keeps the accuracy."""
        return not self.verdict


def judge(
    candidates: Sequence[Candidate],
    photos: Pixels,
    truth: NDArray[np.bool_],
    contract: Contract,
    *,
    trained: float,
    max_drop: float = MAX_DROP,
) -> list[Judgement]:
    """Judge each candidate on the held-out photos.

    Args:
        candidates: the first one is the float32 model; decisions are compared with its own.
        photos: (n, h, w, 3) uint8, R,G,B, fitted.
        truth: (n, classes), True where a label applies.
        contract: labels, geometry and normalisation.
        trained: the accuracy that training measured on the same photos.
        max_drop: accuracy that a candidate may lose.
    """
    rows: list[Judgement] = []
    for candidate in tqdm(
        candidates, desc="judging", unit=" candidates", leave=False, disable=None
    ):
        if candidate.failure:
            none = np.zeros((0, len(contract.labels)), np.float32)
            nan = float("nan")
            rows.append(Judgement(candidate.kind, nan, nan, nan, 0, nan, candidate.failure, none))
            continue
        reference = rows[0] if rows else None
        rows.append(_judge_one(candidate, photos, truth, contract, reference, trained, max_drop))
    return rows


def choose(rows: Sequence[Judgement]) -> Judgement:
    """The fastest within budget; of equally fast ones the smallest.

    Raises:
        ConversionRefused: none is within budget.
    """
    good = [row for row in rows if row.within_budget]
    if not good:
        reasons = "; ".join(f"{row.kind}: {row.verdict}" for row in rows)
        raise ConversionRefused(
            f"no candidate keeps the accuracy ({reasons})",
            hint="sightpost train PHOTOS --quantization-aware RUN fine-tunes for int8; otherwise "
            "another backbone; scores that are not finite point to a broken model",
        )
    fastest = min(row.median_ms for row in good)
    return min(
        (row for row in good if row.median_ms <= fastest * SAME_SPEED),
        key=lambda row: row.size_bytes,
    )


def device_classifier(model: bytes, contract: Contract) -> BundleClassifier:
    """The device's classifier over a FlatBuffer that is not sealed yet."""
    return BundleClassifier(Bundle(Path(), "", contract, Network(model), verified=False))


def _judge_one(
    candidate: Candidate, photos: Pixels, truth: NDArray[np.bool_], contract: Contract,
    reference: Judgement | None, trained: float, max_drop: float,
) -> Judgement:  # fmt: skip
    classifier = device_classifier(candidate.model, contract)
    times_ms: list[float] = []
    rows: list[NDArray[np.float32]] = []
    for photo in photos:
        began = time.perf_counter()
        rows.append(classifier.scores(photo))
        times_ms.append((time.perf_counter() - began) * 1000)
    scores = np.stack(rows)
    named = _named(scores, multi_label=contract.multi_label)
    accuracy = float((named == truth).all(axis=1).mean())
    drop = trained - accuracy
    float_scores = reference.scores if reference else scores
    same = float("nan")
    if len(float_scores):
        named_by_float = _named(float_scores, multi_label=contract.multi_label)
        same = float((named == named_by_float).all(axis=1).mean())
    return Judgement(
        kind=candidate.kind,
        accuracy=accuracy,
        drop=drop,
        agreement=same,
        size_bytes=len(candidate.model),
        median_ms=float(np.median(times_ms)),
        verdict=_verdict(scores, drop, max_drop),
        scores=scores,
    )


def _named(scores: NDArray[np.float32], *, multi_label: bool) -> NDArray[np.bool_]:
    """(n, classes): the top label, or in a multi-label set every label from 0.5 on."""
    if multi_label:
        return scores >= 0.5
    named = np.zeros(scores.shape, np.bool_)
    named[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return named


def _verdict(scores: NDArray[np.float32], drop: float, max_drop: float) -> str:
    """Why a candidate is out of budget; empty where it is in."""
    if not np.isfinite(scores).all():
        return "scores are not finite"
    # Written so that NaN fails; the small term forgives binary fractions, not photos.
    if not drop <= max_drop + 1e-9:
        return f"loses {drop:.1%} accuracy, {max_drop:.1%} allowed"
    return ""
