"""Every held-out photo through the device's classifier, one interpreter for each core."""

import os
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.contract import Contract
from sightpost_edge.interpreter import Network, Outputs
from sightpost_edge.records import Pixels, Scores

CHUNK = 16
"""Photos that a worker takes at a time."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model said: (n, classes) and, where it gives one, (n, features), in photo order.

    n is less than the number of photos where it was stopped early.
    """

    scores: Scores = field(repr=False)
    embeddings: NDArray[np.float32] | None = field(repr=False)

    def __len__(self) -> int:
        return len(self.scores)


def device_classifier(model: bytes, contract: Contract) -> BundleClassifier:
    """The device's classifier over a FlatBuffer that is not sealed yet."""
    network = Network(model, delegate=contract.delegate)
    return BundleClassifier(Bundle(Path(), "", contract, network, verified=False))


def answers(
    model: bytes, contract: Contract, photos: Pixels,
    *, hopeless: Callable[[Scores], bool] | None = None,
) -> Answers:  # fmt: skip
    """Classify all photos, (n, h, w, 3), or as many as it takes until ``hopeless`` of the scores.

    The interpreter lets go of Python's lock while it works, so threads share the cores; batches
    would buy nothing.
    """
    workers = len(os.sched_getaffinity(0))
    idle: queue.SimpleQueue[BundleClassifier] = queue.SimpleQueue()
    for _ in range(workers):
        idle.put(device_classifier(model, contract))

    def work(chunk: Pixels) -> list[Outputs]:
        classifier = idle.get()
        try:
            return [classifier.outputs(photo) for photo in chunk]
        finally:
            idle.put(classifier)

    found: list[Outputs] = []
    look_at = CHUNK
    with ThreadPoolExecutor(workers) as pool:
        for chunk in _few_ahead(pool, work, photos, workers):
            found += chunk
            if hopeless and len(found) >= look_at:
                if hopeless(np.stack([one.scores for one in found])):
                    break
                look_at = len(found) * 5 // 4
    embeddings = [one.embedding for one in found if one.embedding is not None]
    return Answers(
        np.stack([one.scores for one in found]), np.stack(embeddings) if embeddings else None
    )


def _few_ahead(
    pool: ThreadPoolExecutor, work: Callable[[Pixels], list[Outputs]], photos: Pixels, workers: int
) -> Iterator[list[Outputs]]:
    """Results in order, with only so much begun that stopping wastes little."""
    chunks = [photos[i : i + CHUNK] for i in range(0, len(photos), CHUNK)]
    begun = [pool.submit(work, chunk) for chunk in chunks[: workers + 1]]
    for i in range(len(chunks)):
        if i + workers + 1 < len(chunks):
            begun.append(pool.submit(work, chunks[i + workers + 1]))
        yield begun[i].result()
