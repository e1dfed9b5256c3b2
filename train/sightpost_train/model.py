"""Backbone and head on one page."""

from typing import Any

from .backbones import build_backbone
from .recipe import TrainRecipe

OUTPUT = "scores"


def build(recipe: TrainRecipe, classes: int) -> tuple[Any, Any]:
    """The whole classifier and, as the same layers, its backbone.

    Input (n, px, px, 3) float32, scaled as the backbone's row says: there is no rescaling layer in
    the graph, so that raw bytes can go into the quantized model. Output (n, classes) softmax.
    With pretrained weights batch normalisation stays in inference mode, also while fine-tuning:
    its statistics come from a million photos, a batch of ours knows less.
    """
    import keras

    keras.utils.set_random_seed(recipe.seed)
    backbone = build_backbone(
        recipe.backbone, width=recipe.width, input_px=recipe.input_px, weights=recipe.weights
    )
    image = keras.Input((recipe.input_px, recipe.input_px, 3), name="image")
    pretrained = recipe.weights != "none"
    features = backbone(image, training=False) if pretrained else backbone(image)
    features = keras.layers.Dropout(recipe.dropout, seed=recipe.seed)(features)
    scores = keras.layers.Dense(classes, activation="softmax", name=OUTPUT)(features)
    return keras.Model(image, scores, name=recipe.backbone), backbone


def thaw(backbone: Any, share: float) -> None:
    """Make the top ``share`` of the backbone's layers trainable, the rest frozen."""
    first = round(len(backbone.layers) * (1 - share))
    backbone.trainable = True
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= first
