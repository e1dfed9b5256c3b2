"""Naming photos: class folders, ready-made splits and manifests give the same records."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightpost_edge.errors import DataError
from sightpost_train.listing import count_different, manifest_csv, read_listing
from sightpost_train.photos import Photo


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def table(folder: Path, text: str) -> Path:
    file = folder / "photos.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_class_folders(tmp_path: Path) -> None:
    """The folder right below the root is the label, however deep the photo lies."""
    listing = read_listing(touch(tmp_path, "b/2.png", "a/deep/er/1.JPG", "a/0.jpg"))
    assert [(p.path, p.labels) for p in listing.photos] == [
        ("a/0.jpg", ("a",)), ("a/deep/er/1.JPG", ("a",)), ("b/2.png", ("b",)),
    ]  # fmt: skip
    assert not listing.left_out


def test_files_are_never_opened(tmp_path: Path) -> None:
    """Listing a pipe or a file without permission neither hangs nor fails."""
    touch(tmp_path, "a/0.jpg", "b/0.jpg")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    (tmp_path / "b" / "0.jpg").chmod(0)
    listing = read_listing(tmp_path)
    assert [item.path for item in listing.left_out] == ["a/pipe.jpg"]
    assert len(listing.photos) == 2


def test_what_is_no_photo_is_named(tmp_path: Path) -> None:
    """Other formats, stray photos and odd names are left out; notes and hidden files are passed."""
    touch(tmp_path, "a/0.jpg", "b/0.jpg", "lost.png", "a/x.heic", "a/Thumbs.db", "a/.h.jpg")
    touch(tmp_path, "a/.cache/1.jpg", ".git/1.jpg", "b/notes.txt", "labels.csv")
    (tmp_path / os.fsdecode(b"b/f\xfcr.png")).write_bytes(b"x")
    assert {item.path for item in read_listing(tmp_path).left_out} == {
        "lost.png", "a/x.heic", "b/f�r.png",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Validation"])
def test_ready_made_splits(tmp_path: Path, name: str) -> None:
    """train, validation and test folders keep their split; what lies beside them is named."""
    touch(tmp_path, "train/a/0.jpg", "train/b/0.jpg", f"{name}/a/1.jpg", "test/b/2.jpg")
    touch(tmp_path, "extra/a/3.jpg", "train/lost.jpg")
    listing = read_listing(tmp_path)
    assert [(p.label, p.split) for p in sorted(listing.photos, key=lambda p: p.path[-5:])] == [
        ("a", "train"), ("b", "train"), ("a", "validation"), ("b", "test"),
    ]  # fmt: skip
    assert {item.path for item in listing.left_out} == {"extra", "train/lost.jpg"}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    """Vehicles: without a second split folder, train is a class."""
    assert read_listing(touch(tmp_path, "train/0.jpg", "tram/0.jpg")).labels == ("train", "tram")


def test_empty_class_folders_are_known(tmp_path: Path) -> None:
    """They count as classes without photos, not as no classes."""
    (touch(tmp_path, "a/0.jpg") / "b").mkdir()
    listing = read_listing(tmp_path)
    assert listing.empty_classes == ("b",)
    assert count_different(listing, listing.photos) == {"a": 1, "b": 0}


def test_a_manifest(tmp_path: Path) -> None:
    """Paths relative to it, groups, splits, a byte order mark; other columns are ignored."""
    text = "﻿path,label,source,group,split\na/1.jpg,cat,me,g1,val\n./b/2.jpg,dog,you,,\n"
    listing = read_listing(table(tmp_path, text))
    assert listing.root == tmp_path
    assert listing.photos == (
        Photo("a/1.jpg", ("cat",), group="g1", split="validation"), Photo("b/2.jpg", ("dog",)),
    )  # fmt: skip
    assert not listing.multi_label


def test_several_labels(tmp_path: Path) -> None:
    """Separated by a bar; then a photo may have none as well."""
    listing = read_listing(table(tmp_path, "path,label\n1.jpg,cat|dog|cat\n2.jpg,\n3.jpg, dog \n"))
    assert [photo.labels for photo in listing.photos] == [("cat", "dog"), (), ("dog",)]
    assert listing.multi_label


def test_rows_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """No label, no path, listed twice; two labels for one path stay, for the check to tell."""
    rows = "1.jpg,cat\n1.jpg,cat\n2.jpg,\n,dog\n3.jpg,dog\n3.jpg,cat\n"
    listing = read_listing(table(tmp_path, "path,label\n" + rows))
    assert [(photo.path, photo.label) for photo in listing.photos] == [
        ("1.jpg", "cat"), ("3.jpg", "dog"), ("3.jpg", "cat"),
    ]  # fmt: skip
    assert [item.reason for item in listing.left_out] == [
        "is listed twice", "has no label", "has no usable path",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'label'"),
        ("path;label\n1.jpg;cat\n", "no column 'label'"),
        ("path,label\n1.jpg,cat\n", "1 label"),
        ("path,label,split\n1.jpg,cat,tset\n2.jpg,dog,\n", "unknown split 'tset'"),
        ('path,label\n1.jpg,"cat\n', "no CSV table"),
    ],
)
def test_manifests_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """With what is wrong and what to do."""
    with pytest.raises(DataError, match=message) as caught:
        read_listing(table(tmp_path, text))
    assert caught.value.hint or "CSV table" in message


def test_a_manifest_in_another_encoding(tmp_path: Path) -> None:
    """Is refused instead of read with wrong letters."""
    (tmp_path / "p.csv").write_bytes("path,label\nä.jpg,Käfer\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        read_listing(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("paths", "message"),
    [((), "0 class folder"), (("a/0.jpg",), "1 class folder"), (("a|b/0.jpg", "c/0.jpg"), "a|b")],
)
def test_folders_that_are_refused(tmp_path: Path, paths: tuple[str, ...], message: str) -> None:
    """One class cannot be told from another; a bar in a name would separate labels."""
    with pytest.raises(DataError, match=message):
        read_listing(touch(tmp_path, *paths))


def test_nothing_there(tmp_path: Path) -> None:
    """Says so."""
    with pytest.raises(DataError, match="no folder"):
        read_listing(tmp_path / "none")


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
WORDS = st.text(st.characters(exclude_characters="|\0", exclude_categories=["Cs"])).map(str.strip)


@given(st.lists(st.tuples(NAMES, WORDS, WORDS), unique_by=lambda row: row[0], max_size=5))
@settings(deadline=None)  # a busy machine takes longer
def test_manifests_read_back(tmp_path_factory: pytest.TempPathFactory, rows) -> None:  # type: ignore[no-untyped-def]
    """Commas, quotes and line breaks in names, labels and groups survive writing and reading."""
    photos = [Photo(f"d/{n}x", (label or "none",), group=g, split="test") for n, label, g in rows]
    photos += [Photo("y.jpg", ("one",)), Photo("z.jpg", ("two",))]
    file = tmp_path_factory.mktemp("m") / "m.csv"
    file.write_bytes(manifest_csv(photos).encode())
    assert list(read_listing(file).photos) == photos
