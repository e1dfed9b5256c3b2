"""Class activation maps are what Grad-CAM gives, and fit every model this package makes."""

from typing import Any

import numpy as np
import pytest

from sightpost_edge.errors import ModelError
from sightpost_train.attention import class_maps
from sightpost_train.model import OUTPUT, build
from sightpost_train.recipe import TrainRecipe

pytestmark = pytest.mark.workshop

PX = 64


def classifier(*, greyscale: bool = False, backbone: str = "mobilenet_v2") -> Any:
    """Three classes on random weights."""
    import keras

    from sightpost_train.backbones import build_backbone

    keras.utils.set_random_seed(7)
    recipe = TrainRecipe(
        backbone=backbone, width=0.35, input_px=PX, weights="none", greyscale=greyscale
    )
    body = build_backbone(backbone, width=0.35, input_px=PX, weights="none")
    return build(recipe, body, 3, multi_label=False)


@pytest.fixture(scope="module")
def pixels() -> Any:
    return np.random.default_rng(3).uniform(-1, 1, (3, PX, PX, 3)).astype(np.float32)


def grad_cam(model: Any, pixels: Any, index: int) -> Any:
    """Selvaraju et al. 2017, equations 1 and 2, with real gradients of the logit."""
    import keras
    import tensorflow as tf

    body = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    pooled = body.layers[-1]
    features = keras.Model(body.input, pooled.input)(pixels, training=False)
    kernel, bias = model.get_layer(OUTPUT).get_weights()
    with tf.GradientTape() as tape:
        tape.watch(features)
        logit = (pooled(features) @ kernel + bias)[:, index]
    alpha = tf.reduce_mean(tape.gradient(logit, features), axis=(1, 2), keepdims=True)
    return np.maximum(tf.reduce_sum(alpha * features, axis=-1), 0)


def test_it_is_grad_cam(pixels: Any) -> None:
    """The same map as by gradients, up to its scale, for every class."""
    import cv2

    model = classifier()
    for index in range(3):
        ours = class_maps(model, pixels, index)
        for row, wanted in enumerate(grad_cam(model, pixels, index)):
            share = wanted / max(wanted.max(), 1e-12)
            large = cv2.resize(share, (PX, PX), interpolation=cv2.INTER_LINEAR)
            np.testing.assert_allclose(ours[row], large, atol=2e-4)
        assert ours.std() > 0.05


def test_each_photo_may_have_a_class_of_its_own(pixels: Any) -> None:
    """A list of classes gives the maps that they give alone."""
    model = classifier()
    together = class_maps(model, pixels, [2, 0, 1])
    for row, index in enumerate((2, 0, 1)):
        np.testing.assert_allclose(together[row], class_maps(model, pixels, index)[row], atol=1e-5)


def test_shape_and_range(pixels: Any) -> None:
    """As large as the photos, from 0 to 1, and nothing for no photo."""
    maps = class_maps(classifier(), pixels, 1)
    assert maps.shape == (3, PX, PX)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() == pytest.approx(1, abs=0.2)
    assert class_maps(classifier(), pixels[:0], 1).shape == (0, PX, PX)


def test_a_greyscale_model_is_asked_in_grey(pixels: Any) -> None:
    """Its first layer takes part: photos of equal luminance have equal maps."""
    model = classifier(greyscale=True)
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    grey = np.repeat((pixels @ weights)[..., None], 3, axis=-1)
    np.testing.assert_allclose(
        class_maps(model, pixels, 0), class_maps(model, grey, 0), atol=1e-3
    )  # fmt: skip


def test_squeeze_and_excite_is_not_mistaken_for_the_end(pixels: Any) -> None:
    """MobileNetV3 pools inside its blocks as well: the last pooling counts."""
    maps = class_maps(classifier(backbone="mobilenet_v3_small"), pixels, 0)
    assert maps.shape == (3, PX, PX)
    assert maps.std() > 0.01


def test_a_quantization_aware_model_has_maps_too(pixels: Any) -> None:
    """Its graph is flat and its numbers rounded: nearly the same map."""
    from sightpost_train.quantaware import calibrate, finish, prepare

    model = classifier(backbone="small_cnn")
    prepared = prepare(model, mean=127.5, std=127.5)
    calibrate(prepared, [pixels])
    pair = class_maps(model, pixels, 1), class_maps(finish(prepared), pixels, 1)
    assert np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1] > 0.8


def test_a_model_of_another_build_is_refused() -> None:
    """A flattened network has no such map: said in words."""
    import keras

    image = keras.Input((8, 8, 3))
    scores = keras.layers.Dense(2, name=OUTPUT)(keras.layers.Flatten()(image))
    with pytest.raises(ModelError, match="global average pooling"):
        class_maps(keras.Model(image, scores), np.zeros((1, 8, 8, 3), np.float32), 0)
