"""Labelled photos ready to train on: everything usable takes part, and no group is torn."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightpost_edge.errors import DataError
from sightpost_edge.pixels import Geometry, fit, read_photo
from sightpost_edge.testing import colour
from sightpost_train.dataset import Dataset, read_dataset, read_unseen
from sightpost_train.recipe import TrainRecipe

from ..workshop import colour_photos

pytestmark = pytest.mark.workshop


def read(folder: Path, *, seed: int = 1) -> Dataset:
    shares = {"validation_share": 0.2, "test_share": 0.2}
    return read_dataset(folder, Geometry(16, 16), seed=seed, **shares)


def test_parts_hold_what_belongs_together(tmp_path: Path) -> None:
    """Row i of pixels, truth and photos is one photo; every class is in every split."""
    data = read(colour_photos(tmp_path / "p"))
    assert data.labels == ("blue", "green", "red")
    for name, count in (("train", 36), ("validation", 12), ("test", 12)):
        part = data.part(name)
        assert len(part) == len(part.stack) == len(part.truth) == count
        assert {photo.split for photo in part.photos} == {name}
        assert part.truth.sum(axis=0).tolist() == [count / 3] * 3
        for row in (0, count - 1):
            photo = part.photos[row]
            assert data.labels[int(part.truth[row].argmax())] == photo.label
            assert np.array_equal(
                part.stack[row], fit(read_photo(data.root / photo.path), Geometry(16, 16))
            )


def test_a_manifest_with_several_labels(tmp_path: Path) -> None:
    """Truth has a 1 for each label of a photo."""
    folder = colour_photos(tmp_path / "p", per_class=9)
    rows = ["path,label"]
    for name, labels in (("red", "warm"), ("green", "cold|calm"), ("blue", "cold")):
        rows += [f"{name}/{i:03d}.png,{labels}" for i in range(9)]
    (folder / "m.csv").write_text("\n".join(rows))
    data = read(folder / "m.csv")
    assert data.multi_label
    assert data.labels == ("calm", "cold", "warm")
    assert data.everything.truth.sum(axis=0).tolist() == [9, 18, 9]


def test_near_duplicates_share_a_split(tmp_path: Path) -> None:
    """A photo saved again in another quality is the same photo."""
    rng = np.random.default_rng(3)
    folder = colour_photos(tmp_path / "p", per_class=10)
    for index in range(12):
        scene = cv2.resize(rng.integers(0, 255, (6, 6, 3)).astype(np.uint8), (96, 96))
        for name, quality in (("a", 95), ("b", 60)):
            path = str(folder / "red" / f"scene{index}{name}.jpg")
            cv2.imwrite(path, scene, [cv2.IMWRITE_JPEG_QUALITY, quality])
    for seed in range(3):
        splits: dict[str, set[str]] = {}
        for photo in read(folder, seed=seed).everything.photos:
            if "scene" in photo.path:
                splits.setdefault(photo.path[:-5], set()).add(photo.split)
        assert len(splits) == 12
        assert all(len(found) == 1 for found in splits.values())


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    """The same photos give the same figure; one changed photo does not."""
    folder = colour_photos(tmp_path / "p", per_class=5)
    before = read(folder).fingerprint
    assert read(folder, seed=2).fingerprint == before
    cv2.imwrite(str(folder / "red" / "000.png"), colour("red", width=30)[..., ::-1])
    assert read(folder).fingerprint != before


def test_unreadable_files_are_named_and_untouched(tmp_path: Path) -> None:
    """Each is left out with its reason; its bytes stay as they were."""
    folder = colour_photos(tmp_path / "p", per_class=6)
    (folder / "red" / "empty.jpg").write_bytes(b"")
    (folder / "red" / "text.png").write_bytes(b"this is no picture")
    digest = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*")}
    data = read(folder)
    assert {item.path for item in data.left_out} == {"red/empty.jpg", "red/text.png"}
    assert all(item.reason for item in data.left_out)
    assert {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*")} == digest


def test_copies_of_one_photo_are_one_photo(tmp_path: Path) -> None:
    """Three copies cannot be trained, validated and tested on."""
    folder = colour_photos(tmp_path / "p", per_class=5)
    (folder / "violet").mkdir()
    for name in "abc":
        (folder / "violet" / f"{name}.png").write_bytes(
            (folder / "red" / "000.png").read_bytes() + b"\0"
        )
    with pytest.raises(DataError, match=r"violet \(1\)"):
        read(folder)


def test_a_class_of_broken_photos_is_named(tmp_path: Path) -> None:
    """All its files are unreadable: the class and the files are in the message."""
    folder = colour_photos(tmp_path / "p", per_class=5)
    (folder / "violet").mkdir()
    for index in range(5):
        (folder / "violet" / f"{index}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"violet \(0\)") as caught:
        read(folder)
    assert "violet/0.jpg is empty" in caught.value.hint


def test_one_group_cannot_fill_three_splits(tmp_path: Path) -> None:
    """A class whose photos all belong together: named before the first epoch."""
    folder = colour_photos(tmp_path / "p", per_class=9)
    rows = ["path,label,group"]
    for name in ("red", "green", "blue"):
        rows += [f"{name}/{i:03d}.png,{name},{name if name == 'red' else i}" for i in range(9)]
    (folder / "m.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match="no photo of red is left"):
        read(folder / "m.csv")


def test_photos_of_unseen_things(tmp_path: Path) -> None:
    """Any photos below a folder; none at all is an error."""
    folder = colour_photos(tmp_path / "p", per_class=2)
    assert len(read_unseen(folder, TrainRecipe(weights="none", input_px=32))) == 6
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no readable photo"):
        read_unseen(tmp_path / "nothing", TrainRecipe(weights="none", input_px=32))
