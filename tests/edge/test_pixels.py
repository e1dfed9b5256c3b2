"""Pixels: one crop, one resize, one decoder, pinned to the byte."""

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sightpost_edge import pixels
from sightpost_edge.errors import PhotoUnreadable
from sightpost_edge.pixels import Geometry, _shrink, decode, fit, read_photo
from sightpost_edge.records import Pixels

SQUARE = Geometry(48, 48)


def scene(width: int, height: int) -> Pixels:
    """A picture with gradients and edges in all channels, the same on every machine."""
    y, x = np.mgrid[0:height, 0:width]
    red = (x * 255 // width).astype(np.uint8)
    green = (y * 255 // height).astype(np.uint8)
    blue = (((x // 7) + (y // 5)) % 2 * 200).astype(np.uint8)
    return np.dstack([red, green, blue])


def difference(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize(
    ("width", "height", "digest"),
    [
        (160, 120, "773b4a9a5a56f020"),
        (120, 161, "218127d218a29aa5"),
        (640, 480, "59a102f8da81ee83"),
        (30, 40, "b27eb63803a496ca"),
        (48, 48, "0a0f83dfeec01bba"),
    ],
)
def test_fit_gives_the_same_bytes_for_ever(width: int, height: int, digest: str) -> None:
    """Training and device agree only as long as these digests stay as they are."""
    fitted = fit(scene(width, height), SQUARE)
    assert fitted.shape == (48, 48, 3)
    assert fitted.dtype == np.uint8
    assert hashlib.sha256(fitted.tobytes()).hexdigest()[:16] == digest


def test_decode_gives_the_same_bytes_for_ever() -> None:
    """A JPEG kept beside the tests decodes to the same pixels: another decoder would not."""
    jpeg = (Path(__file__).parent.parent / "golden" / "scene.jpg").read_bytes()
    assert hashlib.sha256(decode(jpeg).tobytes()).hexdigest()[:16] == "6a1558943f938590"


def test_bgr_in_gives_the_same_rgb_out() -> None:
    """A camera's B,G,R frame and its R,G,B twin fit to identical bytes."""
    picture = scene(160, 120)
    assert np.array_equal(fit(picture[..., ::-1], SQUARE, order="bgr"), fit(picture, SQUARE))


def test_swapped_channels_are_far_away() -> None:
    """Giving B,G,R as R,G,B is no rounding error: the golden frames would refuse it."""
    picture = scene(160, 120)
    assert difference(fit(picture[..., ::-1], SQUARE), fit(picture, SQUARE)) > 18


def test_squashing_is_far_away() -> None:
    """The centre is cut out; squashing the whole width in differs by tens of grey levels."""
    picture = scene(160, 90)
    squashed = cv2.resize(picture, (48, 48), interpolation=cv2.INTER_AREA)
    assert difference(squashed, fit(picture, SQUARE)) > 10


def test_crop_fraction_cuts_closer() -> None:
    """0.5 of a 96-pixel square is exactly its inner 48 pixels."""
    picture = scene(96, 96)
    assert np.array_equal(fit(picture, Geometry(48, 48, crop_fraction=0.5)), picture[24:72, 24:72])


def test_a_narrow_input_gets_a_narrow_crop() -> None:
    """The crop has the input's shape, not a square's."""
    fitted = fit(scene(100, 100), Geometry(width=20, height=50))
    assert np.array_equal(fitted, fit(scene(100, 100)[:, 30:70], Geometry(width=20, height=50)))


def encoded(picture: np.ndarray, suffix: str = ".png") -> bytes:
    return bytes(cv2.imencode(suffix, picture)[1])


def test_grey_alpha_and_sixteen_bits_become_rgb() -> None:
    """Whatever depth and channels a photo has, it arrives as (h, w, 3) uint8."""
    grey = scene(40, 30)[..., 0]
    assert np.array_equal(decode(encoded(grey)), np.dstack([grey] * 3))
    alpha = np.dstack([scene(40, 30)[..., ::-1], np.full((30, 40), 9, np.uint8)])
    assert np.array_equal(decode(encoded(alpha)), scene(40, 30))
    deep = scene(40, 30)[..., ::-1].astype(np.uint16) * 257
    assert difference(decode(encoded(deep)), scene(40, 30)) <= 1


def test_cmyk_photos_keep_their_colour() -> None:
    """A CMYK JPEG from a print shop decodes to about the colours it shows."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow writes the CMYK file")
    import io

    red = pillow.new("CMYK", (32, 32), (0, 255, 255, 0))
    buffer = io.BytesIO()
    red.save(buffer, "JPEG", quality=95)
    mean = decode(buffer.getvalue()).mean(axis=(0, 1))
    assert mean[0] > 180
    assert mean[1] < 90
    assert mean[2] < 90


def test_exif_rotation_is_applied() -> None:
    """A phone held upright writes a lying picture and a note; both together are upright."""
    jpeg = encoded(scene(64, 48)[..., ::-1], ".jpg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    turned = decode(jpeg[:2] + segment + jpeg[2:])
    assert np.array_equal(turned, np.rot90(decode(jpeg), -1))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_photos_are_refused(suffix: str) -> None:
    """OpenCV would fill the missing half with grey and call it a success."""
    whole = encoded(scene(200, 150), suffix)
    with pytest.raises(PhotoUnreadable, match="truncated"):
        decode(whole[: len(whole) // 2])


def test_a_phones_motion_photo_is_not_truncated() -> None:
    """Phones append a video behind the JPEG's end mark."""
    jpeg = encoded(scene(64, 48), ".jpg")
    assert np.array_equal(decode(jpeg + b"\0ftypmp42" * 2000), decode(jpeg))


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"hello", "not a picture")])
def test_other_bytes_are_refused_by_name(content: bytes, reason: str, tmp_path: Path) -> None:
    """The message names the file and why."""
    path = tmp_path / "IMG_7.jpg"
    path.write_bytes(content)
    with pytest.raises(PhotoUnreadable, match=f"IMG_7.jpg.*{reason}"):
        read_photo(path)


def test_a_decompression_bomb_is_refused_before_decoding() -> None:
    """The header's size is enough to say no."""
    bomb = bytearray(encoded(scene(8, 8)))
    bomb[16:24] = (60000).to_bytes(4, "big") * 2
    with pytest.raises(PhotoUnreadable, match="too large"):
        decode(bytes(bomb))


SIDES = st.integers(1, 400)


@settings(deadline=None, max_examples=150)
@given(SIDES, SIDES, st.integers(1, 200), st.integers(1, 200), st.integers(0, 2**32 - 1))
@example(160, 159, 160, 160, 0)
@example(159, 160, 120, 161, 0)
@example(301, 159, 160, 160, 0)
def test_area_averaging_is_opencvs_own(
    width: int, height: int, to_width: int, to_height: int, seed: int
) -> None:
    """The quicker way by floats gives the same bytes: the training's pixels are the device's."""
    # Rounding may leave a cut one pixel short of the input.
    to_width, to_height = min(width + 1, to_width), min(height + 1, to_height)
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    for picture in (noise, (noise > 127).astype(np.uint8) * 255):
        plain = cv2.resize(picture, (to_width, to_height), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(_shrink(picture, (to_width, to_height)), plain)


def test_a_large_photo_is_not_turned_into_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 megapixels would take 1.2 GB; the bytes are the same."""
    picture = np.random.default_rng(3).integers(0, 256, (199, 301, 3)).astype(np.uint8)
    expected = _shrink(picture, (100, 70))
    kinds = []
    real = cv2.resize

    def resize(image: Pixels, *arguments: Any, **named: Any) -> Any:
        kinds.append(image.dtype)
        return real(image, *arguments, **named)

    monkeypatch.setattr(pixels.cv2, "resize", resize)
    monkeypatch.setattr(pixels, "FLOAT_PIXELS", 199 * 301 - 1)
    np.testing.assert_array_equal(_shrink(picture, (100, 70)), expected)
    assert kinds == [np.uint8]
