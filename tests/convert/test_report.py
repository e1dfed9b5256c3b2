"""What the court found, for people, for machines and as a picture."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_convert.case import Case
from sightpost_convert.conversion import Wishes
from sightpost_convert.court import Ruling
from sightpost_convert.judge import Judgement
from sightpost_convert.layers import Hurt
from sightpost_convert.plot import draw_court, pareto_front
from sightpost_convert.report import court_json, print_ruling, table_row
from sightpost_convert.target import Report
from sightpost_convert.verdict import Budget
from sightpost_edge.bench import Timing
from sightpost_edge.testing import TINY_LABELS, tiny_model

from .courtroom import MACHINE, case_of, photos_of

pytestmark = pytest.mark.workshop


def row(kind: str, ms: float = 1.0, accuracy: float = 0.9, **fields: Any) -> Judgement:
    timings = (Timing(1, ms, ms * 2, 20), Timing(2, ms / 2, ms, 20))
    known = {"accuracy": accuracy, "photos": 54, "drop": 0.01, "timings": timings, "peak_mb": 5.0}
    return Judgement(kind, "a test", 2048, **{**known, **fields})


GOOD = row("float32", 3.0, class_recall=(1.0, float("nan"), 0.5), agreement=1.0)
ROWS = (
    GOOD,
    row("int8", 1.25, 0.5, verdict="loses 40.0% accuracy, 1.0% allowed", peak_mb=float("nan")),
    Judgement("int16x8", "a test", 1, verdict="over 10 times slower than float32: not judged"),
    Judgement("dynamic", "a test", verdict="cannot be made (" + "very " * 40 + "long)"),
)


@pytest.fixture
def case() -> Case:
    return case_of(tiny_model(), photos_of(*[[label] for label in TINY_LABELS]), trained=0.95)


def ruling(*rows: Judgement, chosen: Judgement | None = GOOD, note: str = "") -> Ruling:
    hurt = (Hurt("last (fully_connected)", "net/last;x", 0.123456789),)
    return Ruling(rows, chosen, hurt, Report(MACHINE, (), "a desk", note), {}, 12.3)


def test_columns_align(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line has its columns below the heading's; unknown figures are dashes."""
    print_ruling(ruling(*ROWS, note="it was hot"), case)
    first, heading, *lines, where, decoding, chosen = capsys.readouterr().out.splitlines()
    assert first == ("3 held-out photos through the device's classifier (training said 0.950)")
    assert heading.split()[-4:] == ["t1", "ms", "t2", "verdict"]
    column = heading.index("verdict")
    assert [line[column:].split()[0] for line in lines] == ["within", "loses", "over", "cannot"]
    assert all(line[column - 2 : column] == "  " for line in lines)
    assert "3.00/6.00" in lines[0]
    assert lines[2].split()[:4] == ["int16x8", "-", "-", "-"]
    assert lines[3].endswith("...")
    assert max(map(len, lines)) < column + 80
    assert where == "ms: median/p95, measured on a desk; it was hot"
    assert decoding == "decoding: not judged, fewer than 50 validation photos"
    assert chosen == "chosen: float32 (12 s)"


def test_nobody_chosen_and_nothing_claimed(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """The table says so; a model from elsewhere has no claim to compare with."""
    print_ruling(ruling(*ROWS[2:], chosen=None), replace(case, trained=None))
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "3 held-out photos through the device's classifier"
    assert out[1].split()[-2:] == ["parts", "verdict"]
    assert out[-1] == "chosen: none (12 s)"


def refuse(constant: str) -> None:
    pytest.fail(f"{constant} is no JSON")


def test_court_json_is_json(case: Case) -> None:
    """Strictly: unknown figures are null, there is no NaN, names are whole."""
    wishes = Wishes(Budget(0.02, 0.05, 4096, 7.5), name="Ärmel")
    text = court_json(ruling(*ROWS), replace(case, trained=None), wishes, wishes.budget)
    whole = json.loads(text, parse_constant=refuse)
    assert whole["name"] == "Ärmel"
    assert whole["labels"] == list(TINY_LABELS)
    assert whole["trained_accuracy"] is None
    assert whole["budget"] == {
        "max_drop": 0.02, "max_class_drop": 0.05, "max_size_bytes": 4096, "max_latency_ms": 7.5,
        "max_memory_mb": None,
    }  # fmt: skip
    assert (whole["chosen"], whole["target"]) == ("float32", "this-machine")
    assert whole["machine"]["cpu"] == "a processor"
    assert whole["layers_that_hurt"] == [
        {"layer": "last (fully_connected)", "tensor": "net/last;x", "moved": 0.12346}
    ]
    assert [one["kind"] for one in whole["candidates"]] == [one.kind for one in ROWS]
    first = whole["candidates"][0]
    assert first["class_recall"] == [1.0, None, 0.5]
    assert first["timings"][1] == {"threads": 2, "median_ms": 1.5, "p95_ms": 3.0, "runs": 20}
    assert whole["candidates"][2]["accuracy"] is None
    assert whole["candidates"][3]["verdict"] == ROWS[3].verdict


def test_a_row_of_numpy_figures_is_json() -> None:
    """Figures come from arrays."""
    numpy_row = row("int8", accuracy=np.float64(0.5), calibration_error=np.float64("nan"))
    json.dumps(table_row(numpy_row), allow_nan=False)


def test_who_is_beaten_by_nobody() -> None:
    """Faster and as good beats; slower is worth it only where it is better."""
    fast, better = row("fast", 1.0, 0.8), row("better", 3.0, 0.9)
    rows = [better, row("slow", 2.0, 0.7), fast, row("same", 1.0, 0.79), row("late", 4.0, 0.9)]
    assert pareto_front(rows) == [fast, better]
    assert pareto_front([]) == []


def colours_of(path: Path) -> int:
    picture = cv2.imread(str(path))
    assert picture is not None
    return len(np.unique(picture.reshape(-1, 3), axis=0))


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[:1] * 9], ids=["some", "one", "alike"])
def test_the_picture(tmp_path: Path, rows: tuple[Judgement, ...]) -> None:
    """A PNG of at least 1,000 by 600 pixels with something drawn in it, whatever the rows."""
    draw_court(ruling(*rows), tmp_path / "court.png")
    assert (tmp_path / "court.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert cv2.imread(str(tmp_path / "court.png")).shape[:2] >= (600, 1000)
    assert colours_of(tmp_path / "court.png") > 10


def test_chosen_good_and_bad_have_colours_of_their_own(tmp_path: Path) -> None:
    """Green, blue and red all appear."""
    rows = [row("a", 1.0), row("b", 2.0), row("c", 3.0, verdict="loses")]
    draw_court(ruling(*rows, chosen=rows[0]), tmp_path / "court.png")
    picture = cv2.imread(str(tmp_path / "court.png")).reshape(-1, 3)[:, ::-1]
    for wanted in ((0x1B, 0x7F, 0x4D), (0x2D, 0x6C, 0xB5), (0xB5, 0x52, 0x3A)):
        assert (picture == wanted).all(axis=1).sum() > 10, wanted


def test_no_picture_of_nothing(tmp_path: Path) -> None:
    """Where nobody was judged and measured there is nothing to draw."""
    draw_court(ruling(*ROWS[2:], chosen=None), tmp_path / "court.png")
    assert not (tmp_path / "court.png").exists()
