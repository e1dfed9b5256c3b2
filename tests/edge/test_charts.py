"""Charts: what they show, and that every drawing of them shows it."""

from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import pytest

from sightpost_edge.chart_layout import Box, Word, layout, ticks_of
from sightpost_edge.chart_page import page
from sightpost_edge.chart_picture import SCALE, draw_picture
from sightpost_edge.chart_text import draw_text
from sightpost_edge.charts import CHARTS, LABELS, Bars, Steps, chart_of, short
from sightpost_edge.errors import ConfigError
from sightpost_edge.localtime import DAY_MS, HOUR_MS
from sightpost_edge.store import counts
from sightpost_edge.store.queries import EventFilter
from sightpost_edge.timeline import ticks

from .test_queries import add, add_events, ms

BERLIN = ZoneInfo("Europe/Berlin")
NOON = ms("2026-06-01T10:00")  # in Berlin


def ran(folder: Path, *days: tuple[float, float], quality: str = "synchronized") -> None:
    """Runs of a camera, from and to so many days after noon."""
    add(folder, "runs", *(
        {"started_ms": NOON + int(begun * DAY_MS), "ended_ms": NOON + int(ended * DAY_MS),
         "source": "picamera://0", "clock_quality": quality}
        for begun, ended in days
    ))  # fmt: skip


def bars(folder: Path, what: str, **options: int) -> Bars:
    chart = chart_of(folder, what, zone=BERLIN, **options)
    assert isinstance(chart, Bars)
    return chart


@pytest.fixture
def station(tmp_path: Path) -> Path:
    """Ten days of foxes at noon and a hare now and then; it stood still for three of them."""
    ran(tmp_path, (0, 3), (6.5, 9.1))
    foxes = [NOON + day * DAY_MS for day in (0, 1, 2, 7, 8, 9)]
    hares = [NOON + 7 * DAY_MS + 3 * HOUR_MS, NOON + 7 * DAY_MS + 4 * HOUR_MS]
    add_events(tmp_path, *(("fox", at) for at in foxes), *(("hare", at) for at in hares))
    return tmp_path


def test_activity(station: Path) -> None:
    """By hour of local time: all, then each label, the commonest first."""
    chart = bars(station, "activity")
    assert [row.name for row in chart.rows] == ["all", "fox", "hare"]
    assert {hour: n for hour, n in enumerate(chart.rows[0].values) if n} == {12: 6, 15: 1, 16: 1}
    assert chart.rows[1].total == 6
    assert "8 events" in chart.subtitle


def test_days_not_watched_are_gaps_and_not_zeros(station: Path) -> None:
    """A day on which nothing came is another thing than one on which nobody looked."""
    chart = bars(station, "yield")
    assert chart.slots[0] == "2026-06-01"
    assert chart.rows[0].values == (1, 1, 1, 0, 0, 0, 0, 3, 1, 1)
    assert [share == 0 for share in chart.watched] == [False] * 4 + [True] * 3 + [False] * 3
    assert chart.watched[3] == pytest.approx(0.5)
    assert any("shaded" in note for note in chart.notes)


def test_recordings_have_gaps_where_nothing_is_known(tmp_path: Path) -> None:
    """Nobody knows when a camera that left only files was watching."""
    add(tmp_path, "runs", {"started_ms": NOON, "ended_ms": NOON + 50 * DAY_MS, "source": "a.mp4"})
    add_events(tmp_path, ("fox", NOON), ("fox", NOON + 3 * DAY_MS))
    chart = bars(tmp_path, "yield")
    assert chart.watched == (1, 0, 0, 1)


def test_days_become_weeks_months_and_years(tmp_path: Path) -> None:
    """As many slots as have room; no event is lost between them."""
    add_events(tmp_path, *(("fox", NOON + day * DAY_MS) for day in range(0, 900, 9)))
    found = {most: bars(tmp_path, "yield", most=most) for most in (200, 40, 5)}
    assert [chart.axis for chart in found.values()] == ["week", "month", "year"]
    for most, chart in found.items():
        assert len(chart.slots) == len(chart.watched) == len(chart.rows[0].values) <= most
        assert chart.rows[0].total == 100
    assert found[200].slots[0] == "2026-06-01"  # a Monday
    assert found[5].slots == ("2026-01-01", "2027-01-01", "2028-01-01")


def test_many_labels_share_a_row(tmp_path: Path) -> None:
    """The commonest are drawn by themselves; nothing is left out of the sum."""
    add_events(tmp_path, *((f"bird {n:02d}", NOON) for n in range(30) for _ in range(n + 1)))
    chart = bars(tmp_path, "activity")
    assert len(chart.rows) == LABELS + 1
    assert chart.rows[1].name == "bird 29"
    assert chart.rows[-1].name == "23 more labels"
    assert sum(row.total for row in chart.rows[1:]) == chart.rows[0].total == 465


def test_labels_found_so_far(station: Path) -> None:
    """When each came first; what has no name is no label; gaps lie where nobody looked."""
    add_events(station, ("unknown", NOON + DAY_MS))
    chart = chart_of(station, "accumulation", zone=BERLIN)
    assert isinstance(chart, Steps)
    assert [step.label for step in chart.steps] == ["fox", "hare"]
    assert chart.steps[1].when == "2026-06-08 15:00+02:00"
    ((begun, ended),) = chart.gaps
    assert 0 < begun < ended < chart.steps[1].share < 1


def test_a_clock_that_was_not_set(station: Path) -> None:
    """Events of 1970 would make an axis of 56 years; that they are left out is said."""
    before = {what: chart_of(station, what, zone=BERLIN) for what in CHARTS}
    add_events(station, ("fox", 90_000), ("fox", 10**15), clock_quality="unsynchronized")
    for what, chart in before.items():
        after = chart_of(station, what, zone=BERLIN)
        assert after.ticks == chart.ticks
        assert after.subtitle == chart.subtitle
        assert "2 events left out: the clock had not been set" in after.notes


def test_runs_without_a_right_clock_are_named(station: Path) -> None:
    """Only those of the time that is drawn."""
    ran(station, (20, 21), quality="unsynchronized")
    assert "in 1 of 3 runs" in chart_of(station, "yield").notes[0]
    early = EventFilter(until_ms=NOON + 10 * DAY_MS)
    assert not any("runs" in note for note in chart_of(station, "yield", early).notes)


def test_a_subtitle_says_when_and_where(station: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The days, how far ahead of UTC, and how many times cannot be trusted: exactly where few
    rows say it, else by runs."""
    for what in CHARTS:
        told = chart_of(station, what, zone=BERLIN).subtitle
        assert told.endswith(", 2026-06-01 to 2026-06-10, UTC+02:00")
    add_events(station, ("fox", ms("2026-11-01")), clock_quality="unsynchronized")
    ran(station, (20, 21), quality="unsynchronized")
    told = chart_of(station, "activity", zone=BERLIN)
    assert "2026-06-01 to 2026-11-01, UTC+01:00 and +02:00" in told.subtitle
    assert told.subtitle.endswith(", 1 timed by a clock that was not known to be right")
    assert told.notes == ()
    monkeypatch.setattr(counts, "_ROWS", 5)
    rough = chart_of(station, "activity", zone=BERLIN)
    assert "timed by" not in rough.subtitle
    assert "in 1 of 3 runs" in rough.notes[0]


def test_the_newest_have_a_period_of_their_own(station: Path) -> None:
    """Not that of all the runs before them."""
    chart = chart_of(station, "activity", EventFilter(last=2), zone=BERLIN)
    assert "newest 2, 2026-06-08, UTC" in chart.subtitle


def test_more_than_half_a_year_is_drawn_as_weeks(tmp_path: Path) -> None:
    """However many slots a picture has room for."""
    add_events(tmp_path, ("fox", NOON), ("fox", NOON + 179 * DAY_MS))
    assert bars(tmp_path, "yield").axis == "day"
    add_events(tmp_path, ("fox", NOON + 180 * DAY_MS))
    assert bars(tmp_path, "yield").axis == "week"


@pytest.mark.parametrize(
    ("weeks", "wide"), [(1, 48.0), (30, 720 / 30 - 2), (150, 720 / 150 * 0.8), (300, 720 / 300)]
)
def test_bars_are_neither_slabs_nor_combs(tmp_path: Path, weeks: int, wide: float) -> None:
    """A cap on their width; no gap between those narrower than four pixels."""
    add_events(tmp_path, *(("fox", NOON + week * 7 * DAY_MS) for week in range(weeks)))
    chart = bars(tmp_path, "yield")
    assert len(chart.slots) == weeks
    drawn = [
        shape for shape in layout(chart).shapes if isinstance(shape, Box) and shape.role == "bar"
    ]  # fmt: skip
    assert drawn[0].width == pytest.approx(wide, abs=0.01)


def test_dates_on_the_axis_differ() -> None:
    """Seconds below five minutes; where even these are the same, one word."""
    minute = [tick.text for tick in ticks(NOON, NOON + 60_000, BERLIN)]
    assert minute == ["12:00:00", "12:00:15", "12:00:30", "12:00:45", "12:01:00"]
    assert [tick.text for tick in ticks(NOON, NOON + 900, BERLIN)] == ["12:00:00"]
    assert ticks(NOON, NOON + 300_000, BERLIN)[1].text == "06-01 12:01"
    days = [tick.text for tick in ticks(NOON, NOON + 3 * DAY_MS + 1, BERLIN)]
    assert len(set(days)) == len(days)


def test_a_narrow_terminal_has_every_second_hour(station: Path) -> None:
    """Regular steps, not the words that happen to fit; a word longer than the axis stays whole."""
    chart = chart_of(station, "activity", zone=BERLIN)
    assert "0     6    12    18" in "\n".join(draw_text(chart, width=56))
    assert "0        3        6" in "\n".join(draw_text(chart, width=100))
    one = chart_of(station, "yield", EventFilter(last=1), zone=BERLIN)
    assert " 06-08 00:00" in "\n".join(draw_text(one, width=56))


def test_long_labels_keep_their_first_name(tmp_path: Path) -> None:
    """Cut at the first comma before a word is cut; whole where there is room."""
    add_events(tmp_path, ("brown bear, bruin, Ursus arctos", NOON), ("fox", NOON))
    chart = bars(tmp_path, "activity")
    text = draw_text(chart, width=80)
    assert any(line.startswith("brown bear…  ") for line in text)
    assert any(line.startswith("all ") for line in text)
    assert any(
        line.startswith("brown bear.  ") for line in draw_text(chart, width=80, ascii_only=True)
    )
    words = {shape.text for shape in layout(chart).shapes if isinstance(shape, Word)}
    assert {"all", "brown bear…"} <= words
    assert short("brown bear, bruin", 17) == "brown bear, bruin"
    assert short("a very long name", 8) == "a very …"


def test_what_is_no_label_is_said(station: Path) -> None:
    """Whoever counts the labels of two charts must not miss one."""
    assert not any("unknown" in note for note in chart_of(station, "accumulation").notes)
    add_events(station, ("unknown", NOON))
    assert '"unknown" is left out: it is no label' in chart_of(station, "accumulation").notes


def test_a_filter_is_said(station: Path) -> None:
    """Whoever sees the chart knows of which events it is."""
    wanted = EventFilter(label="fox", min_score=0.5, last=2)
    chart = chart_of(station, "yield", wanted, zone=BERLIN)
    assert chart.subtitle.startswith("2 events, newest 2, label fox, score 0.5 or more, 2026-06-09")
    assert isinstance(chart, Bars)
    assert chart.slots[0] == "2026-06-09"


def test_no_such_chart(station: Path) -> None:
    """The nearest one is named."""
    with pytest.raises(ConfigError) as caught:
        chart_of(station, "activities")
    assert "activity" in caught.value.hint


def test_nothing_to_draw(station: Path) -> None:
    """It says so instead of drawing an empty frame."""
    for what in CHARTS:
        assert chart_of(station, what, EventFilter(label="none")).empty


@pytest.mark.parametrize("what", CHARTS)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_drawn_with_characters(station: Path, what: str, ascii_only: bool) -> None:
    """As wide as the terminal and no wider; every label's name is there."""
    add_events(station, ("a\x1b[31m very long name of a bird", NOON + 8 * DAY_MS + HOUR_MS))
    for width in (56, 61, 80, 200):
        chart = chart_of(station, what, most=max(1, width - 27), zone=BERLIN)
        lines = draw_text(chart, width=width, ascii_only=ascii_only)
        drawn = [line for line in lines[1:] if line not in [f"  {note}" for note in chart.notes]]
        assert max(map(len, drawn)) <= width
        text = "\n".join(lines)
        assert text.isascii() == ascii_only
        assert "\x1b" not in text
        assert "hare" in text


def test_one_event_beside_a_thousand_is_seen(tmp_path: Path) -> None:
    """A bar is never rounded away."""
    add_events(tmp_path, *(("fox", NOON) for _ in range(1000)), ("fox", NOON + 3 * HOUR_MS))
    chart = bars(tmp_path, "activity")
    bottom = draw_text(chart, width=80)[10]
    assert bottom.split()[0] == "0"
    assert bottom.count("▁") == 2  # columns an hour
    assert layout(chart).shapes


def test_an_axis_has_round_figures() -> None:
    """From zero to at least the highest bar, in at most five steps."""
    assert ticks_of(1) == [0, 1]
    assert ticks_of(176) == [0, 50, 100, 150, 200]
    for most in range(1, 3000, 7):
        ticks = ticks_of(most)
        assert ticks[0] == 0
        assert most <= ticks[-1] < 2 * most + 5
        assert 2 <= len(ticks) <= 6


@pytest.mark.parametrize("what", CHARTS)
def test_drawn_as_a_picture(station: Path, what: str) -> None:
    """Everything lies on the canvas, and bars or the line are there in their colour."""
    drawing = layout(chart_of(station, what, zone=BERLIN))
    words = [shape for shape in drawing.shapes if isinstance(shape, Word)]
    assert all(0 <= w.left <= drawing.width and 0 < w.top < drawing.height for w in words)
    picture = cv2.imdecode(np.frombuffer(draw_picture(drawing), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (drawing.height * SCALE, drawing.width * SCALE, 3)
    blue = (picture == (158, 107, 31)).all(axis=-1).sum()
    grey = (picture == (226, 226, 226)).all(axis=-1).sum()
    assert blue > 1000
    assert (grey > 1000) == (what != "activity")


class Tags(HTMLParser):
    """Collects what a page consists of, and refuses tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "!doctype"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


@pytest.mark.parametrize("what", CHARTS)
def test_drawn_as_a_page(station: Path, what: str) -> None:
    """Self-contained, without a script, with its figures as a table; labels are words, not tags."""
    add_events(station, ("<script>alert(1)</script> & co", NOON + 8 * DAY_MS))
    text = page(chart_of(station, what, zone=BERLIN))
    tags = Tags(text)
    assert tags.open == []
    assert "script" not in tags.seen
    assert "http://" not in text
    assert "https://" not in text
    assert {"svg", "desc", "table", "details"} <= set(tags.seen)
    assert "prefers-color-scheme:dark" in text
    assert "<script>alert(1)</script> & co" in tags.words
    if what == "yield":
        assert tags.words.count("not watched") == 3 * 4  # days, and a column for each row
        assert tags.seen.count("tr") == 11
