"""The figures as SVG and HTML: well-formed, inside their frame, legible for many classes."""

import base64
import math
import re
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from sightpost_train import charts
from sightpost_train.figures import figures
from sightpost_train.results import Calibration, Epoch

from .results_maker import make_results

NAN = math.nan


def numbers(svg: str, name: str) -> list[list[float]]:
    """The places of every line whose class holds ``name``."""
    paths = [e for e in ElementTree.fromstring(svg).iter("path") if name in e.get("class", "")]
    return [
        [float(n) for n in re.findall(r"-?\d+\.?\d*", p.get("d", "").replace("h0", ""))]
        for p in paths
    ]


@pytest.mark.parametrize("draw", [charts.roc_plot, charts.precision_recall_plot])
def test_curves_have_a_line_each(draw: object) -> None:
    """One line for each class, inside the frame, with its area in words."""
    assert callable(draw)
    svg = draw(figures(make_results(("a<b", "c&d"))).classes)
    for index in range(2):
        (places,) = numbers(svg, f"k{index}")
        assert len(places) > 4
        assert 0 <= min(places) <= max(places) <= 420
    titles = [e.text or "" for e in ElementTree.fromstring(svg).iter("title")]
    assert any(title.startswith("a<b, ") for title in titles)


def test_a_line_breaks_at_nan() -> None:
    """A gap instead of a guess; a lone point is drawn as a dot."""
    plot = charts.Plot("", charts.Axis("x"), charts.Axis("y"))
    line = plot.line((0, 0.2, 0.4, 0.6), (0.1, NAN, 0.3, 0.4), "after")
    assert line.count("M") == 2
    assert line.count("L") == 1
    assert "nan" not in line


def test_history_without_a_finite_loss() -> None:
    """A training that went wrong still has a report."""
    rows = [Epoch("head", n, NAN, 0.5, NAN, 0.5, 1.0) for n in (1, 2)]
    for name in ("loss", "accuracy"):
        assert "nan" not in charts.history_plot(rows, name)


def test_history_names_its_phases() -> None:
    """Each phase once, where it begins."""
    svg = charts.history_plot(make_results().history, "loss")
    words = [e.text for e in ElementTree.fromstring(svg).iter("text")]
    assert words.count("head") == words.count("fine-tune") == 1


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.5, 16.5), (0, 0.0083), (0.93, 1), (0, 9500)])
def test_ticks_are_few_and_round(low: float, high: float) -> None:
    """Three to seven, all inside, each short enough to print."""
    ticks = charts.Axis("x", low, high).ticks()
    assert 3 <= len(ticks) <= 7
    assert low <= ticks[0] < ticks[-1] <= high
    assert all(len(f"{tick:g}") <= 6 for tick in ticks)


def test_reliability_has_a_dot_for_each_bin() -> None:
    """Before and after, with the number of photos to read."""
    rows = ((0.5, 0.4, 9), (0.9, 0.8, 70))
    svg = charts.reliability_plot(Calibration(1, 0.1, 0.1, 15, rows, rows))
    dots = list(ElementTree.fromstring(svg).iter("circle"))
    assert len(dots) == 4
    assert float(dots[1].get("r", 0)) > float(dots[0].get("r", 0))
    assert "nan" not in charts.reliability_plot(Calibration(NAN, NAN, NAN, 15, (), ()))


def test_a_matrix_of_few_classes_is_whole() -> None:
    """Every count, and every share of its row."""
    judged = figures(make_results(skill=1.0))
    cells = re.findall(r"<i>(\d+)</i>", charts.matrix(judged))
    assert [int(cell) for cell in cells] == [n for row in judged.confusion for n in row]


def test_a_matrix_of_many_classes_stays_legible() -> None:
    """The twelve hardest and all others together: no photo is lost."""
    judged = figures(make_results([f"class {i}" for i in range(40)], each=5, skill=1.0))
    table = charts.matrix(judged)
    assert table.count("<tr>") == 14
    assert "28 others" in table
    assert sum(int(cell) for cell in re.findall(r"<i>(\d+)</i>", table)) == judged.photos


def test_names_are_escaped() -> None:
    """A class called like a tag stays a name."""
    table = charts.matrix(figures(make_results(("<script>", 'a" onclick="b'))))
    assert "<script>" not in table
    assert "&lt;script&gt;" in table
    assert 'a" onclick' not in table


def test_a_thumbnail_shows_the_photo() -> None:
    """Red stays red, a large photo becomes small, its shape stays."""
    photo = np.zeros((200, 400, 3), np.uint8)
    photo[..., 0] = 230
    image = charts.thumbnail(photo, 'the "alt"')
    assert 'alt="the &quot;alt&quot;" width="176" height="88"' in image
    data = base64.b64decode(re.findall(r"base64,([^\"]+)", image)[0])
    blue, _, red = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).mean(axis=(0, 1))
    assert red > 215
    assert blue < 20


def test_heat_glows_where_it_is() -> None:
    """Colour appears only under the heat; the rest turns grey."""
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    heat = np.zeros((16, 16), np.float32)
    heat[:, 8:] = 1
    picture = charts.heated(photo, heat)
    spread = picture.max(axis=2).astype(int) - picture.min(axis=2)
    assert spread[:, :8].max() == 0
    assert spread[:, 8:].min() > 20
