"""Seals a chosen candidate into one Bundle: metadata, labels, contract and golden frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sightpost_edge import __version__
from sightpost_edge.bundle import Bundle
from sightpost_edge.container import CONTRACT_FILE, LABELS_FILE, with_files
from sightpost_edge.contract import Contract
from sightpost_edge.durable import make_folder, write_file
from sightpost_edge.golden import seal_golden
from sightpost_edge.interpreter import Network
from sightpost_edge.records import Pixels

from .metadata import append_files, attach_metadata

GOLDEN_FRAMES = 6
"""The device recomputes them at every start: six cost about six inferences."""
GOLDEN_LONG_SIDE = 480
"""Pixels: large enough that crop and resize are really exercised, small enough to carry along."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model comes from, in plain records for the contract."""

    name: str
    training: Mapping[str, Any]
    conversion: Mapping[str, Any]


def seal(
    model: bytes, contract: Contract, photos: Sequence[Pixels], provenance: Provenance, out: Path
) -> Bundle:
    """Write the Bundle durably and open it the way a device will.

    Args:
        model: the chosen FlatBuffer.
        contract: labels, geometry, normalisation, kind and golden tolerance.
        photos: (h, w, 3) uint8 R,G,B pictures of any size, to become golden frames.
        provenance: what to record about training and conversion.
        out: the file to write.
    """
    described = attach_metadata(
        model,
        name=provenance.name,
        description=f"Image classifier: {', '.join(contract.labels[:20])}",
        version=__version__,
        author="made with sightpost",
        license="",
        mean=contract.mean,
        std=contract.std,
    )
    files = {LABELS_FILE: "\n".join(contract.labels).encode()}
    frames = {f"golden/{i:02d}.jpg": _jpeg(p) for i, p in enumerate(photos[:GOLDEN_FRAMES])}
    network = Network(described)
    golden = tuple(seal_golden(name, jpeg, contract, network) for name, jpeg in frames.items())
    files.update(frames)
    complete = replace(
        with_files(contract, described, files),
        name=provenance.name,
        golden=golden,
        training=provenance.training,
        conversion=provenance.conversion,
    )
    files[CONTRACT_FILE] = complete.to_json().encode()
    make_folder(out.parent)
    write_file(out, append_files(described, files))
    return Bundle.open(out)


def _jpeg(photo: Pixels) -> bytes:
    """A golden frame as it is stored: a photo, decoded and fitted anew by every device."""
    scale = GOLDEN_LONG_SIDE / max(photo.shape[:2])
    if scale < 1:
        photo = np.asarray(
            cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    _, jpeg = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return bytes(jpeg)
