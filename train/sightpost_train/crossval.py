"""Cross-validation: every photo is tested once, by a classifier that never saw its group."""

import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightpost_edge.durable import make_folder, write_file
from sightpost_edge.errors import ConfigError

from .backbones import BACKBONES
from .dataset import Dataset, read_recipe_photos
from .descent import score
from .figures import plain, wilson
from .fit import Fitted, Parts, fit_recipe
from .head import accuracy, refit
from .model import build_features, use_hardware
from .recipe import TrainRecipe
from .split import folds
from .training import refuse_finished, run_key, say_what_was_read
from .work import Work

FINISHED = "folds.json"
MOST_INNER = 20
"""At least a twentieth of the rest chooses."""


@dataclass(frozen=True, slots=True)
class FoldsResult:
    """Pooled over all folds: shares of ``photos`` named rightly, with 95 % intervals.

    ``difference`` is the recipe's accuracy minus that of logistic regression on the same frozen
    features, photo by photo; NaN from scratch, where there are none.
    """

    photos: int
    folds: int
    accuracy: float
    accuracy_95: tuple[float, float]
    logistic_regression: float
    difference: float
    difference_95: tuple[float, float]
    kept: tuple[str, ...]
    errors: tuple[str, ...] = field(repr=False)


def cross_validate(
    source: Path, out: Path, recipe: TrainRecipe, *, count: int, resume: bool = False
) -> FoldsResult:
    """Train ``count`` times, each time leaving other groups out; writes folds.json, keeps no model.

    Logistic regression gets the validation photos to learn from as well: it needs none to stop.

    Raises:
        ConfigError: ``out`` holds a finished run, or ``count`` is under 2.
        DataError, TrainingError: as in training.
    """
    if count < 2:
        raise ConfigError(f"--folds {count}: at least 2")
    refuse_finished(out, FINISHED)
    make_folder(out)
    use_hardware()
    data = read_recipe_photos(source, recipe)
    say_what_was_read(data)
    work = Work.open(out, {**run_key(recipe, data), "folds": count}, resume=resume)
    index = np.array(folds(data.everything.photos, count=count, seed=recipe.seed))
    if (filled := len(set(index.tolist()))) < count:
        raise ConfigError(
            f"--folds {count}: the photos form groups for {filled} folds only",
            hint="take fewer folds, or smaller groups",
        )
    pooled = [_fold(number, index, data, recipe, work) for number in range(count)]
    result = _pool(data, index, pooled, count)
    write_file(out / FINISHED, json.dumps(plain(result), indent=1).encode())
    work.clear()
    return result


def say_folds(result: FoldsResult, out: Path) -> None:
    """The pooled figures to stdout."""
    low, high = result.accuracy_95
    print(
        f"{result.photos} photos, each tested once in {result.folds} folds\n"
        f"this recipe          {result.accuracy:.4f}  [{low:.4f}, {high:.4f}]"
    )
    if not math.isnan(result.difference):
        low, high = result.difference_95
        print(
            f"logistic regression  {result.logistic_regression:.4f}  on the same frozen features\n"
            f"difference           {result.difference:+.4f}  [{low:+.4f}, {high:+.4f}]"
        )
    print(f"kept: {', '.join(result.kept)}; {len(result.errors)} errors; see {out / FINISHED}")


@dataclass(frozen=True, slots=True)
class _Fold:
    scores: NDArray[np.float32]
    baseline: NDArray[np.float32] | None
    kept: str


def _fold(
    number: int, index: NDArray[np.int64], data: Dataset, recipe: TrainRecipe, work: Work
) -> _Fold:
    kept = work.load(f"fold-{number}")
    if kept is None:
        print(f"sightpost: fold {number + 1} of {index.max() + 1}", file=sys.stderr)
        part = work.part(f"fold-{number}-steps")
        kept = _train_fold(number, index, data, recipe, part)
        work.save(f"fold-{number}", kept)
        part.clear()
    return _Fold(kept["scores"], kept.get("baseline"), str(kept["kept"]))


def _train_fold(
    number: int, index: NDArray[np.int64], data: Dataset, recipe: TrainRecipe, work: Work
) -> dict[str, NDArray[Any]]:
    parts = _parts(number, index, data, recipe)
    backbone = build_features(recipe)
    fitted = fit_recipe(recipe, backbone, parts, work, multi_label=data.multi_label)
    row = BACKBONES[recipe.backbone]
    arrays: dict[str, NDArray[Any]] = {
        "scores": score(fitted.model, parts.test.stack, mean=row.mean, std=row.std),
        "kept": np.array(fitted.kept),
    }
    if fitted.features is not None:
        arrays["baseline"] = _baseline(fitted, parts, data.multi_label)
    return arrays


def _parts(
    number: int, index: NDArray[np.int64], data: Dataset, recipe: TrainRecipe
) -> Parts:  # fmt: skip
    """One fold to be tested, a share of the rest to choose with, the others to learn from."""
    rest = np.flatnonzero(index != number)
    photos = [data.everything.photos[i] for i in rest]
    count = min(round(1 / recipe.validation_share), MOST_INNER)
    inner = np.array(folds(photos, count=count, seed=recipe.seed))
    if 0 not in inner:  # so few groups that none is left to choose with
        inner[: max(1, len(inner) // count)] = 0
    at = data.everything.at
    return Parts(at(rest[inner != 0]), at(rest[inner == 0]), at(np.flatnonzero(index == number)))


def _baseline(fitted: Fitted, parts: Parts, multi_label: bool) -> NDArray[np.float32]:
    assert fitted.features is not None
    features = np.concatenate([fitted.features["train"], fitted.features["validation"]])
    truth = np.concatenate([parts.train.truth, parts.validation.truth])
    head = refit(features, truth, fitted.strength, multi_label=multi_label)
    return head.scores(fitted.features["test"], multi_label=multi_label)


def _pool(data: Dataset, index: NDArray[np.int64], pooled: list[_Fold], count: int) -> FoldsResult:
    order = np.concatenate([np.flatnonzero(index == number) for number in range(count)])
    truth, many = data.everything.truth[order], data.multi_label
    right = _right(np.concatenate([fold.scores for fold in pooled]), truth, many)
    parts = [fold.baseline for fold in pooled if fold.baseline is not None]
    baseline = _right(np.concatenate(parts), truth, many) if parts else np.full(len(right), np.nan)
    wrong = [data.everything.photos[order[i]].path for i in np.flatnonzero(right < 1)]
    return FoldsResult(
        photos=len(order), folds=count,
        accuracy=float(right.mean()), accuracy_95=wilson(round(right.sum()), len(right)),
        logistic_regression=float(baseline.mean()),
        difference=float((right - baseline).mean()), difference_95=_paired(right - baseline),
        kept=tuple(fold.kept for fold in pooled), errors=tuple(wrong),
    )  # fmt: skip


def _right(
    scores: NDArray[np.float32], truth: NDArray[np.float32], multi_label: bool
) -> NDArray[np.float64]:
    """(n,) share of each photo that is right: 0 or 1, or of its labels in a multi-label set."""
    rows = [
        accuracy(s[None], t[None], multi_label=multi_label)
        for s, t in zip(scores, truth, strict=True)
    ]
    return np.array(rows, np.float64)


def _paired(differences: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of a mean of paired differences, by the normal approximation."""
    half = 1.96 * float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return float(differences.mean()) - half, float(differences.mean()) + half
