"""Gradient descent that survives a kill: after each epoch all it needs is on disk."""

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sightpost_edge.errors import TrainingError

from .cache import Stack
from .dataset import Part
from .head import accuracy, loss
from .recipe import TrainRecipe
from .results import Epoch
from .work import Arrays, Work, rows_as_array, rows_from_array

Floats = NDArray[np.float32]
SCORING_BATCH = 64


class Feed(keras.utils.PyDataset):  # type: ignore[misc]
    """One epoch of shuffled batches (pixels uint8, truth, weight), read ahead by two threads.

    The order depends on seed and epoch only, so a resumed run sees what the first one would have.
    """

    def __init__(self, part: Part, weights: Floats, *, batch: int, seed: int, epoch: int) -> None:
        super().__init__(workers=2, max_queue_size=4)
        self._part, self._weights, self._batch = part, weights, batch
        self._order = np.random.default_rng((seed, epoch)).permutation(len(part))

    def __len__(self) -> int:
        return math.ceil(len(self._part) / self._batch)

    def __getitem__(self, index: int) -> tuple[Any, Any, Any]:
        rows = self._order[index * self._batch : (index + 1) * self._batch]
        return self._part.stack[rows], self._part.truth[rows], self._weights[rows]


@dataclass(slots=True)
class Progress:
    """Where a descent stands; ``best`` are the classifier's weights of the best epoch."""

    rows: list[Epoch] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    best: list[Any] = field(default_factory=list)


class Descent:
    """Trains ``training`` (pixels in), judges ``classifier`` (scaled floats in), keeps the best.

    ``good_start``: the classifier is worth something before the first epoch already.
    """

    def __init__(
        self, phase: str, recipe: TrainRecipe, training: Any, classifier: Any, *,
        work: Work, multi_label: bool, mean: float, std: float, good_start: bool,
    ) -> None:  # fmt: skip
        self.phase, self.recipe, self.work = phase, recipe, work
        self.training, self.classifier, self.multi_label = training, classifier, multi_label
        self.mean, self.std, self.good_start = mean, std, good_start

    def run(self, train: Part, validation: Part) -> list[Epoch]:
        """Train up to ``recipe.epochs``; the classifier then has the weights of the best one.

        Raises:
            TrainingError: the loss is not finite any more; the best weights so far are set.
        """
        steps = math.ceil(len(train) / self.recipe.batch)
        self._compile(steps)
        start = self.classifier.get_weights() if self.good_start else []
        progress = self._restore()
        weights = photo_weights(train.truth, self.recipe)
        for epoch in range(len(progress.rows), self.recipe.epochs):
            if epoch - progress.best_epoch >= self.recipe.patience:
                break
            try:
                self._epoch(epoch, train, validation, weights, progress)
            except NotFinite as exc:
                if good := progress.best or start:
                    self.classifier.set_weights(good)
                    exc.last_good = self.classifier
                raise
            self._save(progress)
        if progress.best:
            self.classifier.set_weights(progress.best)
        return progress.rows

    def _epoch(
        self, epoch: int, train: Part, validation: Part, weights: Floats, progress: Progress
    ) -> None:
        began_s = time.perf_counter()
        feed = Feed(train, weights, batch=self.recipe.batch, seed=self.recipe.seed, epoch=epoch)
        title = f"{self.phase}, epoch {epoch + 1} of {self.recipe.epochs}"
        logs = self.training.fit(
            feed, epochs=1, verbose=0, shuffle=False, callbacks=[_Watch(title, len(feed))]
        ).history
        scores = score(self.classifier, validation.stack, mean=self.mean, std=self.std)
        val_loss = loss(scores, validation.truth, multi_label=self.multi_label)
        val_accuracy = accuracy(scores, validation.truth, multi_label=self.multi_label)
        seconds = time.perf_counter() - began_s
        progress.rows.append(
            Epoch(
                self.phase, epoch + 1, float(logs["loss"][0]), float(logs["accuracy"][0]),
                val_loss, val_accuracy, round(seconds, 2),
            )
        )  # fmt: skip
        if val_loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = val_loss, epoch + 1
            progress.best = self.classifier.get_weights()

    def _compile(self, steps: int) -> None:
        losses = keras.losses
        smoothing = self.recipe.label_smoothing
        self.training.compile(
            optimizer=optimizer(self.recipe, steps * self.recipe.epochs),
            loss=losses.BinaryCrossentropy(label_smoothing=smoothing)
            if self.multi_label
            else losses.CategoricalCrossentropy(label_smoothing=smoothing),
            metrics=[
                keras.metrics.BinaryAccuracy(name="accuracy")
                if self.multi_label
                else keras.metrics.CategoricalAccuracy(name="accuracy")
            ],
            # On a CPU TensorFlow's XLA compiles for minutes before the first step.
            jit_compile=keras.backend.backend() == "jax",
        )
        self.training.optimizer.build(self.training.trainable_variables)

    def _variables(self) -> list[Any]:
        """Weights, random states and the optimizer's memory, always in the same order."""
        return [*self.training.variables, *self.training.optimizer.variables]

    def _save(self, progress: Progress) -> None:
        arrays: Arrays = {
            f"variable{i:04d}": np.asarray(keras.ops.convert_to_numpy(v))
            for i, v in enumerate(self._variables())
        }
        arrays |= {f"best{i:04d}": np.asarray(v) for i, v in enumerate(progress.best)}
        arrays["rows"] = rows_as_array([asdict(row) for row in progress.rows])
        arrays["best_epoch"] = np.array(progress.best_epoch)
        arrays["best_loss"] = np.array(progress.best_loss)
        self.work.save(self.phase, arrays)

    def _restore(self) -> Progress:
        kept = self.work.load(self.phase)
        if kept is None:
            return Progress()
        for i, variable in enumerate(self._variables()):
            variable.assign(kept[f"variable{i:04d}"])
        return Progress(
            rows=[Epoch(**row) for row in rows_from_array(kept["rows"])],
            best_loss=float(kept["best_loss"]),
            best_epoch=int(kept["best_epoch"]),
            best=[kept[name] for name in sorted(kept) if name.startswith("best0")],
        )


def score(model: Any, stack: Stack, *, mean: float, std: float, what: str = "") -> Floats:
    """What ``model`` gives for every photo, (n, ...) float32 whatever it computes in.

    The last batch is filled up, so that one shape is compiled and no more.
    """
    parts: list[Floats] = []
    starts = range(0, len(stack), SCORING_BATCH)
    for start in tqdm(
        starts, desc=what, unit=" batches", leave=False, disable=None if what else True
    ):
        rows = np.arange(start, start + SCORING_BATCH) % len(stack)
        out = model.predict_on_batch(scaled(stack[rows], mean, std))
        parts.append(np.asarray(out[: len(stack) - start], np.float32))
    return np.concatenate(parts)


def scaled(pixels: NDArray[np.uint8], mean: float, std: float) -> Floats:
    """(level - mean) / std as float32: what the network sees."""
    return (pixels.astype(np.float32) - np.float32(mean)) / np.float32(std)


def photo_weights(truth: Floats, recipe: TrainRecipe) -> Floats:
    """(n,) float32, mean 1: with "balanced" every label weighs the same, however many photos."""
    if recipe.class_weight == "none":
        return np.ones(len(truth), np.float32)
    rarity = truth.sum() / np.maximum(truth.sum(axis=0), 1)
    weights = (truth * rarity).sum(axis=1) / np.maximum(truth.sum(axis=1), 1)
    weights = np.where(weights == 0, 1.0, weights)
    return np.asarray(weights / weights.mean(), np.float32)


def optimizer(recipe: TrainRecipe, steps: int) -> Any:
    """The recipe's optimizer: a twentieth of the steps up to the peak rate, then along a cosine.

    SGD from scratch because on the generated line Adam stuck at telling four of five classes apart
    (0.80 after 12,000 photos) where SGD reached 0.99 and more.
    """
    peak, warm = recipe.peak_rate, max(1, steps // 20)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / 20, decay_steps=max(1, steps - warm),
        warmup_target=peak, warmup_steps=warm, alpha=0.01,
    )  # fmt: skip
    if recipe.scheme == "adam":
        return keras.optimizers.Adam(rate)
    decay = recipe.weight_decay
    if recipe.scheme == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=decay)
    return keras.optimizers.SGD(
        rate, momentum=0.9, nesterov=True, global_clipnorm=3.0, weight_decay=decay
    )


class NotFinite(TrainingError):
    """The loss is not finite any more; ``last_good`` is the classifier as it was best, or None."""

    last_good: Any = None


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """A progress bar on stderr, and the end of a run whose loss is not finite."""

    def __init__(self, title: str, steps: int) -> None:
        super().__init__()
        self._title = title
        self._bar = tqdm(total=steps, desc=title, unit=" steps", leave=False, disable=None)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._bar.update()
        if not math.isfinite(float((logs or {}).get("loss", 0.0))):
            self._bar.close()
            raise NotFinite(
                f"the loss became infinite ({self._title})",
                hint="lower learning_rate in the recipe to a third; a batch of odd photos can do "
                "it too: sightpost data check",
            )

    def on_train_end(self, logs: Any = None) -> None:
        self._bar.close()
