"""Faster decoding is allowed only for a model that was seen to say the same through it."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightpost_convert import paths
from sightpost_convert.bulk import device_classifier
from sightpost_convert.case import Case
from sightpost_convert.conversion import Wishes, convert_case
from sightpost_convert.paths import FEWEST, MOST, PathJudged, both_ways, camera_jpeg, judge_paths
from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.contract import Contract
from sightpost_edge.image import JpegImage
from sightpost_edge.interpreter import Outputs
from sightpost_edge.pixels import Geometry, read_photo, reduction_for
from sightpost_edge.records import Pixels
from sightpost_edge.testing import TINY_LABELS, tiny_model

from .courtroom import case_of, measure_nothing, photos_of

pytestmark = pytest.mark.workshop


def many(count: int, **changes: Any) -> Case:
    """A case of so many photos for the model that names a picture's strongest colour."""
    shown = [[TINY_LABELS[i % 3]] for i in range(count)]
    return case_of(tiny_model(), photos_of(*shown), **changes)


def judged_by(
    patch: pytest.MonkeyPatch, answer: Callable[[Pixels], list[float]]
) -> Callable[[Case], tuple[PathJudged, ...]]:
    """The judgement of a model that answers like this."""

    class Odd(BundleClassifier):
        def answer(self, fitted: Pixels) -> Outputs:
            return Outputs(np.array(answer(fitted), np.float32), None)

    def odd_classifier(model: bytes, contract: Contract) -> BundleClassifier:
        return Odd(device_classifier(model, contract).bundle)

    patch.setattr(paths, "device_classifier", odd_classifier)
    return lambda case: judge_paths(case, case.model)


def last_bit(fitted: Pixels) -> int:
    """What the slightest difference changes."""
    return int(fitted.astype(np.int64).sum()) % 2


def test_a_model_that_looks_at_colours_may_take_both() -> None:
    """Decided alike; pixels differ by a few levels, because the noise was not averaged alike."""
    half, quarter = judge_paths(many(60), tiny_model())
    assert (half.name, quarter.name) == ("jpeg/2", "jpeg/4")
    for path in (half, quarter):
        assert path.allowed
        assert (path.photos, path.equal, path.lost) == (60, 1.0, 0)
        assert 0 < path.levels < 3
        assert path.figures["levels"] == round(path.levels, 3)


def test_a_model_that_sees_the_slightest_difference_may_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of its decisions turn round."""
    judge = judged_by(monkeypatch, lambda fitted: [last_bit(fitted), 0.5, 0.0])
    for path in judge(many(80)):
        assert 0.2 < path.equal < 0.8
        assert not path.allowed


def test_of_several_labels_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first label stays, another one comes and goes: alike only where one label is named."""
    judge = judged_by(monkeypatch, lambda fitted: [0.9, 0.8 * last_bit(fitted), 0.0])
    assert all(path.equal == 1.0 for path in judge(many(FEWEST)))
    assert all(path.equal < 0.9 for path in judge(many(FEWEST, multi_label=True)))


@pytest.mark.parametrize("multi", [False, True])
def test_the_devices_own_thresholds_decide(monkeypatch: pytest.MonkeyPatch, multi: bool) -> None:
    """A score that crosses its label's threshold is another decision, whatever label leads."""
    judge = judged_by(monkeypatch, lambda fitted: [0.2 + 0.1 * last_bit(fitted), 0.0, 0.0])
    case = many(FEWEST, multi_label=multi)
    for bar, alike in ((0.25, False), (0.1, True), (0.35, True)):
        contract = replace(case.contract, thresholds=(bar, 0.9, 0.9))
        for path in judge(replace(case, contract=contract)):
            assert (path.equal == 1.0) is alike
            assert alike or path.equal < 0.9
            assert path.allowed is alike


def test_it_is_a_choice_so_validation_photos_make_it() -> None:
    """Test photos choose nothing: not one of them is asked for."""

    def refuse(row: int) -> Pixels:
        raise AssertionError(row)

    case = many(FEWEST, picture=refuse)
    few = replace(case, test=case.test.at(np.arange(3)))
    assert [path.photos for path in judge_paths(few, tiny_model())] == [FEWEST, FEWEST]
    few = replace(case, validation=case.validation.at(np.arange(3)))
    assert judge_paths(few, tiny_model()) == ()


def test_too_few_photos_judge_nothing() -> None:
    """One other decision of 49 would be more than may differ."""
    assert judge_paths(many(FEWEST - 1), tiny_model()) == ()
    assert len(judge_paths(many(FEWEST), tiny_model())) == 2


def test_many_photos_judge_by_the_first_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion shall not take minutes longer."""
    monkeypatch.setattr(paths, "MOST", 60)
    assert MOST >= FEWEST
    assert [path.photos for path in judge_paths(many(75), tiny_model())] == [60, 60]


@pytest.mark.parametrize(
    ("photos", "equal", "lost", "allowed"),
    [
        (200, 1.0, 0, True), (200, 0.98, 1, True), (200, 0.975, 0, False), (200, 0.99, 2, False),
        (50, 0.98, 1, True), (50, 0.98, 2, False), (200, 0.98, -4, True),
    ],
)  # fmt: skip
def test_what_is_allowed(photos: int, equal: float, lost: int, allowed: bool) -> None:
    """98 of 100 decided alike, half a point of accuracy lost; one photo is no evidence."""
    assert PathJudged("jpeg/2", photos, 1.0, equal, lost).allowed is allowed


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("size", [(20, 30), (300, 200)])
@pytest.mark.parametrize("crop", [1.0, 0.8])
def test_a_cameras_jpeg_is_just_large_enough(n: int, size: tuple[int, int], crop: float) -> None:
    """Small photos are enlarged, large ones reduced; noise is there for frequencies to leave out;
    the same photo gives the same JPEG."""
    picture = np.full((*size, 3), 128, np.uint8)
    geometry = Geometry(48, 32, crop)
    jpeg = camera_jpeg(picture, geometry, n, seed=3)
    image = JpegImage(jpeg)
    assert reduction_for(image, geometry, allowed=frozenset({2, 4, 8})) == n
    assert image.width == pytest.approx(48 * n / crop, abs=1)
    assert image.decode().std() > 1
    assert camera_jpeg(picture, geometry, n, seed=3) == jpeg
    assert camera_jpeg(picture, geometry, n, seed=4) != jpeg


def test_the_bundle_says_what_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    cli: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:  # fmt: skip
    """The contract lists it for the device; court.json, the table and inspect show it."""
    measure_nothing(monkeypatch)
    bundle, ruling = convert_case(many(60), tmp_path / "m.tflite", tmp_path, Wishes())
    assert len(ruling.paths) == 2
    assert bundle.contract.reductions == {2, 4}
    assert Bundle.open(tmp_path / "m.tflite").contract.paths == bundle.contract.paths
    court = json.loads((tmp_path / "court.json").read_text())
    assert court["paths"]["jpeg/2"]["allowed"] is True
    line = next(row for row in capsys.readouterr().out.splitlines() if row.startswith("decoding:"))
    assert line.count("100.0% decided alike") == 2
    shown = cli("inspect", tmp_path / "m.tflite").stdout
    assert "decoding    jpeg/2 allowed" in shown
    assert "equal 1.0" in shown


def test_the_table_says_that_nothing_was_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Silence would read as if faster decoding had been refused."""
    measure_nothing(monkeypatch)
    bundle, _ = convert_case(many(FEWEST - 1), tmp_path / "m.tflite", tmp_path, Wishes())
    assert bundle.contract.paths == {}
    out = capsys.readouterr().out
    assert "decoding: not judged, fewer than 50 validation photos" in out.splitlines()


def test_what_is_not_allowed_is_not_in_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The device then decodes the whole picture."""
    measure_nothing(monkeypatch)
    judged_by(monkeypatch, lambda fitted: [last_bit(fitted), 0.5, 0.0])
    bundle, _ = convert_case(many(60), tmp_path / "m.tflite", tmp_path, Wishes())
    assert bundle.contract.paths == {}
    assert "jpeg/2 not allowed" in capsys.readouterr().out
    court = json.loads((tmp_path / "court.json").read_text())
    assert court["paths"]["jpeg/4"]["allowed"] is False


def test_real_photos_differ_by_less_than_a_level(data: Path) -> None:
    """Flowers as a camera would send them: 0.45 of a level at half size."""
    files = sorted((data / "flowers5").glob("*/*.jpg"))[::140]
    assert files
    off = []
    for seed, path in enumerate(files):
        whole, half = both_ways(read_photo(path), Geometry(224, 224), 2, seed=seed)
        off.append(np.abs(np.subtract(whole, half, dtype=np.int16)).mean())
    assert 0.1 < np.mean(off) < 1.0
