"""Pictures as cameras give them: decoded late, small where that is allowed, colours unchanged."""

import contextlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from sightpost_edge.errors import ConfigError, PhotoUnreadable
from sightpost_edge.image import Image, JpegImage, RawImage, YuvImage, as_jpeg, jpeg_size
from sightpost_edge.pixels import Geometry, Region, fit_image, reduction_for
from sightpost_edge.records import Pixels

WIDTH, HEIGHT = 640, 360


def scene() -> Pixels:
    """Red on the left, blue on the right, a bright disc in the middle; R,G,B."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, : WIDTH // 2, 0] = 200
    picture[:, WIDTH // 2 :, 2] = 200
    cv2.circle(picture, (WIDTH // 2, HEIGHT // 2), 80, (240, 240, 240), -1)
    return picture


def jpeg(picture: Pixels) -> bytes:
    return bytes(cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def yuv(picture: Pixels, padding: int = 0) -> YuvImage:
    planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
    if not padding:
        return YuvImage(planes, "I420", WIDTH)
    y = np.pad(planes[:HEIGHT], ((0, 0), (0, padding)))
    chroma = planes[HEIGHT:].reshape(2 * HEIGHT // 2, WIDTH // 2)
    chroma = np.pad(chroma, ((0, 0), (0, padding // 2))).reshape(HEIGHT // 2, WIDTH + padding)
    return YuvImage(np.vstack([y, chroma]), "I420", WIDTH)


def nv12(picture: Pixels) -> YuvImage:
    planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
    u, v = planes[HEIGHT:].reshape(2, -1)
    return YuvImage(
        np.vstack([planes[:HEIGHT], np.stack([u, v], 1).reshape(-1, WIDTH)]), "NV12", WIDTH
    )


MAKERS: dict[str, Callable[[Pixels], Image]] = {
    "rgb": lambda p: RawImage(p, "rgb"),
    "bgr": lambda p: RawImage(np.ascontiguousarray(p[..., ::-1]), "bgr"),
    "yuv": yuv,
    "padded": lambda p: yuv(p, padding=64),
    "nv12": nv12,
    "jpeg": lambda p: JpegImage(jpeg(p)),
}


@pytest.fixture(params=list(MAKERS))
def image(request: pytest.FixtureRequest) -> Image:
    return MAKERS[request.param](scene())


def test_the_same_scene_from_every_kind(image: Image) -> None:
    """Size, colours and the channel order said to be theirs."""
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    pixels = image.decode()
    rgb = pixels if image.order == "rgb" else pixels[..., ::-1]
    assert np.abs(rgb[10, 20].astype(int) - (200, 0, 0)).max() < 12
    assert np.abs(rgb[-10, -20].astype(int) - (0, 0, 200)).max() < 12


def test_the_small_grey_picture(image: Image) -> None:
    """80 to 160 wide, bright in the middle, whether something was decoded before or not."""
    before = image.luma()
    image.decode()
    after = image.luma()
    for luma in (before, after):
        assert luma.dtype == np.uint8
        assert 80 <= luma.shape[1] <= 160
        assert luma.shape[1] / luma.shape[0] == pytest.approx(WIDTH / HEIGHT, rel=0.02)
        middle = luma[luma.shape[0] // 2, luma.shape[1] // 2]
        assert middle > 200
        assert luma[2, 2] < 100


def test_what_is_forgotten_can_be_made_again(image: Image) -> None:
    """After ``forget`` the same pixels come out."""
    before = image.decode().copy()
    image.forget()
    np.testing.assert_array_equal(image.decode(), before)


@pytest.mark.parametrize("kind", MAKERS)
def test_checksums_tell_frames_apart(kind: str) -> None:
    """Equal for the same picture again, different after the noise of a sensor."""
    noisy = np.clip(
        scene() + np.random.default_rng(1).normal(0, 3, (HEIGHT, WIDTH, 3)), 0, 255
    ).astype(np.uint8)
    again = MAKERS[kind](scene()).checksum()
    assert MAKERS[kind](scene()).checksum() == again
    assert MAKERS[kind](noisy).checksum() != again


def test_a_jpeg_is_decoded_at_half_size() -> None:
    """(180, 320), close to the full picture averaged."""
    small = JpegImage(jpeg(scene())).decode(2)
    assert small.shape == (HEIGHT // 2, WIDTH // 2, 3)
    full = cv2.resize(scene()[..., ::-1], (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - full).mean() < 2


def test_a_snapshot_of_a_jpeg_is_the_jpeg() -> None:
    """Not decoded and encoded again."""
    encoded = jpeg(scene())
    assert as_jpeg(JpegImage(encoded)) == encoded
    assert jpeg_size(as_jpeg(RawImage(scene(), "rgb"))) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda b: b"", "not a JPEG"),
        (lambda b: b"GIF89a" + b, "not a JPEG"),
        (lambda b: b[: len(b) // 2], "truncated"),
        (lambda b: b"\xff\xd8\xff\xd9", "without a size"),
    ],
)
def test_damaged_jpegs_are_refused_before_decoding(
    damage: Callable[[bytes], bytes], says: str
) -> None:
    """OpenCV would fill half a picture with grey and call it a success."""
    with pytest.raises(PhotoUnreadable, match=says):
        JpegImage(damage(jpeg(scene())))


def test_a_jpeg_with_a_ruined_middle_is_unreadable_or_a_picture() -> None:
    """Never a crash; the header alone is no promise."""
    encoded = bytearray(jpeg(scene()))
    encoded[200:600] = bytes(400)
    with contextlib.suppress(PhotoUnreadable):
        assert JpegImage(bytes(encoded)).decode().shape[2] == 3


@pytest.mark.parametrize(
    ("size", "region", "allowed", "expected"),
    [
        ((1280, 720), Region(), {2, 4}, 2),
        ((1920, 1080), Region(), {2, 4}, 4),
        ((1280, 720), Region(), set(), 1),
        ((640, 360), Region(), {2}, 1),
        ((1280, 720), Region("gate", 0.5, 0.5, 0.4, 0.4), {2}, 1),
        ((448, 448), Region(), {2}, 2),
    ],
)
def test_reduced_decoding_leaves_the_model_its_pixels(
    size: tuple[int, int], region: Region, allowed: set[int], expected: int
) -> None:
    """A region of a fifth of 720p has no pixels to spare for a 224 px model."""
    image = JpegImage(jpeg(np.zeros((size[1], size[0], 3), np.uint8)))
    geometry = Geometry(224, 224)
    found = reduction_for(image, geometry, region=region, allowed=frozenset(allowed))
    assert found == expected


def test_a_region_is_what_the_model_sees() -> None:
    """The right half of the scene is blue."""
    geometry = Geometry(32, 32)
    right = fit_image(RawImage(scene(), "rgb"), geometry, region=Region("right", 0.75, 0, 0.25, 1))
    assert right[..., 2].mean() > 190
    assert right[..., 0].mean() < 10


@pytest.mark.parametrize(
    "bad", [{"x": -0.1}, {"width": 0.0}, {"x": 0.5, "width": 0.6}, {"height": float("nan")}]
)
def test_regions_lie_within_the_picture(bad: dict[str, float]) -> None:
    """Said when the config is read, by name."""
    with pytest.raises(ConfigError, match="door"):
        Region("door", **bad)
