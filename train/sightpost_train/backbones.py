"""The MobileNets that can be trained: one row each. To add one, add a row."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightpost_edge.errors import WeightsUnavailable

MOMENTUM = 0.9
"""Batch-norm momentum. Keras's applications use 0.999, with which a short run from scratch
validates at chance (0.25) while training shows 0.93: the running statistics never catch up."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """One row: the Keras constructor, the pixel scaling its weights expect, its limits.

    ``mean`` and ``std`` are in grey levels: the network sees (level - mean) / std.
    """

    name: str
    constructor: str
    minimum_px: int
    mean: float = 127.5
    std: float = 127.5


BACKBONES = {
    row.name: row
    for row in (
        # Howard et al. 2017, arXiv:1704.04861
        Backbone("mobilenet_v1", "MobileNet", 32),
        # Sandler et al. 2018, arXiv:1801.04381
        Backbone("mobilenet_v2", "MobileNetV2", 32),
    )
}


def build_backbone(name: str, *, width: float, input_px: int, weights: str) -> Any:
    """A Keras model from (n, px, px, 3) scaled floats to (n, features) pooled features.

    Raises:
        WeightsUnavailable: they cannot be downloaded, found, or do not fit.
    """
    import keras

    constructor: Callable[..., Any] = getattr(keras.applications, BACKBONES[name].constructor)
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise WeightsUnavailable(
            f"no weights file at {weights}", hint='give a .weights.h5 file, "imagenet" or "none"'
        )
    try:
        model = constructor(
            input_shape=(input_px, input_px, 3),
            alpha=width,
            include_top=False,
            pooling="avg",
            weights=None if weights == "none" else weights,
        )
    except Exception as exc:  # Keras raises a bare Exception when a download fails
        raise _weights_error(exc, name, width, input_px, weights) from exc
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    return model


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
