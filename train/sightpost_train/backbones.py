"""The networks that can be trained: one row each. To add one, add a row."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightpost_edge.errors import ConfigError, ModelError, WeightsUnavailable
from sightpost_edge.kerasfile import refuse_hostile

MOMENTUM = 0.9
"""Batch-norm momentum. Keras's applications use 0.999, with which a short run from scratch
validates at chance (0.25) while training shows 0.93: the running statistics never catch up."""

V3 = {"include_preprocessing": False}
MINIMALISTIC = {**V3, "minimalistic": True}


@dataclass(frozen=True, slots=True)
class Backbone:
    """One row: the Keras constructor, the pixel scaling its weights expect, its limits.

    ``mean`` and ``std`` are in grey levels: the network sees (level - mean) / std. ``imagenet``
    lists the widths that Keras has ImageNet weights for; any width can be trained from scratch or
    from a file. ``int8`` says what full integer quantization does to it.
    """

    name: str
    constructor: str
    imagenet: tuple[float, ...]
    int8: str
    minimum_px: int = 32
    mean: float = 127.5
    std: float = 127.5
    options: dict[str, Any] = field(default_factory=dict)

    def refuse(self, width: float, input_px: int, weights: str) -> None:
        """Name what cannot be built, before a photo is read."""
        if input_px < self.minimum_px:
            raise ConfigError(f"{self.name} needs input_px >= {self.minimum_px}")
        if weights == "imagenet" and width not in self.imagenet:
            widths = ", ".join(map(str, self.imagenet)) or "none"
            raise ConfigError(
                f"{self.name} has no ImageNet weights of width {width}",
                hint=f'widths with weights: {widths}; any width goes with weights = "none" or a '
                "file made for it",
            )


RELU = "safe: ReLU only"
SWISH = "at risk: hard-swish; take the minimalistic row, or train --quantization-aware"
BACKBONES = {
    row.name: row
    for row in (
        # Howard et al. 2017, arXiv:1704.04861
        Backbone("mobilenet_v1", "MobileNet", (0.25, 0.5, 0.75, 1.0), RELU),
        # Sandler et al. 2018, arXiv:1801.04381
        Backbone("mobilenet_v2", "MobileNetV2", (0.35, 0.5, 0.75, 1.0, 1.3, 1.4), RELU),
        # Howard et al. 2019, arXiv:1905.02244
        Backbone("mobilenet_v3_small", "MobileNetV3Small", (0.75, 1.0), SWISH, options=V3),
        Backbone("mobilenet_v3_large", "MobileNetV3Large", (0.75, 1.0), SWISH, options=V3),
        # The same without squeeze-and-excite and hard-swish: made for DSPs, kind to int8.
        Backbone(
            "mobilenet_v3_small_minimalistic", "MobileNetV3Small", (1.0,), RELU,
            options=MINIMALISTIC,
        ),
        Backbone(
            "mobilenet_v3_large_minimalistic", "MobileNetV3Large", (1.0,), RELU,
            options=MINIMALISTIC,
        ),
        # A few plain convolutions, for tutorials and digits.
        Backbone("small_cnn", "", (), RELU, minimum_px=16),
    )
}  # fmt: skip


def build_backbone(name: str, *, width: float, input_px: int, weights: str) -> Any:
    """A Keras model from (n, px, px, 3) scaled floats to (n, features) pooled features.

    Raises:
        WeightsUnavailable: they cannot be downloaded, found, trusted, or do not fit.
    """
    import keras

    row = BACKBONES[name]
    if not row.constructor:
        return _small_cnn(width, input_px, weights)
    constructor: Callable[..., Any] = getattr(keras.applications, row.constructor)
    _check_file(weights)
    try:
        model = constructor(
            input_shape=(input_px, input_px, 3),
            alpha=width,
            include_top=False,
            pooling="avg",
            weights=None if weights == "none" else weights,
            **row.options,
        )
    except Exception as exc:  # Keras raises a bare Exception when a download fails
        raise _weights_error(exc, name, width, input_px, weights) from exc
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    return model


def _small_cnn(width: float, input_px: int, weights: str) -> Any:
    """Four stages of two 3 x 3 convolutions with 32 to 256 filters at width 1, pooled by stride."""
    import keras
    from keras import layers

    image = x = keras.Input((input_px, input_px, 3))
    for stage, filters in enumerate((32, 64, 128, 256)):
        for step in range(2):
            stride = 2 if step and stage < 3 else 1
            x = layers.Conv2D(
                max(8, round(filters * width)), 3, stride, padding="same", use_bias=False
            )(x)
            x = layers.BatchNormalization(momentum=MOMENTUM)(x)
            x = layers.ReLU(6.0)(x)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x), name="small_cnn")
    _check_file(weights)
    if weights not in ("none", "imagenet"):
        try:
            model.load_weights(weights)
        except Exception as exc:
            raise _weights_error(exc, "small_cnn", width, input_px, weights) from exc
    return model


def _check_file(weights: str) -> None:
    if weights in ("imagenet", "none"):
        return
    if not Path(weights).is_file():
        raise WeightsUnavailable(
            f"no weights file at {weights}", hint='give a .weights.h5 file, "imagenet" or "none"'
        )
    try:
        refuse_hostile(Path(weights))
    except ModelError as exc:
        raise WeightsUnavailable(str(exc), hint=exc.hint) from exc


def _weights_error(
    exc: Exception, name: str, width: float, input_px: int, weights: str
) -> WeightsUnavailable:
    if weights == "imagenet":
        return WeightsUnavailable(
            f"ImageNet weights for {name} width {width} at {input_px} px cannot be had ({exc})",
            hint="connect to the internet once (Keras keeps them in ~/.keras), copy a notop "
            ".weights.h5 here and pass --weights FILE, or train from scratch with --weights none",
        )
    return WeightsUnavailable(
        f"{weights} does not fit {name} width {width} at {input_px} px without top ({exc})",
        hint="set backbone and width in the recipe to those the file was made for",
    )
