"""The two layers that make a float network feel int8 while it trains: weights and activations."""

from typing import Any

import keras
import numpy as np
from keras.quantizers import fake_quant_with_min_max_vars
from numpy.typing import NDArray

MOMENTUM = 0.95
"""Of the moving average of ranges: twenty batches, and one odd photo does not set them."""
NARROWEST = 1e-6
"""A tensor that is always zero still needs a scale."""


class TrackedRange(keras.layers.Layer):  # type: ignore[misc]
    """Rounds activations to 256 levels between moving averages of their least and greatest value.

    Jacob et al. 2018, arXiv:1712.05877. Follows the values when called with ``training=True``.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.low = self.add_weight(shape=(), initializer="zeros", trainable=False, name="low")
        self.high = self.add_weight(shape=(), initializer="zeros", trainable=False, name="high")

    @property
    def ends(self) -> tuple[float, float]:
        """Lower and upper end; both 0 before the first batch."""
        return float(self.low), float(self.high)

    def call(self, values: Any, training: bool = False) -> Any:
        """Any shape to the same shape."""
        if training:
            self._follow(values)
        return fake_quant_with_min_max_vars(values, self.low, self.high)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The same; said here, as Keras takes a product with a constant for a sparse tensor."""
        return input_shape

    def _follow(self, values: Any) -> None:
        ops = keras.ops
        least = ops.minimum(ops.min(values), 0.0)
        greatest = ops.maximum(ops.max(values), NARROWEST)
        kept = ops.where(self.high > self.low, MOMENTUM, 0.0)
        self.low.assign(kept * self.low + (1 - kept) * least)
        self.high.assign(kept * self.high + (1 - kept) * greatest)


class QuantizedWeights(keras.layers.Layer):  # type: ignore[misc]
    """A Conv2D, DepthwiseConv2D or Dense that computes with its kernel as int8 would hold it.

    Gradients pass straight through the rounding, to the float kernel (Bengio et al. 2013,
    arXiv:1308.3432).
    """

    def __init__(self, plain: Any) -> None:
        super().__init__(name=plain.name, dtype="float32")
        self.plain = plain

    def call(self, values: Any) -> Any:
        """As the plain layer."""
        rounded = rounded_kernel(self.plain)
        trained, fixed = (
            [rounded if variable is self.plain.kernel else variable for variable in variables]
            for variables in (self.plain.trainable_variables, self.plain.non_trainable_variables)
        )
        outputs, _ = self.plain.stateless_call(trained, fixed, values)
        return outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """As the plain layer."""
        return self.plain.compute_output_shape(input_shape)

    def baked(self) -> Any:
        """The plain layer anew, its kernel on the int8 grid."""
        plain = type(self.plain).from_config(self.plain.get_config())
        plain.build(self.plain.get_build_config()["input_shape"])
        plain.set_weights([np.asarray(rounded_kernel(self.plain)), self.plain.bias.numpy()])
        return plain


def rounded_kernel(layer: Any) -> Any:
    """The kernel on a grid of -127..127 steps for each output channel, as TFLite rounds it.

    Krishnamoorthi 2018, arXiv:1806.08342: per channel, symmetric, narrow range.
    """
    import tensorflow as tf

    kernel = keras.ops.convert_to_tensor(layer.kernel)
    flat = keras.ops.reshape(kernel, (-1, channels(layer)))
    limit = keras.ops.stop_gradient(keras.ops.max(keras.ops.abs(flat), axis=0))
    rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        flat, -limit, limit, narrow_range=True
    )
    return keras.ops.reshape(rounded, kernel.shape)


def channels(layer: Any) -> int:
    """How many outputs of a layer have a scale of their own."""
    shape: tuple[int, ...] = layer.kernel.shape
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return shape[-1] * shape[-2] if depthwise else shape[-1]


def folded(layer: Any, norm: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel and bias that compute ``norm(layer(x))`` at once; ``norm`` may be None.

    Jacob et al. 2018, arXiv:1712.05877, section 3.2, with the statistics as they stand: after
    folding there is no batch normalisation any more.
    """
    kernel = np.asarray(layer.kernel, np.float32)
    bias = np.zeros(channels(layer), np.float32)
    if layer.use_bias:
        bias = np.asarray(layer.bias, np.float32)
    if norm is None:
        return kernel, bias
    factor = 1 / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        factor = factor * np.asarray(norm.gamma)
    bias = (bias - np.asarray(norm.moving_mean)) * factor
    if norm.center:
        bias = bias + np.asarray(norm.beta)
    flat = kernel.reshape(-1, channels(layer)) * factor
    return flat.reshape(kernel.shape).astype(np.float32), bias.astype(np.float32)
