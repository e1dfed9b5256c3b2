"""The three things that travel through a running device: a Frame, its Prediction, an Event."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float32]
ChannelOrder = Literal["rgb", "bgr"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture as the source gave it.

    ``pixels`` is (height, width, 3) uint8, read-only by convention, in ``order``: cameras and
    OpenCV give B,G,R, and swapping the full picture costs ten times swapping the small crop.
    ``elapsed_s`` counts from the start of the source: media time in a recording, monotonic time
    on a camera. Every duration in the device's decisions is taken from it, never from the wall.
    """

    index: int
    elapsed_s: float
    captured_at: datetime
    monotonic_ns: int
    pixels: Pixels = field(repr=False)
    order: ChannelOrder = "bgr"
    name: str = ""

    def rgb(self) -> Pixels:
        """The whole picture, (height, width, 3) uint8, R,G,B."""
        return self.pixels if self.order == "rgb" else self.pixels[..., ::-1]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the classifier says about one Frame.

    ``scores`` is (labels,) float32 in label order, ``embedding`` (features,) float32 where the
    model gives one. ``novelty`` says how unlike everything known the Frame is, ``novel`` whether
    that is over the contract's threshold; None where the Bundle cannot tell.
    """

    frame: Frame
    label: str
    score: float
    scores: Scores = field(repr=False)
    inference_ms: float = 0.0
    embedding: NDArray[np.float32] | None = field(default=None, repr=False)
    novelty: float | None = None
    novel: bool | None = None

    def as_row(self) -> dict[str, Any]:
        """The plain log's row: flat, JSON-ready."""
        return {
            "time": self.frame.captured_at.isoformat(timespec="milliseconds"),
            "elapsed_s": round(self.frame.elapsed_s, 3),
            "frame": self.frame.index,
            "name": self.frame.name,
            "label": self.label,
            "score": round(self.score, 4),
            "inference_ms": round(self.inference_ms, 2),
        }


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: gathered from the Predictions between ``started`` and ``ended``.

    ``score`` is the best smoothed score of ``label``; ``peak`` the Frame that reached it;
    ``decided`` the Frame at which the Event closed; ``frames`` how many Frames took part;
    ``reason`` the rule that closed it.
    """

    label: str
    score: float
    started: Frame
    ended: Frame
    peak: Frame
    decided: Frame
    frames: int
    reason: str
