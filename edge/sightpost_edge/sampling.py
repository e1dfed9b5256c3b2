"""Which frames are worth a label: uncertain, novel, and some that were drawn blindly."""

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .errors import ConfigError
from .image import Image, RawImage
from .pixels import WHOLE, Region
from .records import Frame, Prediction

Kind = Literal["uncertain", "novel", "random"]
KINDS: tuple[Kind, ...] = ("uncertain", "novel", "random")

UNCERTAIN_MARGIN = 0.3
"""Below this lead of the best label over the second the frame is uncertain: margin sampling
(Scheffer, Decomain and Wrobel, "Active hidden Markov models for information extraction", 2001)."""
SPACING_S = 30.0
"""Between two of a kind: what stands before the camera is the same animal for as long."""
HOUR_S = 3600.0
BLIND_S = 10.0
"""After so long without any Prediction nothing was said, and a draw in that time is void."""
AGAIN_S = 1.0
BEST = 5


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """Frames kept to be labelled by a person: the ``[samples]`` table of a station's config.

    ``max_mb``: what they may take of the disk, 0 keeps none. ``per_hour``: at most so many of the
    uncertain and as many of the novel in any hour; of the random ones so many on average.
    """

    max_mb: float = 200.0
    per_hour: float = 12.0

    def __post_init__(self) -> None:
        if not (self.max_mb >= 0 and math.isfinite(self.max_mb)):
            raise ConfigError(
                f"samples: max_mb must not be negative, got {self.max_mb}", hint="0 keeps none"
            )
        if not 0 < self.per_hour <= HOUR_S:
            raise ConfigError(
                f"samples: per_hour must lie in (0, {HOUR_S:g}], not {self.per_hour}",
                hint="max_mb = 0 keeps none",
            )

    @property
    def most_bytes(self) -> int:
        """``max_mb`` in bytes."""
        return round(self.max_mb * 1e6)


@dataclass(frozen=True, slots=True)
class Sample:
    """A Frame to be labelled, and what the model said; ``scores`` are those of the best labels."""

    kind: Kind
    frame: Frame
    label: str
    score: float
    scores: dict[str, float] = field(repr=False)
    novelty: float | None = None
    region: Region = WHOLE

    def image(self) -> Image:
        """What the model saw of the picture: the label is about the region only."""
        image = self.frame.image
        if (self.region.width, self.region.height) == (1.0, 1.0):
            return image
        return RawImage(self.region.cut(image.decode()).copy(), image.order)


class Sampler:
    """Chooses Samples out of all Predictions; all times are the source's own.

    Random ones are drawn at moments of a Poisson process, whatever the scores, and are what the
    station was saying at that moment: the last look, for scores that were carried on stand for it.
    So their share of right labels is an honest estimate of that of the time; and as the process
    has no memory, a station that is started often draws no more than one that runs on.

    Args:
        settings: see there.
        labels: of the model.
        multi_label: its scores are independent; see ``Contract``.
        regions: what is looked at; one of them, by chance, is in a random Sample.
        seed: for tests.
    """

    def __init__(
        self,
        settings: SampleSettings,
        *,
        labels: Sequence[str],
        multi_label: bool = False,
        regions: Sequence[Region] = (WHOLE,),
        seed: int | None = None,
    ) -> None:
        self._labels, self._multi_label = tuple(labels), multi_label
        self._regions = {region.name: region for region in regions}
        self._per_hour = settings.per_hour if settings.max_mb > 0 else 0.0
        self._spacing_s = min(SPACING_S, HOUR_S / 2 / settings.per_hour)
        self._chance = random.Random(seed)
        self._last: dict[str, Prediction] = {}
        self._drawn_before: dict[str, Prediction] = {}
        self._now_s = math.inf
        self._draw_s = math.inf
        self._taken: dict[Kind, deque[float]] = {"uncertain": deque(), "novel": deque()}

    def see(self, prediction: Prediction) -> Sample | None:
        """The Sample that this Prediction makes, if any: itself, or the look that was drawn.

        A photo of a folder is a file already, and never one.
        """
        if not self._per_hour or prediction.frame.name:
            return None
        now_s = prediction.frame.elapsed_s
        if now_s < self._now_s - AGAIN_S:
            self._begin(now_s)
        drawn = self._drawn(now_s)
        self._now_s = now_s
        if not prediction.carried:
            self._last[prediction.region] = prediction
        if drawn is not None:
            return self._sample("random", drawn)
        if prediction.carried:
            return None
        if prediction.novel and self._takes("novel", now_s):
            return self._sample("novel", prediction)
        if self._margin(prediction) < UNCERTAIN_MARGIN and self._takes("uncertain", now_s):
            return self._sample("uncertain", prediction)
        return None

    def _begin(self, now_s: float) -> None:
        """The first Frame, or the source began again."""
        self._last.clear()
        for times in self._taken.values():
            times.clear()
        self._now_s, self._draw_s = now_s, now_s + self._wait_s()

    def _wait_s(self) -> float:
        return self._chance.expovariate(self._per_hour / HOUR_S)

    def _drawn(self, now_s: float) -> Prediction | None:
        """The look that stood at the moment of the last draw, if there was one since.

        A second draw of the same picture would be the same sample.
        """
        if now_s < self._draw_s:
            return None
        while self._draw_s <= now_s:
            self._draw_s += self._wait_s()
        if now_s - self._now_s > BLIND_S or not self._last:
            return None
        drawn = self._chance.choice(list(self._last.values()))
        if any(drawn.frame is one.frame for one in self._drawn_before.values()):
            return None
        self._drawn_before[drawn.region] = drawn
        return drawn

    def _takes(self, kind: Kind, now_s: float) -> bool:
        """Whether there is room for one more of this kind in this hour; then it is taken."""
        times = self._taken[kind]
        while times and times[0] <= now_s - HOUR_S:
            times.popleft()
        if len(times) >= self._per_hour or (times and now_s - times[-1] < self._spacing_s):
            return False
        times.append(now_s)
        return True

    def _margin(self, prediction: Prediction) -> float:
        """How far the best answer leads the next one; 1 where there is only one label.

        Independent scores do not compete: there each label leads, or trails, its own absence.
        """
        scores = prediction.scores
        if self._multi_label:
            return float(np.abs(2 * scores - 1).min())
        if len(scores) < 2:
            return 1.0
        second, best = np.partition(scores, -2)[-2:]
        return float(best - second)

    def _sample(self, kind: Kind, prediction: Prediction) -> Sample:
        best = np.argsort(-prediction.scores, kind="stable")[:BEST]
        return Sample(
            kind,
            prediction.frame,
            prediction.label,
            prediction.score,
            {self._labels[i]: round(float(prediction.scores[i]), 4) for i in best},
            prediction.novelty,
            self._regions.get(prediction.region, WHOLE),
        )
