"""A training run as a case for the court."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sightpost_edge.native import quiet_native

from .case import Case, Origin
from .export import float_model, save
from .run_folder import RunFolder, labels_of

CALIBRATION_PHOTOS = 200
"""About so many, the same number from every class: more did not move the ranges."""
REPORT = "report.html"


@contextmanager
def case_of_run(run: Path) -> Iterator[Case]:
    """Read a run folder; the SavedModel made of it lives as long as the case.

    Raises:
        DataError: the run or a photo it used is not there any more.
        ConversionRefused: TensorFlow cannot convert the model.
    """
    folder = RunFolder.open(run)
    rows, choosing = folder.select("test"), folder.select("validation")
    calibrating = _calibration(folder)
    calibration = folder.photos(calibrating)
    model = folder.load_model()
    with tempfile.TemporaryDirectory(prefix="sightpost-") as scratch:
        with quiet_native():
            save(model, Path(scratch) / "saved")
        yield Case(
            name=folder.metrics["dataset"]["root"].rstrip("/").rsplit("/", 1)[-1],
            contract=folder.contract,
            model=float_model(Path(scratch) / "saved"),
            test=folder.photos(rows),
            validation=folder.photos(choosing),
            calibration=calibration.pixels,
            picture=lambda row: folder.picture(rows[row]),
            validation_picture=lambda row: folder.picture(choosing[row]),
            trained=float(folder.metrics["test"]["accuracy"]),
            novelty=folder.novelty(model),
            saved=Path(scratch) / "saved",
            training=_training(folder, len(calibration)),
            remedy=_remedy(folder),
            origins=tuple(_origin(folder, row) for row in calibrating),
        )


def _calibration(folder: RunFolder) -> list[dict[str, str]]:
    """Training photos, as many of each class; of more than 200 classes one of some."""
    per_class = max(1, round(CALIBRATION_PHOTOS / len(folder.labels)))
    rows = folder.select("train", per_class=per_class)
    most = per_class * min(len(folder.labels), CALIBRATION_PHOTOS)
    return rows[:: -(-len(rows) // most)]


def _origin(folder: RunFolder, row: dict[str, str]) -> Origin:
    mine = labels_of(row)
    return Origin(row["path"], next(i for i, label in enumerate(folder.labels) if label in mine))


def _training(folder: RunFolder, calibrated: int) -> dict[str, Any]:
    metrics, recipe = folder.metrics, folder.metrics["recipe"]
    report = folder.path / REPORT
    return {
        "backbone": f"{recipe['backbone']} width {recipe['width']} at {recipe['input_px']} px",
        "weights": Path(recipe["weights"]).name,
        "kept": metrics["kept"],
        "test_accuracy": metrics["test"]["accuracy"],
        "photos": sum(metrics["photos"].values()),
        "calibration_photos": calibrated,
        "dataset_fingerprint": metrics["dataset"]["fingerprint"],
        "report_sha256": hashlib.sha256(report.read_bytes()).hexdigest() if report.exists() else "",
        "versions": metrics["versions"],
    }


def _remedy(folder: RunFolder) -> str:
    """What training can still do for int8."""
    backbone = str(folder.metrics["recipe"]["backbone"])
    swish = backbone.startswith("mobilenet_v3") and not backbone.endswith("minimalistic")
    other = f"train {backbone}_minimalistic, which has no hard-swish; " if swish else ""
    return (
        f"{other}sightpost train PHOTOS --quantization-aware {folder.path} --out ANOTHER "
        "fine-tunes this run for int8"
    )
