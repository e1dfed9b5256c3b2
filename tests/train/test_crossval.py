"""Cross-validation: each photo tested once, by a classifier that never saw its group."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightpost_edge.errors import ConfigError
from sightpost_train import crossval
from sightpost_train.crossval import FoldsResult, cross_validate
from sightpost_train.dataset import read_recipe_photos
from sightpost_train.recipe import TrainRecipe
from sightpost_train.split import folds

from ..conftest import TrainedRun

pytestmark = pytest.mark.workshop


@pytest.fixture(scope="module")
def recipe(trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> TrainRecipe:
    """Frozen features of the trained run's own backbone."""
    import keras

    path = tmp_path_factory.mktemp("weights") / "notop.weights.h5"
    model = keras.models.load_model(trained_run.path / "model.keras", compile=False)
    next(layer for layer in model.layers if isinstance(layer, keras.Model)).save_weights(path)
    return TrainRecipe(width=0.35, input_px=32, batch=8, weights=str(path), epochs=0)


@pytest.fixture(scope="module")
def result(
    trained_run: TrainedRun, recipe: TrainRecipe, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FoldsResult, Path]:
    out = tmp_path_factory.mktemp("folds") / "cv"
    return cross_validate(trained_run.photos, out, recipe, count=3), out


def test_every_photo_counts_once(result: tuple[FoldsResult, Path]) -> None:
    """The pooled figures are over all photos, with intervals around them."""
    found, out = result
    assert (found.photos, found.folds, len(found.kept)) == (120, 3, 3)
    low, high = found.accuracy_95
    assert 0 < low < found.accuracy <= high + 1e-9 <= 1 + 1e-9
    assert len(found.errors) == round((1 - found.accuracy) * 120)
    assert found.difference == pytest.approx(found.accuracy - found.logistic_regression)
    assert {p.name for p in out.iterdir()} == {"folds.json"}
    assert json.loads((out / "folds.json").read_text())["photos"] == 120


def test_parts_of_a_fold_share_nothing(trained_run: TrainedRun, recipe: TrainRecipe) -> None:
    """Train, validation and test photos of a fold are disjoint, in groups too, and complete."""
    data = read_recipe_photos(trained_run.photos, recipe)
    grouped = [
        replace(photo, group=f"g{i // 3}", split="")
        for i, photo in enumerate(data.everything.photos)
    ]
    data = replace(data, everything=replace(data.everything, photos=tuple(grouped)))
    index = np.array(folds(grouped, count=3, seed=1))
    for number in range(3):
        parts = crossval._parts(number, index, data, recipe)
        groups = [{photo.group for photo in part.photos} for _, part in parts.items()]
        assert sum(len(part) for _, part in parts.items()) == 120
        assert sum(map(len, groups)) == len(set().union(*groups))


def test_a_killed_one_goes_on(
    trained_run: TrainedRun, recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    result: tuple[FoldsResult, Path],
) -> None:  # fmt: skip
    """Folds that were finished are not trained again, and the result is the same."""
    real, trained = crossval._train_fold, []

    def counted(number: int, *rest: object) -> dict[str, np.ndarray]:
        trained.append(number)
        if trained == [0, 1]:
            raise KeyboardInterrupt
        return real(number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(crossval, "_train_fold", counted)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(trained_run.photos, tmp_path / "cv", recipe, count=3)
    again = cross_validate(trained_run.photos, tmp_path / "cv", recipe, count=3, resume=True)
    assert trained == [0, 1, 1, 2]
    assert again == result[0]


def test_one_fold_is_none(trained_run: TrainedRun, recipe: TrainRecipe, tmp_path: Path) -> None:
    """Refused, and so is a folder that holds a result."""
    with pytest.raises(ConfigError, match="at least 2"):
        cross_validate(trained_run.photos, tmp_path / "cv", recipe, count=1)
    with pytest.raises(ConfigError, match="form groups for 120 folds only"):
        cross_validate(trained_run.photos, tmp_path / "cv", recipe, count=121)
    (tmp_path / "folds.json").write_text("{}")
    with pytest.raises(ConfigError, match="already holds"):
        cross_validate(trained_run.photos, tmp_path, recipe, count=3)


def test_intervals_of_paired_differences() -> None:
    """Textbook: mean 0.1, and a half width of 1.96 standard errors."""
    differences = np.array([1.0] * 15 + [-1.0] * 5 + [0.0] * 80)
    low, high = crossval._paired(differences)
    error = math.sqrt(differences.var(ddof=1) / 100)
    assert (low, high) == pytest.approx((0.1 - 1.96 * error, 0.1 + 1.96 * error))
