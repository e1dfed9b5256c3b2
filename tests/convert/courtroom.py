"""What the converter's tests share: photos, cases of planted models, and a fake measurement."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_convert import court
from sightpost_convert.case import Case, Photos
from sightpost_convert.target import Report, Target, parse_target
from sightpost_edge.bench import Machine, Measured, Timing
from sightpost_edge.contract import Contract
from sightpost_edge.pixels import Geometry
from sightpost_edge.records import Pixels
from sightpost_edge.testing import COLOURS, TINY_LABELS, TINY_PX

HERE = parse_target("this-machine")
MACHINE = Machine(
    "desk", "a processor", "x86_64", 2, 4000, "", "Debian 12", "3.11.2", "ai-edge-litert 2.3.0",
    "performance", "", 50.0,
)  # fmt: skip
MS = 1.0
"""What every model takes in a fake measurement unless told otherwise."""


def silent(text: str) -> None:
    """Takes what is said of the progress."""


def dimmed(names: Sequence[str], share: float, *, px: int = TINY_PX, seed: int = 0) -> Pixels:
    """The colours on top of each other, ``share`` as bright, with noise; (px, px, 3) uint8."""
    mixed = np.max([COLOURS[name] for name in names], axis=0) * share
    noise = np.random.default_rng(seed).integers(-8, 9, (px, px, 3))
    return np.clip(mixed + noise, 0, 255).astype(np.uint8)


def photo_folders(folder: Path, *, per_class: int = 30) -> Path:
    """A class folder for each colour, from dark to light."""
    for name in COLOURS:
        (folder / name).mkdir(parents=True)
        for i, share in enumerate(np.linspace(0.4, 1.0, per_class)):
            picture = dimmed([name], share, px=24, seed=i)
            cv2.imwrite(str(folder / name / f"{i:03d}.png"), picture[..., ::-1])
    return folder


def photos_of(*shown: Sequence[str]) -> Photos:
    """One photo for each group of colours, which are also its labels."""
    shares = np.linspace(0.6, 1.0, len(shown))
    lit = zip(shown, shares, strict=True)
    pixels = [dimmed(names, share, seed=i) for i, (names, share) in enumerate(lit)]
    truth = [[label in names for label in TINY_LABELS] for names in shown]
    return Photos(np.stack(pixels), np.array(truth, np.bool_))


def case_of(model: bytes, photos: Photos, **changes: Any) -> Case:
    """A case whose photos serve for everything."""
    contract = Contract(
        TINY_LABELS, Geometry(TINY_PX, TINY_PX), multi_label=changes.pop("multi_label", False)
    )
    parts: dict[str, Any] = {
        "name": "planted", "contract": contract, "model": model, "test": photos,
        "validation": photos, "calibration": photos.pixels,
        "picture": lambda row: photos.pixels[row],
        "validation_picture": lambda row: photos.pixels[row],
    }  # fmt: skip
    return Case(**{**parts, **changes})


def fake_report(models: Mapping[str, bytes], ms: Mapping[str, float]) -> Report:
    """Every model in ``ms`` milliseconds with one thread and 0.9 of that with two."""
    rows = []
    for name, model in models.items():
        one = ms.get(name, MS)
        timings = (Timing(1, one, one * 1.2, 20), Timing(2, one * 0.9, one * 1.1, 20))
        rows.append(Measured(name, len(model), timings, 5.0, 1, 0, "uint8"))
    return Report(MACHINE, tuple(rows), "a desk", "")


def measure_nothing(patch: pytest.MonkeyPatch, **ms: float) -> None:
    """Let the court believe these times, kinds by name with _ for -."""
    times = {name.replace("_", "-"): value for name, value in ms.items()}

    def measure_on(target: Target, models: Mapping[str, bytes], *, progress: Any) -> Report:
        return fake_report(models, times)

    patch.setattr(court, "measure_on", measure_on)
