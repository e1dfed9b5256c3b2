"""Reading labelled photos: everything usable is used, everything else is named and left alone."""

import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightpost_edge.errors import DataError
from sightpost_edge.pixels import Geometry, fit, read_photo
from sightpost_edge.testing import colour
from sightpost_train.dataset import Dataset, read_folder, split_csv

from ..workshop import colour_photos

pytestmark = pytest.mark.workshop


def read(folder: Path, *, seed: int = 1) -> Dataset:
    shares = {"validation_share": 0.2, "test_share": 0.2}
    return read_folder(folder, Geometry(16, 16), seed=seed, **shares)


def test_photos_labels_and_splits(tmp_path: Path) -> None:
    """Class folders become labels; every class is in every split, in the shares asked for."""
    data = read(colour_photos(tmp_path / "p"))
    assert data.labels == ("blue", "green", "red")
    assert data.pixels.shape == (60, 16, 16, 3)
    for label in data.labels:
        mine = [photo.split for photo in data.photos if photo.label == label]
        assert {s: mine.count(s) for s in set(mine)} == {"train": 12, "validation": 4, "test": 4}


def test_pixels_are_the_devices_own(tmp_path: Path) -> None:
    """Row i is what pixels.fit makes of photo i: no skew between training and device."""
    data = read(colour_photos(tmp_path / "p"))
    for index in (0, 31, 59):
        path = data.root / data.photos[index].path
        assert np.array_equal(data.pixels[index], fit(read_photo(path), Geometry(16, 16)))


def test_the_split_depends_on_the_seed_only(tmp_path: Path) -> None:
    """Same seed, same split; another seed, another split."""
    folder = colour_photos(tmp_path / "p")
    first, again, other = read(folder), read(folder), read(folder, seed=2)
    assert split_csv(first.photos) == split_csv(again.photos)
    assert split_csv(first.photos) != split_csv(other.photos)


def test_copies_of_a_photo_share_a_split(tmp_path: Path) -> None:
    """Otherwise the test would ask for what was trained on."""
    folder = colour_photos(tmp_path / "p", per_class=10)
    for index in range(10):
        original = (folder / "red" / f"{index:03d}.png").read_bytes()
        for copy in "abc":
            (folder / "red" / f"{index:03d}{copy}.png").write_bytes(original)
    data = read(folder)
    splits: dict[str, set[str]] = {}
    for photo in data.photos:
        splits.setdefault(photo.sha256, set()).add(photo.split)
    assert all(len(found) == 1 for found in splits.values())
    assert data.duplicates == 30


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    """Another order of files changes nothing; one changed byte does."""
    folder = colour_photos(tmp_path / "p", per_class=5)
    before = read(folder).fingerprint
    assert read(folder).fingerprint == before
    cv2.imwrite(str(folder / "red" / "000.png"), colour("red", width=30)[..., ::-1])
    assert read(folder).fingerprint != before


def ugly(folder: Path) -> dict[str, bytes]:
    """Files that must be named and left out."""
    jpeg = cv2.imencode(".jpg", colour("red", width=90))[1].tobytes()
    return {
        "empty.jpg": b"",
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "text.png": b"this is no picture",
        "phone.heic": b"\0\0\0\x18ftypheic",
        "half.png": cv2.imencode(".png", colour("red"))[1].tobytes()[:300],
    }


def test_ugly_files_are_named_and_untouched(tmp_path: Path) -> None:
    """Each is left out with its reason; its bytes and its name stay as they were."""
    folder = colour_photos(tmp_path / "p", per_class=6)
    files = ugly(folder)
    for name, content in files.items():
        (folder / "red" / name).write_bytes(content)
    digest = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*")}
    data = read(folder)
    assert {item.path for item in data.left_out} == {f"red/{name}" for name in files}
    assert all(item.reason for item in data.left_out)
    assert {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*")} == digest


def test_handled_formats_take_part(tmp_path: Path) -> None:
    """Greyscale, alpha, 16 bits: all are photos."""
    folder = colour_photos(tmp_path / "p", per_class=6)
    picture = colour("red")
    cv2.imwrite(str(folder / "red" / "grey.png"), picture[..., 0])
    cv2.imwrite(str(folder / "red" / "deep.png"), picture.astype(np.uint16) * 257)
    alpha = np.dstack([picture, np.full(picture.shape[:2], 128, np.uint8)])
    cv2.imwrite(str(folder / "red" / "alpha.png"), alpha)
    data = read(folder)
    assert not data.left_out
    assert len(data.photos) == 21


def test_notes_beside_photos_are_no_photos(tmp_path: Path) -> None:
    """Thumbs.db, labels.txt and hidden files are passed over in silence."""
    folder = colour_photos(tmp_path / "p", per_class=5)
    for name in ("Thumbs.db", "notes.txt", ".hidden.jpg"):
        (folder / "red" / name).write_bytes(b"x")
    (folder / ".cache").mkdir()
    (folder / "red" / ".thumbnails").mkdir()
    (folder / "red" / ".thumbnails" / "0.jpg").write_bytes(b"x")
    data = read(folder)
    assert not data.left_out
    assert len(data.photos) == 15


def test_names_that_are_not_utf8_are_left_out(tmp_path: Path) -> None:
    """Before training, not when its results are written."""
    folder = colour_photos(tmp_path / "p", per_class=5)
    picture = (folder / "red" / "000.png").read_bytes()
    (folder / "red" / os.fsdecode(b"f\xfcr.png")).write_bytes(picture)
    data = read(folder)
    assert "not UTF-8" in data.left_out[0].reason
    assert split_csv(data.photos).encode()


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


def test_photos_beside_the_class_folders_are_named(tmp_path: Path) -> None:
    """A photo in the root has no label."""
    folder = colour_photos(tmp_path / "p", per_class=5)
    cv2.imwrite(str(folder / "lost.png"), colour("red"))
    assert [item.path for item in read(folder).left_out] == ["lost.png"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no folder"),
        (lambda p: p.mkdir(), "0 class folder"),
        (lambda p: (p / "only").mkdir(parents=True), "1 class folder"),
        (lambda p: [(p / n).mkdir(parents=True) for n in ("a", "b")], "a \\(0\\), b \\(0\\)"),
    ],
)
def test_folders_that_cannot_be_trained_on(tmp_path: Path, make, message: str) -> None:  # type: ignore[no-untyped-def]
    """Before the first epoch, with what to do."""
    make(tmp_path / "p")
    with pytest.raises(DataError, match=message):
        read(tmp_path / "p")


def test_a_class_of_broken_photos_is_named(tmp_path: Path) -> None:
    """All its files are unreadable: the class and the files are in the message."""
    folder = colour_photos(tmp_path / "p", per_class=5)
    (folder / "violet").mkdir()
    for index in range(5):
        (folder / "violet" / f"{index}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"violet \(0\)") as caught:
        read(folder)
    assert "violet/0.jpg is empty" in caught.value.hint
