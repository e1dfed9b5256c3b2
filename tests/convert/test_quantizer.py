"""Each kind of quantization has the types and sizes that its name promises; raw bytes go in."""

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from sightpost_convert import quantizer
from sightpost_convert.graph import complete, layers, pack, unpack
from sightpost_convert.quantizer import find_ranges, quantize, wanted_tensors
from sightpost_convert.ranges import METHODS, images
from sightpost_convert.raw_bytes import with_raw_bytes
from sightpost_edge.interpreter import Network, interpreter_class
from sightpost_edge.testing import TINY_LABELS

from . import planted
from .courtroom import dimmed, photos_of

pytestmark = pytest.mark.workshop

PHOTOS = photos_of(*[[label] for label in TINY_LABELS * 6]).pixels
SAMPLES = images(PHOTOS, mean=127.5, std=127.5)
MODEL = complete(planted.cnn())
TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """The same network in all kinds, and healthy ones large enough to compare sizes."""
    ranges = find_ranges(MODEL, SAMPLES)
    kinds = ("float16", "weights8", "dynamic", "int8", "int16x8")
    return {kind: quantize(MODEL, kind, ranges) for kind in kinds}


def scores(model: bytes) -> np.ndarray:
    """(photos, 3) by the device's network."""
    network = Network(model)
    return np.stack([network.scores(photo, mean=127.5, std=127.5) for photo in PHOTOS])


def types(model: bytes, layer: str) -> tuple[str, str, str]:
    """Types of a layer's input, weights and output; the weights' as stored."""
    graph = unpack(model)
    tensors = graph.subgraphs[0].tensors
    sources = {int(op.outputs[0]): op for op in graph.subgraphs[0].operators}
    (found,) = [one for one in layers(graph) if one.operator == layer]
    weights = found.inputs[1]
    if weights in sources:  # behind a DEQUANTIZE
        weights = int(sources[weights].inputs[0])
    return tuple(TYPES[tensors[i].type] for i in (found.inputs[0], weights, found.output))  # type: ignore[return-value]


def borders(model: bytes) -> tuple[str, str]:
    interpreter = interpreter_class()(model_content=model)
    sides = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    return tuple(np.dtype(side["dtype"]).name for side in sides)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("kind", "conv", "border"),
    [
        ("float16", ("FLOAT32", "FLOAT16", "FLOAT32"), "float32"),
        ("weights8", ("FLOAT32", "INT8", "FLOAT32"), "float32"),
        ("dynamic", ("FLOAT32", "INT8", "FLOAT32"), "float32"),
        ("int8", ("INT8", "INT8", "INT8"), "uint8"),
        ("int16x8", ("INT16", "INT8", "INT16"), "float32"),
    ],
)
def test_types(made: dict[str, bytes], kind: str, conv: tuple[str, str, str], border: str) -> None:
    """Activations, weights, borders; the scores move by little."""
    assert types(made[kind], "CONV_2D") == conv
    assert borders(made[kind]) == (border, border)
    assert np.abs(scores(made[kind]) - scores(MODEL)).max() < 0.05


def test_depthwise_layers_stay_in_float_with_dynamic(made: dict[str, bytes]) -> None:
    """They would be slower."""
    assert types(made["dynamic"], "DEPTHWISE_CONV_2D")[1] == "FLOAT32"
    assert types(made["weights8"], "DEPTHWISE_CONV_2D")[1] == "INT8"


def test_sizes() -> None:
    """Half for float16, about a quarter for bytes."""
    model = complete(planted.healthy())
    ranges = find_ranges(model, SAMPLES)
    share = {kind: len(quantize(model, kind, ranges)) / len(model)
             for kind in ("float16", "weights8", "dynamic", "int8", "int16x8")}  # fmt: skip
    assert 0.5 < share.pop("float16") < 0.55
    assert all(0.25 < size < 0.34 for size in share.values()), share


def test_raw_bytes_go_in_untouched(made: dict[str, bytes]) -> None:
    """With both ends seen the scale is exactly 1/127.5: a grey level is the input's number."""
    (image,) = interpreter_class()(model_content=made["int8"]).get_input_details()
    scale, zero_point = image["quantization"]
    assert scale == pytest.approx(1 / 127.5, rel=1e-6)
    assert zero_point in (127, 128)
    assert Network(made["int8"])._table(127.5, 127.5) is None


@pytest.mark.parametrize(("mean", "std"), [(0.0, 255.0), (127.5, 63.75), (0.0, 1.0)])
def test_raw_bytes_whatever_the_scaling(mean: float, std: float) -> None:
    """Also for models that take 0 to 1, or another range."""
    ranges = find_ranges(MODEL, images(PHOTOS, mean=mean, std=std))
    network = Network(quantize(MODEL, "int8", ranges))
    assert network.input_dtype == "uint8"
    assert network._table(mean, std) is None


@pytest.mark.parametrize("method", METHODS)
def test_the_image_keeps_its_full_range(method: str) -> None:
    """What may be cut off of other tensors may not be of the picture."""
    assert find_ranges(MODEL, SAMPLES, method)["image"] == (-1.0, 1.0)


def test_ranges_are_for_computed_tensors() -> None:
    """The picture, and what each layer gives; no weights."""
    assert set(wanted_tensors(MODEL)) == {
        "image", "net/conv/out", "net/depth/out", "mean", "net/dense/out", "scores",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["int8", "weights8"])
def test_kept_layers_stay_in_float(kind: str) -> None:
    """The named layer computes in float, all others as the kind says."""
    found = quantize(MODEL, kind, find_ranges(MODEL, SAMPLES), keep=["net/dense/out"])
    assert types(found, "FULLY_CONNECTED") == ("FLOAT32", "FLOAT32", "FLOAT32")
    assert types(found, "CONV_2D")[1] == "INT8"


def test_only_one_layer_is_quantized() -> None:
    """The named layer in bytes, its neighbours and the borders in float."""
    found = quantize(MODEL, "int8", find_ranges(MODEL, SAMPLES), only="net/depth/out")
    assert types(found, "DEPTHWISE_CONV_2D") == ("INT8", "INT8", "INT8")
    assert types(found, "CONV_2D") == ("FLOAT32", "FLOAT32", "FLOAT32")
    assert borders(found) == ("float32", "float32")


def test_a_name_that_is_the_beginning_of_another_is_not_meant() -> None:
    """Names are matched whole, and their dots and brackets are no patterns."""
    graph = unpack(MODEL)
    names = iter([b"net/a", b"net/a/b", b"mean", b"net/a.*", b"scores"])
    for operator in graph.subgraphs[0].operators:
        graph.subgraphs[0].tensors[operator.outputs[0]].name = next(names)
    model = pack(graph)
    ranges = find_ranges(model, SAMPLES)
    found = quantize(model, "int8", ranges, only="net/a")
    assert types(found, "CONV_2D")[1] == "INT8"
    assert types(found, "DEPTHWISE_CONV_2D")[1] == "FLOAT32"
    found = quantize(model, "int8", ranges, keep=["net/a.*"])
    assert types(found, "CONV_2D")[1] == "INT8"
    assert types(found, "FULLY_CONNECTED")[1] == "FLOAT32"


@pytest.fixture
def int8_borders(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """An int8 model as the quantizer leaves it."""
    with monkeypatch.context() as patch:
        patch.setattr(quantizer, "with_raw_bytes", lambda model: model)
        return quantize(MODEL, "int8", find_ranges(MODEL, SAMPLES))


def test_int8_borders_become_uint8(int8_borders: bytes) -> None:
    """The same scale, the zero point 128 higher, a QUANTIZE layer at either end."""
    raw = with_raw_bytes(int8_borders)
    assert (borders(int8_borders), borders(raw)) == (("int8", "int8"), ("uint8", "uint8"))
    for side in ("get_input_details", "get_output_details"):
        (before,), (after,) = (
            getattr(interpreter_class()(model_content=model), side)()
            for model in (int8_borders, raw)
        )
        assert after["name"] == before["name"]
        assert after["quantization"][0] == before["quantization"][0]
        assert after["quantization"][1] == before["quantization"][1] + 128
    kinds = [layer.operator for layer in layers(unpack(raw))]
    assert (kinds[0], kinds[-1], kinds.count("QUANTIZE")) == ("QUANTIZE", "QUANTIZE", 2)


def invoke(model: bytes, picture: np.ndarray) -> np.ndarray:
    interpreter = interpreter_class()(model_content=model)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    found: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


def test_the_scores_are_those_of_the_int8_model(int8_borders: bytes) -> None:
    """Random pictures give the same numbers, 128 apart, to the last bit."""
    raw = with_raw_bytes(int8_borders)
    draw = np.random.default_rng(1)
    for _ in range(20):
        levels = draw.integers(0, 256, (1, planted.PX, planted.PX, 3), np.uint8)
        shifted = (levels.astype(np.int16) - 128).astype(np.int8)
        before = invoke(int8_borders, shifted).astype(np.int16) + 128
        np.testing.assert_array_equal(invoke(raw, levels), before)


def test_signatures_follow(int8_borders: bytes) -> None:
    """A signature's names lead to the new borders, and it can be run by them."""
    raw = with_raw_bytes(int8_borders)
    runner = interpreter_class()(model_content=raw).get_signature_runner("serving_default")
    levels = dimmed(["red"], 1.0)[None]
    np.testing.assert_array_equal(runner(image=levels)["scores"], invoke(raw, levels))


def test_other_borders_stay(made: dict[str, bytes]) -> None:
    """float borders are not touched, and doing it twice changes nothing more."""
    for model in (MODEL, made["int16x8"], made["int8"]):
        again = with_raw_bytes(model)
        assert borders(again) == borders(model)
        assert len(list(layers(unpack(again)))) == len(list(layers(unpack(model))))


def test_a_layer_that_cannot_be_quantized_raises() -> None:
    """The library's own error; who calls it turns it into a row of the table."""
    broken: Any = {name: (0.0, 0.0) for name in wanted_tensors(MODEL) if name != "scores"}
    with pytest.raises(Exception, match=r".+"):
        quantize(MODEL, "int8", broken)
