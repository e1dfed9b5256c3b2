"""train --quantization-aware: from a float run to a run whose int8 is what it was trained as."""

import csv
import json
from pathlib import Path

import pytest

from sightpost_convert.court import hold_court
from sightpost_convert.from_run import case_of_run
from sightpost_convert.target import parse_target
from sightpost_convert.verdict import Budget
from sightpost_edge.errors import ConfigError, DataError
from sightpost_train import requantize
from sightpost_train.requantize import run_quantization_aware

from ..conftest import TrainedRun
from ..workshop import colour_photos

pytestmark = pytest.mark.workshop


@pytest.fixture(scope="module")
def requantized(trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("requantized") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requantize, "EPOCHS", 2)
        run_quantization_aware(trained_run.photos, out, trained_run.path)
    return out


def test_it_is_a_run_like_any_other(requantized: Path, trained_run: TrainedRun) -> None:
    """The same files, the same split, both stages judged."""
    mine, theirs = ({p.name for p in run.iterdir()} for run in (requantized, trained_run.path))
    # Another test may have converted that run; novelty may need no arrays.
    assert mine ^ theirs <= {"novelty.npz", "court.json", "court.png"}
    metrics = json.loads((requantized / "metrics.json").read_text())
    assert [s["name"] for s in metrics["stages"]] == ["int8, not tuned", "quantization-aware"]
    assert metrics["test"]["accuracy"] >= 0.8
    for name in (requantized, trained_run.path):
        with (name / "split.csv").open() as file:
            rows = {row["path"]: row["split"] for row in csv.DictReader(file)}
        if name == requantized:
            mine = rows
    assert mine == rows


def test_its_int8_is_what_it_was_trained_as(requantized: Path) -> None:
    """The converter's int8 has the accuracy that training measured, to a photo."""
    with case_of_run(requantized) as case:
        rows = hold_court(case, Budget(), parse_target("this-machine"), str).rows
    assert [row.kind for row in rows] == ["float32", "int8-tensorflow"]
    metrics = json.loads((requantized / "metrics.json").read_text())
    int8 = next(row for row in rows if row.kind == "int8-tensorflow")
    assert abs(int8.accuracy - metrics["test"]["accuracy"]) <= 1 / metrics["photos"]["test"] + 1e-9


def test_other_photos_are_refused(trained_run: TrainedRun, tmp_path: Path) -> None:
    """Its test photos could be those that the float run learnt from."""
    other = colour_photos(tmp_path / "p", per_class=12)
    with pytest.raises(DataError, match="not those that"):
        run_quantization_aware(other, tmp_path / "out", trained_run.path)


def test_a_run_that_is_none_is_refused(trained_run: TrainedRun, tmp_path: Path) -> None:
    """An empty folder, and a folder that is the result of this already."""
    with pytest.raises(DataError, match="not a finished run"):
        run_quantization_aware(trained_run.photos, tmp_path / "out", tmp_path)
    with pytest.raises(ConfigError, match="already holds"):
        run_quantization_aware(trained_run.photos, trained_run.path, trained_run.path)
