"""Backbone and head on one page."""

from typing import Any

from .backbones import build_backbone
from .recipe import TrainRecipe

OUTPUT = "scores"


def build_features(recipe: TrainRecipe) -> Any:
    """The recipe's backbone, with its weights: what can fail before a photo is read."""
    import keras

    keras.utils.set_random_seed(recipe.seed)
    return build_backbone(
        recipe.backbone, width=recipe.width, input_px=recipe.input_px, weights=recipe.weights
    )


def build(recipe: TrainRecipe, backbone: Any, classes: int) -> Any:
    """The whole classifier on its backbone.

    Input (n, px, px, 3) float32, scaled as the backbone's row says: there is no rescaling layer in
    the graph, so that raw bytes can go into the quantized model. Output (n, classes) softmax.
    With pretrained weights batch normalisation stays in inference mode, also while fine-tuning:
    its statistics come from a million photos, a batch of ours knows less.
    """
    import keras

    image = keras.Input((recipe.input_px, recipe.input_px, 3), name="image")
    pretrained = recipe.weights != "none"
    features = backbone(image, training=False) if pretrained else backbone(image)
    features = keras.layers.Dropout(recipe.dropout, seed=recipe.seed)(features)
    scores = keras.layers.Dense(classes, activation="softmax", name=OUTPUT)(features)
    return keras.Model(image, scores, name=recipe.backbone)


def thaw(backbone: Any, share: float) -> None:
    """Make the top ``share`` of the backbone's layers trainable, the rest frozen."""
    first = round(len(backbone.layers) * (1 - share))
    backbone.trainable = True
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= first
