"""Golden frames: pictures whose scores were written down at sealing and must come out again."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from .contract import Contract, Golden
from .errors import BundleCorrupt, GoldenMismatch
from .interpreter import Network
from .pixels import decode, fit
from .records import Pixels

THUMBNAIL_TOLERANCE = 0.5
"""Grey levels, mean absolute: squashing costs 32-37, swapped channels 18-49, rounding 0.02."""

SHARE_OF_TOP = 0.8
LEAST_TOLERANCE = 0.02
"""Scores may be off by this share of the frame's top score at most, or by five steps of an int8
output. With and without XNNPACK the scores of three int8 models of 1,000 classes moved by up to
0.71 of a top score (348 photos each); a half would have refused 13 of 2,088 honest comparisons."""


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """How one golden frame came out here: pixels equal or how far off, scores how far off."""

    label: str
    pixels_equal: bool
    pixels_off: float
    scores_off: float


START_FRAMES = 6
START_MS = 300.0
"""A start recomputes so many golden frames at most, and no further one after this time."""


def recompute_all(
    contract: Contract, files: Mapping[str, bytes], network: Network, *, every: bool
) -> tuple[GoldenResult, ...]:
    """Recompute the golden frames, all of them or as many as fit into a start.

    The contract lists the most telling ones first.

    Raises:
        BundleCorrupt, GoldenMismatch: see ``recompute``.
    """
    began = time.monotonic()
    results: list[GoldenResult] = []
    for golden in contract.golden:
        spent_ms = (time.monotonic() - began) * 1000
        if not every and results and (len(results) >= START_FRAMES or spent_ms >= START_MS):
            break
        results.append(recompute(golden, files, contract, network))
    return tuple(results)


def thumbnail(pixels: Pixels) -> tuple[float, ...]:
    """8 x 8 block means of fitted pixels, 192 figures, rounded to a hundredth of a level."""
    small = cv2.resize(pixels.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA)
    return tuple(round(float(v), 2) for v in small.reshape(-1))


def seal_golden(member: str, jpeg: bytes, contract: Contract, network: Network) -> Golden:
    """Write down what this machine makes of one frame; the device must agree later."""
    pixels = fit(decode(jpeg), contract.geometry)
    scores = network.scores(pixels, mean=contract.mean, std=contract.std)
    return Golden(
        member=member,
        label=contract.labels[int(scores.argmax())],
        pixels_sha256=hashlib.sha256(pixels.tobytes()).hexdigest(),
        thumbnail=thumbnail(pixels),
        scores=tuple(round(float(s), 6) for s in scores),
    )


def score_tolerance(golden: Golden, contract: Contract) -> float:
    """How far the frame's scores may be off: the contract's tolerance, less where all are low.

    Of 200 classes perhaps none scores 0.15: any device at all would be within 0.15 of that.
    """
    return min(contract.golden_tolerance, max(LEAST_TOLERANCE, SHARE_OF_TOP * max(golden.scores)))


def recompute(
    golden: Golden, files: Mapping[str, bytes], contract: Contract, network: Network
) -> GoldenResult:
    """Classify one golden frame here.

    Raises:
        BundleCorrupt, GoldenMismatch: the frame is missing, or comes out differently.
    """
    if golden.member not in files:
        raise BundleCorrupt(f"{golden.member} is missing from the Bundle")
    pixels = fit(decode(files[golden.member]), contract.geometry)
    equal = hashlib.sha256(pixels.tobytes()).hexdigest() == golden.pixels_sha256
    off = float(np.abs(np.subtract(thumbnail(pixels), golden.thumbnail)).mean())
    scores = network.scores(pixels, mean=contract.mean, std=contract.std)
    scores_off = float(np.abs(scores - np.asarray(golden.scores, np.float32)).max())
    result = GoldenResult(golden.label, equal, 0.0 if equal else off, scores_off)
    allowed = score_tolerance(golden, contract)
    # Written so that NaN fails: a comparison with NaN is False.
    if not (result.pixels_off <= THUMBNAIL_TOLERANCE and scores_off <= allowed):
        raise GoldenMismatch(
            f"golden frame {golden.member} ({golden.label}): pixels off by "
            f"{result.pixels_off:.2f} levels, scores by {scores_off:.3f} "
            f"(allowed {THUMBNAIL_TOLERANCE} and {allowed:g})",
            hint="this device computes something else than the workshop: compare library versions "
            "with the device lock, then convert again",
        )
    return result
