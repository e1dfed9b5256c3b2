"""How unlike everything it was trained on a picture is, from what the network made of it."""

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import Contract
from .errors import BundleCorrupt

Floats = NDArray[np.floating[Any]]
Parameters = Mapping[str, Floats]

MEMBER = "novelty.npz"
"""The arrays' name inside a Bundle."""
EMBEDDING_METHODS = ("gaussian", "knn")
NEAREST = {"gaussian": 1, "knn": 3}
"""Which nearest point counts; a third photo, since a single odd one in training is no company."""
ARRAYS = {
    "gaussian": ("centre", "projection", "whitening", "points", "weight"),
    "knn": ("centre", "projection", "whitening", "points", "weight"),
    "energy": (),
    "max_score": (),
}
SHAPES = {
    "centre": "f", "projection": "fd", "whitening": "de", "points": "ne", "weight": "1",
    "labels": "n", "kernel": "fc", "bias": "c",
}  # fmt: skip
"""Sides of each array: f features, c classes, n points; equal letters must be equal figures."""
MAX_BYTES = 8 * 1024 * 1024
_UNREADABLE = (
    ValueError, OSError, EOFError, LookupError, TypeError, ArithmeticError, RuntimeError,
    MemoryError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What zipfile and numpy raise at damaged arrays: by their headers, not by intent."""
TINY = 1e-7
"""Scores of 0 and 1 are kept this far from the ends when they are turned back into logits."""


def score(
    method: str,
    parameters: Parameters,
    embeddings: Floats,
    logits: Floats,
    *,
    multi_label: bool = False,
) -> Floats:
    """How novel each photo is, (n,), greater is more; (n, features) and (n, classes) given.

    max_score: 1 - greatest score (Hendrycks, Gimpel 2017, arXiv:1610.02136).
    energy: -log sum exp of the logits (Liu et al. 2020, arXiv:2010.03759), or with sigmoids the
    sum over labels (Wang et al. 2021, arXiv:2103.15726).
    gaussian: Mahalanobis distance to the nearest class mean (Lee et al. 2018, arXiv:1807.03888).
    knn: distance to the third-nearest training photo (Sun et al. 2022, arXiv:2204.06507).
    The last two on embeddings of length 1, as a distance within the main directions of the
    training photos plus what lies outside these (Wang et al. 2022, arXiv:2203.10807), without
    which five flowers against other photos fall from 0.9-1.0 to 0.6-0.9.
    """
    if method == "max_score":
        return np.asarray(1 - _probabilities(logits, multi_label=multi_label).max(axis=1))
    if method == "energy":
        if multi_label:
            return np.asarray(-np.logaddexp(0, logits).sum(axis=1))
        return np.asarray(-np.logaddexp.reduce(logits, axis=1))
    centred = unit(embeddings) - parameters["centre"]
    within = centred @ parameters["projection"]
    outside = (centred**2).sum(axis=1) - (within**2).sum(axis=1)
    within, points = within @ parameters["whitening"], parameters["points"]
    squared = (within**2).sum(axis=1)[:, None] - 2 * within @ points.T + (points**2).sum(axis=1)
    nearest = min(NEAREST[method], len(points)) - 1
    inside = np.partition(squared, nearest, axis=1)[:, nearest]
    return np.asarray(inside + parameters["weight"] * outside)


def unit(embeddings: Floats) -> Floats:
    """Rows scaled to length 1."""
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray(embeddings / np.maximum(length, 1e-12))


@dataclass(frozen=True, slots=True)
class Novelty:
    """Tells pictures of other things from pictures of known ones.

    A picture is novel where its score exceeds ``threshold``. ``parameters`` are those of ``score``,
    and for "energy" of a softmax the head's ``kernel`` (features, classes) and ``bias``: logits
    cannot be had from probabilities.
    """

    method: str
    threshold: float
    parameters: Parameters = field(repr=False)
    multi_label: bool = False

    def scores(self, embeddings: Floats | None, scores: Floats) -> Floats:
        """How novel each picture is, (n,); (n, features) and (n, classes) given."""
        if embeddings is None:
            embeddings = np.zeros((len(scores), 0), np.float32)
        logits = self._logits(embeddings, scores)
        return score(self.method, self.parameters, embeddings, logits, multi_label=self.multi_label)

    def without(self, label: int) -> "Novelty | None":
        """The same with one label unknown to it, for scores that lack its column.

        None where too little is left, or where the arrays do not say which label they belong to.
        """
        parameters = dict(self.parameters)
        if self.method in EMBEDDING_METHODS:
            points = parameters["points"]
            owners: NDArray[Any] | None = parameters.get("labels")
            if owners is None and self.method == "gaussian":
                owners = np.arange(len(points))
            if owners is None or len(owners) != len(points) or not (owners != label).any():
                return None
            parameters["points"] = points[owners != label]
            parameters["labels"] = owners[owners != label]
        if "kernel" in parameters:
            parameters["kernel"] = np.delete(parameters["kernel"], label, axis=1)
            parameters["bias"] = np.delete(parameters["bias"], label)
        return replace(self, parameters=parameters)

    def to_npz(self) -> bytes:
        """The arrays as the Bundle carries them; the same bytes each time."""
        buffer = io.BytesIO()
        np.savez(buffer, **self.parameters)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bundle(
        cls, contract: Contract, files: Mapping[str, bytes], *, features: int | None = None
    ) -> "Novelty | None":
        """What the contract promises, or None where it promises nothing.

        Args:
            contract: its ``novelty`` names method and threshold.
            files: the Bundle's members.
            features: length of the network's embedding, 0 without one; None leaves it unchecked.

        Raises:
            BundleCorrupt: the arrays are missing, or not what the method and the model need.
        """
        method, threshold = contract.novelty.get("method"), contract.novelty.get("threshold")
        if method not in ARRAYS or not isinstance(threshold, (int, float)):
            return None
        if not math.isfinite(threshold):
            raise BundleCorrupt(f"contract.json states a novelty threshold of {threshold}")
        if method in EMBEDDING_METHODS and MEMBER not in files:
            return None
        parameters = read_arrays(files[MEMBER]) if MEMBER in files else {}
        _check_complete(method, parameters, multi_label=contract.multi_label)
        _check_shapes(method, parameters, len(contract.labels), features)
        return cls(method, float(threshold), parameters, contract.multi_label)

    def _logits(self, embeddings: Floats, scores: Floats) -> Floats:
        if "kernel" in self.parameters:
            return np.asarray(embeddings @ self.parameters["kernel"] + self.parameters["bias"])
        if self.multi_label:
            kept = np.clip(scores, TINY, 1 - TINY)
            return np.asarray(np.log(kept) - np.log1p(-kept))
        return np.asarray(np.log(np.maximum(scores, TINY)))


def _check_complete(method: str, parameters: Parameters, *, multi_label: bool) -> None:
    needed = list(ARRAYS[method])
    if "kernel" in parameters or (method == "energy" and not multi_label):
        needed += ["kernel", "bias"]  # the energy of a softmax cannot be had from its scores
    missing = [name for name in needed if name not in parameters]
    if missing:
        raise BundleCorrupt(f"{MEMBER} lacks {', '.join(missing)} for {method}")


def _check_shapes(method: str, parameters: Parameters, classes: int, features: int | None) -> None:
    """Refuse at opening what would fail at the first frame."""
    sizes = {"1": 1, "c": classes}
    if features is not None and (method in EMBEDDING_METHODS or "kernel" in parameters):
        if not features:
            raise BundleCorrupt(f"novelty by {method} needs an embedding: the model gives none")
        sizes["f"] = features
    for name in (name for name in SHAPES if name in parameters):
        shape, sides = parameters[name].shape, SHAPES[name]
        fits = len(shape) == len(sides) and 0 not in shape
        if not fits or any(sizes.setdefault(k, n) != n for k, n in zip(sides, shape, strict=True)):
            raise BundleCorrupt(
                f"{MEMBER}: {name} of shape {shape} fits neither the other arrays nor the model"
            )


def read_arrays(content: bytes, member: str = MEMBER) -> dict[str, Floats]:
    """The arrays of a .npz as float32, in good order: a few MiB at most, and every value finite.

    Raises:
        BundleCorrupt: they are not; the message names the ``member``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            infos = packed.infolist()
            if sum(info.file_size for info in infos) > MAX_BYTES:
                raise BundleCorrupt(f"{member} unpacks to more than {MAX_BYTES >> 20} MiB")
            arrays = {i.filename.removesuffix(".npy"): _array(packed.read(i)) for i in infos}
    except BundleCorrupt:
        raise
    except _UNREADABLE as exc:
        raise BundleCorrupt(f"{member} cannot be read ({exc})") from exc
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise BundleCorrupt(f"{member} holds values that are not finite")
    return arrays


def _array(content: bytes) -> Floats:
    raw = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    if raw.dtype.kind not in "fiub":
        raise ValueError(f"values of type {raw.dtype} are no numbers")
    with np.errstate(over="ignore"):  # what becomes infinite is refused with the rest
        return np.asarray(raw, np.float32)


def _probabilities(logits: Floats, *, multi_label: bool) -> Floats:
    if multi_label:
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
