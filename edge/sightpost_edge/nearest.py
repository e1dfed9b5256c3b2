"""The training photos that a picture is most like: a few travel in the Bundle as arrays."""

import io
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .contract import Contract
from .errors import BundleCorrupt
from .novelty import EMBEDDING_METHODS, Floats, Novelty, read_arrays, unit

MEMBER = "examples.npz"
"""The arrays' name inside a Bundle."""
ARRAYS = ("names", "labels", "points")
MAX_NAMES = 1000
NEAREST = 5
CONTROL = ("Cc", "Cs", "Zl", "Zp")
"""Categories of characters that have no business in a name."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training photo; ``distance`` is between embeddings of length 1, so at most 2."""

    label: str
    name: str
    distance: float


@dataclass(frozen=True, slots=True)
class Examples:
    """Some training photos as the sealed model sees them.

    ``names`` are paths within the training folder, ``labels`` indices (n,) of the contract's,
    ``points`` (n, directions) the embeddings, scaled to length 1, within the main directions
    ``projection`` (features, directions) about ``centre`` (features,). ``shared``: these two are
    those of the Bundle's novelty and not written twice.
    """

    names: tuple[str, ...]
    labels: Floats = field(repr=False)
    points: Floats = field(repr=False)
    centre: Floats = field(repr=False)
    projection: Floats = field(repr=False)
    shared: bool = False

    def nearest(
        self, embedding: Floats, labels: tuple[str, ...], *, most: int = NEAREST
    ) -> tuple[Neighbour, ...]:
        """The photos most like an ``embedding`` (features,), nearest first."""
        within = (unit(embedding[None]) - self.centre) @ self.projection
        distances = np.linalg.norm(self.points - within, axis=1)
        return tuple(
            Neighbour(labels[int(self.labels[row])], self.names[row], float(distances[row]))
            for row in np.argsort(distances, kind="stable")[:most]
        )

    def to_npz(self) -> bytes:
        """The arrays as the Bundle carries them; the same bytes each time."""
        text = "\n".join(self.names).encode("utf-8", "replace")
        arrays = {
            "names": np.frombuffer(text, np.uint8),
            "labels": self.labels.astype(np.uint16),
            "points": self.points.astype(np.float16),
        }
        if not self.shared:
            arrays["centre"] = self.centre.astype(np.float16)
            arrays["projection"] = self.projection.astype(np.float16)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bundle(
        cls,
        contract: Contract,
        files: Mapping[str, bytes],
        novelty: Novelty | None,
        *,
        features: int,
    ) -> "Examples | None":
        """What travels in the Bundle, or None where nothing does.

        Args:
            contract: the Bundle's.
            files: its members.
            novelty: its way of telling novel pictures, whose directions may be shared.
            features: length of the network's embedding.

        Raises:
            BundleCorrupt: the arrays are not what the model and the contract need.
        """
        if MEMBER not in files:
            return None
        arrays = read_arrays(files[MEMBER], MEMBER)
        shared = "projection" not in arrays
        if shared and novelty is not None and novelty.method in EMBEDDING_METHODS:
            arrays = {**novelty.parameters, **arrays}
        if missing := [n for n in (*ARRAYS, "centre", "projection") if n not in arrays]:
            raise BundleCorrupt(f"{MEMBER} lacks {', '.join(missing)}")
        names = _names(arrays["names"])
        _check(arrays, len(names), len(contract.labels), features)
        return cls(
            names, arrays["labels"], arrays["points"], arrays["centre"], arrays["projection"],
            shared,
        )  # fmt: skip


def _names(array: Floats) -> tuple[str, ...]:
    """One name a line; they reach terminals, so nothing in them may move a cursor."""
    if array.ndim != 1 or ((array < 0) | (array > 255)).any():
        raise BundleCorrupt(f"{MEMBER}: names are no text")
    text = array.astype(np.uint8).tobytes().decode("utf-8", "replace")
    names = tuple(text.split("\n"))
    if len(names) > MAX_NAMES:
        raise BundleCorrupt(f"{MEMBER} names more than {MAX_NAMES} photos")
    if any(unicodedata.category(c) in CONTROL for name in names for c in name):
        raise BundleCorrupt(f"{MEMBER}: a name holds a control character")
    return names


def _check(arrays: Mapping[str, Floats], photos: int, classes: int, features: int) -> None:
    labels, points = arrays["labels"], arrays["points"]
    directions = points.shape[-1] if points.ndim == 2 else 0
    wanted = {
        "labels": (photos,), "points": (photos, directions), "centre": (features,),
        "projection": (features, directions),
    }  # fmt: skip
    for name, shape in wanted.items():
        if arrays[name].shape != shape or 0 in shape:
            raise BundleCorrupt(f"{MEMBER}: {name} of shape {arrays[name].shape}, not {shape}")
    if ((labels < 0) | (labels >= classes) | (labels != np.floor(labels))).any():
        raise BundleCorrupt(f"{MEMBER} names labels that the contract does not have")
