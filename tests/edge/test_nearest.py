"""The training photos in a Bundle: read as sealed, and never more than that."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightpost_edge.bundle import Bundle
from sightpost_edge.contract import Contract
from sightpost_edge.errors import BundleCorrupt
from sightpost_edge.nearest import MAX_NAMES, MEMBER, Examples, Neighbour
from sightpost_edge.novelty import Novelty
from sightpost_edge.pixels import Geometry
from sightpost_edge.testing import tiny_bundle

LABELS = ("a", "b", "c")
CONTRACT = Contract(LABELS, Geometry(16, 16))
CENTRE = np.zeros(5, np.float32)
PROJECTION = np.eye(5, 3, dtype=np.float32)


def made(*, shared: bool = False) -> Examples:
    """A photo along each of three axes and a second one between the first two."""
    points = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0]], np.float32)
    names = ("a/1.jpg", "b/2.jpg", "c/Füchse 3.jpg", "b/4.jpg")
    labels = np.array([0, 1, 2, 1], np.float32)
    return Examples(names, labels, points, CENTRE, PROJECTION, shared)


def space() -> Novelty:
    return Novelty("knn", 0.5, {"centre": CENTRE, "projection": PROJECTION})


def read(content: bytes, novelty: Novelty | None = None, *, features: int = 5) -> Examples | None:
    return Examples.from_bundle(CONTRACT, {MEMBER: content}, novelty, features=features)


def npz(**changes: Any) -> bytes:
    """The arrays of ``made`` with some of them replaced, or left out where None is given."""
    with np.load(io.BytesIO(made().to_npz())) as archive:
        arrays = {name: archive[name] for name in archive.files} | changes
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in arrays.items() if array is not None})
    return buffer.getvalue()


def test_the_nearest_come_first() -> None:
    """By the distance of embeddings whose length does not count."""
    found = made().nearest(np.array([0, 7, 0, 0, 0], np.float32), LABELS, most=2)
    assert found == (
        Neighbour("b", "b/2.jpg", 0.0), Neighbour("b", "b/4.jpg", pytest.approx(0.4**0.5)),
    )  # fmt: skip


def test_fewer_than_asked_for() -> None:
    """Four photos are four neighbours."""
    assert len(made().nearest(np.ones(5, np.float32), LABELS, most=10)) == 4


@pytest.mark.parametrize("shared", [False, True])
def test_what_was_written_is_read(shared: bool) -> None:
    """Names, labels and points; the directions with them or from the Bundle's novelty."""
    again = read(made(shared=shared).to_npz(), space())
    assert again is not None
    assert again.names == made().names
    for name in ("labels", "points", "centre", "projection"):
        np.testing.assert_allclose(getattr(again, name), getattr(made(), name), atol=1e-3)
    assert again.to_npz() == made(shared=shared).to_npz()


def test_nothing_sealed_is_nothing_found() -> None:
    """Imported models have none."""
    assert Examples.from_bundle(CONTRACT, {}, space(), features=5) is None


def test_shared_directions_must_be_there() -> None:
    """A Bundle whose novelty has none cannot share them."""
    for novelty in (None, Novelty("max_score", 0.5, {})):
        with pytest.raises(BundleCorrupt, match="lacks centre, projection"):
            read(made(shared=True).to_npz(), novelty)


HOSTILE = {
    "no zip": b"PK",
    "no names": npz(names=None),
    "a name too few": npz(names=np.frombuffer(b"a\nb\nc", np.uint8)),
    "an escape sequence": npz(names=np.frombuffer(b"a\nb\n\x1b[2J\nd", np.uint8)),
    "letters beyond a byte": npz(names=np.array([97, 300], np.uint16)),
    "too many names": npz(names=np.full(2 * MAX_NAMES, 10, np.uint8)),
    "names in two directions": npz(names=np.zeros((2, 2), np.uint8)),
    "a label too many": npz(labels=np.array([0, 1, 2, 3], np.uint16)),
    "half a label": npz(labels=np.array([0, 0.5, 2, 1])),
    "one label": npz(labels=np.uint16(1)),
    "points of other directions": npz(points=np.zeros((4, 2))),
    "no directions": npz(points=np.zeros((4, 0)), projection=np.zeros((5, 0))),
    "flat points": npz(points=np.zeros(4)),
    "a centre of another model": npz(centre=np.zeros(7)),
    "not finite": npz(points=np.full((4, 3), np.nan)),
    "objects": npz(labels=np.array(["0", "1", "2", "1"])),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_arrays_are_refused(content: bytes) -> None:
    """By one named error, whatever is wrong with them."""
    with pytest.raises(BundleCorrupt, match=r"examples\.npz"):
        read(content)


def test_another_model_than_they_were_made_with() -> None:
    """The network's embedding is of another length."""
    with pytest.raises(BundleCorrupt, match="of shape"):
        read(made().to_npz(), features=6)


def test_a_bundle_proves_them(tmp_path: Path) -> None:
    """They are among the parts whose digests the contract holds; the model gives an embedding."""
    path = tiny_bundle(tmp_path / "tiny.tflite", members={MEMBER: made().to_npz()})
    bundle = Bundle.open(path)
    assert bundle.network.features == 3
    assert MEMBER in bundle.contract.files
    content = bytearray(path.read_bytes())
    content[content.index(b"points.npy") + 150] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleCorrupt):
        Bundle.open(path)
