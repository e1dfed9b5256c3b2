"""Random views: still photos of the same thing, drawn anew each time, and the same by seed."""

import numpy as np
import pytest

from sightpost_train.augment import VIEWS, RandomView, Views, examples

pytestmark = pytest.mark.workshop


def photo(*, height: int = 32, width: int = 40) -> np.ndarray:
    """A smooth picture that looks different from every side."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 6, columns * 5, (rows + columns) * 2], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("augment", VIEWS)
def test_views_keep_shape_type_and_most_of_the_light(augment: str) -> None:
    """A view is still a photo of the same thing."""
    photos = np.stack([photo()] * 24)
    seen = examples(photos, augment, seed=1)
    assert seen.shape == photos.shape
    assert seen.dtype == np.uint8
    assert np.abs(seen.mean(axis=(1, 2, 3)) - photos[0].mean()).max() < 60
    assert (augment == "none") == np.array_equal(seen, photos)


def test_flips_are_exact() -> None:
    """Mirroring moves pixels and changes none: each view is one of four."""
    original = photo()
    four = {original[a, b].tobytes() for a in FLIP for b in FLIP}
    seen = {view.tobytes() for view in examples(np.stack([original] * 60), "flips", seed=2)}
    assert seen == four


FLIP = (slice(None), slice(None, None, -1))


def test_the_same_seed_gives_the_same_views() -> None:
    """And another seed others."""
    photos = np.stack([photo()] * 4)
    first = examples(photos, "strong", seed=3)
    assert np.array_equal(first, examples(photos, "strong", seed=3))
    assert not np.array_equal(first, examples(photos, "strong", seed=4))


def test_photos_of_a_batch_get_views_of_their_own() -> None:
    """Not one draw for all."""
    seen = examples(np.stack([photo()] * 8), "gentle", seed=5)
    assert len({view.tobytes() for view in seen}) == 8


def test_nothing_happens_outside_training() -> None:
    """Validation sees the photo itself."""
    layer = RandomView(VIEWS["strong"], low=-1, high=1, seed=1)
    given = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    assert np.array_equal(np.asarray(layer(given, training=False)), given)


def test_zoom_is_about_the_centre() -> None:
    """A view of half the photo shows its middle, twice as large."""
    layer = RandomView(Views(zoom=(0.5, 0.5)), low=0, high=255, seed=1)
    picture = np.zeros((1, 64, 64, 3), np.float32)
    picture[0, 24:40, 24:40] = 200
    seen = np.asarray(layer(picture, training=True))[0, ..., 0]
    assert (seen[17:47, 17:47] > 190).all()
    assert seen[:15].max() < 10


def test_turning_keeps_the_sign() -> None:
    """A mark on the right goes up or down by the tangent of the angle, no further."""
    layer = RandomView(Views(turn_deg=10), low=0, high=255, seed=4)
    picture = np.zeros((40, 65, 65, 3), np.float32)
    picture[:, 31:34, 56:59] = 255
    seen = np.asarray(layer(picture, training=True))[..., 0]
    rows = np.array([view.sum(axis=1).argmax() for view in seen])
    assert np.ptp(rows) >= 5
    assert (np.abs(rows - 32) <= 1 + 26 * np.tan(np.deg2rad(10))).all()
