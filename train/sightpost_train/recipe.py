"""How to train: one frozen record, read from ``configs/*.toml``."""

from dataclasses import dataclass
from typing import Literal

from sightpost_edge.errors import ConfigError, nearest

from .backbones import BACKBONES


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """Everything that decides what a training run computes, besides the photos.

    ``weights``: "imagenet" (downloaded once by Keras), "none" (from scratch) or a .weights.h5
    file. ``fine_tune_share``: the share of the backbone's layers, from the top, that fine-tuning
    may change. ``augment`` names what random views a photo is shown in: "none"; "flips"
    (mirrored both ways: parts on a belt); "natural" (mirrored left-right, moved, turned, zoomed
    and lit a little: photos of things that have an up). Epoch counts are upper limits: training
    stops when the validation photos say so, after ``patience`` epochs without gain.
    """

    backbone: str = "mobilenet_v2"
    width: float = 0.35
    input_px: int = 224
    weights: str = "imagenet"
    seed: int = 1
    validation_share: float = 0.15
    test_share: float = 0.15
    head_epochs: int = 100
    head_learning_rate: float = 2e-3
    fine_tune_epochs: int = 6
    fine_tune_learning_rate: float = 2e-4
    fine_tune_share: float = 0.4
    scratch_epochs: int = 20
    scratch_learning_rate: float = 0.06
    batch: int = 32
    dropout: float = 0.2
    augment: Literal["none", "flips", "natural"] = "natural"
    patience: int = 8

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ConfigError(
                f"unknown backbone {self.backbone!r}", hint=nearest(self.backbone, BACKBONES)
            )
        if self.augment not in ("none", "flips", "natural"):
            raise ConfigError(f"augment {self.augment!r}: choose none, flips or natural")
        minimum = BACKBONES[self.backbone].minimum_px
        if self.input_px < minimum:
            raise ConfigError(f"{self.backbone} needs input_px >= {minimum}")
        if min(self.batch, self.patience, self.head_epochs, self.scratch_epochs) < 1:
            raise ConfigError("batch, patience, head_epochs and scratch_epochs must be at least 1")
        if not (0 <= self.dropout < 1 and self.width > 0 and self.fine_tune_epochs >= 0):
            raise ConfigError(
                "dropout lies in [0, 1), width is positive, fine_tune_epochs not negative"
            )
        shares = (self.validation_share, self.test_share, self.fine_tune_share)
        if not all(0 < share < 1 for share in shares) or sum(shares[:2]) > 0.6:
            raise ConfigError(
                "shares lie between 0 and 1, validation and test at most 0.6 together"
            )
