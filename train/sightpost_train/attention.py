"""Where in a photo a class was seen: class activation maps, without gradients."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightpost_edge.errors import ModelError

from .model import OUTPUT

Maps = NDArray[np.float32]

BATCH = 32


def class_maps(model: Any, pixels_scaled: Maps, class_index: int | Sequence[int]) -> Maps:
    """How much each place of a photo spoke for a class, from 0 to 1 at the strongest place.

    Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) of the class's logit. Between our last
    feature map and the logit stand only an average and a weighted sum, so its gradients are the
    class's weights, the same everywhere: that is CAM (Zhou et al. 2016, arXiv:1512.04150), and
    needs no gradients, whatever Keras's backend.

    Args:
        model: what ``model.build`` made.
        pixels_scaled: (n, h, w, 3) float32, as the model takes them.
        class_index: of all photos, or of each.

    Returns:
        (n, h, w) float32; all 0 where no place speaks for the class.

    Raises:
        ModelError: the model does not pool its last feature map into an average.
    """
    height, width = pixels_scaled.shape[1:3]
    if not len(pixels_scaled):
        return np.zeros((0, height, width), np.float32)
    kernel = np.asarray(model.get_layer(OUTPUT).get_weights()[0], np.float32)
    weights = kernel[:, np.broadcast_to(class_index, len(pixels_scaled))].T
    maps = np.einsum("nhwk,nk->nhw", _features(model, pixels_scaled), weights)
    maps = np.maximum(maps, 0)
    maps /= np.maximum(maps.max(axis=(1, 2), keepdims=True), np.float32(1e-12))
    return np.stack([cv2.resize(m, (width, height), interpolation=cv2.INTER_LINEAR) for m in maps])


def _features(model: Any, pixels_scaled: Maps) -> Maps:
    """The last feature map, (n, rows, columns, features) float32."""
    import keras

    before, body = _opened(model)
    pooled: list[Any] = []

    def visit(operation: Any, *args: Any, **options: Any) -> Any:
        if isinstance(operation, keras.layers.GlobalAveragePooling2D):
            pooled.append(args[0])
        return operation(*args, **options)

    # Walked, not looked up: after quantization-aware training a layer stands in several graphs.
    image = keras.Input(body.input_shape[1:])
    keras.models.clone_model(
        body, input_tensors=image, clone_function=lambda layer: layer, call_function=visit
    )
    if not pooled:
        raise ModelError(
            "this model has no global average pooling before its scores",
            hint="class activation maps need a classifier that this package trained",
        )
    # The last one: those before it are squeeze-and-excite blocks (MobileNetV3).
    features = keras.Model(image, pooled[-1])
    parts = []
    for start in range(0, len(pixels_scaled), BATCH):
        batch = pixels_scaled[start : start + BATCH]
        for layer in before:
            batch = layer(batch)
        parts.append(np.asarray(features(batch, training=False)).astype(np.float32))
    return np.concatenate(parts)


def _opened(model: Any) -> tuple[list[Any], Any]:
    """The layers that prepare the picture (greyscale) and the backbone behind them; in a flat
    model, as quantization-aware training leaves it, nothing and the model itself."""
    import keras

    layers = [x for x in model.layers if not isinstance(x, keras.layers.InputLayer)]
    for index, layer in enumerate(layers):
        if isinstance(layer, keras.Model):
            return layers[:index], layer
    return [], model
