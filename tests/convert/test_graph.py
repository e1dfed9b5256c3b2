"""A .tflite as editable tables: read, changed in a few places, and still the same network."""

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from sightpost_convert.graph import (
    complete,
    constant,
    ending_at,
    gathered,
    layers,
    pack,
    set_constant,
    unpack,
)
from sightpost_edge.errors import ModelError
from sightpost_edge.interpreter import interpreter_class
from sightpost_edge.testing import tiny_model

from . import planted
from .courtroom import dimmed

pytestmark = pytest.mark.workshop

PICTURE = ((dimmed(["red", "green"], 0.7) - np.float32(127.5)) / 127.5)[None].astype(np.float32)


def run(model: bytes) -> np.ndarray:
    """The first output for one fixed picture."""
    interpreter = interpreter_class()(model_content=model)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], PICTURE)
    interpreter.invoke()
    found: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


def test_layers_come_in_order_with_their_names() -> None:
    """Index, kind, the quantizer's key and what a person would call it."""
    found = list(layers(unpack(planted.cnn())))
    assert [layer.operator for layer in found] == [
        "CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX",
    ]  # fmt: skip
    assert [layer.index for layer in found] == [0, 1, 2, 3, 4]
    assert [layer.name for layer in found] == [
        "net/conv/out", "net/depth/out", "mean", "net/dense/out", "scores",
    ]  # fmt: skip
    assert [layer.short_name for layer in found] == [
        "conv (conv_2d)", "depth (depthwise_conv_2d)", "mean (mean)", "dense (fully_connected)",
        "scores (softmax)",
    ]  # fmt: skip
    assert [layer.channel_axis for layer in found] == [0, 3, None, 0, None]
    assert found[1].inputs[0] == found[0].output


def test_a_fused_name_is_shortened_to_its_first_scope() -> None:
    """The converter joins the names of all that it fused with semicolons."""
    graph = unpack(planted.cnn())
    main = graph.subgraphs[0]
    main.tensors[main.operators[0].outputs[0]].name = b"a/block_1/Relu6;a/block_1/bn;a/b/Conv2D"
    first = next(layers(graph))
    assert first.short_name == "block_1 (conv_2d)"


def test_packing_changes_nothing() -> None:
    """Read and written again, the network gives the same to the last bit."""
    model = planted.cnn()
    again = pack(unpack(model))
    np.testing.assert_array_equal(run(again), run(model))
    assert pack(unpack(again)) == again


def test_constants_are_read_in_their_shape() -> None:
    """A copy for weights; nothing for computed tensors, other types and absent inputs."""
    graph = unpack(planted.cnn())
    conv = next(layers(graph))
    weights = constant(graph, conv.inputs[1])
    assert weights is not None
    assert weights.shape == (8, 3, 3, 3)
    weights[:] = 0
    assert np.any(constant(graph, conv.inputs[1]))
    axes = list(layers(graph))[2].inputs[1]
    assert constant(graph, conv.output) is None
    assert constant(graph, axes) is None
    assert constant(graph, -1) is None


def test_a_constant_is_replaced() -> None:
    """What was set is what is read and what the network computes with."""
    graph = unpack(planted.healthy())
    last = list(layers(graph))[3]
    set_constant(graph, last.inputs[2], np.array([0, 9, 0], np.float32))
    again = unpack(pack(graph))
    np.testing.assert_array_equal(constant(again, last.inputs[2]), [0, 9, 0])
    assert run(pack(graph)).argmax() == 1


def test_a_shared_buffer_stays_that_of_the_others() -> None:
    """Converters store equal constants once; changing one layer's bias leaves the other's."""
    graph = unpack(planted.healthy())
    first, second = (layer.inputs[2] for layer in list(layers(graph))[1:3])
    tensors = graph.subgraphs[0].tensors
    tensors[second].buffer = tensors[first].buffer
    set_constant(graph, first, np.ones(planted.WIDTH, np.float32))
    again = unpack(pack(graph))
    assert constant(again, first).min() == 1  # type: ignore[union-attr]
    assert constant(again, second).max() == 0  # type: ignore[union-attr]


def test_cut_off_behind_a_layer_and_whole_again() -> None:
    """The layer's own output comes out; the graph is as it was afterwards."""
    graph = unpack(complete(planted.cnn()))
    before = pack(graph)
    conv = next(layers(graph))
    cut = ending_at(graph, conv)
    assert run(cut).shape == (1, 8, 8, 8)
    assert [layer.operator for layer in layers(unpack(cut))] == ["CONV_2D"]
    assert pack(graph) == before
    *_, last = layers(graph)
    np.testing.assert_array_equal(run(ending_at(graph, last)), run(before))


def outside(model: bytes) -> bytes:
    """The same with all weights behind the FlatBuffer, as the quantizer leaves them."""
    graph = unpack(model)
    contents: list[Any] = [buffer.data for buffer in graph.buffers]
    for _ in range(2):  # the places are known once the FlatBuffer's own length is
        import flatbuffers

        builder = flatbuffers.Builder(1024)
        builder.Finish(graph.Pack(builder), b"TFL3")
        front = bytes(builder.Output())
        place = (len(front) + 15) // 16 * 16
        behind = b""
        for buffer, content in zip(graph.buffers, contents, strict=True):
            if content is not None:
                buffer.data = None
                buffer.offset, buffer.size = place + len(behind), content.size
                behind += content.tobytes() + bytes(-content.size % 16)
    builder = flatbuffers.Builder(1024)
    builder.Finish(graph.Pack(builder), b"TFL3")
    front = bytes(builder.Output())
    assert (len(front) + 15) // 16 * 16 == place
    return front.ljust(place, b"\0") + behind


def test_weights_behind_the_flatbuffer_come_in() -> None:
    """The same constants and scores, in a file that ``unpack`` takes."""
    model = planted.cnn()
    far = outside(model)
    assert len(far) > len(model) / 2
    with pytest.raises(ModelError, match="outside its FlatBuffer"):
        unpack(far)
    near = gathered(far)
    conv = next(layers(unpack(near)))
    np.testing.assert_array_equal(
        constant(unpack(near), conv.inputs[1]), constant(unpack(model), conv.inputs[1])
    )
    np.testing.assert_array_equal(run(near), run(model))


def test_a_signature_is_added_once() -> None:
    """ "image" in, "scores" out; a model that has one stays as it is, byte for byte."""
    signed = complete(tiny_model())
    interpreter = interpreter_class()(model_content=signed)
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["scores"]}
    }
    assert complete(signed) == signed


def test_several_outputs_are_numbered() -> None:
    """The first is taken for the scores."""
    graph = unpack(planted.cnn())
    mean = list(layers(graph))[2].output
    graph.subgraphs[0].outputs = [*graph.subgraphs[0].outputs, mean]
    interpreter = interpreter_class()(model_content=complete(pack(graph)))
    assert interpreter.get_signature_list()["serving_default"]["outputs"] == ["output_1", "scores"]


def test_every_buffer_lies_on_its_boundary() -> None:
    """Sixteen bytes, which the runtime's aligned loads rely on."""
    model = pack(unpack(planted.cnn()))
    start = np.frombuffer(model, np.uint8).__array_interface__["data"][0]
    found = schema.ModelT.InitFromPackedBuf(model)
    places = [b.data.__array_interface__["data"][0] - start for b in found.buffers
              if b.data is not None and b.data.size]  # fmt: skip
    assert len(places) >= 7
    assert {place % 16 for place in places} == {0}


@pytest.mark.parametrize("garbage", [b"", b"TFL3", b"a" * 50])
def test_what_is_no_model_is_refused(garbage: bytes) -> None:
    with pytest.raises(ModelError, match=r"no \.tflite"):
        unpack(garbage)


def test_a_model_without_a_graph_is_refused() -> None:
    graph = unpack(tiny_model())
    graph.subgraphs = []
    with pytest.raises(ModelError, match="holds no graph"):
        unpack(pack(graph))
