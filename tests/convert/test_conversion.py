"""From a run to a sealed Bundle: what is judged is what is sealed, and what fails is refused."""

import hashlib
import json
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightpost_convert.from_run import case_of_run
from sightpost_convert.run_folder import RunFolder
from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.errors import DataError
from sightpost_edge.interpreter import Network, interpreter_class
from sightpost_edge.testing import COLOURS

from ..conftest import TrainedRun
from .conftest import Converted

pytestmark = pytest.mark.workshop


def test_every_kind_is_judged(converted: Converted) -> None:
    """Six of the quantizer's side and TensorFlow's own int8, all on every held-out photo."""
    rows = {row.kind: row for row in converted.ruling.rows}
    assert list(rows) == [
        "float32", "float16", "weights8", "dynamic", "int8", "int16x8", "int8-tensorflow",
    ]  # fmt: skip
    for kind, row in rows.items():
        if kind != "int16x8":  # may be too slow to be judged
            assert row.accuracy >= 0.9, kind
            assert row.photos == len(converted.case.test), kind
            assert row.answers is not None
            assert row.answers.embeddings is not None, kind
    assert rows["int8"].size_bytes < rows["float16"].size_bytes < rows["float32"].size_bytes
    assert rows["float32"].agreement == 1.0
    assert rows["int8-tensorflow"].maker == rows["float32"].maker == "TensorFlow"


def test_the_bundle_is_what_was_judged(converted: Converted) -> None:
    """The sealed file, opened as a device opens it, gives photo by photo the judged scores."""
    bundle, chosen = Bundle.open(converted.bundle.path), converted.ruling.chosen
    assert chosen is not None
    assert bundle.contract.kind == chosen.kind == "int8"
    classifier = BundleClassifier(bundle)
    given = [classifier.outputs(converted.case.picture(row)) for row in range(chosen.photos)]
    assert chosen.answers is not None
    np.testing.assert_array_equal([one.scores for one in given], chosen.answers.scores)
    np.testing.assert_array_equal([one.embedding for one in given], chosen.answers.embeddings)
    named = np.array([one.scores.argmax() for one in given])
    accuracy = (named == converted.case.test.truth.argmax(axis=1)).mean()
    assert accuracy == pytest.approx(chosen.accuracy)


def test_the_contract_knows_its_origin(converted: Converted, trained_run: TrainedRun) -> None:
    """What training said, and the report it said it in."""
    contract, metrics = converted.bundle.contract, converted.metrics
    training = contract.training
    assert training["dataset_fingerprint"] == metrics["dataset"]["fingerprint"]
    assert training["test_accuracy"] == metrics["test"]["accuracy"]
    assert training["photos"] == 120
    assert training["calibration_photos"] == len(converted.case.calibration) == 84
    report = (trained_run.path / "report.html").read_bytes()
    assert training["report_sha256"] == hashlib.sha256(report).hexdigest()
    assert training["versions"] == metrics["versions"]
    assert contract.name == "colours"
    assert contract.thresholds == tuple(row["score"] for row in metrics["thresholds"])
    assert contract.temperature == metrics["calibration"]["temperature"]
    assert not contract.multi_label


def test_the_contract_knows_how_it_was_judged(converted: Converted) -> None:
    """The whole table, where it was measured, the delegate and the tolerance for this kind."""
    contract, rows = converted.bundle.contract, converted.ruling.rows
    table = contract.conversion["table"]
    assert [row["kind"] for row in table] == [row.kind for row in rows]
    assert contract.conversion["chosen"] == contract.kind == "int8"
    assert contract.conversion["measured_on"] == "a desk"
    assert contract.delegate == "xnnpack"
    assert contract.golden_tolerance > 0.09


def test_novelty_travels_with_its_threshold_for_this_model(converted: Converted) -> None:
    """The arrays of training; as many false alarms on validation photos as the float model has."""
    novelty, before, case = converted.bundle.novelty, converted.case.novelty, converted.case
    assert novelty is not None
    assert before is not None
    assert novelty.method == converted.metrics["novelty"]["method"]
    for name, array in before.parameters.items():
        np.testing.assert_array_equal(novelty.parameters[name], array)
    stated = converted.bundle.contract.novelty
    assert stated["threshold"] == novelty.threshold
    assert stated["against"] == converted.metrics["novelty"]["against"]
    chosen = converted.ruling.chosen
    assert chosen is not None
    assert stated["auroc"] == pytest.approx(chosen.novelty_auroc, abs=1e-4)
    float32 = Network(converted.ruling.models["float32"])
    int8 = Network(converted.ruling.models["int8"])
    shares = []
    for network, tell in ((float32, before), (int8, novelty)):
        found = [network.outputs(p, mean=127.5, std=127.5) for p in case.validation.pixels]
        embeddings = np.stack([one.embedding for one in found if one.embedding is not None])
        scores = tell.scores(embeddings, np.stack([one.scores for one in found]))
        shares.append(float((scores > tell.threshold).mean()))
    assert shares[0] == pytest.approx(shares[1])


def test_two_outputs_by_name(converted: Converted) -> None:
    """The plain interpreter finds "scores" and "embedding" in every kind, whatever their order."""
    picture = np.full((1, 32, 32, 3), 100)
    for kind, model in converted.ruling.models.items():
        plain = interpreter_class()(model_content=model)
        signatures = plain.get_signature_list()
        (outputs,) = [one["outputs"] for one in signatures.values()]
        assert sorted(outputs) == ["embedding", "scores"], kind
        network = Network(model)
        assert (network.classes, network.features) == (3, 1280), kind
        runner = plain.get_signature_runner()
        (taken,) = runner.get_input_details().values()
        found = runner(image=picture.astype(taken["dtype"]))
        assert found["scores"].shape == (1, 3), kind
        assert found["embedding"].shape == (1, 1280), kind


@pytest.mark.parametrize("kind", ["int8", "int8-tensorflow"])
def test_int8_takes_raw_bytes(converted: Converted, kind: str) -> None:
    """The input's scale is exactly 1/127.5 and its zero point 127 or 128: nothing to compute."""
    plain = interpreter_class()(model_content=converted.ruling.models[kind])
    (image,) = plain.get_input_details()
    scale, zero_point = image["quantization"]
    assert scale == pytest.approx(1 / 127.5, rel=1e-6)
    assert zero_point in (127, 128)
    borders = [image, *plain.get_output_details()]
    assert {np.dtype(border["dtype"]).name for border in borders} == {"uint8"}
    assert Network(converted.ruling.models[kind])._table(127.5, 127.5) is None


def test_evidence_is_written(converted: Converted) -> None:
    """court.json with every row, court.png beside it."""
    whole = json.loads((converted.folder / "evidence" / "court.json").read_text())
    assert whole["chosen"] == "int8"
    assert whole["trained_accuracy"] == converted.metrics["test"]["accuracy"]
    assert len(whole["candidates"]) == 7
    assert (converted.folder / "evidence" / "court.png").read_bytes()[1:4] == b"PNG"


def test_anyone_can_list_it(converted: Converted) -> None:
    """unzip shows labels in two languages, golden frames, novelty and contract, undamaged."""
    path = converted.bundle.path
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode().split("\n") == ["blue", "green", "red"]
        assert archive.read("labels_de.txt").decode().split("\n") == ["Blau", "Grün", "Rot"]
    golden = [golden.member for golden in converted.bundle.contract.golden]
    arrays = ["novelty.npz", "examples.npz"]
    assert names == ["labels.txt", "labels_de.txt", *golden, *arrays, "contract.json"]
    if unzip := shutil.which("unzip"):
        listed = subprocess.run([unzip, "-l", path], capture_output=True, text=True, check=True)
        assert listed.stderr == ""
        assert all(name in listed.stdout for name in names)


def test_golden_frames(converted: Converted) -> None:
    """One photo a class, noise and a blank behind the first two; all come out on this machine."""
    members = [golden.member for golden in converted.bundle.contract.golden]
    assert members == [
        "golden/photo00.jpg", "golden/photo01.jpg", "golden/noise.jpg", "golden/blank.jpg",
        "golden/photo02.jpg",
    ]  # fmt: skip
    photos = [g.label for g in converted.bundle.contract.golden if "photo" in g.member]
    assert sorted(photos) == sorted(COLOURS)
    assert len(converted.bundle.golden) == 5
    assert all(one.pixels_equal and one.scores_off < 1e-5 for one in converted.bundle.golden)


def test_a_start_recomputes_six_at_most(converted: Converted, tmp_path: Path) -> None:
    """inspect recomputes all of ten."""
    from sightpost_convert.seal import Provenance, seal
    from sightpost_edge.testing import colour

    frames = [(f"photo{i:02d}", colour("red", width=40 + i)) for i in range(10)]
    model = converted.ruling.models["int8"]
    contract = replace(converted.bundle.contract, golden=(), novelty={})
    out = tmp_path / "folder" / "m.tflite"
    bundle = seal(model, contract, frames, Provenance("ten", {}, {}), out)
    assert len(bundle.contract.golden) == len(bundle.golden) == 10
    assert 1 <= len(Bundle.open(out).golden) <= 6
    assert len(Bundle.open(out, every_golden=True).golden) == 10


def test_calibration_draws_from_every_class(trained_run: TrainedRun) -> None:
    """The first 300 files in directory order may be of one class; these are not."""
    folder = RunFolder.open(trained_run.path)
    rows = folder.select("train", per_class=4)
    assert sorted(row["label"] for row in rows) == sorted([*COLOURS] * 4)


def test_the_case_keeps_splits_apart(converted: Converted, trained_run: TrainedRun) -> None:
    """Test photos judge, validation photos choose, train photos calibrate."""
    folder = RunFolder.open(trained_run.path)
    splits = [row["split"] for row in folder.rows]
    case = converted.case
    assert len(case.test) == splits.count("test")
    assert len(case.validation) == splits.count("validation")
    assert case.trained == converted.metrics["test"]["accuracy"]
    assert f"--quantization-aware {trained_run.path}" in case.remedy
    seen = {photo.tobytes() for photo in case.test.pixels}
    assert not seen & {photo.tobytes() for photo in case.calibration}


def test_the_saved_model_is_gone_afterwards(
    trained_run: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lives as long as the case, and is no part of the run folder."""
    monkeypatch.setattr("sightpost_convert.from_run.save", lambda model, folder: folder.mkdir())
    monkeypatch.setattr("sightpost_convert.from_run.float_model", lambda folder: b"")
    before = sorted(trained_run.path.iterdir())
    with case_of_run(trained_run.path) as case:
        saved = case.saved
        assert saved is not None
        assert saved.is_dir()
    assert not saved.parent.exists()
    assert sorted(trained_run.path.iterdir()) == before


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    """An interrupted run has no metrics.json; the hint says so."""
    with pytest.raises(DataError, match="not a finished training run") as caught:
        RunFolder.open(tmp_path)
    assert "metrics.json" in caught.value.hint


@pytest.mark.parametrize("damage", ["{", "[]", "{}", "null"])
def test_a_run_with_damaged_metrics(trained_run: TrainedRun, tmp_path: Path, damage: str) -> None:
    """Of an older version, cut short, or another file: named, not a traceback."""
    (tmp_path / "metrics.json").write_text(damage)
    shutil.copy(trained_run.path / "split.csv", tmp_path)
    with pytest.raises(DataError, match="not a finished training run"):
        RunFolder.open(tmp_path)


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


def test_a_run_without_photos_of_a_split(trained_run: TrainedRun) -> None:
    """A split.csv from which somebody took lines."""
    folder = RunFolder.open(trained_run.path)
    some = replace(folder, rows=tuple(row for row in folder.rows if row["split"] != "test"))
    with pytest.raises(DataError, match="no test photos"):
        some.select("test")


@pytest.mark.parametrize("content", [b"", b"no zip"])
def test_damaged_novelty_arrays(trained_run: TrainedRun, tmp_path: Path, content: bytes) -> None:
    """Named; without the file the run simply cannot tell."""
    for name in ("metrics.json", "split.csv"):
        shutil.copy(trained_run.path / name, tmp_path)
    folder = RunFolder.open(tmp_path)
    assert folder.metrics["novelty"]["method"] in ("gaussian", "knn")
    assert folder.novelty(None) is None
    (tmp_path / "novelty.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"novelty\.npz cannot be read"):
        folder.novelty(None)
