"""Turns a Frame into a Prediction, exactly as the Bundle's contract says."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np

from .bundle import Bundle
from .errors import ModelError
from .interpreter import Outputs
from .pixels import WHOLE, Region, fit, fit_image
from .records import ChannelOrder, Frame, Pixels, Prediction, Scores


class Classifier(Protocol):
    """Anything that names what a Frame shows; ``testing.FakeClassifier`` is another one."""

    labels: tuple[str, ...]

    def fit(self, frame: Frame, region: Region = WHOLE) -> Pixels:
        """What the model takes of a region of the Frame; called from any one thread."""

    def classify(
        self, frame: Frame, fitted: Pixels | None = None, *, region: Region = WHOLE
    ) -> Prediction:
        """The Prediction for a region of the Frame, from ``fitted`` where that is given."""


class BundleClassifier:
    """The device's classifier: the workshop's judge uses this very class."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.labels = bundle.contract.labels

    def twin(self) -> "BundleClassifier":
        """The same classifier for another thread; the Bundle is not checked a second time."""
        return BundleClassifier(replace(self.bundle, network=self.bundle.network.twin()))

    def scores(self, picture: Pixels, *, order: ChannelOrder = "rgb") -> Scores:
        """Scores of a picture of any size, (h, w, 3) uint8 in ``order``; (labels,) float32."""
        return self.outputs(picture, order=order).scores

    def outputs(self, picture: Pixels, *, order: ChannelOrder = "rgb") -> Outputs:
        """Scores and embedding of a picture of any size, (h, w, 3) uint8 in ``order``."""
        return self.answer(fit(picture, self.bundle.contract.geometry, order=order))

    def answer(self, fitted: Pixels) -> Outputs:
        """Scores and embedding of the model's input as ``pixels.fit`` made it."""
        contract = self.bundle.contract
        return self.bundle.network.outputs(fitted, mean=contract.mean, std=contract.std)

    def fit(self, frame: Frame, region: Region = WHOLE) -> Pixels:
        """The model's input from one region of a Frame, decoded as the contract allows."""
        contract = self.bundle.contract
        return fit_image(
            frame.image, contract.geometry, region=region, reductions=contract.reductions
        )

    def classify(
        self, frame: Frame, fitted: Pixels | None = None, *, region: Region = WHOLE
    ) -> Prediction:
        """Classify one Frame and say how long it took; ``fitted`` where ``fit`` is done already."""
        began = time.perf_counter()
        outputs = self.answer(self.fit(frame, region) if fitted is None else fitted)
        novelty, novel = self.novelty(outputs)
        took_ms = (time.perf_counter() - began) * 1000
        scores, embedding = outputs
        refuse_not_finite(scores)
        best = int(scores.argmax())
        return Prediction(
            frame, self.labels[best], float(scores[best]), scores, took_ms,
            embedding, novelty, novel, region.name,
        )  # fmt: skip

    def novelty(self, outputs: Outputs) -> tuple[float, bool] | tuple[None, None]:
        """How unlike everything known, and whether that is over the Bundle's threshold."""
        tell = self.bundle.novelty
        if tell is None:
            return None, None
        embeddings = None if outputs.embedding is None else outputs.embedding[None]
        found = float(tell.scores(embeddings, outputs.scores[None])[0])
        return found, found > tell.threshold


def refuse_not_finite(scores: Scores) -> None:
    """Raises ModelError where a score is NaN or infinite: nothing can be decided by it."""
    if not np.isfinite(scores).all():
        raise ModelError(
            "the model gives scores that are not finite",
            hint="sightpost inspect checks the file; convert the run again",
        )


def classify(frames: Iterable[Frame], classifier: Classifier) -> Iterator[Prediction]:
    """One Prediction for each Frame, in order."""
    for frame in frames:
        yield classifier.classify(frame)
