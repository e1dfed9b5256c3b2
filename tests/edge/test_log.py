"""The plain prediction log."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sightpost_edge.errors import ConfigError
from sightpost_edge.records import Prediction
from sightpost_edge.sinks.log import KEEP, PredictionLog
from sightpost_edge.testing import colour, frame


def prediction(index: int = 0) -> Prediction:
    shot = frame(colour("red"), index=index, elapsed_s=index / 10)
    return Prediction(shot, "fox, red", 0.9123456, np.array([0.9], np.float32), 1.5)


def test_json_lines(tmp_path: Path) -> None:
    """One object a line."""
    with PredictionLog(tmp_path / "p.jsonl") as log:
        log.write(prediction())
        log.write(prediction(1))
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [row["frame"] for row in rows] == [0, 1]
    assert rows[0]["score"] == 0.9123


def test_csv_has_one_heading_across_runs(tmp_path: Path) -> None:
    """Opening again appends; the heading stands once, and commas in labels are quoted."""
    for index in range(3):
        with PredictionLog(tmp_path / "p.csv") as log:
            log.write(prediction(index))
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["label"] == "fox, red"


def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    """At every byte at which a power cut may have stopped: old lines whole, new line whole."""
    path = tmp_path / "p.jsonl"
    with PredictionLog(path) as log:
        log.write(prediction(0))
        log.write(prediction(1))
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with PredictionLog(path) as log:
            log.write(prediction(9))
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert rows[-1]["frame"] == 9
        assert len(rows) == whole[:cut].count(b"\n") + 1


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv"])
def test_it_rotates_and_never_grows_beyond_its_cap(tmp_path: Path, name: str) -> None:
    """A full log becomes .1; the oldest goes; a CSV's new file has its heading."""
    with PredictionLog(tmp_path / name, max_bytes=1000) as log:
        for index in range(200):
            log.write(prediction(index))
    files = sorted(tmp_path.iterdir())
    assert len(files) == KEEP + 1
    assert all(file.stat().st_size <= 1000 for file in files)
    assert (tmp_path / name).read_text().count("time,elapsed_s") == (name == "p.csv")


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    """The name decides the format, so it must be one of the two."""
    with pytest.raises(ConfigError, match=r"\.jsonl or \.csv"):
        PredictionLog(tmp_path / "p.txt")


def test_a_csv_with_other_columns_is_put_aside(tmp_path: Path) -> None:
    """An older release's file gets a number: rows under wrong headings help nobody."""
    old = "time,label,score\n2026-01-01,fox,0.9\n"
    (tmp_path / "p.csv").write_text(old)
    with PredictionLog(tmp_path / "p.csv") as log:
        log.write(prediction())
    assert (tmp_path / "p.csv.1").read_text() == old
    with (tmp_path / "p.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["label"], row["region"], row["novel"]) == ("fox, red", "", "")
