"""The budget is kept, the fastest wins, and a refusal says why and what would help."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sightpost_convert.bulk import Answers
from sightpost_convert.judge import Judgement
from sightpost_convert.layers import Hurt
from sightpost_convert.verdict import Budget, choose, names, refusal, shortened
from sightpost_edge.bench import Timing
from sightpost_edge.errors import ConversionRefused

pytestmark = pytest.mark.workshop

SOME = Answers(np.zeros((1, 2), np.float32), None)


def row(kind: str, ms: float = 1.0, size: int = 100, verdict: str = "", **fields: Any) -> Judgement:
    timings = (Timing(1, ms, ms * 1.5, 20), Timing(2, ms / 2, ms * 0.75, 20))
    return Judgement(
        kind, "", size, timings=timings, verdict=verdict, **{"answers": SOME, **fields}
    )


def test_the_fastest_wins_and_ties_go_to_the_smaller() -> None:
    """Within a tenth times are the same; slow small ones and fast wrong ones lose."""
    rows = [
        row("float32", 2.0, 400), row("float16", 1.9, 200), row("dynamic", 3.0, 100),
        row("int8", 1.0, 110, verdict="loses 5 %"),
    ]  # fmt: skip
    assert choose(rows) is rows[1]
    assert choose([row("a", 1.0, 200), row("b", 1.1, 100)]).kind == "b"  # type: ignore[union-attr]
    assert choose([row("a", 1.0, 200), row("b", 1.11, 100)]).kind == "a"  # type: ignore[union-attr]


def test_nobody_is_chosen_without_times_or_within_no_budget() -> None:
    unmeasured = replace(row("float32"), timings=())
    assert choose([]) is None
    assert choose([unmeasured, row("int8", verdict="loses 5 %")]) is None


@pytest.mark.parametrize(
    ("drop", "count", "photos"),
    [(0.01, 54, 1), (0.01, 100, 1), (0.01, 199, 1), (0.01, 200, 2), (0.0, 500, 1), (0.29, 100, 29)],
)
def test_how_many_photos_may_be_lost(drop: float, count: int, photos: int) -> None:
    """The share, rounded down, but a single photo in any case; 0.29 of 100 is 29."""
    assert Budget(max_drop=drop).allowed_photos(count) == photos


@pytest.mark.parametrize(
    ("fields", "lost", "class_photos", "verdict"),
    [
        ({}, 0, 0, ""),
        ({"drop": 0.01}, 2, 0, ""),
        ({"drop": 0.015}, 3, 0, "loses 1.5% accuracy, 1.0% allowed"),
        ({"drop": 0.015, "stopped": True}, 3, 0, "loses at least 1.5% accuracy, 1.0% allowed"),
        ({"drop": -0.2}, -40, 0, ""),
        ({"class_drop": 0.03}, 0, 100, ""),
        ({"class_drop": 0.5, "worst_class": "fox"}, 0, 2, ""),
        ({"class_drop": 0.04, "worst_class": "fox"}, 0, 50, "loses 4.0% of fox, 3.0% allowed"),
        ({"class_drop": float("nan")}, 0, 0, ""),
        ({"finite": False, "drop": 0.5}, 100, 0, "scores are not finite"),
    ],
)
def test_reasons_of_accuracy(
    fields: dict[str, Any], lost: int, class_photos: int, verdict: str
) -> None:
    """Each reason in its words, of 200 photos."""
    judged = row("int8", photos=200, **fields)
    assert Budget().accuracy(judged, lost=lost, class_photos=class_photos) == verdict


@pytest.mark.parametrize(
    ("budget", "verdict"),
    [
        (Budget(), ""),
        (Budget(max_size_bytes=2048), ""),
        (Budget(max_size_bytes=2047), "2 KiB, 2 allowed"),
        (Budget(max_latency_ms=7.5), ""),
        (Budget(max_latency_ms=7.4), "7.5 ms at p95, 7.4 allowed"),
        (Budget(max_memory_mb=75), ""),
        (Budget(max_memory_mb=74), "takes 75 MB, 74 left on the board"),
        (Budget(max_size_bytes=0), "2 KiB, 0 allowed"),
    ],
)
def test_reasons_of_cost(budget: Budget, verdict: str) -> None:
    """Size, the 95th percentile with the best number of threads, memory; at the limit is within."""
    assert budget.cost(row("int8", ms=10.0, size=2048, peak_mb=75.0)) == verdict


def test_unknown_costs_break_no_budget() -> None:
    """Who was not measured is not chosen anyway."""
    unmeasured = Judgement("int8", "", 100)
    assert Budget(max_latency_ms=1.0, max_memory_mb=1.0).cost(unmeasured) == ""


HURT = [Hurt(f"block_{i} (conv_2d)", f"long/{i}", 0.5 - i / 10) for i in range(4)]


def test_a_refusal_names_everybody_and_the_worst_layers() -> None:
    """Exit code 8; three layers, with how far they move the scores; the remedy as a hint."""
    rows = [
        row("float32", verdict="266 KiB, 77 allowed", too_costly=True),
        row("int8", verdict="loses 9.0% accuracy"),
        row("int8-mse", verdict="loses 8.0% accuracy"),
    ]
    error = refusal(rows, HURT, "train again with quantization")
    assert isinstance(error, ConversionRefused)
    assert error.exit_code == 8
    assert str(error) == (
        "no candidate is within budget (float32: 266 KiB, 77 allowed; int8: loses 9.0% accuracy; "
        "int8-mse: loses 8.0% accuracy). int8 hurts most in block_0 (conv_2d) (moves the scores by "
        "0.50 alone), block_1 (conv_2d) (moves the scores by 0.40 alone), block_2 (conv_2d) (moves "
        "the scores by 0.30 alone)"
    )
    assert error.hint == (
        "tried already: int8-mse; float32 keep the accuracy: allow more size or time; "
        "train again with quantization"
    )


def test_a_refusal_without_remedy_or_layers() -> None:
    """No empty parts."""
    error = refusal([row("float32", verdict="loses 9.0% accuracy")], [], "")
    assert str(error).endswith("(float32: loses 9.0% accuracy)")
    assert error.hint == ""


def test_who_crashes_when_measured_does_not_ask_for_more_time() -> None:
    """More size or time would not help a model that the target cannot run."""
    error = refusal([row("int8", verdict="it killed the interpreter (SIGILL)")], [], "")
    assert "more size or time" not in error.hint


def test_long_reasons_are_shortened() -> None:
    """A runtime's reason may be a paragraph."""
    assert shortened("a" * 70) == "a" * 70
    assert shortened("a" * 71) == "a" * 70 + "..."
    assert names(HURT, most=1) == "block_0 (conv_2d) (moves the scores by 0.50 alone)"
