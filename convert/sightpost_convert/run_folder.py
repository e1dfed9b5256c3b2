"""Reads what training left behind: the model, its photos by split, and what it claims."""

import csv
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sightpost_edge.errors import DataError, PhotoUnreadable
from sightpost_edge.kerasfile import refuse_hostile
from sightpost_edge.native import quiet_native
from sightpost_edge.pixels import Geometry, decode, fit
from sightpost_edge.records import Pixels

NEEDED = (
    "test", "kept", "photos", "labels", "multi_label", "normalisation", "dataset", "recipe",
    "versions", "thresholds", "calibration", "novelty",
)  # fmt: skip
"""What convert takes from metrics.json."""
LABEL_SEPARATOR = "|"
"""Between the labels of one photo in split.csv."""


def labels_of(row: dict[str, str]) -> list[str]:
    """The labels of a row of split.csv."""
    return row["label"].split(LABEL_SEPARATOR)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A finished training run."""

    path: Path
    metrics: dict[str, Any] = field(repr=False)
    rows: tuple[dict[str, str], ...] = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Read metrics.json and split.csv.

        Raises:
            DataError: not a finished run.
        """
        try:
            metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
            with (path / "split.csv").open(newline="", encoding="utf-8") as file:
                rows = tuple(csv.DictReader(file))
            complete = {key: metrics[key] for key in NEEDED}
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise DataError(
                f"{path} is not a finished training run of this version ({exc})",
                hint="sightpost train PHOTOS --out RUN makes one; metrics.json is written last",
            ) from exc
        return cls(path, complete, rows)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the model's scores."""
        return tuple(self.metrics["labels"])

    @property
    def geometry(self) -> Geometry:
        """How the photos were fitted."""
        side = int(self.metrics["recipe"]["input_px"])
        return Geometry(side, side)

    @property
    def mean(self) -> float:
        """Grey level that the network sees as 0."""
        return float(self.metrics["normalisation"]["mean"])

    @property
    def std(self) -> float:
        """Grey levels that the network sees as 1."""
        return float(self.metrics["normalisation"]["std"])

    @property
    def multi_label(self) -> bool:
        """Whether several labels may apply to one photo."""
        return bool(self.metrics["multi_label"])

    def load_model(self) -> Any:
        """The trained Keras model."""
        with quiet_native():
            import keras

            refuse_hostile(self.path / "model.keras")
            try:
                return keras.models.load_model(self.path / "model.keras", compile=False)
            except (OSError, ValueError) as exc:
                raise DataError(f"{self.path / 'model.keras'} cannot be loaded ({exc})") from exc

    def photos(
        self, split: str, *, per_class: int | None = None, seed: int = 1
    ) -> tuple[Pixels, NDArray[np.bool_]]:
        """Fitted photos of a split and which labels apply, (n, classes).

        ``per_class`` draws that many of each class.
        """
        rows = self.select(split, per_class=per_class, seed=seed)
        bar = tqdm(rows, desc=f"reading {split} photos", unit=" photos", leave=False, disable=None)
        pixels = [fit(self.picture(row), self.geometry) for row in bar]
        truth = [[label in labels_of(row) for label in self.labels] for row in rows]
        return np.stack(pixels), np.array(truth, np.bool_)

    def select(self, split: str, *, per_class: int | None, seed: int) -> list[dict[str, str]]:
        """Rows of split.csv; drawn from every class alike where ``per_class`` is given."""
        rows = [row for row in self.rows if row["split"] == split]
        if not rows:
            raise DataError(f"{self.path}/split.csv has no {split} photos")
        if per_class is None:
            return rows
        rng = np.random.default_rng(seed)
        drawn: list[dict[str, str]] = []
        for label in self.labels:
            mine = [row for row in rows if label in labels_of(row)]
            drawn += [mine[i] for i in rng.permutation(len(mine))[:per_class]]
        return drawn

    def picture(self, row: dict[str, str]) -> Pixels:
        """One photo, decoded, certainly the one that training saw."""
        path = Path(self.metrics["dataset"]["root"]) / row["path"]
        try:
            encoded = path.read_bytes()
            same = hashlib.sha256(encoded).hexdigest() == row["sha256"]
            if same:
                return decode(encoded)
        except (OSError, PhotoUnreadable) as exc:
            raise DataError(f"{path}, which training used, cannot be read: {exc}") from exc
        raise DataError(
            f"{path} has changed since training",
            hint="put the photo back as it was, or train again",
        )
