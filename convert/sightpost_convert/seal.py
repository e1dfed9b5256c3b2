"""Seals a chosen candidate into one Bundle: metadata, labels, contract, golden frames, arrays."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sightpost_edge import __version__
from sightpost_edge.bundle import Bundle
from sightpost_edge.container import CONTRACT_FILE, LABELS_FILE, with_files
from sightpost_edge.contract import Contract
from sightpost_edge.durable import make_folder, sync_folder, write_file
from sightpost_edge.errors import writing_to
from sightpost_edge.golden import seal_golden
from sightpost_edge.interpreter import Network
from sightpost_edge.nearest import MEMBER as EXAMPLES_MEMBER
from sightpost_edge.nearest import Examples
from sightpost_edge.novelty import MEMBER, Novelty
from sightpost_edge.pixels import Geometry
from sightpost_edge.records import Pixels
from sightpost_edge.tried import remember

from .metadata import append_files, attach_metadata


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model comes from, in plain records for the contract.

    ``localized`` gives the labels in other languages, by language tag, for display.
    """

    name: str
    training: Mapping[str, Any]
    conversion: Mapping[str, Any]
    localized: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def seal(
    model: bytes, contract: Contract, frames: Iterable[tuple[str, Pixels]],
    provenance: Provenance, out: Path,
    *, novelty: Novelty | None = None, examples: Examples | None = None,
) -> Bundle:  # fmt: skip
    """Write the Bundle durably and open it the way a device will, every golden frame included.

    Args:
        model: the chosen FlatBuffer.
        contract: labels, geometry, normalisation, kind, delegate and golden tolerance.
        frames: names and (h, w, 3) uint8 R,G,B pictures of any size, to become golden frames, the
            most telling first.
        provenance: what to record about training and conversion.
        out: the file to write.
        novelty: how to tell novel pictures, with the threshold that goes with this model.
        examples: training photos as this model sees them.
    """
    described = _described(model, contract, provenance)
    files = {LABELS_FILE: "\n".join(contract.labels).encode()}
    for locale, words in provenance.localized.items():
        files[_labels_in(locale)] = "\n".join(words).encode()
    golden = {f"golden/{name}.jpg": _jpeg(picture, contract.geometry) for name, picture in frames}
    network = Network(described, delegate=contract.delegate)
    sealed = tuple(seal_golden(name, jpeg, contract, network) for name, jpeg in golden.items())
    files.update(golden)
    if novelty is not None and novelty.parameters:
        files[MEMBER] = novelty.to_npz()
    if examples is not None:
        files[EXAMPLES_MEMBER] = examples.to_npz()
    complete = replace(
        with_files(contract, described, files),
        name=provenance.name,
        golden=sealed,
        training=provenance.training,
        conversion=provenance.conversion,
    )
    files[CONTRACT_FILE] = complete.to_json().encode()
    remember(described, contract.delegate)
    return _proven(append_files(described, files), out)


def _described(model: bytes, contract: Contract, provenance: Provenance) -> bytes:
    return attach_metadata(
        model,
        name=provenance.name,
        description=f"Image classifier: {', '.join(contract.labels[:20])}",
        version=__version__,
        author="made with sightpost",
        license="",
        mean=contract.mean,
        std=contract.std,
        locales={locale: _labels_in(locale) for locale in provenance.localized},
    )


def _labels_in(locale: str) -> str:
    return f"labels_{locale}.txt"


def _proven(content: bytes, out: Path) -> Bundle:
    """Write, open as a device does, and only then put it in the place of what was there."""
    make_folder(out.parent)
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        write_file(beside, content)
        bundle = Bundle.open(beside, every_golden=True)
        with writing_to(out):
            os.replace(beside, out)
            sync_folder(out.parent)
    finally:
        beside.unlink(missing_ok=True)
    return replace(bundle, path=out)


def _jpeg(picture: Pixels, geometry: Geometry) -> bytes:
    """A golden frame as it is stored: decoded, cropped and scaled anew by every device.

    At most 1.5 times the input on its short side: still resized, and small enough to carry along.
    """
    scale = 1.5 * max(geometry.width, geometry.height) / min(picture.shape[:2])
    if scale < 1:
        picture = np.asarray(
            cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    _, jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return bytes(jpeg)
