"""One read of a photo: what it is, how it looks, what is wrong; whatever the bytes are."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightpost_edge.pixels import read_photo
from sightpost_train.facts import THUMBNAIL_PX, examine, in_parallel, read
from sightpost_train.headers import read_header

from .ugly_corpus import encoded, exif, jpeg_with_exif, scene, with_pillow


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_good_photo(tmp_path: Path) -> None:
    """Digest, size and looks, and the very pixels that the device's decoder gives."""
    path = saved(tmp_path / "a.png", encoded(".png", scene(1)))
    facts, picture = read(path)
    assert picture is not None
    assert np.array_equal(picture, read_photo(path))
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (facts.format, facts.width, facts.height) == ("png", 200, 150)
    assert (facts.thumbnail.shape, facts.thumbnail.dtype) == ((THUMBNAIL_PX,) * 2, np.uint8)
    assert not facts.problem
    assert not facts.warnings
    assert examine(path) == facts


def test_camera_time_and_rotation(tmp_path: Path) -> None:
    """EXIF gives camera and time; width and height are those of the upright picture."""
    tiff = exif(taken="2026:05:01 12:30:00", model="TrailCam 3", orientation=6)
    facts = examine(saved(tmp_path / "a.jpg", jpeg_with_exif(scene(1), tiff)))
    assert (facts.camera, facts.exif_time) == ("TrailCam 3", "2026:05:01 12:30:00")
    assert (facts.width, facts.height) == (150, 200)
    assert [remark.kind for remark in facts.warnings] == ["rotation"]


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_exif_of_every_format(form: str) -> None:
    """PNG chunks, WebP chunks and TIFF directories carry the same record."""
    from PIL import Image

    tags = Image.Exif()
    tags[0x010F], tags[0x0110], tags[0x0132] = "Maker", "Model", "2026:01:02 03:04:05"
    header = read_header(with_pillow(scene(1), form, exif=tags))
    assert (header.camera, header.exif_time) == ("Maker Model", "2026:01:02 03:04:05")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".ppm", ".gif"])
def test_the_header_knows_the_size(suffix: str) -> None:
    """Before decoding, because it decides how many are decoded at once."""
    header = read_header(encoded(suffix, scene(1, width=123, height=77)))
    assert (header.width, header.height) == (123, 77)
    assert not header.short


def test_looks(tmp_path: Path) -> None:
    """Brightness, contrast and sharpness order pictures as people do."""
    sharp = scene(2)
    blurred = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 6), np.uint8)
    dark = (sharp // 8).astype(np.uint8)
    first, second, third = (
        examine(saved(tmp_path / "a.png", encoded(".png", picture)))
        for picture in (sharp, blurred, dark)
    )
    assert second.sharpness < first.sharpness / 100
    assert third.brightness < first.brightness / 4
    assert third.contrast < first.contrast / 4


def test_hashes_stay_near_under_resizing_and_encoding(tmp_path: Path) -> None:
    """At most 8 of 64 bits; another picture is far."""
    first = examine(saved(tmp_path / "a.png", encoded(".png", scene(3)))).perceptual_hash
    small = cv2.resize(scene(3), (90, 68), interpolation=cv2.INTER_AREA)
    content = encoded(".jpg", small, cv2.IMWRITE_JPEG_QUALITY, 50)
    second = examine(saved(tmp_path / "b.jpg", content)).perceptual_hash
    other = examine(saved(tmp_path / "c.png", encoded(".png", scene(4)))).perceptual_hash
    assert bin(first ^ second).count("1") <= 8
    assert bin(first ^ other).count("1") >= 16


def test_a_grey_border_is_no_damage(tmp_path: Path) -> None:
    """Letterbox bars lie on both sides, lost JPEG data on one."""
    picture = np.full((160, 200, 3), 128, np.uint8)
    picture[32:128] = scene(5, width=200, height=96)
    assert not examine(saved(tmp_path / "a.jpg", encoded(".jpg", picture))).warnings
    picture[:32] = scene(6, width=200, height=32)
    [remark] = examine(saved(tmp_path / "b.jpg", encoded(".jpg", picture))).warnings
    assert remark.kind == "damaged"


def test_missing_and_odd_files(tmp_path: Path) -> None:
    """No file, a folder, a name with a zero byte: a problem each, never an exception."""
    for path in (tmp_path / "none.jpg", tmp_path, tmp_path / "a\0b.jpg"):
        facts, picture = read(path)
        assert picture is None
        assert facts.problem


SMALL = scene(1, width=40, height=30)
SUFFIXES = (".jpg", ".png", ".webp", ".bmp", ".tif", ".gif", ".ppm")
GOOD = [encoded(suffix, SMALL) for suffix in SUFFIXES]
GOOD.append(jpeg_with_exif(SMALL, exif(taken="2026", orientation=3)))


@given(st.sampled_from(GOOD), st.integers(0, 3000), st.binary(max_size=40), st.integers(0, 3000))
@settings(deadline=None)  # a busy machine takes longer
def test_mutated_files_never_raise(
    tmp_path_factory: pytest.TempPathFactory, good: bytes, at: int, patch: bytes, keep: int
) -> None:
    """Whatever is overwritten or cut off: either pixels or a problem that is one sentence."""
    content = good[: at % len(good)] + patch + good[at % len(good) + len(patch) :]
    content = content[: max(keep, 1)]
    path = saved(tmp_path_factory.getbasetemp() / "mutant.jpg", content)
    facts, picture = read(path)
    assert (picture is None) == bool(facts.problem)
    assert "\n" not in facts.problem


def test_results_come_in_order_and_errors_come_through() -> None:
    """An exception in a thread reaches the caller, and what was not begun is not done."""
    assert list(in_parallel(lambda x: x * x, range(50), what="x")) == [x * x for x in range(50)]
    begun: list[int] = []

    def fail_first(item: int) -> None:
        begun.append(item)
        hashlib.sha256(bytes(1 << 20))  # about a millisecond, as a small photo takes
        if item == 0:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(in_parallel(fail_first, range(2000), what="x"))
    assert len(begun) < 2000
