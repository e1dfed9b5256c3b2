"""Writes what a .tflite means into the file itself, so that MediaPipe and Android read it too.

The standard is TFLite Model Metadata: a small FlatBuffer of its own, kept as one more buffer of the
model under the name TFLITE_METADATA, and a zip behind the model for the files that it names. Slots
below are those of ``metadata_schema.fbs``, version 1.1.0 (tensorflow_lite_support/metadata in
https://github.com/tensorflow/tflite-support). The code that the FlatBuffers compiler makes from it
ships only in packages with heavy needs of their own, so the few fields are written by slot number;
``tests/interop`` lets MediaPipe read the result.
"""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from sightpost_edge.container import LABELS_FILE
from sightpost_edge.errors import ModelError

from .graph import pack, refuse_other, unpack

ENTRY = "TFLITE_METADATA"
IDENTIFIER = b"M001"
MIN_PARSER_VERSION = "1.0.0"
"""The oldest reader that knows every field written here: none came after schema 1.0.0."""
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The zip format's earliest time: two runs over the same files give the same bytes."""


def attach_metadata(
    model: bytes,
    *,
    name: str,
    description: str,
    version: str,
    author: str,
    license: str,
    mean: float,
    std: float,
    labels_file: str = LABELS_FILE,
    locales: Mapping[str, str] | None = None,
) -> bytes:
    """The same model, saying what it takes and what its scores mean.

    Args:
        model: a FlatBuffer as the converter wrote it: one RGB image in, class scores out. With more
            than one output the signature tells which is "scores"; the others keep their names.
        name, description, version, author, license: free text for people.
        mean, std: normalisation in grey levels as in the contract; 127.5 and 127.5 give [-1, 1].
        labels_file: the member that ``append_files`` must be given, one label per line in the order
            of the scores.
        locales: language tag -> the member with the labels in that language, for display.

    Returns:
        The FlatBuffer with metadata. Other metadata entries are kept, an older one of this kind is
        replaced, graph and weights are unchanged.

    Raises:
        ModelError: not a .tflite, damaged, files already appended, or not an image classifier.
    """
    graph = unpack(model)
    inputs = [_image(graph, mean, std)]
    outputs = _heads(graph, labels_file, locales or {})
    # ModelMetadata {name:0 description:1 version:2 subgraph_metadata:3 author:4 license:5
    # min_parser_version:7}, SubGraphMetadata {input_tensor_metadata:2 output_tensor_metadata:3}
    words = {0: name, 1: description, 2: version, 4: author, 5: license, 7: MIN_PARSER_VERSION}
    _put(graph, _encode({**words, 3: [{2: inputs, 3: outputs}]}))
    return pack(graph)


def append_files(model: bytes, files: Mapping[str, bytes]) -> bytes:
    """The model with ``files`` behind it as a zip, in the order given.

    Members are stored, not deflated: MediaPipe reads them in place and refuses anything else.
    Offsets count from the start of the whole file, so ``unzip -l`` has nothing to remark.

    Raises:
        ModelError: not a .tflite, or files are appended already.
    """
    refuse_other(model)
    whole = io.BytesIO()
    whole.write(model)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, LONG_AGO)
            member.create_system = 3  # Unix on every machine, or the bytes would differ on Windows
            member.external_attr = 0o644 << 16
            archive.writestr(member, content, zipfile.ZIP_STORED)
    return whole.getvalue()


def _put(graph: Any, blob: bytes) -> None:
    """Store ``blob`` as the only entry of this name."""
    entries = graph.metadata or []
    old = [entry.buffer for entry in entries if entry.name == ENTRY.encode()]
    index = old[0] if old else len(graph.buffers)
    graph.buffers[index : index + 1] = [schema.BufferT(data=np.frombuffer(blob, np.uint8))]
    others = [entry for entry in entries if entry.name != ENTRY.encode()]
    graph.metadata = [*others, schema.MetadataT(name=ENTRY, buffer=index)]


# --- The metadata itself: a table is a dict of {slot: value}, the slots named as in the schema.


def _image(graph: Any, mean: float, std: float) -> dict[int, Any]:
    """TensorMetadata of the picture."""
    main = graph.subgraphs[0]
    tensors = [main.tensors[i] for i in main.inputs]
    shapes = [[int(n) for n in tensor.shape] for tensor in tensors]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][3] != 3:
        raise ModelError(f"the model takes {shapes}, not one RGB image [1, height, width, 3]")
    return {
        0: "image",  # name
        1: "R,G,B picture, levels 0 to 255 before the normalisation given",  # description
        # content: Content {content_properties_type:0 content_properties:1}, where type 2 is
        # ImageProperties {color_space:0} and colour space 1 is RGB
        3: {0: 2, 1: {0: 1}},
        # process_units: ProcessUnit {options_type:0 options:1}, where type 1 is
        # NormalizationOptions {mean:0 std:1}, in grey levels
        4: [{0: 1, 1: {0: (mean,), 1: (std,)}}],
        5: _stats(tensors[0], (0 - mean) / std, (255 - mean) / std),  # stats
    }


def _heads(graph: Any, labels_file: str, locales: Mapping[str, str]) -> list[dict[int, Any]]:
    """TensorMetadata of each output, in the graph's order: readers match by position only."""
    main = graph.subgraphs[0]
    indices = [int(i) for i in main.outputs]
    names = {indices[0]: "scores"} if len(indices) == 1 else _signature(graph)
    if "scores" not in names.values():
        raise ModelError(
            "the model has several outputs and its signature calls none of them 'scores'",
            hint="export the outputs as a dict: {'scores': ..., 'embedding': ...}",
        )
    feature = {0: 1, 1: {}}  # Content of type 1, FeatureProperties {}
    heads = []
    for index in indices:
        name = names.get(index, f"output_{index}")
        head = {0: name, 1: "a further output of the network", 3: feature}
        if name == "scores":
            head[1] = f"probability of each class, in the order of {labels_file}"
            head[5] = _stats(main.tensors[index], 0.0, 1.0)
            # associated_files: AssociatedFile {name:0 description:1 type:2}, 2 TENSOR_AXIS_LABELS
            files: list[dict[int, Any]] = [{0: labels_file, 1: "one class name per line", 2: 2}]
            # locale:3; readers show these names and keep to the first file for identity.
            files += [
                {0: file, 1: "the same, to be shown", 2: 2, 3: locale}
                for locale, file in locales.items()
            ]
            head[6] = files
        heads.append(head)
    return heads


def _signature(graph: Any) -> dict[int, str]:
    """Tensor index -> output name; converters may reorder outputs, the signature keeps track."""
    first = (graph.signatureDefs or ())[:1]
    return {int(o.tensorIndex): o.name.decode() for signature in first for o in signature.outputs}


def _stats(tensor: Any, low: float, high: float) -> dict[int, Any]:
    """Stats {max:0 min:1} in the tensor's own numbers; (low, high) where it is not quantized."""
    quantized = {schema.TensorType.UINT8: (0.0, 255.0), schema.TensorType.INT8: (-128.0, 127.0)}
    low, high = quantized.get(tensor.type, (low, high))
    return {0: (high,), 1: (low,)}


def _encode(table: Mapping[int, Any]) -> bytes:
    builder = flatbuffers.Builder(2048)
    builder.Finish(_write(builder, table), IDENTIFIER)
    return bytes(builder.Output())


def _write(builder: Any, table: Mapping[int, Any]) -> int:
    """One table: int is a byte, str a string, dict a table, tuple floats, list tables."""
    offsets = {slot: _child(builder, v) for slot, v in table.items() if not isinstance(v, int)}
    builder.StartObject(max(table, default=-1) + 1)
    for slot, value in table.items():
        if isinstance(value, int):
            builder.PrependUint8Slot(slot, value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
    return int(builder.EndObject())


def _child(builder: Any, value: Any) -> int:
    """Whatever a table points at; the result is its place in the FlatBuffer."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, Mapping):
        return _write(builder, value)
    if isinstance(value, tuple):
        return int(builder.CreateNumpyVector(np.array(value, np.float32)))
    offsets = [_write(builder, table) for table in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):  # a FlatBuffer grows from its end
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
