"""How to train: one frozen record, read from ``configs/*.toml``."""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from sightpost_edge.errors import ConfigError, nearest

from .backbones import BACKBONES

Augment = Literal["none", "moves", "flips", "gentle", "strong"]
Optimizer = Literal["adam", "adamw", "sgd"]


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """Everything that decides what a training run computes, besides the photos.

    ``weights``: "imagenet" (downloaded once by Keras), "none" (from scratch) or a .weights.h5
    file. With weights, the head is fitted on frozen features and the upper ``fine_tune_share`` of
    the backbone's layers is then fine-tuned for ``epochs``; without, everything is trained for
    ``epochs``. ``learning_rate`` is the peak of a warm-up and cosine; 0 takes the default of the
    optimizer and the phase. Epochs are upper limits: training stops after ``patience`` epochs
    without gain on the validation photos.

    ``augment`` names what random views a photo is shown in: "none"; "moves" (moved, turned and
    zoomed a little, never mirrored: writing); "flips" (mirrored both ways: parts on a belt);
    "gentle" (mirrored left-right, moved, turned, zoomed and lit a little: photos of things that
    have an up); "strong" (the same, further, and colours: few photos).
    ``precision`` is what the suggested thresholds aim at, ``false_alarm`` the share of known
    things that may be called novel.
    """

    backbone: str = "mobilenet_v2"
    width: float = 0.35
    input_px: int = 224
    greyscale: bool = False
    weights: str = "imagenet"
    seed: int = 1
    validation_share: float = 0.15
    test_share: float = 0.15
    epochs: int = 8
    learning_rate: float = 0.0
    optimizer: Literal["auto", "adam", "adamw", "sgd"] = "auto"
    fine_tune_share: float = 0.6
    patience: int = 8
    batch: int = 32
    augment: Augment = "gentle"
    dropout: float = 0.2
    weight_decay: float = 1e-4
    l1: float = 0.0
    l2: float = 0.0
    label_smoothing: float = 0.0
    class_weight: Literal["none", "balanced"] = "none"
    precision: float = 0.95
    false_alarm: float = 0.05

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ConfigError(
                f"unknown backbone {self.backbone!r}", hint=nearest(self.backbone, BACKBONES)
            )
        self._check_words()
        self._check_ranges()
        BACKBONES[self.backbone].refuse(self.width, self.input_px, self.weights)

    @property
    def from_scratch(self) -> bool:
        """Whether nothing is known before the first photo."""
        return self.weights == "none"

    @property
    def scheme(self) -> Optimizer:
        """The optimizer that "auto" stands for: SGD from scratch, AdamW for fine-tuning."""
        if self.optimizer == "auto":
            return "sgd" if self.from_scratch else "adamw"
        return self.optimizer

    @property
    def peak_rate(self) -> float:
        """The peak learning rate."""
        return self.learning_rate or DEFAULT_RATES[self.from_scratch][self.scheme]

    def _check_words(self) -> None:
        hints = get_type_hints(TrainRecipe)
        for field in fields(self):
            choices = get_args(hints[field.name])
            value: Any = getattr(self, field.name)
            if choices and value not in choices:
                raise ConfigError(f"{field.name} {value!r}", hint=nearest(str(value), choices))

    def _check_ranges(self) -> None:
        if min(self.batch, self.patience, self.input_px) < 1 or self.epochs < 0:
            raise ConfigError("batch, patience and input_px are at least 1, epochs not negative")
        if self.from_scratch and not self.epochs:
            raise ConfigError("from scratch needs at least one epoch", hint="set epochs = 20")
        if not 0 <= self.seed < 2**32:
            raise ConfigError("seed lies between 0 and 4294967295")
        for name in ("learning_rate", "weight_decay", "l1", "l2"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must not be negative")
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} lies in [0, 1)")
        for name in ("validation_share", "test_share", "precision", "false_alarm"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name} lies between 0 and 1")
        if not 0 < self.fine_tune_share <= 1 or self.width <= 0:
            raise ConfigError("fine_tune_share lies in (0, 1], width is positive")
        if self.validation_share + self.test_share > 0.6:
            raise ConfigError("validation_share and test_share are at most 0.6 together")


DEFAULT_RATES: dict[bool, dict[Optimizer, float]] = {
    True: {"sgd": 0.06, "adam": 2e-3, "adamw": 2e-3},
    False: {"sgd": 0.01, "adam": 5e-4, "adamw": 5e-4},
}
"""Peak learning rates, from scratch (True) and for fine-tuning (False)."""
