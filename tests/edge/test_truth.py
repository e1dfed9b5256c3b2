"""Scoring events against what really happened."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightpost_edge.conveyor import Passing, write_truth
from sightpost_edge.errors import DataError
from sightpost_edge.truth import Interval, LabelScore, Sighting, read_truth, score_events


def there(label: str, start_s: float, end_s: float, file: str = "") -> Interval:
    return Interval(label, start_s, end_s, file)


def seen(
    label: str, started_s: float, ended_s: float, *, also: str = "", file: str = ""
) -> Sighting:
    """An Event that was decided 0.6 s after it ended."""
    return Sighting(label, started_s, ended_s, ended_s + 0.6, frozenset(also.split()), file)


def passing(label: str, centre_s: float) -> Interval:
    """A moment instead of a time: the half second of tolerance is all there is."""
    return Interval(label, centre_s, centre_s)


def at(label: str, middle_s: float) -> Sighting:
    return Sighting(label, middle_s, middle_s, middle_s + 0.6)


def test_all_right() -> None:
    """Every passage has its event: precision, recall and F1 are 1, both delays are medians."""
    score = score_events(
        [seen("fox", 2.2, 5.0), seen("owl", 8.0, 9.0)], [there("fox", 2, 5), there("owl", 7, 9)]
    )
    assert (score.precision, score.recall, score.total.f1) == (1.0, 1.0, 1.0)
    assert (score.missed, score.false) == ((), ())
    assert score.opening_s == pytest.approx((0.2 + 1.0) / 2)
    assert score.delay_s == pytest.approx((3.6 + 2.6) / 2)


def test_one_event_serves_one_passage() -> None:
    """Two foxes one after the other need two events."""
    score = score_events([seen("fox", 1, 9)], [there("fox", 1, 3), there("fox", 5, 8)])
    assert (score.precision, score.recall) == (1.0, 0.5)
    assert score.total.f1 == pytest.approx(2 / 3)
    assert score.missed == (1,)


def test_told_twice_is_false_but_no_alarm() -> None:
    """One thing in pieces costs precision; of false alarms there is none: it was there."""
    score = score_events(
        [seen("fox", 1, 3), seen("fox", 4, 5), seen("fox", 20, 21)], [there("fox", 1, 6)]
    )
    assert score.precision == pytest.approx(1 / 3)
    assert (score.false, score.repeated, score.alarms) == ((1, 2), (1,), (2,))
    assert score.alarms_per_hour(1800) == 2.0
    assert math.isnan(score.alarms_per_hour(0))


def test_the_wrong_verdict_costs_twice() -> None:
    """A fox called cat is a missed fox and a false cat."""
    score = score_events([seen("cat", 1, 3)], [there("fox", 1, 3)])
    assert (score.precision, score.recall, score.total.f1) == (0.0, 0.0, 0.0)
    assert (score.missed, score.alarms) == ((0,), (0,))
    assert math.isnan(score.delay_s)


def test_a_group_is_met_by_its_labels_but_not_the_other_way_round() -> None:
    """Truth that says bird is met by jay; truth that says jay is not met by bird."""
    jay = seen("jay", 1, 3, also="bird")
    assert score_events([jay], [there("bird", 1, 3)]).recall == 1.0
    assert score_events([jay], [there("jay", 1, 3)]).recall == 1.0
    assert score_events([seen("bird", 1, 3)], [there("jay", 1, 3)]).recall == 0.0


def test_other_recordings_are_other_recordings() -> None:
    """The same second of another file is no match."""
    score = score_events([seen("fox", 1, 3, file="a")], [there("fox", 1, 3, file="b")])
    assert (score.missed, score.alarms) == ((0,), (0,))


@pytest.mark.parametrize(("started_s", "ended_s"), [(5.5, 9.0), (0.0, 1.5)])
def test_half_a_second_and_no_more(started_s: float, ended_s: float) -> None:
    """The tolerance is a border, before and after."""
    fox = [there("fox", 2, 5)]
    assert score_events([seen("fox", started_s, ended_s)], fox).total.matched == 1
    late, early = started_s + 0.01, ended_s - 0.01
    beyond = seen("fox", late, ended_s) if started_s > 5 else seen("fox", started_s, early)
    assert score_events([beyond], fox).total.matched == 0


def test_tight_chains_are_matched_completely() -> None:
    """Events shifted by 0.4 s on parts 0.6 s apart: the earliest free one, not the nearest."""
    parts = [passing("ok", 1.0), passing("ok", 1.6), passing("ok", 2.2)]
    assert score_events([at("ok", 1.4), at("ok", 2.0), at("ok", 2.6)], parts).total.matched == 3


def test_a_greedy_choice_is_taken_back() -> None:
    """The long passage would take the only event that fits the short one."""
    rows = [there("fox", 0, 30), there("fox", 2, 3), there("fox", 5, 6)]
    events = [seen("fox", 2, 3), seen("fox", 5, 6), seen("fox", 20, 21)]
    score = score_events(events, rows)
    assert (score.total.matched, score.missed, score.false) == (3, (), ())


spans = st.tuples(st.integers(0, 12), st.integers(0, 6)).map(lambda t: (t[0], t[0] + t[1]))


@given(st.lists(spans, max_size=5), st.lists(spans, max_size=5))
@settings(max_examples=150, deadline=None)
def test_no_other_matching_finds_more(
    rows: list[tuple[int, int]], events: list[tuple[int, int]]
) -> None:
    """As many pairs as trying everything finds, each event and row once."""
    truth = [there("fox", *span) for span in rows]
    sightings = [seen("fox", *span) for span in events]
    fits = [[s.tells(t, 0.5) for s in sightings] for t in truth]

    def most(row: int, used: frozenset[int]) -> int:
        if row == len(truth):
            return 0
        here = [1 + most(row + 1, used | {i}) for i, fit in enumerate(fits[row])
                if fit and i not in used]  # fmt: skip
        return max([most(row + 1, used), *here])

    score = score_events(sightings, truth)
    assert score.total.matched == most(0, frozenset())
    assert len(score.missed) == len(truth) - score.total.matched
    assert len(set(score.false)) == len(sightings) - score.total.matched


def test_each_label_on_its_own() -> None:
    """A false jay counts as the bird that truth speaks of; what truth never names stays itself."""
    score = score_events(
        [seen("jay", 1, 3, also="bird"), seen("jay", 50, 51, also="bird"), seen("car", 60, 61)],
        [there("bird", 1, 3), there("fox", 10, 12)],
    )
    assert score.labels == (
        LabelScore("bird", 1, 2, 1), LabelScore("car", 0, 1, 0), LabelScore("fox", 1, 0, 0),
    )  # fmt: skip
    assert [row.precision for row in score.labels] == [0.5, 0.0, 0.0]
    assert [row.recall for row in score.labels] == [1.0, 1.0, 0.0]


def test_silence_is_not_precision() -> None:
    """No events where something happened is 0, not a perfect score; nothing at all is perfect."""
    assert score_events([], [there("fox", 1, 3)]).precision == 0.0
    assert score_events([], []).precision == 1.0


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "truth.csv"
    path.write_bytes(text.encode())
    return path


def test_a_truth_file(tmp_path: Path) -> None:
    """Columns in any order, others ignored, a spreadsheet's mark and blanks forgiven."""
    path = written(
        tmp_path,
        '\ufefffile,note,end_s,start_s,label\r\na.mp4,dusk,3.5,1, fox \r\n,,8,7,"jay, blue"\r\n',
    )
    assert read_truth(path) == [Interval("fox", 1.0, 3.5, "a.mp4"), Interval("jay, blue", 7.0, 8.0)]


def test_the_generated_lines_truth(tmp_path: Path) -> None:
    """From the first touch of the frame until it is gone."""
    write_truth(tmp_path / "truth.csv", [Passing("ok", 1.0, 2.0, 3.25)])
    assert read_truth(tmp_path / "truth.csv") == [Interval("ok", 1.0, 3.25)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label,start_s\nfox,1\n", "lacks columns"),
        ("", "lacks columns"),
        ("label,start_s,end_s\nfox,1,2\nfox,one,2\n", r"truth\.csv:3: start_s is 'one'"),
        ("label,start_s,end_s\nfox,1\n", r":2: end_s is None"),
        ("label,start_s,end_s\nfox,1,inf\n", r":2: end_s is 'inf'"),
        ("label,start_s,end_s\nfox,-1,2\n", r":2: start_s is '-1'"),
        ("label,start_s,end_s\nfox,5,2\n", r":2: it ends at 2 s, before it starts at 5 s"),
        ("label,start_s,end_s\n ,5,6\n", r":2: no label"),
    ],
)
def test_rows_that_make_no_sense(tmp_path: Path, text: str, said: str) -> None:
    """Named with their line; nothing is guessed and nothing left out in silence."""
    with pytest.raises(DataError, match=said):
        read_truth(written(tmp_path, text))


def test_files_that_are_no_truth(tmp_path: Path) -> None:
    """Missing, or not text."""
    with pytest.raises(DataError, match="cannot read"):
        read_truth(tmp_path / "none.csv")
    (tmp_path / "picture.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match="no CSV file"):
        read_truth(tmp_path / "picture.csv")
