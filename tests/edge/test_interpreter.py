"""Quantised inputs and outputs: rounded by the tensor's own scale, or passed through untouched."""

import numpy as np
import pytest

from sightpost_edge.errors import ContractMismatch
from sightpost_edge.interpreter import Network, _dequantize, _levels
from sightpost_edge.testing import colour, tiny_model

INT8_SCALE = 1 / 127.5


@pytest.mark.parametrize("zero_point", [127, 128])
def test_raw_bytes_go_into_a_uint8_model_untouched(zero_point: int) -> None:
    """With scale 1/127.5 a grey level is its own quantized value: no table, no work."""
    tensor = {"dtype": np.uint8, "quantization": (INT8_SCALE, zero_point)}
    assert _levels(tensor, 127.5, 127.5) is None


def test_another_scale_gets_a_table() -> None:
    """An input calibrated to half the range is re-quantised, rounded and clipped."""
    tensor = {"dtype": np.uint8, "quantization": (INT8_SCALE / 2, 128)}
    table = _levels(tensor, 127.5, 127.5)
    assert table is not None
    assert table[0] == 0
    assert table[255] == 255
    assert table[128] == round(0.5 / 127.5 / (INT8_SCALE / 2) + 128)


def test_int8_inputs_are_shifted_not_wrapped() -> None:
    """Dark stays dark: -128 at one end, the top within half a step, and never a jump down."""
    tensor = {"dtype": np.int8, "quantization": (INT8_SCALE, -1)}
    table = _levels(tensor, 127.5, 127.5)
    assert table is not None
    assert table[0] == -128
    assert table[255] >= 126
    assert (np.diff(table.astype(int)) >= 0).all()


def test_quantized_rounding_is_not_truncation() -> None:
    """A bare cast would floor: half of all levels off by one."""
    tensor = {"dtype": np.int8, "quantization": (0.01, 0)}
    table = _levels(tensor, 127.5, 127.5)
    assert table is not None
    exact = (np.arange(256) - 127.5) / 127.5 / 0.01
    assert np.abs(table - exact).max() <= 0.5 + 1e-9


def test_float_inputs_are_scaled() -> None:
    """Level 0 is -1, level 255 is +1."""
    table = _levels({"dtype": np.float32, "quantization": (0.0, 0)}, 127.5, 127.5)
    assert table is not None
    assert (table[0], table[255]) == (-1.0, 1.0)


def test_other_input_types_are_refused() -> None:
    """A model for 16-bit inputs says so at load, not by wrong scores."""
    with pytest.raises(ContractMismatch, match="int16"):
        _levels({"dtype": np.int16, "quantization": (1.0, 0)}, 127.5, 127.5)


def test_uint8_outputs_become_probabilities() -> None:
    """(q - zero point) x scale."""
    scores = _dequantize(np.array([0, 128, 255], np.uint8), (1 / 256, 0))
    assert scores.tolist() == [0.0, 0.5, 255 / 256]


def test_scores_do_not_change_with_the_next_frame() -> None:
    """The scores handed out are a copy, not a view of the interpreter's memory."""
    network = Network(tiny_model())
    pixels = colour("red", width=16, height=16)
    first = network.scores(pixels, mean=127.5, std=127.5)
    kept = first.copy()
    network.scores(colour("blue", width=16, height=16), mean=127.5, std=127.5)
    assert np.array_equal(first, kept)


def test_shape_and_type_are_known() -> None:
    """What the device checks the contract against."""
    network = Network(tiny_model(classes=5))
    assert (network.input_shape, network.classes, network.input_dtype) == ((16, 16), 5, "float32")
