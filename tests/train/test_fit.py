"""Training end to end on tiny photos, through the command line's own function."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightpost_edge.errors import ConfigError, TrainingError
from sightpost_train import descent
from sightpost_train.cache import Stack
from sightpost_train.dataset import Part, read_recipe_photos
from sightpost_train.descent import Feed, optimizer, photo_weights
from sightpost_train.fit import Parts, between, fit_recipe
from sightpost_train.model import build_features
from sightpost_train.photos import Photo
from sightpost_train.recipe import TrainRecipe
from sightpost_train.training import run_key, run_training
from sightpost_train.work import Work

from ..conftest import TrainedRun
from ..workshop import colour_photos

pytestmark = pytest.mark.workshop

SMALL = {"width": 0.35, "input_px": 32, "batch": 8}


@pytest.fixture(scope="module")
def photos(trained_run: TrainedRun) -> Path:
    return trained_run.photos


@pytest.fixture(scope="module")
def weights(trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local weights file, without top, from that run."""
    import keras

    path = tmp_path_factory.mktemp("weights") / "notop.weights.h5"
    model = keras.models.load_model(trained_run.path / "model.keras", compile=False)
    next(layer for layer in model.layers if isinstance(layer, keras.Model)).save_weights(path)
    return path


@pytest.fixture(scope="module")
def transfer(photos: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transfer-learning run."""
    out = tmp_path_factory.mktemp("runs") / "transfer"
    run_training(photos, out, TrainRecipe(**SMALL, weights=str(weights), epochs=2))
    return out


def metrics(run: Path) -> dict[str, object]:
    return dict(json.loads((run / "metrics.json").read_text()))


def test_a_run_leaves_what_people_and_the_converter_need(transfer: Path) -> None:
    """And nothing else: the finished steps are gone."""
    assert {p.name for p in transfer.iterdir()} - {"novelty.npz"} == {
        "model.keras", "metrics.json", "history.csv", "report.html", "model-card.md",
        "split.csv", "recipe.toml",
    }  # fmt: skip


def test_metrics_tell_the_truth(transfer: Path) -> None:
    """Accuracy is that of the confusion matrix; the stage with the smallest loss is kept."""
    found = metrics(transfer)
    confusion = np.array(found["test"]["confusion"])
    assert found["test"]["accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())
    assert [row["label"] for row in found["test"]["classes"]] == ["blue", "green", "red"]
    assert [s["name"] for s in found["stages"]] == ["frozen features", "fine-tuned"]
    kept = next(s for s in found["stages"] if s["name"] == found["kept"])
    assert kept["val_loss"] == min(s["val_loss"] for s in found["stages"])
    assert kept["test_accuracy"] == pytest.approx(found["test"]["accuracy"])
    assert len(found["dataset"]["fingerprint"]) == 64
    assert len(found["thresholds"]) == 3
    assert 0 <= found["novelty"]["false_alarm"] <= 1


def test_the_saved_model_gives_the_reported_scores(transfer: Path, photos: Path) -> None:
    """The temperature is in its weights, so what was calibrated is what is converted."""
    import keras

    from sightpost_edge.pixels import Geometry, fit, read_photo

    model = keras.models.load_model(transfer / "model.keras", compile=False)
    with (transfer / "split.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    pixels = np.stack([fit(read_photo(photos / row["path"]), Geometry(32, 32)) for row in rows])
    scores = model.predict_on_batch(pixels.astype(np.float32) / 127.5 - 1)
    labels = metrics(transfer)["labels"]
    right = [labels[i] == row["label"] for i, row in zip(scores.argmax(1), rows, strict=True)]
    assert np.mean(right) == pytest.approx(metrics(transfer)["test"]["accuracy"])


def test_colours_are_learnt(transfer: Path) -> None:
    """Features that know colours give a head that does: the chain really trains."""
    assert metrics(transfer)["test"]["accuracy"] >= 0.9


def test_history_names_its_phases(transfer: Path, trained_run: TrainedRun) -> None:
    """One row per epoch."""
    for run, phase, epochs in ((transfer, "fine-tuned", 2), (trained_run.path, "from scratch", 12)):
        with (run / "history.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {row["phase"] for row in rows} == {phase}
        assert 1 <= len(rows) <= epochs


def test_a_finished_run_is_not_overwritten(transfer: Path, photos: Path) -> None:
    """Hours of training are not lost to a repeated command."""
    before = (transfer / "model.keras").read_bytes()
    with pytest.raises(ConfigError, match="already holds a finished run"):
        run_training(photos, transfer, TrainRecipe(**SMALL, weights="none"))
    assert (transfer / "model.keras").read_bytes() == before


def test_from_scratch(trained_run: TrainedRun) -> None:
    """Without pretrained weights everything trains at once, and colours are learnt."""
    found = metrics(trained_run.path)
    assert found["kept"] == "from scratch"
    assert found["test"]["accuracy"] >= 0.8


def test_the_last_good_weights_survive_an_infinite_loss(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are saved as a model that gives finite scores, and the message says where."""
    import keras

    epoch = descent.Descent._epoch

    def poisoned(self: descent.Descent, number: int, *rest: object) -> None:
        if number == 1:
            self.training.optimizer.learning_rate = float("nan")
        epoch(self, number, *rest)  # type: ignore[arg-type]

    def plain(recipe: TrainRecipe, steps: int) -> object:
        return keras.optimizers.SGD(0.01)

    monkeypatch.setattr(descent, "optimizer", plain)
    monkeypatch.setattr(descent.Descent, "_epoch", poisoned)
    with pytest.raises(TrainingError, match="infinite") as caught:
        run_training(photos, tmp_path / "run", TrainRecipe(**SMALL, weights="none", epochs=3))
    assert "last-good.keras" in caught.value.hint
    model = keras.models.load_model(tmp_path / "run" / "last-good.keras", compile=False)
    assert np.isfinite(model.predict_on_batch(np.zeros((1, 32, 32, 3), np.float32))).all()


def test_an_explosion_in_the_first_epoch_leaves_the_frozen_head(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    """A rate far too high: the advice names it, and what fine-tuning began from is saved."""
    import keras

    recipe = TrainRecipe(
        **SMALL, weights=str(weights), epochs=1, learning_rate=1e30, optimizer="sgd"
    )
    with pytest.raises(TrainingError, match="infinite") as caught:
        run_training(photos, tmp_path / "run", recipe)
    assert "learning_rate" in caught.value.hint
    model = keras.models.load_model(tmp_path / "run" / "last-good.keras", compile=False)
    assert np.isfinite(model.predict_on_batch(np.zeros((1, 32, 32, 3), np.float32))).all()


def test_resuming_with_another_split_is_refused(photos: Path, tmp_path: Path) -> None:
    """The same photos in other splits would mix test photos into training."""
    recipe = TrainRecipe(**SMALL, weights="none")
    data = read_recipe_photos(photos, recipe)
    Work.open(tmp_path, run_key(recipe, data), resume=False)
    other = read_recipe_photos(photos, replace(recipe, seed=2))
    with pytest.raises(ConfigError, match="photos was"):
        Work.open(tmp_path, run_key(recipe, other), resume=True)


def test_fine_tuning_never_makes_it_worse(photos: Path, weights: Path, tmp_path: Path) -> None:
    """A rate that ruins the network: the frozen features are kept, and so is their accuracy."""
    recipe = TrainRecipe(
        **SMALL, weights=str(weights), epochs=1, learning_rate=0.5, optimizer="adam"
    )
    run_training(photos, tmp_path / "run", recipe)
    found = metrics(tmp_path / "run")
    assert found["kept"] == "frozen features"
    stages = {stage["name"]: stage for stage in found["stages"]}
    assert stages["fine-tuned"]["val_loss"] > stages["frozen features"]["val_loss"]
    assert found["test"]["accuracy"] == stages["frozen features"]["test_accuracy"] >= 0.9


def test_photos_deleted_while_training_are_not_missed(tmp_path: Path) -> None:
    """They were decoded into the cache before the first epoch."""
    photos = colour_photos(tmp_path / "p", per_class=12)
    recipe = TrainRecipe(**SMALL, weights="none", epochs=2)
    data = read_recipe_photos(photos, recipe)
    shutil.rmtree(photos)
    parts = Parts(*(data.part(split) for split in ("train", "validation", "test")))
    fitted = fit_recipe(
        recipe, build_features(recipe), parts, Work(tmp_path / "w", {}), multi_label=False
    )
    assert len(fitted.history) == 2


def test_weights_between_two() -> None:
    """Along the straight line from the frozen to the fine-tuned ones."""
    before, after = [np.zeros(2, np.float32)], [np.array([1, 2], np.float32)]
    assert between(before, after, 0.25)[0].tolist() == [0.25, 0.5]
    assert between(before, after, 1.0)[0].dtype == np.float32


def test_several_labels_a_photo(tmp_path: Path) -> None:
    """A manifest with several labels gives sigmoid scores: neither excludes the other."""
    import keras

    folder = colour_photos(tmp_path / "p", per_class=30)
    rows = ["path,label"]
    for name, labels in (("red", "warm"), ("green", "cold|calm"), ("blue", "cold")):
        rows += [f"{name}/{i:03d}.png,{labels}" for i in range(30)]
    (folder / "m.csv").write_text("\n".join(rows))
    run_training(folder / "m.csv", tmp_path / "run", TrainRecipe(**SMALL, weights="none", epochs=6))
    found = metrics(tmp_path / "run")
    assert found["multi_label"]
    assert found["labels"] == ["calm", "cold", "warm"]
    model = keras.models.load_model(tmp_path / "run" / "model.keras", compile=False)
    assert model.get_layer("scores").activation.__name__ == "sigmoid"


def test_mixed_precision_ends_in_plain_float32(tmp_path: Path) -> None:
    """What a GPU trains in bfloat16 is saved as the converter wants it, with the same scores."""
    import keras

    from sightpost_train.model import build, build_features, settle

    recipe = TrainRecipe(**SMALL, weights="none")
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        mixed = build(recipe, build_features(recipe), 3, multi_label=False)
        plain = settle(recipe, mixed, 3, multi_label=False)
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.dtype_policy.name for layer in plain.layers} == {"float32"}
    photos = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    theirs = np.asarray(mixed.predict_on_batch(photos), np.float32)
    assert np.abs(plain.predict_on_batch(photos) - theirs).max() < 0.02


def part(count: int) -> Part:
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    photos = tuple(Photo(str(i), ("x",)) for i in range(count))
    stack = Stack(pixels, np.arange(count))
    return Part(photos, stack, np.eye(count, dtype=np.float32))


def test_epochs_are_reproducible_and_complete() -> None:
    """Each photo comes once an epoch, in an order of seed and epoch only."""

    def order(seed: int, epoch: int) -> list[int]:
        feed = Feed(part(10), np.ones(10, np.float32), batch=4, seed=seed, epoch=epoch)
        assert len(feed) == 3
        return [int(t.argmax()) for i in range(3) for t in feed[i][1]]

    assert sorted(order(3, 0)) == list(range(10))
    assert order(3, 0) == order(3, 0)
    assert order(3, 0) != order(3, 1)
    assert order(3, 0) != order(4, 0)


def test_rare_classes_can_weigh_as_much() -> None:
    """Ten photos of one class, two of another: with "balanced" both sum to the same weight."""
    truth = np.repeat(np.eye(2, dtype=np.float32), [10, 2], axis=0)
    recipe = TrainRecipe(weights="none", class_weight="balanced")
    weights = photo_weights(truth, recipe)
    assert weights[:10].sum() == pytest.approx(weights[10:].sum())
    assert weights.mean() == pytest.approx(1)
    assert set(photo_weights(truth, replace(recipe, class_weight="none"))) == {1.0}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_rates_warm_up_and_cool_down(name: str) -> None:
    """A twentieth of the steps up to the peak, then a cosine to a hundredth of it."""
    recipe = TrainRecipe(weights="none", optimizer=name, learning_rate=0.01)  # type: ignore[arg-type]
    rate: Callable[[int], float] = optimizer(recipe, 200)._learning_rate
    assert float(rate(0)) == pytest.approx(0.0005)
    assert float(rate(10)) == pytest.approx(0.01)
    assert float(rate(200)) == pytest.approx(0.0001, rel=0.05)
