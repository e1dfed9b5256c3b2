"""Backbone and head on one page."""

from dataclasses import replace
from typing import Any

from .augment import VIEWS, RandomView
from .backbones import BACKBONES, build_backbone
from .recipe import TrainRecipe

OUTPUT = "scores"
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey: ITU-R BT.601."""


def use_hardware() -> None:
    """Bit-equal repetition on a CPU; bfloat16 arithmetic with float32 weights on a GPU.

    On a GPU deterministic kernels cost speed, so there a resumed run is equal only in kind.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        keras.config.set_dtype_policy("mixed_bfloat16")
    else:
        tf.config.experimental.enable_op_determinism()


def settle(recipe: TrainRecipe, model: Any, classes: int, *, multi_label: bool) -> Any:
    """What a mixed-precision classifier becomes for the converter: the same in plain float32."""
    import keras

    if keras.config.dtype_policy().name == "float32":
        return model
    keras.config.set_dtype_policy("float32")
    plain = replace(recipe, weights="none")
    bare = build_features(plain)
    settled = build(recipe, bare, classes, multi_label=multi_label)
    settled.set_weights(model.get_weights())
    return settled


def build_features(recipe: TrainRecipe) -> Any:
    """The recipe's backbone, with its weights: what can fail before a photo is read."""
    import keras

    keras.utils.set_random_seed(recipe.seed)
    return build_backbone(
        recipe.backbone, width=recipe.width, input_px=recipe.input_px, weights=recipe.weights
    )


def build(recipe: TrainRecipe, backbone: Any, classes: int, *, multi_label: bool) -> Any:
    """The whole classifier on its backbone.

    Input (n, px, px, 3) float32, scaled as the backbone's row says: there is no rescaling layer in
    the graph, so that raw bytes can go into the quantized model. Output (n, classes) float32: a
    softmax, or with ``multi_label`` one sigmoid per label. A greyscale recipe keeps the three
    channels at the border and turns them to grey inside, so a device need not know.
    Batch normalisation follows the photos wherever its layer is thawed: with ImageNet's statistics
    held fixed, fine-tuning 1,100 flower photos lost 1.6 points against the frozen features, with
    statistics that move it gained 0.9 (two folds of five).
    """
    import keras

    image = keras.Input((recipe.input_px, recipe.input_px, 3), name="image")
    seen = _grey()(image) if recipe.greyscale else image
    features = backbone(seen)
    features = keras.layers.Dropout(recipe.dropout, seed=recipe.seed)(features)
    scores = keras.layers.Dense(
        classes, activation="sigmoid" if multi_label else "softmax", name=OUTPUT, dtype="float32",
        kernel_regularizer=keras.regularizers.L1L2(recipe.l1, recipe.l2),
    )(features)  # fmt: skip
    return keras.Model(image, scores, name=recipe.backbone)


def for_training(recipe: TrainRecipe, classifier: Any) -> Any:
    """``classifier`` behind scaling and random views, from (n, px, px, 3) uint8, in one step."""
    import keras

    row = BACKBONES[recipe.backbone]
    low, high = -row.mean / row.std, (255 - row.mean) / row.std
    pixels = keras.Input((recipe.input_px, recipe.input_px, 3), dtype="uint8", name="pixels")
    photos = keras.layers.Rescaling(1 / row.std, low, dtype="float32")(pixels)
    view = RandomView(VIEWS[recipe.augment], low=low, high=high, seed=recipe.seed)
    return keras.Model(pixels, classifier(view(photos)), name=f"{recipe.backbone}_training")


def thaw(backbone: Any, share: float) -> None:
    """Make the top ``share`` of the backbone's layers trainable, the rest frozen."""
    first = round(len(backbone.layers) * (1 - share))
    backbone.trainable = True
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= first


def _grey() -> Any:
    """A fixed 1 x 1 convolution from R,G,B to luminance, three times over."""
    import keras
    import numpy as np

    kernel = np.repeat(np.array(LUMINANCE, np.float32)[:, None], 3, axis=1)[None, None]
    return keras.layers.Conv2D(
        3, 1, use_bias=False, trainable=False, name="grey",
        kernel_initializer=keras.initializers.Constant(kernel),
    )  # fmt: skip
