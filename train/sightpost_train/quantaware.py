"""Quantization-aware fine-tuning: a trained network learns to live with int8 before it is int8."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras.quantizers import fake_quant_with_min_max_vars
from numpy.typing import NDArray

from sightpost_edge.errors import TrainingError

from .quantlayers import QuantizedWeights, TrackedRange, folded

WEIGHTED = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
FUSED = ("linear", "relu", "relu6")
"""Activations that TFLite computes inside the operation before them."""
PRESCRIBED = ("softmax", "sigmoid")
"""TFLite gives these a range of 0..255/256."""
ARITHMETIC = ("Add", "Multiply")
"""Layers and operations; TFLite fuses a following ReLU into these too."""
RANGED = ("ReLU", "Activation", "GlobalAveragePooling2D", *ARITHMETIC)
"""What gives values in a range of their own."""
PASSING = (
    "ZeroPadding2D", "Reshape", "Flatten", "Dropout", "Identity", "MaxPooling2D",
    "AveragePooling2D", "Softmax",
)  # fmt: skip
"""What TFLite computes with the range of its input; it prescribes that of a softmax."""

CARRIER = "ConvertToTensor"
"""What Keras leaves in the graph where a nested model was opened: it does nothing."""

Readers = dict[str, list[Any]]


def prepare(model: Any, *, mean: float, std: float) -> Any:
    """The same classifier in one flat graph, batch norms folded, rounding as int8 will.

    The result has the inputs and outputs of ``model`` and starts from its weights, which it does
    not share. Calibrate it, compile and fit it like any model, then ``finish`` it.
    Jacob et al. 2018, arXiv:1712.05877.

    Args:
        model: a trained functional classifier, (n, h, w, 3) scaled floats to (n, classes).
        mean, std: the normalisation in grey levels; the input's range is that of 0..255.

    Raises:
        TrainingError: a layer is not known here, or Keras does not run on TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"quantization-aware training needs Keras on TensorFlow, not {keras.backend.backend()}",
            hint="unset KERAS_BACKEND: the converter knows TensorFlow's fake quantization only",
        )
    flat = model
    while any(isinstance(layer, keras.Model) for layer in flat.layers):
        flat = keras.models.clone_model(flat, clone_function=_same, call_function=_opened)
    builder = _Builder(flat, mean, std)
    return keras.models.clone_model(
        flat, input_tensors=builder.image, clone_function=_same, call_function=builder.visit
    )


def calibrate(model: Any, batches: Iterable[NDArray[np.float32]]) -> None:
    """Give the activations of a prepared model their first ranges.

    Args:
        model: from ``prepare``.
        batches: (n, h, w, 3) scaled floats each, of every class; some 200 photos are enough.
    """
    for images in batches:
        model(images, training=True)


def finish(model: Any) -> Any:
    """The fine-tuned network as ordinary Keras layers, for ``model.keras`` and the converter.

    Kernels lie on the int8 grid, ranges are constants in Keras's own fake-quantization operations:
    TFLite's converter takes its scales from them, whatever its calibration photos say.

    Raises:
        TrainingError: the model was never calibrated.
    """
    ranges = [layer for layer in model.layers if isinstance(layer, TrackedRange)]
    unseen = [layer.name for layer in ranges if layer.ends[0] >= layer.ends[1]]
    if unseen or not ranges:
        raise TrainingError(
            "the model has no ranges of its activations yet",
            hint="calibrate it on some training photos before it is finished",
        )
    return keras.models.clone_model(model, clone_function=_same, call_function=_finished)


def _same(operation: Any) -> Any:
    return operation


def _opened(operation: Any, *args: Any, **options: Any) -> Any:
    """A nested model's layers instead of the model."""
    inside = isinstance(operation, keras.Model)
    return operation.call(*args, **options) if inside else operation(*args, **options)


def _finished(operation: Any, *args: Any, **options: Any) -> Any:
    if isinstance(operation, QuantizedWeights):
        return operation.baked()(*args)
    if isinstance(operation, TrackedRange):
        return fake_quant_with_min_max_vars(*args, *operation.ends)
    return operation(*args, **options)


class _Builder:
    """Makes the quantization-aware graph, operation by operation."""

    def __init__(self, flat: Any, mean: float, std: float) -> None:
        self._readers = _readers(flat)
        self._folded: set[str] = set()
        self.image = keras.Input(flat.input_shape[1:], name=flat.inputs[0].name)
        self._entrance = fake_quant_with_min_max_vars(
            self.image, (0 - mean) / std, (255 - mean) / std
        )

    def visit(self, operation: Any, *args: Any, **options: Any) -> Any:
        """What takes the operation's place: tensors in, tensor out."""
        args = keras.tree.map_structure(
            lambda value: self._entrance if value is self.image else value, args
        )
        kind = type(operation).__name__
        if isinstance(operation, WEIGHTED):
            return self._weighted(operation, *args)
        if operation.name in self._folded or kind == CARRIER:
            return args[0]
        if kind in PASSING:
            return operation(*args, **options)
        if kind in RANGED and _activation(operation) in (*FUSED, *PRESCRIBED, "hard_silu"):
            return self._ranged(operation, operation(*args, **options))
        raise _unknown(operation)

    def _weighted(self, layer: Any, values: Any) -> Any:
        activation = _activation(layer)
        norm = self._norm_after(layer) if activation == "linear" else None
        inside = activation if activation in FUSED else "linear"
        plain = type(layer).from_config(
            {**layer.get_config(), "use_bias": True, "activation": inside, "dtype": "float32"}
        )
        plain.build(values.shape)
        plain.set_weights(folded(layer, norm))
        outputs = self._ranged(layer, QuantizedWeights(plain)(values), activation=inside)
        if inside == activation:
            return outputs
        after = keras.layers.Activation(
            activation, name=f"{layer.name}_activation", dtype="float32"
        )
        return self.visit(after, outputs)

    def _norm_after(self, layer: Any) -> Any:
        readers = self._readers.get(layer.name, [])
        if len(readers) != 1 or not isinstance(readers[0], keras.layers.BatchNormalization):
            return None
        self._folded.add(readers[0].name)
        return readers[0]

    def _ranged(self, operation: Any, values: Any, activation: str = "") -> Any:
        if (activation or _activation(operation)) in PRESCRIBED:
            return values
        fuses = isinstance(operation, WEIGHTED) or type(operation).__name__ in ARITHMETIC
        if fuses and self._rectified(operation):
            return values
        return TrackedRange(f"{operation.name}_range")(values)

    def _rectified(self, operation: Any) -> bool:
        """Whether TFLite computes this and the ReLU after it in one go.

        Also with a constant added in between, as in MobileNetV3's hard sigmoid: it goes into the
        bias.
        """
        readers = self._readers.get(operation.name, [])
        if len(readers) != 1:
            return False
        if readers[0].name in self._folded or _adds_constant(readers[0]):
            return self._rectified(readers[0])
        return _activation(readers[0]) in ("relu", "relu6")


def _readers(flat: Any) -> Readers:
    """The operations that read each operation's output, by name."""
    readers: Readers = {}
    makers: dict[int, tuple[str, Any]] = {}

    def visit(operation: Any, *args: Any, **options: Any) -> Any:
        for value in keras.tree.flatten(args):
            if id(value) in makers:
                readers.setdefault(makers[id(value)][0], []).append(operation)
        outputs = operation(*args, **options)
        # The tensor is kept as well: an id may be given again once its object is gone.
        makers[id(outputs)] = operation.name, outputs
        return outputs

    keras.models.clone_model(flat, clone_function=_same, call_function=visit)
    return readers


def _adds_constant(operation: Any) -> bool:
    """Keras's ``x + 3``, an operation; the layer of the same name adds tensors."""
    return type(operation).__name__ == "Add" and not isinstance(operation, keras.layers.Layer)


def _activation(operation: Any) -> str:
    """Keras's name of what is applied at the end; "linear" for what has none."""
    if isinstance(operation, keras.layers.ReLU):
        plain = not operation.negative_slope and not operation.threshold
        names = {None: "relu", 6.0: "relu6"}
        return names.get(operation.max_value, "clipped") if plain else "leaky"
    function = getattr(operation, "activation", keras.activations.linear)
    return str(getattr(function, "__name__", function))


def _unknown(layer: Any) -> TrainingError:
    return TrainingError(
        f"quantization-aware training does not know layer {layer.name} ({type(layer).__name__})",
        hint="it knows the layers of the MobileNets; train without --quantization-aware",
    )
