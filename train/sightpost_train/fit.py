"""Training: the head on cached frozen features, then fine-tuning - kept only where it helps."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sightpost_edge.errors import TrainingError
from sightpost_edge.records import Pixels

from .augment import Batches, scaled
from .backbones import BACKBONES
from .dataset import Dataset
from .model import OUTPUT, build, thaw
from .recipe import TrainRecipe

LR_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse regularisation tried for logistic regression; the validation photos choose."""

Features = NDArray[np.float32]
Targets = NDArray[np.int64]


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
    """A classifier that was a candidate for being kept, and its validation figures."""

    name: str
    val_accuracy: float
    val_loss: float
    test_accuracy: float

    @property
    def rank(self) -> float:
        """Greater is better: the smaller loss. Accuracy on 200 photos moves by half a point with
        every single photo; the loss weighs how sure the model was of each."""
        return -self.val_loss


@dataclass(slots=True)
class Fitted:
    """A trained model, how it got there, and which candidate won on the validation photos."""

    model: Any
    history: list[Epoch] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    kept: str = ""


def fit_recipe(recipe: TrainRecipe, backbone: Any, data: Dataset, run: Path) -> Fitted:
    """Train as the recipe says; the best weights so far are always in ``run``.

    With pretrained weights: a head on frozen features (by gradient descent and as logistic
    regression, the better one is taken), then fine-tuning. From scratch: everything at once.
    The stage that is best on the validation photos is kept, so fine-tuning never makes it worse.
    """
    fitted = Fitted(build(recipe, backbone, len(data.labels)))
    trainer = _Trainer(recipe, data, run, fitted, backbone)
    if recipe.weights == "none":
        trainer.from_scratch()
    else:
        trainer.head()
        trainer.fine_tune()
    return trainer.fitted


class _Trainer:
    def __init__(
        self, recipe: TrainRecipe, data: Dataset, run: Path, fitted: Fitted, backbone: Any
    ) -> None:
        self.recipe, self.run, self.fitted, self.backbone = recipe, run, fitted, backbone
        row = BACKBONES[recipe.backbone]
        self.mean, self.std = row.mean, row.std
        self.train, self.targets = data.select("train")
        self.data, self.classes = data, len(data.labels)
        self.val = self._scaled(data, "validation")
        self.test = self._scaled(data, "test")

    def from_scratch(self) -> None:
        """All layers at once."""
        self._fit("scratch", self.recipe.scratch_epochs, self.recipe.scratch_learning_rate, _sgd)
        self._keep(self._stage("from scratch"))

    def head(self) -> None:
        """The head alone, on features computed once."""
        self.backbone.trainable = False
        features = [
            self._features(self.train, "features of training photos"),
            self._features(self.data.select("validation")[0], "features of validation photos"),
            self._features(self.data.select("test")[0], "features of test photos"),
        ]
        targets = [self.targets, self.val[1], self.test[1]]
        heads = [
            self._descended_head(features, targets),
            logistic_head(features, targets, self.classes),
        ]
        for stage, _ in heads:
            self.fitted.stages.append(stage)
        stage, weights = max(heads, key=lambda head: head[0].rank)
        self.fitted.model.get_layer(OUTPUT).set_weights(weights)
        self._keep(stage)

    def fine_tune(self) -> None:
        """The upper layers too, gently; undone unless the validation photos like it better."""
        if not self.recipe.fine_tune_epochs:
            return
        frozen = self.fitted.model.get_weights()
        before = next(s for s in self.fitted.stages if s.name == self.fitted.kept)
        thaw(self.backbone, self.recipe.fine_tune_share)
        self._fit(
            "fine-tune", self.recipe.fine_tune_epochs, self.recipe.fine_tune_learning_rate, _adam
        )
        after = self._stage("fine-tuned")
        self.fitted.stages.append(after)
        if after.rank > before.rank:
            self._keep(after)
        else:
            self.fitted.model.set_weights(frozen)

    def _keep(self, stage: Stage) -> None:
        if stage not in self.fitted.stages:
            self.fitted.stages.append(stage)
        self.fitted.kept = stage.name

    def _scaled(self, data: Dataset, split: str) -> tuple[Features, Targets]:
        pixels, targets = data.select(split)
        return scaled(pixels, self.mean, self.std), targets

    def _features(self, photos: Pixels, what: str) -> Features:
        step = 64
        starts = tqdm(
            range(0, len(photos), step), desc=what, unit=" batches", leave=False, disable=None
        )
        parts = [
            self.backbone.predict_on_batch(scaled(photos[s : s + step], self.mean, self.std))
            for s in starts
        ]
        return np.concatenate(parts)

    def _descended_head(
        self, features: Sequence[Features], targets: Sequence[Targets]
    ) -> tuple[Stage, list[Features]]:
        recipe = self.recipe
        head = keras.Sequential([
            keras.Input((features[0].shape[1],)),
            keras.layers.Dropout(recipe.dropout, seed=recipe.seed),
            keras.layers.Dense(self.classes, activation="softmax"),
        ])  # fmt: skip
        _compile(head, _adam(recipe.head_learning_rate))
        recorder = _Recorder("head", recipe.head_epochs)
        head.fit(
            features[0], targets[0], validation_data=(features[1], targets[1]),
            epochs=recipe.head_epochs, batch_size=recipe.batch, verbose=0,
            callbacks=[_stopper(recipe.patience), recorder],
        )  # fmt: skip
        self.fitted.history += recorder.rows
        val = head.evaluate(features[1], targets[1], verbose=0)
        test = head.evaluate(features[2], targets[2], verbose=0)
        return Stage("frozen head", val[1], val[0], test[1]), head.layers[-1].get_weights()

    def _fit(self, phase: str, epochs: int, peak: float, optimizer: Callable[[Any], Any]) -> None:
        recipe = self.recipe
        batches = Batches(
            self.train, self.targets, batch=recipe.batch, seed=recipe.seed,
            augment=recipe.augment, mean=self.mean, std=self.std,
        )  # fmt: skip
        steps = epochs * len(batches)
        _compile(self.fitted.model, optimizer(_warm_cosine(peak, steps)))
        recorder = _Recorder(phase, epochs, steps_per_epoch=len(batches))
        best = keras.callbacks.ModelCheckpoint(
            str(self.run / "checkpoint.weights.h5"), monitor="val_loss",
            save_best_only=True, save_weights_only=True,
        )  # fmt: skip
        self.fitted.model.fit(
            batches, validation_data=self.val, epochs=epochs, verbose=0,
            callbacks=[best, _stopper(recipe.patience), keras.callbacks.TerminateOnNaN(), recorder],
        )  # fmt: skip
        self.fitted.history += recorder.rows
        if not recorder.rows or not np.isfinite(recorder.rows[-1].loss):
            raise TrainingError(
                f"the loss became infinite in phase {phase}",
                hint="lower the learning rate in the recipe; the best weights so far are in "
                f"{self.run / 'checkpoint.weights.h5'}",
            )
        self.fitted.model.load_weights(self.run / "checkpoint.weights.h5")

    def _stage(self, name: str) -> Stage:
        model = self.fitted.model
        val = model.evaluate(*self.val, batch_size=64, verbose=0)
        test = model.evaluate(*self.test, batch_size=64, verbose=0)
        return Stage(name, val[1], val[0], test[1])


def logistic_head(
    features: Sequence[Features], targets: Sequence[Targets], classes: int
) -> tuple[Stage, list[Features]]:
    """Logistic regression on (train, validation, test) features, as weights of a softmax layer.

    It is the bar that the trained head must clear, and the head itself where it is better.
    """
    from sklearn.linear_model import LogisticRegression

    best: tuple[Stage, list[Features]] | None = None
    for strength in LR_STRENGTHS:
        fitted = LogisticRegression(C=strength, max_iter=1000).fit(features[0], targets[0])
        weights = _as_dense(fitted, classes)
        (val_accuracy, val_loss), (test_accuracy, _) = (
            _judge_dense(weights, features[i], targets[i]) for i in (1, 2)
        )
        stage = Stage("logistic regression", val_accuracy, val_loss, test_accuracy)
        if best is None or stage.rank > best[0].rank:
            best = stage, weights
    assert best is not None
    return best


def _as_dense(fitted: Any, classes: int) -> list[Features]:
    """Kernel and bias of a softmax layer; two classes come from scikit-learn as one sigmoid."""
    kernel, bias = fitted.coef_.T, fitted.intercept_
    if classes == 2:
        kernel = np.concatenate([-kernel / 2, kernel / 2], axis=1)
        bias = np.concatenate([-bias / 2, bias / 2])
    return [kernel.astype(np.float32), bias.astype(np.float32)]


def _judge_dense(
    weights: list[Features], features: Features, targets: Targets
) -> tuple[float, float]:
    logits = features @ weights[0] + weights[1]
    logits -= logits.max(axis=1, keepdims=True)
    log_probability = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    accuracy = float((logits.argmax(axis=1) == targets).mean())
    return accuracy, float(-log_probability[np.arange(len(targets)), targets].mean())


def _adam(learning_rate: Any) -> Any:
    return keras.optimizers.Adam(learning_rate)


def _sgd(learning_rate: Any) -> Any:
    """For training from scratch: on the generated line Adam stuck at telling four of five classes
    apart (0.80 after 12,000 photos) where this reached 0.99 and more."""
    return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True, global_clipnorm=3.0)


def _compile(model: Any, optimizer: Any) -> None:
    """XLA stays off: on a CPU it compiles for minutes before the first step."""
    model.compile(
        optimizer=optimizer,
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )


def _warm_cosine(peak: float, steps: int) -> Any:
    """A twentieth of the steps up to ``peak``, then down along a cosine."""
    warm = max(1, steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / 20, decay_steps=max(1, steps - warm),
        warmup_target=peak, warmup_steps=warm, alpha=0.01,
    )  # fmt: skip


def _stopper(patience: int) -> Any:
    return keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=patience, restore_best_weights=True
    )


class _Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the history rows and shows a progress bar on stderr."""

    def __init__(self, phase: str, epochs: int, *, steps_per_epoch: int = 1) -> None:
        super().__init__()
        self.rows: list[Epoch] = []
        self._phase = phase
        self._by_step = steps_per_epoch > 1
        self._bar = tqdm(
            total=epochs * steps_per_epoch, desc=phase, leave=False, disable=None,
            unit=" steps" if self._by_step else " epochs",
        )  # fmt: skip
        self._began_s = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._by_step:
            self._bar.update()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        figures = {name: float(value) for name, value in (logs or {}).items()}
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        values = {name: figures.get(name, float("nan")) for name in names}
        seconds = time.perf_counter() - self._began_s
        row = Epoch(self._phase, epoch + 1, seconds=seconds, **values)
        self.rows.append(row)
        if not self._by_step:
            self._bar.update()
        self._bar.set_postfix_str(f"epoch {row.epoch}, validation {row.val_accuracy:.3f}")

    def on_train_end(self, logs: Any = None) -> None:
        self._bar.close()
