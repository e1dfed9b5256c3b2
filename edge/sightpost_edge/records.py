"""What travels through a running device: a Frame, its Prediction, an Event; and camera Health."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float32]
ChannelOrder = Literal["rgb", "bgr"]

if TYPE_CHECKING:
    from .image import Image


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture as the source gave it, encoded or raw, and when.

    ``elapsed_s`` counts from the start of the source: media time in a recording, monotonic time
    on a camera. Every duration in the device's decisions is taken from it, never from the wall.
    """

    index: int
    elapsed_s: float
    captured_at: datetime
    monotonic_ns: int
    image: "Image" = field(repr=False)
    name: str = ""

    def rgb(self) -> Pixels:
        """The whole picture, (height, width, 3) uint8, R,G,B."""
        pixels = self.image.decode()
        return pixels if self.image.order == "rgb" else pixels[..., ::-1]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the classifier says about one Frame.

    ``scores`` is (labels,) float32 in label order, ``embedding`` (features,) float32 where the
    model gives one. ``novelty`` says how unlike everything known the Frame is, ``novel`` whether
    that is over the contract's threshold; None where the Bundle cannot tell. ``region`` is the
    part of the picture it is about, "" for the whole. ``carried``: nothing had moved, so the
    model was spared and these are the scores of the last look.
    """

    frame: Frame
    label: str
    score: float
    scores: Scores = field(repr=False)
    inference_ms: float = 0.0
    embedding: NDArray[np.float32] | None = field(default=None, repr=False)
    novelty: float | None = None
    novel: bool | None = None
    region: str = ""
    carried: bool = False

    def as_row(self) -> dict[str, Any]:
        """The plain log's row: flat, JSON-ready."""
        return {
            "time": self.frame.captured_at.isoformat(timespec="milliseconds"),
            "elapsed_s": round(self.frame.elapsed_s, 3),
            "frame": self.frame.index,
            "name": self.frame.name,
            "region": self.region,
            "label": self.label,
            "score": round(self.score, 4),
            "novel": self.novel,
            "inference_ms": round(self.inference_ms, 2),
        }


class ModelChanged(Exception):
    """Raised where Predictions end because another model takes over; the source goes on."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of an Event's story: the smoothed scores then, and the rule that spoke.

    ``score`` is that of ``label``, the leader then; ``second`` that of the ``runner_up``.
    ``reason`` is one of ``decide.REASONS``.
    """

    elapsed_s: float
    label: str
    score: float
    runner_up: str
    second: float
    reason: str
    novelty: float | None = None
    carried: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: gathered from the Predictions between ``started`` and ``ended``.

    ``score`` is the best smoothed score of ``label``; ``peak`` the Frame that reached it;
    ``decided`` the Frame at which the Event closed; ``frames`` how many Frames took part;
    ``reason`` the rule that closed it; ``named_by`` how it got its label: "label", "group" (a
    parent was surer than any of its labels) or "novelty" (unlike everything known).
    ``region`` is the part of the picture it is about. ``trace`` is its story, thinned out.
    """

    label: str
    score: float
    started: Frame
    ended: Frame
    peak: Frame
    decided: Frame
    frames: int
    reason: str
    named_by: str = "label"
    region: str = ""
    trace: tuple[Moment, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Health:
    """The camera or the model failed (``ok`` False) or is well again; ``fault``: see ``FAULTS``."""

    fault: str
    ok: bool
    detail: str
    at: datetime
    monotonic_ns: int


FAULTS = (
    "stall", "error", "frozen", "shape", "unreadable", "black", "white", "blurred", "covered",
    "model",
)  # fmt: skip
"""No picture in time; the driver failed; the same picture again and again; another size than
before; damaged bytes; what a picture shows when nothing can be seen on it; and a new model that did
not stand its trial."""
