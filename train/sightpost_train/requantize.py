"""A finished run, fine-tuned so that int8 loses nothing: the same photos, the same split."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from sightpost_edge.config import load
from sightpost_edge.durable import make_folder
from sightpost_edge.errors import DataError
from sightpost_edge.kerasfile import refuse_hostile

from .backbones import BACKBONES
from .dataset import Dataset, read_recipe_photos
from .descent import Descent, scaled, score
from .fit import Fitted, Parts
from .model import for_training, use_hardware
from .quantaware import calibrate, finish
from .quantaware import prepare as quantize
from .recipe import TrainRecipe
from .training import FINISHED, refuse_finished, run_key, saving_last_good, say_what_was_read
from .training import finish as finish_run
from .work import Work, file_digest

PHASE, BEFORE = "quantization-aware", "int8, not tuned"
EPOCHS, LEARNING_RATE = 6, 5e-5
"""Gentle on purpose: rounding moves weights by half a step, and a step is all there is to mend."""
RANGE_PHOTOS = 200
"""About so many photos give the activations their first ranges."""


def run_quantization_aware(photos: Path, out: Path, run: Path, *, resume: bool = False) -> None:
    """Fine-tune the classifier of ``run`` with its rounding in place; ``out`` is a run of its own.

    The network rounds weights and activations as int8 will while it learns (Jacob et al. 2018,
    arXiv:1712.05877). The converter takes the scales from the result.

    Raises:
        ConfigError: ``out`` holds a run already.
        DataError: ``run`` is not a finished run, or its photos have changed.
        TrainingError: a layer that quantization-aware training does not know.
    """
    refuse_finished(out, FINISHED)
    recipe = _recipe(run)
    use_hardware()
    data = _same_split(read_recipe_photos(photos, recipe), run)
    say_what_was_read(data)
    make_folder(out)
    key = {**run_key(recipe, data), "float model": file_digest(run / "model.keras")}
    work = Work.open(out, key, resume=resume)
    refuse_hostile(run / "model.keras")
    network = _quantized(keras.models.load_model(run / "model.keras", compile=False), data, recipe)
    parts = Parts(*(data.part(split) for split in ("train", "validation", "test")))
    with saving_last_good(out):
        fitted = _fit(recipe, network, parts, work, multi_label=data.multi_label)
    finish_run(out, recipe, data, parts, fitted, work, unseen=None, divide=False)
    work.clear()


def _recipe(run: Path) -> TrainRecipe:
    if not (run / FINISHED).exists():
        raise DataError(f"{run} is not a finished run", hint="train it first, without this option")
    kept = load(TrainRecipe, run / "recipe.toml")
    return replace(kept, epochs=EPOCHS, learning_rate=LEARNING_RATE, optimizer="adam")


def _same_split(data: Dataset, run: Path) -> Dataset:
    """The float run's split: its test photos stay unseen."""
    metrics = json.loads((run / FINISHED).read_text(encoding="utf-8"))
    fingerprint = metrics.get("dataset", {}).get("fingerprint")
    if fingerprint != data.fingerprint:
        raise DataError(
            f"the photos are not those that {run} was trained on",
            hint="give the same folder or manifest, unchanged, or train a float run anew",
        )
    with (run / "split.csv").open(newline="", encoding="utf-8") as file:
        split = {row["path"]: row["split"] for row in csv.DictReader(file)}
    everything = data.everything
    chosen = tuple(replace(photo, split=split[photo.path]) for photo in everything.photos)
    return replace(data, everything=replace(everything, photos=chosen))


def _quantized(model: Any, data: Dataset, recipe: TrainRecipe) -> Any:
    row = BACKBONES[recipe.backbone]
    network = quantize(model, mean=row.mean, std=row.std)
    train = data.part("train")
    order = np.random.default_rng(recipe.seed).permutation(len(train))[:RANGE_PHOTOS]
    blocks = np.array_split(order, max(1, len(order) // recipe.batch))
    calibrate(network, (scaled(train.stack[block], row.mean, row.std) for block in blocks))
    return network


def _fit(
    recipe: TrainRecipe, network: Any, parts: Parts, work: Work, *, multi_label: bool
) -> Fitted:
    row, fitted = BACKBONES[recipe.backbone], Fitted(network)
    _judge(fitted, BEFORE, network, parts, recipe, many=multi_label)
    before = network.get_weights()
    descent = Descent(
        PHASE, recipe, for_training(recipe, network), network,
        work=work, multi_label=multi_label, mean=row.mean, std=row.std, good_start=True,
    )  # fmt: skip
    fitted.history += descent.run(parts.train, parts.validation)
    if not _judge(fitted, PHASE, network, parts, recipe, many=multi_label):
        network.set_weights(before)
    fitted.model = finish(network)
    return fitted


def _judge(
    fitted: Fitted, name: str, network: Any, parts: Parts, recipe: TrainRecipe, *, many: bool
) -> bool:
    row = BACKBONES[recipe.backbone]
    scores = {
        split: score(network, part.stack, mean=row.mean, std=row.std)
        for split, part in (("validation", parts.validation), ("test", parts.test))
    }
    return fitted.judge(name, scores, parts, many=many)
