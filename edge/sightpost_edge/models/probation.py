"""A new model at work with the old one beside it, until it has proven itself or failed."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..bundle import Bundle
from ..classifier import BundleClassifier
from ..errors import ModelError, PhotoUnreadable, first_line
from ..pixels import WHOLE, Region
from ..records import Frame, Pixels, Prediction
from ..text import printable
from .evidence import AGREE_LOOKS, Answer, Evidence, Pair, fault

LOOKS = 50
LOOKED_S, LONGER_S = 30.0, 40.0
"""The longer one where the old model was hardly ever sure: more may still come."""
GAP_S = 1.0
"""So much of the time between two looks counts as looking: a still night is no trial."""

BESIDE_S, SELDOM_S = 0.5, 1.5
BESIDE_SHARE = 0.15
"""The old model runs twice a second, less often where that would take more than this share of the
time, but every second and a half at least: ten looks in 15 s tell how fast the new one is."""

log = logging.getLogger("sightpost")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a probation ended; ``why`` is a sentence for people."""

    passed: bool
    why: str


class OnProbation:
    """A classifier that is the new model, and judges it; see ``evidence`` for what by.

    ``verdict`` is None until it is over. From then on this is the new model where it passed; where
    it failed it answers with the old one's scores, in the new one's labels.

    ``fit`` may be called from another thread than ``classify``, where all state is kept.

    Args:
        new: what has to prove itself.
        old: what it is compared with; None: only errors and scores without any difference count.
        clock_s: seconds that only go forward.
    """

    def __init__(
        self,
        new: BundleClassifier,
        old: BundleClassifier | None,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.labels = new.labels
        self.verdict: Verdict | None = None
        self._new, self._old, self._clock_s = new, old, clock_s
        contracts = new.bundle.contract, None if old is None else old.bundle.contract
        self._seen: Evidence | None = Evidence(*contracts)
        self._looked_s = self._judged_s = -math.inf
        self._took_s = 0.0
        self._every_s, self._beside_s = BESIDE_S, -math.inf
        self._regions: dict[str, float] = {}
        self._old_first = False

    @property
    def bundle(self) -> Bundle:
        """The new model's."""
        return self._new.bundle

    def fit(self, frame: Frame, region: Region = WHOLE) -> Pixels:
        """The new model's input."""
        return self._new.fit(frame, region)

    def classify(
        self, frame: Frame, fitted: Pixels | None = None, *, region: Region = WHOLE
    ) -> Prediction:
        """The new model's Prediction; the old one's where the new one fails.

        Raises:
            ModelError: it fails, and there is no old one.
            PhotoUnreadable: the picture's own fault.
        """
        if self.verdict is not None:
            return self._after(frame, fitted, region)
        began_s = self._clock_s()
        due = self._is_due(began_s, region)
        old_first = self._old_first
        beside = self._beside(frame, fitted, region) if due and old_first else None
        try:
            found = _checked(self._new.classify(frame, fitted, region=region))
        except PhotoUnreadable:
            raise
        except Exception as exc:  # noqa: BLE001 - it is on probation: whatever it raises ends it
            return self._failed(exc, frame, fitted, region)
        if due and not old_first:
            beside = self._beside(frame, fitted, region)
        self._learn(found, beside, began_s)
        if began_s - self._judged_s >= BESIDE_S:
            self._judged_s = began_s
            self._judge()
        self._took_s = self._clock_s() - began_s
        return found

    def _after(self, frame: Frame, fitted: Pixels | None, region: Region) -> Prediction:
        if self._old is None:
            return self._new.classify(frame, fitted, region=region)
        return self._answer_of_old(self._old, frame, fitted, region)

    def _failed(
        self, exc: Exception, frame: Frame, fitted: Pixels | None, region: Region
    ) -> Prediction:
        self._end(Verdict(False, f"it fails: {printable(first_line(exc))}"))
        if self._old is not None:
            return self._answer_of_old(self._old, frame, fitted, region)
        if isinstance(exc, ModelError):
            raise exc
        raise ModelError(
            f"the model fails on a picture ({printable(first_line(exc))})",
            hint="install another one; sightpost inspect checks the file",
        ) from exc

    def _learn(self, found: Prediction, beside: Prediction | None, now_s: float) -> None:
        seen = self._seen
        assert seen is not None
        gap_s = min(now_s - self._looked_s, GAP_S + self._took_s) if seen.looks else 0.0
        self._looked_s = now_s
        answer = Answer.of(found, seen.new)
        seen.look(answer, found.scores, gap_s)
        if beside is not None and seen.old is not None:
            seen.pairs.append(Pair(found.region, answer, Answer.of(beside, seen.old)))

    def _is_due(self, now_s: float, region: Region) -> bool:
        """Whether the old model looks too: by turns where there are several regions."""
        self._regions.setdefault(region.name, -math.inf)
        since_s = now_s - self._beside_s
        if self._old is None or since_s < self._every_s:
            return False
        longest = min(self._regions.values())
        return self._regions[region.name] <= longest or since_s >= 2 * self._every_s

    def _beside(self, frame: Frame, fitted: Pixels | None, region: Region) -> Prediction | None:
        """The old model's Prediction, which costs time; before the new one's by turns.

        Who comes first finds cold caches, and other threads still at work: up to four times slower
        was seen on a busy machine.
        """
        assert self._old is not None
        began_s = self._beside_s = self._regions[region.name] = self._clock_s()
        self._old_first = not self._old_first
        try:
            return self._classify_old(self._old, frame, fitted, region)
        except (ModelError, PhotoUnreadable) as exc:
            log.warning("the model before fails beside the new one: %s", exc)
            return None
        finally:
            took_s = self._clock_s() - began_s
            self._every_s = min(max(BESIDE_S, took_s / BESIDE_SHARE), SELDOM_S)

    def _judge(self) -> None:
        seen = self._seen
        assert seen is not None
        if why := fault(seen):
            self._end(Verdict(False, why))
            return
        enough = self._old is None or len(seen.sure_pairs()) >= AGREE_LOOKS
        if seen.looks >= LOOKS and seen.looked_s >= (LOOKED_S if enough else LONGER_S):
            why = f"{seen.looks} looks in {seen.looked_s:.0f} s, {len(seen.pairs)} of them compared"
            self._end(Verdict(True, why))

    def _end(self, verdict: Verdict) -> None:
        """What is not needed any more is given back: a model may take 50 MB."""
        if verdict.passed:
            self._old = None
        self._seen = None
        self._regions.clear()
        self.verdict = verdict

    def _classify_old(
        self, old: BundleClassifier, frame: Frame, fitted: Pixels | None, region: Region
    ) -> Prediction:
        """The old model's own Prediction, from the new one's input where both take the same."""
        if fitted is not None:
            one, other = self._new.bundle.contract, old.bundle.contract
            if one.geometry != other.geometry or one.reductions != other.reductions:
                fitted = old.fit(frame, region)
        return old.classify(frame, fitted, region=region)

    def _answer_of_old(
        self, old: BundleClassifier, frame: Frame, fitted: Pixels | None, region: Region
    ) -> Prediction:
        """The old model's Prediction in the new one's labels; one it lacks scores nothing."""
        found = self._classify_old(old, frame, fitted, region)
        if old.labels == self.labels:
            return found
        of = dict(zip(old.labels, found.scores, strict=True))
        scores = np.array([of.get(label, 0.0) for label in self.labels], np.float32)
        best = int(scores.argmax())
        return replace(found, label=self.labels[best], score=float(scores[best]), scores=scores)


def _checked(found: Prediction) -> Prediction:
    """Scores are checked where they are made; novelty is not."""
    if found.novelty is not None and not math.isfinite(found.novelty):
        raise ModelError("the model gives a novelty that is not finite")
    return found
