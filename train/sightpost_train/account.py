"""The honest account of a trained classifier: scores to be believed, and what it cannot do."""

from dataclasses import asdict, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .backbones import BACKBONES
from .calibration import calibrate, thresholds
from .dataset import Dataset, Part
from .descent import score
from .fit import FROZEN, Fitted, Parts, embedder
from .head import probabilities
from .model import OUTPUT
from .novelty import Embedded, novelty
from .recipe import TrainRecipe
from .results import Novelty, Results, Scored
from .suspects import suspects
from .work import Work

Floats = NDArray[np.float32]
WATTS_PER_CORE = 10.0
"""For the energy estimate: a busy desktop or server core with its share of the machine, no GPU."""


def account(
    recipe: TrainRecipe, data: Dataset, parts: Parts, fitted: Fitted, work: Work, *,
    name: str, unseen: Part | None = None, divide: bool = True,
) -> Results:  # fmt: skip
    """Calibrate the classifier in place and gather everything that is known about it.

    The temperature is divided into the head's weights, so the device computes nothing for it.
    Without ``divide`` it stays 1: a quantized head's ranges fit the weights it was trained with.
    """
    many, labels, spent = data.multi_label, data.labels, work.spent
    known = fitted.features if fitted.kept == FROZEN and fitted.features else {}
    seen = {
        name: _embed(recipe, fitted.model, part, name, known.get(name))
        for name, part in parts.items()
    }
    val, test = seen["validation"], seen["test"]
    calibration = calibrate(val.logits, val.truth, test.logits, test.truth, multi_label=many)
    if not divide:
        calibration = replace(
            calibration, temperature=1.0, ece_after=calibration.ece_before,
            reliability=calibration.reliability_before,
        )  # fmt: skip
    divide_head(fitted.model, calibration.temperature)
    seen = {name: _divided(part, calibration.temperature) for name, part in seen.items()}
    scored = {
        name: Scored(
            part.photos, part.stack, part.truth,
            probabilities(seen[name].logits, multi_label=many), seen[name].embeddings,
        )
        for name, part in parts.items()
    }  # fmt: skip
    strangers = unseen and _embed(recipe, fitted.model, unseen, "unseen")
    learnt = (fitted.features or {"train": seen["train"].embeddings})["train"]
    return Results(
        name=name, labels=labels, multi_label=many, recipe=asdict(recipe),
        train=scored["train"], validation=scored["validation"], test=scored["test"],
        history=tuple(fitted.history), stages=tuple(fitted.stages), kept=fitted.kept,
        calibration=calibration, precision_wanted=recipe.precision,
        thresholds=thresholds(
            labels, scored["validation"].scores, val.truth, scored["test"].scores, test.truth,
            precision=recipe.precision,
        ),
        novelty=_flattered(fitted, novelty(
            seen["train"], val, test, multi_label=many,
            seed=recipe.seed, false_alarm=recipe.false_alarm, unseen=strangers or None,
        )),
        suspects=suspects(
            learnt, parts.train.truth, parts.train.photos, labels,
            multi_label=many, seed=recipe.seed,
        ),
        left_out=data.left_out, duplicates=data.duplicates, fingerprint=data.fingerprint,
        seconds=spent.wall_s, energy_wh=spent.cpu_s * WATTS_PER_CORE / 3600, versions=versions(),
    )  # fmt: skip


def _flattered(fitted: Fitted, found: Novelty) -> Novelty:
    """Leaving a class out is not the whole truth where the network has learnt from its photos."""
    if fitted.kept == FROZEN or "left out" not in found.against:
        return found
    warning = "flattering: the network itself has learnt that class; --unseen measures better"
    return replace(found, against=f"{found.against} ({warning})")


def divide_head(model: Any, temperature: float) -> None:
    """Divide the logits of a classifier by ``temperature``, in its weights."""
    layer = model.get_layer(OUTPUT)
    layer.set_weights([weight / np.float32(temperature) for weight in layer.get_weights()])


def versions() -> dict[str, str]:
    """What the result depends on besides photos and recipe."""
    from sightpost_edge import __version__

    return {
        "sightpost": __version__, "keras": keras.__version__,
        "backend": f"{keras.backend.backend()} {_backend_version()}",
        "numpy": np.__version__,
    }  # fmt: skip


def _backend_version() -> str:
    import importlib

    return str(importlib.import_module(keras.backend.backend()).__version__)


def _embed(
    recipe: TrainRecipe, model: Any, part: Part, name: str, known: Floats | None = None
) -> Embedded:
    """Photos as the head sees them (where not ``known``), and what it says of them."""
    row, what, embeddings = BACKBONES[recipe.backbone], f"scoring {name} photos", known
    if embeddings is None:
        embeddings = score(embedder(model), part.stack, mean=row.mean, std=row.std, what=what)
    kernel, bias = model.get_layer(OUTPUT).get_weights()
    return Embedded(embeddings, np.asarray(embeddings @ kernel + bias, np.float32), part.truth)


def _divided(seen: Embedded, temperature: float) -> Embedded:
    return Embedded(seen.embeddings, seen.logits / np.float32(temperature), seen.truth)
