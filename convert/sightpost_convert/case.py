"""What the court is given: one float model, photos to judge it on, and what it promises."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightpost_edge.contract import Contract
from sightpost_edge.novelty import Novelty
from sightpost_edge.records import Pixels


@dataclass(frozen=True, slots=True)
class Photos:
    """Fitted photos (n, h, w, 3) uint8 R,G,B and which labels apply, (n, classes)."""

    pixels: Pixels = field(repr=False)
    truth: NDArray[np.bool_] = field(repr=False)

    def __len__(self) -> int:
        return len(self.pixels)

    def at(self, rows: NDArray[np.intp]) -> "Photos":
        """Some of them."""
        return Photos(self.pixels[rows], self.truth[rows])


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a photo comes from: its path within the photos, the index of its (first) label."""

    name: str
    label: int


@dataclass(frozen=True, slots=True)
class Case:
    """A model before the court.

    ``model`` is the float32 FlatBuffer, or whatever someone else made; ``trained`` the accuracy
    that training claims for the ``test`` photos, None where nobody claims any. ``validation``
    photos serve for choices, so that ``test`` photos decide nothing but the verdict.
    ``picture`` and ``validation_picture`` give a test or a validation photo as it was before
    fitting. ``saved`` is the SavedModel for
    TensorFlow's own converter; ``training`` what to record about the model's origin; ``remedy``
    what may help where int8 falls short; ``calibration_choice`` which photos calibrate,
    ``origins`` where each of them comes from (empty: nobody may know).
    """

    name: str
    contract: Contract
    model: bytes = field(repr=False)
    test: Photos
    validation: Photos
    calibration: Pixels = field(repr=False)
    picture: Callable[[int], Pixels] = field(repr=False)
    validation_picture: Callable[[int], Pixels] = field(repr=False)
    trained: float | None = None
    novelty: Novelty | None = None
    saved: Path | None = None
    training: dict[str, Any] = field(default_factory=dict)
    remedy: str = ""
    calibration_choice: str = "as many of each class, drawn once"
    origins: tuple[Origin, ...] = ()
