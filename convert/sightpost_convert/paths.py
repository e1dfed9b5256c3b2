"""Whether the chosen model may look at a camera's JPEG that was decoded at a reduced size.

Decoding at half size leaves out high frequencies instead of averaging them, so pixels differ; a
device may do it only for a model that was judged through it.
"""

import os
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.image import JpegImage
from sightpost_edge.pixels import Geometry, fit, fit_image
from sightpost_edge.records import Pixels

from .bulk import device_classifier
from .case import Case
from .judge import CHANCE, decisions

REDUCTIONS = (2, 4)
FEWEST, MOST = 50, 200
"""Photos: of fewer than 50 a single other decision is more than may differ; more take longer than
the 5 s that this is worth."""
LEAST_EQUAL = 0.98
MAX_DROP = 0.005
"""Of the accuracy: half of what a candidate may lose by default, because it comes on top."""
NOISE = 4.0
"""Grey levels of each colour, standard deviation; the JPEG keeps about half: a small sensor
indoors. Without it an enlarged photo would have no high frequencies to leave out."""
QUALITY = 85
SLACK = 64
"""Pixels by which the noise is larger than a picture, so that it can be shifted."""


@dataclass(frozen=True, slots=True)
class PathJudged:
    """One faster way to the model's input against decoding the whole picture.

    ``levels``: mean absolute difference of the input in grey levels; ``equal``: share of photos
    on which the device decides alike, at its thresholds; ``lost``: photos decided rightly less,
    negative where it is more.
    """

    name: str
    photos: int
    levels: float
    equal: float
    lost: int

    @property
    def allowed(self) -> bool:
        """Whether the device may take it."""
        return self.equal >= LEAST_EQUAL and self.lost <= max(CHANCE, int(MAX_DROP * self.photos))

    @property
    def figures(self) -> dict[str, float]:
        """For the contract and court.json."""
        return {"levels": round(self.levels, 3), "equal": round(self.equal, 4),
                "photos": self.photos, "lost": self.lost}  # fmt: skip


Pair = tuple[float, NDArray[np.float32], NDArray[np.float32]]
"""Of one photo: difference in grey levels, scores of the whole and of the reduced decoding."""


def judge_paths(case: Case, model: bytes) -> tuple[PathJudged, ...]:
    """Take validation photos through the device's own code both ways; none where too few.

    It is a choice, so test photos stay out of it.
    """
    count = min(len(case.validation), MOST)
    if count < FEWEST:
        return ()
    workers = len(os.sched_getaffinity(0))
    idle: queue.SimpleQueue[BundleClassifier] = queue.SimpleQueue()
    for _ in range(workers):
        idle.put(device_classifier(model, case.contract))

    def work(row: int) -> list[Pair]:
        picture, classifier = case.validation_picture(row), idle.get()
        try:
            return [_pair(picture, classifier, n, seed=row) for n in REDUCTIONS]
        finally:
            idle.put(classifier)

    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(work, range(count)))
    return tuple(
        _judged(f"jpeg/{n}", [pairs[place] for pairs in found], case)
        for place, n in enumerate(REDUCTIONS)
    )


def _pair(picture: Pixels, classifier: BundleClassifier, n: int, *, seed: int) -> Pair:
    whole, reduced = both_ways(picture, classifier.bundle.contract.geometry, n, seed=seed)
    levels = float(np.abs(np.subtract(whole, reduced, dtype=np.int16)).mean())
    return levels, classifier.answer(whole).scores, classifier.answer(reduced).scores


def both_ways(picture: Pixels, geometry: Geometry, n: int, *, seed: int) -> tuple[Pixels, Pixels]:
    """The model's input from a camera's JPEG of the photo, decoded whole and at 1/n."""
    image = JpegImage(camera_jpeg(picture, geometry, n, seed=seed))
    whole = fit_image(image, geometry)
    return whole, fit_image(image, geometry, reductions=frozenset({n}))


def camera_jpeg(picture: Pixels, geometry: Geometry, n: int, *, seed: int) -> bytes:
    """The photo as a camera might send it, just large enough to be decoded at 1/n.

    That is the hardest case: of a larger picture area averaging follows, which evens out how it
    was decoded.
    """
    width, height = (
        ceil(n * side / geometry.crop_fraction) for side in (geometry.width, geometry.height)
    )
    large = fit(picture, Geometry(width, height))
    left, top = np.random.default_rng(seed).integers(0, SLACK, 2)
    noise = _noise(width + SLACK, height + SLACK)[top : top + height, left : left + width]
    seen = np.asarray(cv2.add(large, noise, dtype=cv2.CV_8U))
    _, jpeg = cv2.imencode(".jpg", seen[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return jpeg.tobytes()


@lru_cache(maxsize=len(REDUCTIONS))
def _noise(width: int, height: int) -> NDArray[np.int16]:
    """Drawn once and shifted for each photo: drawing took longer than all the rest together."""
    drawn = np.random.default_rng(0).standard_normal((height, width, 3), np.float32)
    return np.asarray(np.rint(NOISE * drawn), np.int16)


def _judged(name: str, pairs: Sequence[Pair], case: Case) -> PathJudged:
    truth = case.validation.truth[: len(pairs)]
    whole, reduced = (
        decisions(np.stack([pair[place] for pair in pairs]), case.contract) for place in (1, 2)
    )
    before, after = (int((said == truth).all(axis=1).sum()) for said in (whole, reduced))
    return PathJudged(
        name, len(pairs), float(np.mean([pair[0] for pair in pairs])),
        float((whole == reduced).all(axis=1).mean()), before - after,
    )  # fmt: skip
