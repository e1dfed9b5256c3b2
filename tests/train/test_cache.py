"""The cache of decoded photos: decoded once, re-read when edited, whole after any kill."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightpost_edge.errors import DiskFull, StoreError
from sightpost_edge.pixels import Geometry, fit, read_photo
from sightpost_edge.testing import colour
from sightpost_train import cache
from sightpost_train.cache import Cached, read_cached
from sightpost_train.listing import read_listing

from ..workshop import colour_photos

pytestmark = pytest.mark.workshop

SMALL = Geometry(16, 16)


def read(photos: Path, folder: Path, geometry: Geometry = SMALL) -> Cached:
    listing = read_listing(photos)
    return read_cached(listing.root, listing.photos, geometry, folder=folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return colour_photos(tmp_path / "photos", per_class=4)


def test_pixels_are_the_devices_own(photos: Path, tmp_path: Path) -> None:
    """Photo i of the stack is what pixels.fit makes of it: no skew between training and device."""
    cached = read(photos, tmp_path / "c")
    for index in (0, 5, 11):
        path = photos / cached.photos[index].path
        assert np.array_equal(cached.stack[index], fit(read_photo(path), SMALL))


def test_a_second_reading_decodes_nothing(photos: Path, tmp_path: Path) -> None:
    """The same pixels, from the file."""
    first, second = read(photos, tmp_path / "c"), read(photos, tmp_path / "c")
    assert (first.decoded, second.decoded) == (12, 0)
    assert np.array_equal(first.stack[np.arange(12)], second.stack[np.arange(12)])
    assert (first.photos, first.hashes) == (second.photos, second.hashes)
    assert np.array_equal(first.thumbnails, second.thumbnails)


def test_an_edited_photo_is_read_again(photos: Path, tmp_path: Path) -> None:
    """Only that one; its old pixels are not used."""
    read(photos, tmp_path / "c")
    cv2.imwrite(str(photos / "red" / "001.png"), colour("blue", width=33)[..., ::-1])
    again = read(photos, tmp_path / "c")
    index = [photo.path for photo in again.photos].index("red/001.png")
    assert again.decoded == 1
    assert np.array_equal(again.stack[index], fit(read_photo(photos / "red" / "001.png"), SMALL))


def test_a_renamed_folder_finds_its_pixels(photos: Path, tmp_path: Path) -> None:
    """Pixels are found by content: nothing is stored twice."""
    read(photos, tmp_path / "c")
    size = next((tmp_path / "c").rglob("pixels.u8")).stat().st_size
    photos.rename(tmp_path / "moved")
    moved = read(tmp_path / "moved", tmp_path / "c")
    assert next((tmp_path / "c").rglob("pixels.u8")).stat().st_size == size
    path = tmp_path / "moved" / moved.photos[3].path
    assert np.array_equal(moved.stack[3], fit(read_photo(path), SMALL))


def test_geometries_do_not_mix(photos: Path, tmp_path: Path) -> None:
    """Another input size is another file."""
    read(photos, tmp_path / "c")
    assert read(photos, tmp_path / "c", Geometry(8, 8)).stack.shape == (12, 8, 8, 3)


def test_unreadable_photos_are_named_each_time(photos: Path, tmp_path: Path) -> None:
    """Also when the cache knows them already; the others keep their order."""
    (photos / "red" / "000.png").write_bytes(b"")
    for _ in range(2):
        cached = read(photos, tmp_path / "c")
        assert [item.path for item in cached.left_out] == ["red/000.png"]
        assert len(cached.stack) == 11
        assert "red/000.png" not in {photo.path for photo in cached.photos}


def test_a_photo_that_vanishes_is_left_out(photos: Path, tmp_path: Path) -> None:
    """Deleted between listing and reading."""
    listing = read_listing(photos)
    (photos / "red" / "002.png").unlink()
    cached = read_cached(listing.root, listing.photos, SMALL, folder=tmp_path / "c")
    assert [item.path for item in cached.left_out] == ["red/002.png"]


@pytest.mark.parametrize("damage", ["pixels gone", "pixels short", "index damaged"])
def test_a_damaged_cache_is_made_anew(photos: Path, tmp_path: Path, damage: str) -> None:
    """Everything in it can be read again, so it is."""
    read(photos, tmp_path / "c")
    pixels = next((tmp_path / "c").rglob("pixels.u8"))
    if damage == "pixels gone":
        pixels.unlink()
    elif damage == "pixels short":
        os.truncate(pixels, 100)
    else:
        (pixels.parent / "index.db").write_bytes(b"no database" * 100)
    again = read(photos, tmp_path / "c")
    assert again.decoded == 12
    assert np.array_equal(again.stack[7], fit(read_photo(photos / again.photos[7].path), SMALL))


KILLED = """
import os, signal, sys
from pathlib import Path
from sightpost_train import cache
from sightpost_train.listing import read_listing
from sightpost_edge.pixels import Geometry

cache.BLOCK = 2
commits = 0
real = cache._Store._commit
def commit(self, placed):
    global commits
    commits += 1
    if commits == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, placed)
cache._Store._commit = commit
listing = read_listing(Path(sys.argv[1]))
cache.read_cached(listing.root, listing.photos, Geometry(16, 16), folder=Path(sys.argv[2]))
"""


def test_a_killed_reader_leaves_a_whole_cache(photos: Path, tmp_path: Path) -> None:
    """Killed between writing pixels and committing them: what was committed is right and kept."""
    words = [sys.executable, "-c", KILLED, str(photos), str(tmp_path / "c")]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    with sqlite3.connect(next((tmp_path / "c").rglob("index.db"))) as database:
        assert database.execute("SELECT COUNT(*) FROM photos").fetchone() == (4,)
    again = read(photos, tmp_path / "c")
    assert again.decoded == 8
    for index, photo in enumerate(again.photos):
        assert np.array_equal(again.stack[index], fit(read_photo(photos / photo.path), SMALL))


def test_a_full_disk_is_foreseen(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first photo is decoded, with how much is missing and what helps."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(DiskFull, match="12 decoded photos") as caught:
        read(photos, tmp_path / "c")
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_a_busy_index_is_not_thrown_away(photos: Path, tmp_path: Path) -> None:
    """Locked is not damaged: an error with advice, and everything still there afterwards."""
    read(photos, tmp_path / "c")
    index = next((tmp_path / "c").rglob("index.db"))
    with sqlite3.connect(index, timeout=0) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cache.sqlite3, "connect", impatient(sqlite3.connect))
            with pytest.raises(StoreError, match="cannot be used"):
                read(photos, tmp_path / "c")
    assert read(photos, tmp_path / "c").decoded == 0


def impatient(connect: Callable[..., sqlite3.Connection]) -> Callable[[Path], sqlite3.Connection]:
    return lambda path: connect(path, timeout=0)


def test_a_folder_that_cannot_be_made(photos: Path, tmp_path: Path) -> None:
    """The hint names the variable that moves the cache."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError) as caught:
        read(photos, tmp_path / "file" / "c")
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_folder_names_of_any_bytes(photos: Path, tmp_path: Path) -> None:
    """An old disk's Latin-1 is no reason to fail."""
    odd = tmp_path / os.fsdecode(b"f\xfcr")
    photos.rename(odd)
    assert read(odd, tmp_path / "c").decoded == 12
    assert read(odd, tmp_path / "c").decoded == 0


def test_parts_of_a_stack(photos: Path, tmp_path: Path) -> None:
    """A part is a view of the file, not a copy of pixels."""
    stack = read(photos, tmp_path / "c").stack
    part = stack.part([3, 1])
    assert len(part) == 2
    assert part.file is stack.file
    assert np.array_equal(part[np.array([0, 1])], stack[np.array([3, 1])])
    assert replace(part, rows=part.rows[:1]).shape == (1, 16, 16, 3)
