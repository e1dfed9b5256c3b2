"""Plausible Results of any shape, for the report's tests: no photo is read, nothing is trained."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sightpost_train.photos import LeftOut, Photo
from sightpost_train.results import (
    Calibration,
    Epoch,
    Novelty,
    Results,
    Scored,
    Stage,
    Suspect,
    Threshold,
)

FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


def make_results(
    labels: Sequence[str] = FLOWERS, *,
    each: int = 20, multi_label: bool = False, skill: float = 2.5, px: int = 24, seed: int = 1,
) -> Results:  # fmt: skip
    """A run on ``each`` test photos of each label; ``skill`` is how far right scores stand out."""
    rng = np.random.default_rng(seed)
    splits = {
        name: _scored(rng, name, labels, count, multi_label=multi_label, skill=skill, px=px)
        for name, count in (("train", 5 * each), ("validation", each), ("test", each))
    }
    return Results(
        name="station 7", labels=tuple(labels), multi_label=multi_label,
        recipe={"backbone": "mobilenet_v2", "input_px": px, "weights": "none"},
        **splits, history=_history(), stages=_stages(), kept="fine-tuned",
        calibration=Calibration(1.31, 0.084, 0.023, 15, _reliability(0.06), _reliability(0.01)),
        thresholds=tuple(Threshold(label, 0.6, True, 0.96, 0.85) for label in labels),
        precision_wanted=0.95,
        novelty=Novelty(
            "energy", 1.25, 0.051, 0.874, {"energy": 0.874, "largest score": 0.81},
            "each class left out in turn", {"weights": np.ones(3, np.float32)},
        ),
        suspects=(Suspect(splits["train"].photos[0], labels[-1], 0.97),),
        left_out=(LeftOut("notes.txt", "not a photo format"),), duplicates=2,
        fingerprint="5e" * 32, seconds=724.0, energy_wh=13.1, versions={"keras": "3.15.1"},
    )  # fmt: skip


def with_scores(results: Results, scores: NDArray[np.float32]) -> Results:
    """The same run, its test photos scored otherwise."""
    return replace(results, test=replace(results.test, scores=scores))


def _scored(
    rng: np.random.Generator, split: str, labels: Sequence[str], each: int,
    *, multi_label: bool, skill: float, px: int,
) -> Scored:  # fmt: skip
    count = len(labels)
    truth = np.repeat(np.eye(count, dtype=np.float32), each, axis=0)
    if multi_label:
        truth = np.maximum(truth, rng.random(truth.shape) < 0.2).astype(np.float32)
    logits = rng.normal(size=truth.shape) + skill * truth
    odds = np.exp(2 * logits)
    against = odds + np.exp(skill) if multi_label else odds.sum(axis=1, keepdims=True)
    scores = odds / against
    photos = tuple(
        Photo(f"{split}/{index:04d}.jpg", tuple(np.array(labels)[row > 0].tolist()), split=split)
        for index, row in enumerate(truth)
    )
    pixels = rng.integers(60, 200, (len(truth), px, px, 3)).astype(np.uint8)
    embeddings = logits.astype(np.float32)
    return Scored(photos, pixels, truth, scores.astype(np.float32), embeddings)


def _reliability(off: float) -> tuple[tuple[float, float, int], ...]:
    return tuple((score, score - off, photos) for score, photos in ((0.5, 9), (0.7, 17), (0.9, 80)))


def _history() -> tuple[Epoch, ...]:
    phases = [("head", epoch) for epoch in range(1, 13)]
    phases += [("fine-tune", epoch) for epoch in range(1, 5)]
    return tuple(
        Epoch(phase, epoch, 1.5 * far, 1 - 0.5 * far, 1.4 * far + 0.2, 0.9 - 0.4 * far, 3.0)
        for far, (phase, epoch) in ((1 / n, row) for n, row in enumerate(phases, start=2))
    )


def _stages() -> tuple[Stage, ...]:
    return (
        Stage("frozen head", 0.87, 0.41, 0.86),
        Stage("logistic regression", 0.88, 0.39, 0.87),
        Stage("fine-tuned", 0.9, 0.33, 0.89),
    )
