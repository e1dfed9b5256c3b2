"""The budget, who keeps it, and what to say where nobody does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sightpost_edge.errors import ConfigError, ConversionRefused

from .judge import CHANCE, Judgement
from .layers import Hurt

MAX_DROP = 0.01
MAX_CLASS_DROP = 0.03
SAME_SPEED = 1.1
"""Median times within a tenth are the same on a noisy machine; then the smaller file wins."""
LONGEST = 70
"""Characters of a reason in the table and in the refusal."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a candidate may cost; None is no limit.

    ``max_drop``: accuracy below what training measured; ``max_class_drop``: recall of any class
    below the float model's. A single photo more or less breaks neither. ``max_latency_ms`` bounds
    the 95th percentile with the best number of threads, ``max_memory_mb`` the peak memory.
    """

    max_drop: float = MAX_DROP
    max_class_drop: float = MAX_CLASS_DROP
    max_size_bytes: int | None = None
    max_latency_ms: float | None = None
    max_memory_mb: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_drop", "max_class_drop", "max_latency_ms"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ConfigError(f"--{name.replace('_', '-')} {value} is no number")

    def allowed_photos(self, count: int) -> int:
        """How many of ``count`` photos may be lost."""
        return max(CHANCE, int(self.max_drop * count + 1e-9))

    def accuracy(self, row: Judgement, *, lost: int, class_photos: int) -> str:
        """Why the answers are not good enough; empty where they are.

        ``lost`` photos fewer were named rightly than was claimed; ``class_photos`` show the class
        that lost most.
        """
        if not row.finite:
            return "scores are not finite"
        if row.stopped or lost > self.allowed_photos(row.photos):
            least = "at least " if row.stopped else ""
            return f"loses {least}{row.drop:.1%} accuracy, {self.max_drop:.1%} allowed"
        class_lost = row.class_drop * class_photos
        if row.class_drop > self.max_class_drop + 1e-9 and class_lost > CHANCE + 0.5:
            return (
                f"loses {row.class_drop:.1%} of {row.worst_class}, "
                f"{self.max_class_drop:.1%} allowed"
            )
        return ""

    def cost(self, row: Judgement) -> str:
        """Why it is too large or too slow; empty where it is not."""
        if self.max_size_bytes is not None and row.size_bytes > self.max_size_bytes:
            return f"{row.size_bytes / 1024:.0f} KiB, {self.max_size_bytes / 1024:.0f} allowed"
        slow = row.best
        if self.max_latency_ms is not None and slow and slow.p95_ms > self.max_latency_ms:
            return f"{slow.p95_ms:.1f} ms at p95, {self.max_latency_ms:g} allowed"
        if self.max_memory_mb is not None and row.peak_mb > self.max_memory_mb:
            return f"takes {row.peak_mb:.0f} MB, {self.max_memory_mb:.0f} left on the board"
        return ""


def choose(rows: Sequence[Judgement]) -> Judgement | None:
    """The fastest within budget, of equally fast ones the smallest; None where none is."""
    good = [row for row in rows if row.within_budget and row.timings]
    if not good:
        return None
    fastest = min(row.median_ms for row in good)
    return min(
        (row for row in good if row.median_ms <= fastest * SAME_SPEED),
        key=lambda row: row.size_bytes,
    )


def refusal(rows: Sequence[Judgement], hurt: Sequence[Hurt], remedy: str) -> ConversionRefused:
    """The error that ends a conversion: who failed why, which layers hurt, what would help."""
    reasons = "; ".join(f"{row.kind}: {shortened(row.verdict)}" for row in rows)
    layers = f". int8 hurts most in {names(hurt)}" if hurt else ""
    return ConversionRefused(
        f"no candidate is within budget ({reasons}){layers}", hint=advice(rows, remedy)
    )


def shortened(reason: str) -> str:
    """A runtime's reason may be a paragraph; court.json has all of it."""
    return reason if len(reason) <= LONGEST else f"{reason[:LONGEST]}..."


def names(hurt: Sequence[Hurt], *, most: int = 3) -> str:
    """The worst layers in words."""
    return ", ".join(f"{h.layer} (moves the scores by {h.moved:.2f} alone)" for h in hurt[:most])


def advice(rows: Sequence[Judgement], remedy: str) -> str:
    """What helps where int8 does not keep the accuracy, and what was tried already."""
    judged = [row for row in rows if row.answers is not None]
    if judged and not any(row.finite for row in judged):
        return "scores that are not finite point to a broken model: train again"
    tried = [row.kind for row in judged if row.kind.startswith(("int8-", "mixed"))]
    accurate = [row.kind for row in judged if row.keeps_accuracy and row.timings]
    words = [f"tried already: {', '.join(tried)}"] if tried else []
    if accurate:
        words.append(f"{', '.join(accurate)} keep the accuracy: allow more size or time")
    return "; ".join([*words, remedy] if remedy else words)
