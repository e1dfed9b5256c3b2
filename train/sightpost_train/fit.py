"""Training: the head on frozen features, then fine-tuning - kept only where validation says so."""

import sys
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .backbones import BACKBONES
from .calibration import calibrated_loss
from .dataset import Part
from .descent import Descent, photo_weights, score
from .head import Head, accuracy, fit_head
from .model import OUTPUT, build, for_training, thaw
from .recipe import TrainRecipe
from .results import Epoch, Stage
from .work import Work

Floats = NDArray[np.float32]

FROZEN, TUNED, SCRATCH = "frozen features", "fine-tuned", "from scratch"
WAYS = (0.25, 0.5, 0.75, 1.0)
"""How far to go from the frozen to the fine-tuned weights; the validation loss chooses. Averages of
the two are better than either (Wortsman et al. 2022, arXiv:2109.01903): on a fold of five flowers
the loss was 0.40 frozen, 0.35 fine-tuned and 0.32 in between."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The photos to learn from, to choose with, and to be judged by."""

    train: Part
    validation: Part
    test: Part

    def items(self) -> tuple[tuple[str, Part], ...]:
        """(name, part) of each."""
        return (("train", self.train), ("validation", self.validation), ("test", self.test))


@dataclass(slots=True)
class Fitted:
    """A trained classifier, how it got there, and which candidate won on the validation photos.

    ``features`` are those of the frozen backbone by part, None from scratch; ``strength`` is the
    inverse regularisation of the head that was fitted on them.
    """

    model: Any
    history: list[Epoch] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    kept: str = ""
    features: dict[str, Floats] | None = field(default=None, repr=False)
    strength: float = 0.0

    def judge(self, name: str, scores: dict[str, Floats], parts: Parts, *, many: bool) -> bool:
        """Add a stage by its "validation" and "test" scores; True where it is the best so far."""
        val, test = parts.validation.truth, parts.test.truth
        stage = Stage(
            name,
            accuracy(scores["validation"], val, multi_label=many),
            calibrated_loss(scores["validation"], val, multi_label=many),
            accuracy(scores["test"], test, multi_label=many),
        )
        won = all(stage.rank > other.rank for other in self.stages)
        self.stages.append(stage)
        if won:
            self.kept = name
        return won


def fit_recipe(
    recipe: TrainRecipe, backbone: Any, parts: Parts, work: Work, *, multi_label: bool
) -> Fitted:
    """Train as the recipe says; every finished step is kept in ``work``.

    With pretrained weights: logistic regression on frozen features, then fine-tuning, from which
    the weights step back as far as the validation photos like. From scratch: everything at once.
    The stage with the smallest validation loss is kept, so fine-tuning never makes it worse.

    Raises:
        TrainingError: the loss is not finite; ``work`` holds the last good weights.
    """
    classes = parts.train.truth.shape[1]
    model = build(recipe, backbone, classes, multi_label=multi_label)
    trainer = _Trainer(recipe, backbone, parts, work, Fitted(model), multi_label=multi_label)
    if recipe.from_scratch:
        trainer.descend(SCRATCH)
    else:
        trainer.head()
        if recipe.epochs:
            thaw(backbone, recipe.fine_tune_share)
            trainer.descend(TUNED)
    return trainer.fitted


def between(before: list[Floats], after: list[Floats], way: float) -> list[Floats]:
    """Weights ``way`` of the distance from ``before`` to ``after``."""
    share = np.float32(way)
    return [old + share * (new - old) for old, new in zip(before, after, strict=True)]


def embedder(model: Any) -> Any:
    """From scaled photos to what the head sees, (n, features)."""
    return keras.Model(model.input, model.get_layer(OUTPUT).input)


class _Trainer:
    def __init__(
        self, recipe: TrainRecipe, backbone: Any, parts: Parts, work: Work, fitted: Fitted, *,
        multi_label: bool,
    ) -> None:  # fmt: skip
        self.recipe, self.backbone, self.parts, self.work = recipe, backbone, parts, work
        self.fitted, self.multi_label = fitted, multi_label
        row = BACKBONES[recipe.backbone]
        self.mean, self.std = row.mean, row.std

    def head(self) -> None:
        """The head alone, on features computed once."""
        self.backbone.trainable = False
        view = embedder(self.fitted.model)
        self.fitted.features = features = {
            name: self._features(view, name, part) for name, part in self.parts.items()
        }
        kept = self.work.once("head", lambda: self._fit_head(features))
        head = Head(kept["kernel"], kept["bias"], float(kept["strength"]))
        self.fitted.strength = head.strength
        self.fitted.model.get_layer(OUTPUT).set_weights([head.kernel, head.bias])
        scores = {
            name: head.scores(features[name], multi_label=self.multi_label)
            for name in ("validation", "test")
        }
        self.fitted.judge(FROZEN, scores, self.parts, many=self.multi_label)

    def descend(self, name: str) -> None:
        """Gradient descent, undone unless the validation photos like it better."""
        before = self.fitted.model.get_weights()
        descent = Descent(
            name, self.recipe, for_training(self.recipe, self.fitted.model), self.fitted.model,
            work=self.work, multi_label=self.multi_label, mean=self.mean, std=self.std,
            good_start=name == TUNED,
        )  # fmt: skip
        self.fitted.history += descent.run(self.parts.train, self.parts.validation)
        if name == TUNED:
            self._step_back(before)
        scores = {
            "validation": self._score(self.fitted.model, self.parts.validation),
            "test": self._score(self.fitted.model, self.parts.test),
        }
        won = self.fitted.judge(name, scores, self.parts, many=self.multi_label)
        if not won:
            self.fitted.model.set_weights(before)

    def _step_back(self, before: list[Floats]) -> None:
        """Keep the weights that lie best between ``before`` and now (see ``WAYS``)."""
        after, model = self.fitted.model.get_weights(), self.fitted.model
        truth, losses = self.parts.validation.truth, dict[float, float]()
        for way in WAYS:
            model.set_weights(between(before, after, way))
            scores = self._score(model, self.parts.validation)
            losses[way] = calibrated_loss(scores, truth, multi_label=self.multi_label)
        best = min(WAYS, key=losses.__getitem__)
        model.set_weights(between(before, after, best))
        print(f"sightpost: {best:.0%} of the way to the fine-tuned weights", file=sys.stderr)

    def _features(self, view: Any, name: str, part: Part) -> Floats:
        what = f"features of {name} photos"
        kept = self.work.once(
            f"features-{name}", lambda: {"features": self._score(view, part, what)}
        )
        return kept["features"]

    def _fit_head(self, features: dict[str, Floats]) -> dict[str, Any]:
        train, validation = self.parts.train.truth, self.parts.validation.truth
        head = fit_head(
            features["train"], train, features["validation"], validation,
            multi_label=self.multi_label, weights=photo_weights(train, self.recipe),
        )  # fmt: skip
        return {"kernel": head.kernel, "bias": head.bias, "strength": np.array(head.strength)}

    def _score(self, model: Any, part: Part, what: str = "") -> Floats:
        return score(model, part.stack, mean=self.mean, std=self.std, what=what)
