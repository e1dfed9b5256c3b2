"""The standard metadata: written as the schema says, read back by slot, the graph untouched."""

import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types as number
from flatbuffers.table import Table
from numpy.typing import NDArray

from sightpost_convert.metadata import append_files, attach_metadata
from sightpost_edge.container import model_part
from sightpost_edge.errors import ModelError
from sightpost_edge.interpreter import interpreter_class

pytestmark = pytest.mark.workshop

SIZE, CLASSES = 16, 5
LABELS = ("tulip", "daisy", "Ärmel", "daisy 2", "a b")
FILES = {"labels.txt": "\n".join(LABELS).encode(), "contract.json": b"{}", "golden/0.jpg": b"a"}


def attach(model: bytes, **changes: Any) -> bytes:
    words: dict[str, Any] = {"name": "flowers", "description": "five flowers", "version": "1.2"}
    words |= {"author": "Anna Müller", "license": "CC-BY-4.0", "mean": 127.5, "std": 64}
    return attach_metadata(model, **{**words, **changes})


@pytest.fixture(scope="module")
def models() -> Mapping[str, bytes]:
    """A convolution with the outputs "scores" and "embedding", float32 and quantized to uint8."""
    import tensorflow as tf

    draw = np.random.default_rng(1)
    kernel = draw.normal(0, 0.3, (3, 3, 3, 7)).astype(np.float32)
    head = draw.normal(0, 1, (7, CLASSES)).astype(np.float32)

    def serve(image: Any) -> dict[str, Any]:
        pooled = tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(image, kernel, 2, "SAME")), (1, 2))
        return {"scores": tf.nn.softmax(pooled @ head), "embedding": pooled}

    image = tf.TensorSpec((1, SIZE, SIZE, 3), tf.float32, name="image")
    function = tf.function(serve, input_signature=[image]).get_concrete_function()

    def convert(quantize: bool) -> bytes:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
        if quantize:
            shape = (1, SIZE, SIZE, 3)
            samples = [draw.uniform(-1, 1, shape).astype(np.float32) for _ in range(8)]
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([sample] for sample in samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.uint8
        return bytes(converter.convert())

    return {"float32": convert(quantize=False), "uint8": convert(quantize=True)}


@pytest.fixture(params=["float32", "uint8"])
def model(request: pytest.FixtureRequest, models: Mapping[str, bytes]) -> bytes:
    return models[request.param]


def run(model: bytes) -> list[NDArray[Any]]:
    """Every output of the graph for one fixed picture."""
    interpreter = interpreter_class()(model_content=model)
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    levels = np.random.default_rng(3).integers(0, 256, taken["shape"])
    scaled = levels / 127.5 - 1 if taken["dtype"] == np.float32 else levels
    interpreter.set_tensor(taken["index"], scaled.astype(taken["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(o["index"]) for o in interpreter.get_output_details()]


def unpack(model: bytes) -> Any:
    return schema.ModelT.InitFromPackedBuf(model)


def repack(graph: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(graph.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def entries(model: bytes) -> list[tuple[str, bytes]]:
    """(name, content) of each metadata entry of the model."""
    graph = unpack(model)
    return [(e.name.decode(), bytes(graph.buffers[e.buffer].data)) for e in graph.metadata or ()]


@dataclass(frozen=True, slots=True)
class Fields:
    """A table of the metadata FlatBuffer, read by slot: a second look at the layout."""

    table: Table

    @classmethod
    def of(cls, model: bytes) -> "Fields":
        blob = dict(entries(model))["TFLITE_METADATA"]
        assert blob[4:8] == b"M001"
        return cls(Table(blob, struct.unpack_from("<I", blob)[0]))

    def _at(self, slot: int) -> int:
        return int(self.table.Offset(4 + 2 * slot))

    def byte(self, slot: int) -> int:
        at = self._at(slot)
        return int(self.table.Get(number.Uint8Flags, self.table.Pos + at)) if at else 0

    def text(self, slot: int) -> str:
        return str(self.table.String(self.table.Pos + self._at(slot)), "utf-8")

    def floats(self, slot: int) -> list[float]:
        return list(self.table.GetVectorAsNumpy(number.Float32Flags, self._at(slot)))

    def one(self, slot: int) -> "Fields":
        return Fields(Table(self.table.Bytes, self.table.Indirect(self.table.Pos + self._at(slot))))

    def many(self, slot: int) -> list["Fields"]:
        at = self._at(slot)
        first, count = (self.table.Vector(at), self.table.VectorLen(at)) if at else (0, 0)
        places = [self.table.Indirect(first + 4 * i) for i in range(count)]
        return [Fields(Table(self.table.Bytes, place)) for place in places]


def test_the_graph_computes_the_same_as_before(model: bytes) -> None:
    """Metadata and files are ballast: every output stays equal to the last bit."""
    before = run(model)
    for packed in (attach(model), append_files(attach(model), FILES)):
        for old, new in zip(before, run(packed), strict=True):
            np.testing.assert_array_equal(old, new)


def test_words_come_back(model: bytes) -> None:
    """Name, description, version, author, licence and the oldest parser stand in their slots."""
    meta = Fields.of(attach(model))
    written = [meta.text(slot) for slot in (0, 1, 2, 4, 5, 7)]
    assert written == ["flowers", "five flowers", "1.2", "Anna Müller", "CC-BY-4.0", "1.0.0"]


def test_the_input_is_an_rgb_image_with_its_normalisation(models: Mapping[str, bytes]) -> None:
    """One mean, one standard deviation, and the range in the tensor's own numbers."""
    ranges = {"float32": ([-1.9921875], [1.9921875]), "uint8": ([0.0], [255.0])}
    for kind, (low, high) in ranges.items():
        (image,) = Fields.of(attach(models[kind])).many(3)[0].many(2)
        assert (image.text(0), image.one(3).byte(0), image.one(3).one(1).byte(0)) == ("image", 2, 1)
        (unit,) = image.many(4)
        assert (unit.byte(0), unit.one(1).floats(0), unit.one(1).floats(1)) == (1, [127.5], [64.0])
        assert (image.one(5).floats(1), image.one(5).floats(0)) == (low, high)


@pytest.mark.parametrize("swap", [False, True])
def test_outputs_are_described_in_the_order_of_the_graph(model: bytes, swap: bool) -> None:
    """The signature names each output, whatever the converter's order; labels go to "scores"."""
    graph = unpack(model)
    if swap:
        graph.subgraphs[0].outputs = graph.subgraphs[0].outputs[::-1].copy()
    widths = [graph.subgraphs[0].tensors[i].shape[-1] for i in graph.subgraphs[0].outputs]
    heads = Fields.of(attach(repack(graph))).many(3)[0].many(3)
    names = {CLASSES: "scores", 7: "embedding"}
    assert [head.text(0) for head in heads] == [names[int(width)] for width in widths]
    for head in heads:
        files = [(f.text(0), f.byte(2)) for f in head.many(6)]
        assert files == ([("labels.txt", 2)] if head.text(0) == "scores" else [])
        assert head.one(3).byte(0) == 1


def test_labels_in_other_languages_follow_the_first_file(model: bytes) -> None:
    """Each names its locale; the file without one comes first and stays the identity."""
    packed = attach(model, locales={"de": "labels_de.txt", "pt-BR": "labels_pt-BR.txt"})
    for head in Fields.of(packed).many(3)[0].many(3):
        files = [(f.text(0), f.byte(2), f._at(3) and f.text(3)) for f in head.many(6)]
        expected = [("labels.txt", 2, 0), ("labels_de.txt", 2, "de"),
                    ("labels_pt-BR.txt", 2, "pt-BR")]  # fmt: skip
        assert files == (expected if head.text(0) == "scores" else [])


def test_one_output_is_the_scores_whatever_its_name(model: bytes) -> None:
    """A model from elsewhere needs no signature."""
    graph = unpack(model)
    graph.subgraphs[0].outputs = graph.subgraphs[0].outputs[:1].copy()
    graph.signatureDefs = None
    (head,) = Fields.of(attach(repack(graph), labels_file="names.txt")).many(3)[0].many(3)
    assert (head.text(0), head.many(6)[0].text(0)) == ("scores", "names.txt")


def test_other_entries_stay_and_the_old_one_is_replaced(model: bytes) -> None:
    """The converter's metadata survives; attaching twice leaves one entry and no dead buffer."""
    once = attach(model)
    twice = attach(attach(model, name="an older name, longer than the new one"))
    assert [e for e in entries(once) if e[0] != "TFLITE_METADATA"] == entries(model)
    assert {name for name, _ in entries(model)} >= {"min_runtime_version"}
    assert entries(twice) == entries(once)
    assert len(unpack(twice).buffers) == len(unpack(model).buffers) + 1


def test_every_buffer_is_aligned(model: bytes) -> None:
    """TFLite's schema promises 16 bytes; the generated packing code alone breaks it."""
    packed = attach(model)
    view = np.frombuffer(packed, np.uint8)
    start = view.__array_interface__["data"][0]
    buffers = [b.data for b in unpack(packed).buffers if b.data is not None and b.data.size]
    offsets = [b.__array_interface__["data"][0] - start for b in buffers]
    assert [offset % 16 for offset in offsets] == [0] * len(offsets)


def test_files_are_stored_in_order_behind_the_model(model: bytes) -> None:
    """MediaPipe refuses deflated members; labels keep their order; the model part stays whole."""
    described = attach(model)
    whole = append_files(described, FILES)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
        assert archive.namelist() == list(FILES)
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        first = archive.infolist()[0].header_offset
    assert whole[:first] == described == model_part(whole)
    labels = whole[whole.index(FILES["labels.txt"]) :][: len(FILES["labels.txt"])]
    assert tuple(labels.decode().split("\n")) == LABELS


def test_offsets_count_from_the_start_of_the_file(model: bytes) -> None:
    """So unzip lists the file without a warning about extra bytes at its beginning."""
    whole = append_files(model, FILES)
    end = whole.rindex(b"PK\5\6")
    size, offset = struct.unpack_from("<II", whole, end + 12)
    assert offset + size == end
    assert whole[offset : offset + 4] == b"PK\1\2"


def test_output_is_reproducible(model: bytes) -> None:
    """The same parts give the same bytes: no clock, no user, no machine in them."""
    whole = append_files(attach(model), FILES)
    assert whole == append_files(attach(model), FILES)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("garbage", [b"", b"TFL3", b"no model at all", b"PK\3\4" + b"0" * 99])
def test_what_is_no_tflite_is_refused(garbage: bytes) -> None:
    with pytest.raises(ModelError, match=r"no \.tflite"):
        attach(garbage)
    with pytest.raises(ModelError, match=r"no \.tflite"):
        append_files(garbage, FILES)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6])
def test_a_model_cut_short_is_refused(model: bytes, share: float) -> None:
    with pytest.raises(ModelError, match="damaged"):
        attach(model[: int(len(model) * share)])


def test_appended_files_are_never_lost_silently(model: bytes) -> None:
    """Metadata after the files would drop them, a second zip would hide the first."""
    whole = append_files(model, FILES)
    with pytest.raises(ModelError, match="already appended"):
        attach(whole)
    with pytest.raises(ModelError, match="already appended"):
        append_files(whole, {"more.txt": b""})


def test_a_graph_that_is_no_image_classifier_is_refused(model: bytes) -> None:
    grey = unpack(model)
    grey.subgraphs[0].tensors[grey.subgraphs[0].inputs[0]].shape = np.array([1, 9], np.int32)
    with pytest.raises(ModelError, match="not one RGB image"):
        attach(repack(grey))
    nameless = unpack(model)
    nameless.signatureDefs = None
    with pytest.raises(ModelError, match="none of them 'scores'"):
        attach(repack(nameless))


def test_weights_outside_the_flatbuffer_are_refused(model: bytes) -> None:
    """They are found by absolute position, which the metadata would shift."""
    graph = unpack(model)
    graph.buffers[2].offset, graph.buffers[2].size = 4096, 64
    with pytest.raises(ModelError, match="outside its FlatBuffer"):
        attach(repack(graph))
