"""Someone else's .tflite gets the same judges, once its labels, scaling and photos are clear."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightpost_convert.graph import complete, pack, unpack
from sightpost_convert.imported import case_of_model
from sightpost_convert.metadata import append_files, attach_metadata
from sightpost_convert.metadata_reader import USUAL, normalisation
from sightpost_edge.errors import ConfigError, ContractMismatch, DataError, ModelError, NotABundle
from sightpost_edge.testing import TINY_LABELS, tiny_bundle, tiny_model

pytestmark = pytest.mark.workshop


def described(**changes: Any) -> bytes:
    """The tiny model with metadata."""
    words: dict[str, Any] = {"name": "", "description": "", "version": "1", "author": "",
                             "license": "", "mean": 127.5, "std": 127.5}  # fmt: skip
    return attach_metadata(tiny_model(), **{**words, **changes})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.tflite"
    path.write_bytes(tiny_model())
    return path


@pytest.fixture
def photos(colour_folders: Path, tmp_path: Path) -> Path:
    """A copy to spoil, 5 photos a class."""
    for name in TINY_LABELS:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for file in sorted((colour_folders / name).iterdir())[:5]:
            shutil.copy(file, tmp_path / "photos" / name)
    return tmp_path / "photos"


def test_a_model_becomes_a_case(model: Path, colour_folders: Path) -> None:
    """Three fifths judge, a fifth each chooses and calibrates, every class in each part."""
    case = case_of_model(model, TINY_LABELS, colour_folders)
    assert (case.name, case.model) == ("theirs", complete(tiny_model()))
    assert (len(case.test), len(case.validation), len(case.calibration)) == (54, 18, 18)
    for part in (case.test, case.validation):
        assert part.truth.sum(axis=0).tolist() == [len(part) // 3] * 3
        assert part.pixels.shape[1:] == (16, 16, 3)
    assert case.trained is None
    assert case.saved is None
    assert case.novelty is None
    assert case.training == {"origin": "theirs.tflite", "judged_photos": 54}
    assert "fine-tuned for int8" in case.remedy


def test_no_photo_serves_twice(model: Path, colour_folders: Path) -> None:
    """Test photos decide nothing but the verdict."""
    case = case_of_model(model, TINY_LABELS, colour_folders)
    parts = [case.test.pixels, case.validation.pixels, case.calibration]
    seen = [photo.tobytes() for part in parts for photo in part]
    assert len(set(seen)) == len(seen) == 90


def test_the_same_photos_are_drawn_each_time(model: Path, colour_folders: Path) -> None:
    """And a row's picture is the photo before it was fitted."""
    first, second = (case_of_model(model, TINY_LABELS, colour_folders) for _ in range(2))
    np.testing.assert_array_equal(first.test.pixels, second.test.pixels)
    assert first.picture(7).shape == (24, 24, 3)
    assert abs(first.picture(7).mean() - first.test.pixels[7].mean()) < 3


def test_labels_may_lack_photos(model: Path, photos: Path) -> None:
    """A model of 1,000 classes is judged on those that matter."""
    shutil.rmtree(photos / "green")
    case = case_of_model(model, TINY_LABELS, photos)
    assert case.test.truth.sum(axis=0).tolist() == [3, 0, 3]


def test_hidden_folders_and_other_files_are_no_photos(model: Path, photos: Path) -> None:
    """.git beside the classes, notes in them."""
    (photos / ".git").mkdir()
    (photos / "readme.txt").write_text("x")
    (photos / "red" / "notes.txt").write_text("x")
    assert len(case_of_model(model, TINY_LABELS, photos).test) == 9


def test_a_folder_that_is_no_label(model: Path, photos: Path) -> None:
    """The hint names the nearest label."""
    (photos / "red").rename(photos / "redd")
    with pytest.raises(DataError, match="named after no label") as caught:
        case_of_model(model, TINY_LABELS, photos)
    assert "did you mean 'red'?" in caught.value.hint


def test_too_few_photos(model: Path, photos: Path) -> None:
    for name in ("red", "green"):
        shutil.rmtree(photos / name)
    with pytest.raises(DataError, match=r"5 photos below .*at least 10"):
        case_of_model(model, TINY_LABELS, photos)


def test_no_photo_folder(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        case_of_model(model, TINY_LABELS, tmp_path / "none")


def test_an_unreadable_photo_is_named(model: Path, photos: Path) -> None:
    """Judging on fewer photos than were given would be silent."""
    path = photos / "red" / "001.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"red/001\.png: is a truncated PNG") as caught:
        case_of_model(model, TINY_LABELS, photos)
    assert "put a good copy" in caught.value.hint


def test_labels_are_needed(model: Path, photos: Path) -> None:
    with pytest.raises(NotABundle):
        case_of_model(model, None, photos)
    with pytest.raises(ContractMismatch, match="2 labels"):
        case_of_model(model, ("a", "b"), photos)


def test_labels_may_come_with_the_model(tmp_path: Path, photos: Path) -> None:
    """As the standard metadata's file; a Bundle of ours is no model of someone else's."""
    path = tmp_path / "theirs.tflite"
    path.write_bytes(append_files(described(), {"labels.txt": "\n".join(TINY_LABELS).encode()}))
    assert case_of_model(path, None, photos).contract.labels == TINY_LABELS
    with pytest.raises(ConfigError, match="is a Bundle already"):
        case_of_model(tiny_bundle(tmp_path / "ours.tflite"), None, photos)


def test_a_damaged_model_is_refused(tmp_path: Path, photos: Path) -> None:
    """It is tried in a process of its own first."""
    path = tmp_path / "theirs.tflite"
    path.write_bytes(tiny_model()[:300])
    with pytest.raises(ModelError):
        case_of_model(path, TINY_LABELS, photos)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 255.0), (127.5, 127.5), (123.675, 58.395)])
def test_scaling_comes_from_the_metadata(
    tmp_path: Path, photos: Path, mean: float, std: float
) -> None:
    """What was written is read back, and the contract has it."""
    path = tmp_path / "theirs.tflite"
    path.write_bytes(described(mean=mean, std=std))
    contract = case_of_model(path, TINY_LABELS, photos).contract
    assert (contract.mean, contract.std) == (pytest.approx(mean), pytest.approx(std))


def test_without_metadata_the_usual_scaling() -> None:
    """[-1, 1], as MobileNets take it."""
    assert normalisation(tiny_model()) == USUAL == (127.5, 127.5)


def blob_of(model: bytes) -> bytearray:
    graph = unpack(model)
    (entry,) = graph.metadata
    return bytearray(graph.buffers[entry.buffer].data)


def with_blob(model: bytes, blob: bytes) -> bytes:
    graph = unpack(model)
    (entry,) = graph.metadata
    graph.buffers[entry.buffer].data = np.frombuffer(bytes(blob), np.uint8)
    return pack(graph)


def test_a_scaling_for_each_colour_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch models have it; taking one of the three would be wrong in silence."""
    from sightpost_convert import metadata

    honest = metadata._image

    def three(graph: Any, mean: float, std: float) -> dict[int, Any]:
        means, deviations = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)
        return honest(graph, mean, std) | {4: [{0: 1, 1: {0: means, 1: deviations}}]}

    monkeypatch.setattr(metadata, "_image", three)
    with pytest.raises(ModelError, match="each colour its own way"):
        normalisation(described())


def test_the_same_for_each_colour_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three equal means and deviations are one."""
    from sightpost_convert import metadata

    honest = metadata._image
    monkeypatch.setattr(
        metadata, "_image",
        lambda *a: honest(*a) | {4: [{0: 1, 1: {0: (10.0,) * 3, 1: (20.0,) * 3}}]},
    )  # fmt: skip
    assert normalisation(described()) == (10.0, 20.0)


@pytest.mark.parametrize("std", [(0.0,), (-1.0,), (float("nan"),), ()])
def test_a_deviation_that_divides_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, std: tuple[float, ...]
) -> None:
    from sightpost_convert import metadata

    honest = metadata._image
    monkeypatch.setattr(
        metadata, "_image", lambda *a: honest(*a) | {4: [{0: 1, 1: {0: (10.0,), 1: std}}]}
    )
    with pytest.raises(ModelError):
        normalisation(described())


def test_damaged_metadata_is_a_named_error_or_read() -> None:
    """Cut short or with any byte changed: never another error than ours."""
    model = described()
    blob = blob_of(model)
    draw = np.random.default_rng(0)
    refused = 0
    for i in range(300):
        broken = bytearray(blob)
        if i % 3:
            broken[int(draw.integers(len(broken)))] = int(draw.integers(256))
        else:
            del broken[int(draw.integers(1, len(broken))) :]
        try:
            mean, std = normalisation(with_blob(model, broken))
        except ModelError:
            refused += 1
            continue
        assert std > 0
        assert np.isfinite([mean, std]).all()
    assert refused > 20
    with pytest.raises(ModelError, match="damaged"):
        normalisation(with_blob(model, blob[:20]))
