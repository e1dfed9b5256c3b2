"""Reads from someone else's TFLite Metadata what the court must know: how pixels are scaled.

Slots as in ``metadata``, from ``metadata_schema.fbs`` 1.1.0.
"""

import struct
from collections.abc import Iterator
from typing import Any

import flatbuffers.table
from flatbuffers import number_types as types

from sightpost_edge.errors import ModelError

from .graph import unpack
from .metadata import ENTRY

USUAL = (127.5, 127.5)
"""Mean and deviation in grey levels where a file does not say: [-1, 1], as MobileNets take it."""
MOST = 16
"""Entries of any list that are looked at: a hostile file may state millions."""
NORMALIZATION = 1
"""ProcessUnitOptions of this type are NormalizationOptions."""


def normalisation(model: bytes) -> tuple[float, float]:
    """Mean and standard deviation in grey levels, of the first image input.

    Raises:
        ModelError: they differ from channel to channel, or the metadata is damaged.
    """
    graph = unpack(model)
    blobs = [graph.buffers[e.buffer].data for e in graph.metadata or () if e.name == ENTRY.encode()]
    if not blobs:
        return USUAL
    try:
        found = next(_options(bytes(blobs[0])), None)
    except (struct.error, IndexError, ValueError, TypeError) as exc:
        raise ModelError(f"the model's metadata is damaged ({exc})") from exc
    if not found:
        return USUAL
    mean, std = found
    if len(set(mean)) != 1 or len(set(std)) != 1 or not std[0] > 0:
        raise ModelError(
            f"the model scales each colour its own way (mean {mean}, deviation {std})",
            hint="sightpost takes one mean and one deviation for all three",
        )
    return mean[0], std[0]


def _options(blob: bytes) -> Iterator[tuple[list[float], list[float]]]:
    """Every NormalizationOptions {mean:0 std:1} of the first input of the first graph."""
    root = flatbuffers.table.Table(blob, struct.unpack_from("<I", blob)[0])
    for graph in _tables(root, 3):  # ModelMetadata.subgraph_metadata
        for tensor in _tables(graph, 2):  # SubGraphMetadata.input_tensor_metadata
            for unit in _tables(tensor, 4):  # TensorMetadata.process_units
                kind = unit.Offset(4)  # ProcessUnit.options_type
                place = unit.Offset(6)  # ProcessUnit.options
                if kind and place and unit.Get(types.Uint8Flags, unit.Pos + kind) == NORMALIZATION:
                    options = flatbuffers.table.Table(blob, unit.Indirect(unit.Pos + place))
                    yield _floats(options, 0), _floats(options, 1)


def _tables(table: Any, slot: int) -> list[Any]:
    """The vector of tables in a slot."""
    place = table.Offset(4 + 2 * slot)
    if not place:
        return []
    start, count = table.Vector(place), min(table.VectorLen(place), MOST)
    return [
        flatbuffers.table.Table(table.Bytes, table.Indirect(start + 4 * i)) for i in range(count)
    ]


def _floats(table: Any, slot: int) -> list[float]:
    place = table.Offset(4 + 2 * slot)
    if not place:
        return []
    start, count = table.Vector(place), min(table.VectorLen(place), MOST)
    return [round(float(v), 6) for v in struct.unpack_from(f"<{count}f", table.Bytes, start)]
