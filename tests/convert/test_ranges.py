"""Ranges for int8 hold what calibration showed, or as much of it as a method keeps."""

import numpy as np
import pytest

from sightpost_convert.graph import complete
from sightpost_convert.quantizer import wanted_tensors
from sightpost_convert.ranges import images, interpreter, measure, values
from sightpost_edge.errors import ConversionRefused
from sightpost_edge.testing import TINY_LABELS

from . import planted
from .courtroom import photos_of

pytestmark = pytest.mark.workshop

PHOTOS = photos_of(*[[label] for label in TINY_LABELS * 4]).pixels
SAMPLES = images(PHOTOS, mean=127.5, std=127.5)


@pytest.mark.parametrize(("mean", "std"), [(127.5, 127.5), (0.0, 255.0), (100.0, 50.0)])
def test_images_hold_both_ends(mean: float, std: float) -> None:
    """Every image has the darkest and the lightest level; the rest is the photo, scaled."""
    grey = np.full((2, 4, 5, 3), 100, np.uint8)
    found = images(grey, mean=mean, std=std)
    assert len(found) == 2
    for image in found:
        assert image.shape == (1, 4, 5, 3)
        assert image.dtype == np.float32
        assert image.min() == np.float32((0 - mean) / std)
        assert image.max() == np.float32((255 - mean) / std)
        assert (image == np.float32((100 - mean) / std)).sum() == 3 * (4 * 5 - 2)
    assert (grey == 100).all()


def test_no_photos_are_refused() -> None:
    with pytest.raises(ConversionRefused, match="no calibration photos"):
        images(np.zeros((0, 4, 4, 3), np.uint8), mean=127.5, std=127.5)


def test_min_and_max_are_those_of_all_samples() -> None:
    """Each tensor's least and greatest value, zero always among them."""
    model = planted.cnn()
    wanted = wanted_tensors(model)
    seen = list(values(model, SAMPLES, wanted))
    assert len(seen) == len(SAMPLES)
    ranges = measure(model, SAMPLES, wanted, "min/max")
    for name in wanted:
        low = min(0.0, *(float(found[name].min()) for found in seen))
        high = max(0.0, *(float(found[name].max()) for found in seen))
        assert ranges[name] == (low, high)
    assert ranges["net/conv/out"][0] == 0.0  # behind a ReLU


def reach(method: str, outlier: float) -> tuple[float, float]:
    """The range of a tensor of normal values in which one is an outlier."""
    draw = np.random.default_rng(0).normal(0, 1, (100, 1, planted.PX, planted.PX, 3))
    samples = list(draw.astype(np.float32))
    samples[7][0, 3, 3, 1] = outlier
    return measure(planted.healthy(), samples, {"image": 0}, method)["image"]


def test_a_percentile_cuts_off_a_single_outlier() -> None:
    """One value in 76,800 is not worth the resolution of the others."""
    assert reach("min/max", 50.0)[1] == 50.0
    low, high = reach("percentile", 50.0)
    assert 2.5 < high < 4.5
    assert -4.5 < low < -2.5


def test_least_error_is_between_nothing_and_everything() -> None:
    """Some of a long tail is cut off, more than min/max does and less than would do harm."""
    low, high = reach("mse", 12.0)
    assert 12 * 0.3 <= high < 12.0
    assert low < 0


@pytest.mark.parametrize("method", ["percentile", "mse"])
def test_without_outliers_little_is_cut(method: str) -> None:
    """Evenly spread values lose next to nothing at their ends."""
    draw = np.random.default_rng(0).uniform(-1, 1, (50, 1, planted.PX, planted.PX, 3))
    samples = [np.asarray(one, np.float32) for one in draw]
    low, high = measure(planted.healthy(), samples, {"image": 0}, method)["image"]
    assert low == pytest.approx(-1, abs=0.03)
    assert high == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("method", ["min/max", "percentile", "mse"])
def test_a_tensor_that_is_always_zero(method: str) -> None:
    """No range, no error."""
    zeros = [np.zeros((1, planted.PX, planted.PX, 3), np.float32)] * 3
    low, high = measure(planted.healthy(), zeros, {"image": 0}, method)["image"]
    assert low == 0.0
    assert 0.0 <= high <= 0.01


def test_what_lies_between_layers_can_be_seen() -> None:
    """Not only the outputs: tensors are kept that the interpreter would reuse."""
    model = complete(planted.healthy())
    network = interpreter(model, every_tensor=True)
    network.set_tensor(network.get_input_details()[0]["index"], SAMPLES[0])
    network.invoke()
    mean = network.get_tensor(wanted_tensors(model)["mean"])
    np.testing.assert_allclose(mean[0], SAMPLES[0].mean(axis=(0, 1, 2)), atol=1e-5)
