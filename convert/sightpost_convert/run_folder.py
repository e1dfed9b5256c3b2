"""Reads what training left behind: the model, its photos by split, and what it claims."""

import csv
import hashlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sightpost_edge.contract import Contract
from sightpost_edge.errors import DataError, PhotoUnreadable
from sightpost_edge.kerasfile import refuse_hostile
from sightpost_edge.native import quiet_native
from sightpost_edge.novelty import ARRAYS, MEMBER, Novelty
from sightpost_edge.pixels import Geometry, decode, fit
from sightpost_edge.records import Pixels

from .case import Photos
from .export import HEAD

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

    @property
    def contract(self) -> Contract:
        """What training found out, in the device's terms."""
        metrics = self.metrics
        novelty = ("method", "threshold", "auroc", "false_alarm", "against")
        return Contract(
            self.labels, self.geometry, mean=self.mean, std=self.std,
            multi_label=self.multi_label,
            thresholds=tuple(float(row["score"]) for row in metrics["thresholds"]),
            temperature=float(metrics["calibration"]["temperature"]),
            novelty={name: metrics["novelty"][name] for name in novelty},
        )  # fmt: skip

    def novelty(self, model: Any) -> Novelty | None:
        """Training's way of telling novel photos; an energy needs the head of ``model`` as well."""
        found = self.metrics["novelty"]
        path = self.path / MEMBER
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            arrays = {}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as exc:
            raise DataError(f"{path} cannot be read ({exc})") from exc
        if found["method"] not in ARRAYS or any(n not in arrays for n in ARRAYS[found["method"]]):
            return None
        if found["method"] == "energy" and not self.multi_label:
            kernel, bias = model.get_layer(HEAD).get_weights()
            arrays = {"kernel": kernel, "bias": bias}
        return Novelty(found["method"], float(found["threshold"]), arrays, self.multi_label)

    def photos(self, rows: Sequence[dict[str, str]]) -> Photos:
        """The photos of some rows, fitted."""
        bar = tqdm(rows, desc="reading photos", unit=" photos", leave=False, disable=None)
        pixels = [fit(self.picture(row), self.geometry) for row in bar]
        truth = [[label in labels_of(row) for label in self.labels] for row in rows]
        return Photos(np.stack(pixels), np.array(truth, np.bool_))

    def select(
        self, split: str, *, per_class: int | None = None, seed: int = 1
    ) -> list[dict[str, str]]:
        """Rows of split.csv in an order drawn once; ``per_class`` takes as many of every class."""
        rows = [row for row in self.rows if row["split"] == split]
        if not rows:
            raise DataError(f"{self.path}/split.csv has no {split} photos")
        rng = np.random.default_rng(seed)
        if per_class is None:
            return [rows[i] for i in rng.permutation(len(rows))]
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
