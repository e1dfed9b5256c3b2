"""How unlike everything it was trained on a picture is, from what the network made of it."""

import io
import zipfile
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
MAX_BYTES = 8 * 1024 * 1024
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
    def from_bundle(cls, contract: Contract, files: Mapping[str, bytes]) -> "Novelty | None":
        """What the contract promises, or None where it promises nothing.

        Raises:
            BundleCorrupt: the arrays are missing, or not what the method needs.
        """
        method, threshold = contract.novelty.get("method"), contract.novelty.get("threshold")
        if method not in ARRAYS or not isinstance(threshold, (int, float)):
            return None
        if method in EMBEDDING_METHODS and MEMBER not in files:
            return None
        parameters = _arrays(files[MEMBER]) if MEMBER in files else {}
        missing = [name for name in ARRAYS[method] if name not in parameters]
        if missing:
            raise BundleCorrupt(f"{MEMBER} lacks {', '.join(missing)} for {method}")
        return cls(method, float(threshold), parameters, contract.multi_label)

    def _logits(self, embeddings: Floats, scores: Floats) -> Floats:
        if "kernel" in self.parameters:
            return np.asarray(embeddings @ self.parameters["kernel"] + self.parameters["bias"])
        if self.multi_label:
            kept = np.clip(scores, TINY, 1 - TINY)
            return np.asarray(np.log(kept) - np.log1p(-kept))
        return np.asarray(np.log(np.maximum(scores, TINY)))


def _arrays(content: bytes) -> dict[str, Floats]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(member.file_size for member in packed.infolist()) > MAX_BYTES:
                raise BundleCorrupt(f"{MEMBER} unpacks to more than {MAX_BYTES >> 20} MiB")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name], np.float32) for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as exc:
        raise BundleCorrupt(f"{MEMBER} cannot be read ({exc})") from exc
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise BundleCorrupt(f"{MEMBER} holds values that are not finite")
    return arrays


def _probabilities(logits: Floats, *, multi_label: bool) -> Floats:
    if multi_label:
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
