"""From a run to a sealed Bundle: what is measured is what is sealed, and what fails is refused."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightpost_convert import judge as judge_module
from sightpost_convert.candidates import KINDS, Candidate, representative
from sightpost_convert.conversion import _recommend, run_conversion
from sightpost_convert.judge import Judgement, choose, judge
from sightpost_convert.run_folder import RunFolder
from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.contract import Contract
from sightpost_edge.errors import ConversionRefused, DataError
from sightpost_edge.pixels import Geometry, read_photo
from sightpost_edge.testing import COLOURS, TINY_LABELS, colour, tiny_model

from ..conftest import TrainedRun

pytestmark = pytest.mark.workshop


@pytest.fixture(scope="module")
def converted(
    trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, list[Judgement]]:
    """The run, converted once."""
    out = tmp_path_factory.mktemp("converted") / "m.tflite"
    return run_conversion(trained_run.path, out, name="colours")


def test_every_kind_is_judged(converted: tuple[Bundle, list[Judgement]]) -> None:
    """float32, float16, dynamic, int8: each converted, scored and timed."""
    _, rows = converted
    assert [row.kind for row in rows] == list(KINDS)
    for row in rows:
        assert row.accuracy >= 0.5
        assert row.median_ms > 0
        assert row.size_bytes > 100_000
    sizes = {row.kind: row.size_bytes for row in rows}
    assert sizes["int8"] < sizes["float16"] < sizes["float32"]


def test_the_bundle_is_what_was_judged(
    converted: tuple[Bundle, list[Judgement]], trained_run: TrainedRun
) -> None:
    """The sealed file, opened as a device opens it, gives the accuracy that the table states."""
    bundle, rows = converted
    folder = RunFolder.open(trained_run.path)
    classifier = BundleClassifier(bundle)
    right = [
        classifier.labels[int(classifier.scores(folder.picture(row)).argmax())] == row["label"]
        for row in folder.select("test", per_class=None, seed=0)
    ]
    chosen = next(row for row in rows if row.kind == bundle.contract.kind)
    assert np.mean(right) == pytest.approx(chosen.accuracy)


def test_the_contract_knows_its_origin(
    converted: tuple[Bundle, list[Judgement]], trained_run: TrainedRun
) -> None:
    """Backbone, data fingerprint, table and golden frames travel with the file."""
    bundle, rows = converted
    metrics = json.loads((trained_run.path / "metrics.json").read_text())
    contract = bundle.contract
    assert contract.training["dataset_fingerprint"] == metrics["dataset"]["fingerprint"]
    assert contract.training["test_accuracy"] == metrics["test"]["accuracy"]
    assert len(contract.conversion["table"]) == len(rows)
    assert contract.thresholds == tuple(row["score"] for row in metrics["thresholds"])
    assert contract.temperature == metrics["calibration"]["temperature"]
    assert contract.novelty["method"] == metrics["novelty"]["method"]
    assert not contract.multi_label
    assert contract.name == "colours"
    assert len(contract.golden) == 3
    assert all(result.pixels_equal and result.scores_off < 1e-5 for result in bundle.golden)


def test_anyone_can_list_and_load_it(converted: tuple[Bundle, list[Judgement]]) -> None:
    """unzip shows labels, contract and golden frames; the plain interpreter loads the file."""
    from ai_edge_litert.interpreter import Interpreter

    bundle, _ = converted
    with zipfile.ZipFile(bundle.path) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert {"labels.txt", "contract.json"} <= set(names)
    assert sum(name.startswith("golden/") for name in names) == 3
    interpreter = Interpreter(model_path=str(bundle.path))
    assert list(next(iter(interpreter.get_signature_list().values()))["outputs"]) == ["scores"]


def test_int8_takes_raw_bytes(trained_run: TrainedRun) -> None:
    """The input's scale is exactly 1/127.5 and its zero point 127 or 128: nothing to compute."""
    from sightpost_convert.candidates import convert_all
    from sightpost_edge.interpreter import Network

    folder = RunFolder.open(trained_run.path)
    calibration, _ = folder.photos("train", per_class=3)
    scaling = {"mean": 127.5, "std": 127.5}
    (int8,) = convert_all(folder.load_model(), calibration, kinds=("int8",), **scaling)
    network = Network(int8.model)
    scale, zero_point = network._input["quantization"]
    assert scale == pytest.approx(1 / 127.5, rel=1e-6)
    assert zero_point in (127, 128)
    assert network.input_dtype == "uint8"
    assert network._table(127.5, 127.5) is None


def test_calibration_spans_the_full_range() -> None:
    """Every calibration image holds the darkest and the lightest level."""
    grey = np.full((2, 4, 4, 3), 100, np.uint8)
    for item in representative(grey, 127.5, 127.5):
        assert item["image"].min() == -1.0
        assert item["image"].max() == 1.0
        assert item["image"].dtype == np.float32


def test_calibration_draws_from_every_class(trained_run: TrainedRun) -> None:
    """The first 300 files in directory order may be of one class; these are not."""
    folder = RunFolder.open(trained_run.path)
    rows = folder.select("train", per_class=4, seed=1)
    assert sorted(row["label"] for row in rows) == sorted([*COLOURS] * 4)


def tiny_contract() -> Contract:
    return Contract(TINY_LABELS, Geometry(16, 16))


def held_out() -> tuple[np.ndarray, np.ndarray]:
    names = [*TINY_LABELS] * 10
    pixels = np.stack([colour(name, width=16, height=16) for name in names])
    return pixels, np.array([[name == label for label in TINY_LABELS] for name in names])


def test_a_collapsed_candidate_is_out() -> None:
    """A model that says the same for everything loses two thirds, and is not chosen."""
    collapsed = tiny_model().replace(np.float32(6.0).tobytes(), np.float32(0.0).tobytes())
    candidates = [Candidate("float32", tiny_model()), Candidate("int8", collapsed)]
    rows = judge(candidates, *held_out(), tiny_contract(), trained=1.0)
    assert rows[0].accuracy == 1.0
    assert rows[1].drop == pytest.approx(2 / 3)
    assert "loses" in rows[1].verdict
    assert choose(rows).kind == "float32"


def test_labels_that_do_not_exclude_each_other() -> None:
    """A photo counts as right when exactly its labels score 0.5 or more."""
    pixels, truth = held_out()
    contract = replace(tiny_contract(), multi_label=True)
    (row,) = judge([Candidate("float32", tiny_model())], pixels, truth, contract, trained=1.0)
    assert row.accuracy == 1.0
    both = truth | np.roll(truth, 1, axis=1)
    (row,) = judge([Candidate("float32", tiny_model())], pixels, both, contract, trained=0.0)
    assert row.accuracy == 0.0


def test_int8_out_of_budget_has_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    """The converter names the training that helps, and the run it starts from."""
    collapsed = tiny_model().replace(np.float32(6.0).tobytes(), np.float32(0.0).tobytes())
    candidates = [Candidate("float32", tiny_model()), Candidate("int8", collapsed)]
    rows = judge(candidates, *held_out(), tiny_contract(), trained=1.0)
    _recommend(rows, Path("runs/x"))
    assert "--quantization-aware runs/x" in capsys.readouterr().err
    _recommend(rows[:1], Path("runs/x"))
    assert not capsys.readouterr().err


def test_scores_that_are_not_numbers_are_refused() -> None:
    """NaN is named; with no other candidate the whole conversion is refused."""
    broken = tiny_model().replace(np.float32(6.0).tobytes(), np.float32(np.nan).tobytes())
    rows = judge([Candidate("float32", broken)], *held_out(), tiny_contract(), trained=1.0)
    with pytest.raises(ConversionRefused, match="not finite"):
        choose(rows)


def test_a_float_model_that_is_not_what_was_trained_is_refused() -> None:
    """The bar is what training measured, not what the conversion happened to give."""
    pixels, truth = held_out()
    rows = judge([Candidate("float32", tiny_model())], pixels, np.roll(truth, 1, axis=1),
                 tiny_contract(), trained=0.98)  # fmt: skip
    with pytest.raises(ConversionRefused, match=r"loses 98\.0%"):
        choose(rows)


def test_the_float_model_may_fail_to_convert() -> None:
    """The others are still judged; only their agreement with it is unknown."""
    candidates = [Candidate("float32", b"", "out of memory"), Candidate("int8", tiny_model())]
    rows = judge(candidates, *held_out(), tiny_contract(), trained=1.0)
    assert np.isnan(rows[1].agreement)
    assert choose(rows).kind == "int8"


def test_a_candidate_that_cannot_be_converted_is_a_row() -> None:
    """One failing kind does not end the others."""
    candidates = [Candidate("float32", tiny_model()), Candidate("int8", b"", "unsupported op")]
    rows = judge(candidates, *held_out(), tiny_contract(), trained=1.0)
    assert rows[1].verdict == "unsupported op"
    assert choose(rows).kind == "float32"


def row(kind: str, *, ms: float, size: int, verdict: str = "") -> Judgement:
    none = np.zeros((0, 2), np.float32)
    return Judgement(kind, 0.9, 0.0, 1.0, size, ms, verdict, none)


def test_the_fastest_wins_and_ties_go_to_the_smaller() -> None:
    """Within a tenth times are the same; slow small ones and fast wrong ones lose."""
    rows = [
        row("float32", ms=2.0, size=400),
        row("float16", ms=1.95, size=200),
        row("dynamic", ms=3.0, size=100),
        row("int8", ms=1.0, size=110, verdict="loses 5 %"),
    ]
    assert choose(rows).kind == "float16"


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    """An interrupted run has no metrics.json; the hint says so."""
    with pytest.raises(DataError, match="not a finished training run") as caught:
        RunFolder.open(tmp_path)
    assert "metrics.json" in caught.value.hint


def test_photos_that_changed_since_training(trained_run: TrainedRun, tmp_path: Path) -> None:
    """Judging on other photos than those held out would prove nothing."""
    shutil.copytree(trained_run.photos, tmp_path / "photos")
    folder = RunFolder.open(trained_run.path)
    folder.metrics["dataset"]["root"] = str(tmp_path / "photos")
    first = folder.rows[0]
    assert folder.picture(first).size
    path = tmp_path / "photos" / first["path"]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match="has changed since training"):
        folder.picture(first)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        folder.picture(first)


def test_the_judge_uses_the_devices_classifier(trained_run: TrainedRun) -> None:
    """No second inference path: what is judged is what runs."""
    assert judge_module.BundleClassifier is BundleClassifier
    assert read_photo(trained_run.photos / "red" / "000.png").shape == (48, 48, 3)
