"""Photos for the converter's tests, and one run converted."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sightpost_convert.case import Case
from sightpost_convert.conversion import Wishes, convert_case
from sightpost_convert.court import Ruling
from sightpost_convert.from_run import case_of_run
from sightpost_edge.bundle import Bundle

from ..conftest import TrainedRun
from .courtroom import measure_nothing, photo_folders


@pytest.fixture(scope="session")
def colour_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of three colours, 30 each, in class folders."""
    return photo_folders(tmp_path_factory.mktemp("colours") / "photos")


@dataclass(frozen=True, slots=True)
class Converted:
    """A run's case, what the court found, and the Bundle."""

    case: Case
    bundle: Bundle
    ruling: Ruling
    folder: Path
    metrics: dict[str, Any]


@pytest.fixture(scope="session")
def converted(
    trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Converted]:
    """The run, converted once; int8 is the fastest, as on a Pi."""
    folder = tmp_path_factory.mktemp("converted")
    display = {"de": ("Blau", "Grün", "Rot")}
    with pytest.MonkeyPatch.context() as patch, case_of_run(trained_run.path) as case:
        measure_nothing(patch, float32=3.0, float16=3.0, weights8=3.0, dynamic=2.0, int16x8=9.0,
                        int8_tensorflow=2.0)  # fmt: skip
        wishes = Wishes(name="colours", localized=display)
        bundle, ruling = convert_case(case, folder / "m.tflite", folder / "evidence", wishes)
        metrics = json.loads((trained_run.path / "metrics.json").read_text())
        yield Converted(case, bundle, ruling, folder, metrics)
