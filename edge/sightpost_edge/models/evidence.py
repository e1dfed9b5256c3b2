"""What speaks against a new model: its answers beside those of the old one on the same pictures.

Nobody knows here what a picture shows, and a better model may disagree with the one before. So
every judgement on answers asks for several independent scenes: twenty looks at one thing that
stands still are one observation.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..contract import Contract
from ..records import Prediction, Scores

MOST_PAIRS = 300
"""Two and a half minutes at two a second."""

SLOWER = 3.0
SLOWER_MS = 2.0
"""Times the old one's time, and at least so much more: 0.2 ms for 0.05 harm nobody."""
ENOUGH_PAIRS, FEW_PAIRS, FEW_S = 10, 3, 15.0
"""Of times; the few are enough where a picture takes seconds."""

PATIENCE_S = 10.0
"""Of looking, before anything but an error is held against it: five sure looks come in two."""
SURE_LOOKS, BLANK_LOOKS = 5, 30
AGREE_LOOKS = 20
AGREE_SHARE, AGREE_SCENES = 0.25, 0.34
"""Of looks and of scenes. Honest retrainings agreed in 0.9 and more, shuffled labels in 0.1."""
SCENES = 3
APART = 3
"""A label is seen anew after so many looks in a row at something else: what flickers is one."""
STEADY = 0.01
"""Scores that move less than this are always the same: the step of an int8 output is 0.004."""
UNIFORM = 0.02
MOST_UNIFORM = 50
"""Of a thousand labels even an honest answer may stand out by less than ``UNIFORM``."""
NOVEL_PAIRS, NOVEL, KNOWN = 40, 0.95, 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's answer to one picture; ``sure``: at least its contract's threshold."""

    label: str
    sure: bool
    took_ms: float
    novel: bool | None = None

    @classmethod
    def of(cls, prediction: Prediction, contract: Contract) -> "Answer":
        """What the Prediction comes to."""
        at = int(prediction.scores.argmax())
        threshold = contract.thresholds[at] if contract.thresholds else contract.threshold
        sure = prediction.score >= threshold
        return cls(prediction.label, sure, prediction.inference_ms, prediction.novel)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both answers to one region of one picture."""

    region: str
    new: Answer
    old: Answer


@dataclass(slots=True)
class Evidence:
    """All that is remembered of a probation; its size does not grow with time.

    ``looked_s`` is the time in which pictures came, ``sure`` counts the new model's looks that it
    was sure of something in, ``lowest`` and ``highest`` are its scores' extremes, (labels,).
    """

    new: Contract
    old: Contract | None = None
    looks: int = 0
    sure: int = 0
    looked_s: float = 0.0
    surest: float = 0.0
    lowest: NDArray[np.float32] = field(init=False)
    highest: NDArray[np.float32] = field(init=False)
    pairs: deque[Pair] = field(default_factory=lambda: deque(maxlen=MOST_PAIRS))
    nothing: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.nothing = self.new.nothing  # once: a thousand labels take 0.2 ms
        self.lowest = np.full(len(self.new.labels), np.inf, np.float32)
        self.highest = np.full(len(self.new.labels), -np.inf, np.float32)

    def look(self, answer: Answer, scores: Scores, gap_s: float) -> None:
        """The new model looked, ``gap_s`` after the last time."""
        self.looks += 1
        self.looked_s += gap_s
        self.sure += answer.sure and answer.label not in self.nothing
        self.surest = max(self.surest, float(scores.max()))
        np.minimum(self.lowest, scores, out=self.lowest)
        np.maximum(self.highest, scores, out=self.highest)

    def sure_pairs(self) -> list[Pair]:
        """Those in which the old model was sure."""
        return [pair for pair in self.pairs if pair.old.sure]


def fault(seen: Evidence) -> str:
    """What is wrong with the new model, in a sentence for people; "" where nothing is yet."""
    if seen.looked_s < PATIENCE_S:
        return ""
    return slow(seen) or blank(seen) or flat(seen) or estranged(seen) or lost(seen)


def slow(seen: Evidence) -> str:
    """Over three times the time of the old one, on the same pictures.

    By the median and by the quicker quarter: what other programs take from one of the two does not
    count.
    """
    pairs = seen.pairs
    if len(pairs) < FEW_PAIRS or (len(pairs) < ENOUGH_PAIRS and seen.looked_s < FEW_S):
        return ""
    new_ms = np.percentile([pair.new.took_ms for pair in pairs], (25, 50))
    old_ms = np.percentile([pair.old.took_ms for pair in pairs], (25, 50))
    if not ((new_ms > SLOWER * old_ms) & (new_ms - old_ms >= SLOWER_MS)).all():
        return ""
    return f"it is too slow: {new_ms[1]:.1f} ms for a picture, the one before took {old_ms[1]:.1f}"


def blank(seen: Evidence) -> str:
    """Never sure of anything, where the old one was.

    One thing that stands still may be a false alarm of the old one that the new one has unlearnt;
    so it counts alone only where not even the golden frames make the new one sure.
    """
    if seen.old is None or seen.looks < BLANK_LOOKS or seen.sure:
        return ""
    nothing = seen.old.nothing
    noticed = [pair for pair in seen.sure_pairs() if pair.old.label not in nothing]
    if len(noticed) < SURE_LOOKS:
        return ""
    several = len([s for s in scenes(seen.pairs) if s[0].old.label not in nothing]) > 1
    if not several and able(seen.new):
        return ""
    return (
        f"it sees nothing: sure of nothing in {seen.looks} looks, the one before was sure in "
        f"{len(noticed)} of {len(seen.pairs)}"
    )


def flat(seen: Evidence) -> str:
    """The same scores whatever there is to see."""
    if seen.looks < BLANK_LOOKS:
        return ""
    if _uniform(seen):
        return f"it tells nothing apart: no score over {seen.surest:.2f} in {seen.looks} looks"
    if (seen.highest - seen.lowest).max() >= STEADY:
        return ""
    always = seen.pairs[-1].new.label if seen.pairs else ""
    others = [pair for pair in seen.sure_pairs() if pair.old.label != always]
    found = scenes(seen.pairs)
    if len(others) < SURE_LOOKS or len(found) < SCENES:
        return ""
    return f"its scores are always the same ({always}), the one before saw {_names(found)}"


def _uniform(seen: Evidence) -> bool:
    """All labels alike, and not because there is nothing to see: a wall, a lens cap."""
    labels = len(seen.new.labels)
    if seen.new.multi_label or not 1 < labels <= MOST_UNIFORM:
        return False
    sees = seen.old is None or len(seen.sure_pairs()) >= SURE_LOOKS
    return sees and seen.surest - 1 / labels <= UNIFORM


def estranged(seen: Evidence) -> str:
    """Hardly ever of the old one's opinion, where that is sure and both know the label."""
    known = [pair for pair in seen.pairs if pair.old.label in seen.new.labels]
    judged = [pair for pair in known if pair.old.sure]
    found = scenes(known)
    if len(judged) < AGREE_LOOKS or len(found) < SCENES:
        return ""
    share = sum(_agree(pair) for pair in judged) / len(judged)
    alike = sum(any(map(_agree, scene)) for scene in found) / len(found)
    if share >= AGREE_SHARE or alike >= AGREE_SCENES:
        return ""
    return (
        f"it answers otherwise than the one before: alike in {share:.0%} of {len(judged)} looks "
        f"that one was sure in ({_names(found)})"
    )


def lost(seen: Evidence) -> str:
    """Nearly all is unlike anything it knows, and was known to the old one: made for elsewhere."""
    pairs = [p for p in seen.pairs if p.new.novel is not None and p.old.novel is not None]
    if len(pairs) < NOVEL_PAIRS:
        return ""
    new, old = (sum(map(bool, novel)) / len(pairs) for novel in
                ((p.new.novel for p in pairs), (p.old.novel for p in pairs)))  # fmt: skip
    if new < NOVEL or old > KNOWN:
        return ""
    return f"{new:.0%} of what it sees is new to it, to the one before {old:.0%}"


def scenes(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Looks that belong together: the old model sure of one label in one region for a while."""
    found: list[list[Pair]] = []
    going: dict[tuple[str, str], tuple[list[Pair], int]] = {}
    counted: dict[str, int] = {}
    for pair in pairs:
        at = counted[pair.region] = counted.get(pair.region, 0) + 1
        if not pair.old.sure:
            continue
        scene, last = going.get((pair.region, pair.old.label), ([], -APART))
        if at - last > APART:
            found.append(scene := [])
        scene.append(pair)
        going[pair.region, pair.old.label] = scene, at
    return found


def able(contract: Contract) -> bool:
    """Whether a model's own golden frames show it sure of something."""
    thresholds = contract.thresholds or (contract.threshold,) * len(contract.labels)
    return any(
        label not in contract.nothing and score >= threshold
        for golden in contract.golden
        for label, score, threshold in zip(contract.labels, golden.scores, thresholds, strict=True)
    )


def _agree(pair: Pair) -> bool:
    return pair.new.label == pair.old.label


def _names(found: Sequence[Sequence[Pair]]) -> str:
    names = sorted({scene[0].old.label for scene in found})
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
