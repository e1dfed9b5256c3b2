"""``sightpost events`` as people type it."""

import json
import os
import subprocess
from pathlib import Path

import cv2
import pytest

from sightpost_edge.commands.event_tables import print_events
from sightpost_edge.localtime import DAY_MS, HOUR_MS
from sightpost_edge.store import EventStore
from sightpost_edge.store.queries import find_events

from ..conftest import Cli, command
from .test_queries import add, add_events, ms

EVENING = ms("2026-10-24T21:30")  # 23:30 in Berlin, the night in which summer time ends


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows happens in Berlin, also in the processes that it starts."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Six events an hour apart: two foxes, two hares, and two when the clock was not known."""
    folder = tmp_path / "store"
    add_events(folder, ("fox", EVENING), ("hare", EVENING + HOUR_MS))
    add_events(folder, ("fox", EVENING + 2 * HOUR_MS), ("hare", EVENING + 3 * HOUR_MS), score=0.4)
    add_events(folder, ("fox", EVENING + DAY_MS), ("hare", EVENING + DAY_MS),
               clock_quality="unsynchronized")  # fmt: skip
    return folder


def test_the_list_is_in_local_time(cli: Cli, store: Path) -> None:
    """The offset stands in the heading, or in each cell where it changes; JSON stays in UTC."""
    night = cli("events", "list", "--store", store)
    assert "local time" in night.stdout.splitlines()[0]
    assert " 2026-10-24 23:30:00+02:00" in night.stdout.splitlines()[1]
    assert "~2026-10-25 22:30:00+01:00" in night.stdout.splitlines()[5]
    assert "~ the clock" in night.stderr
    day = cli("events", "list", "--store", store, "--until", "2026-10-24")
    assert "time (UTC+02:00)" in day.stdout
    assert "2026-10-24 23:30:00 " in day.stdout
    assert day.stderr == ""
    row = json.loads(cli("events", "--json", "--store", store).stdout.splitlines()[0])
    assert row["started_at"] == "2026-10-24T21:30:00.000+00:00"


def test_the_list_is_filtered(cli: Cli, store: Path) -> None:
    """All that is given must hold."""
    words = ("--since", "2026-10-24T23:00", "--until", "2026-10-25T02:15+02:00", "--min-score",
             "0.5", "--label", "hare", "--json")  # fmt: skip
    lines = cli("events", "list", "--store", store, *words).stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [2]
    words = ("--label", "fox", "--until", "2020-01-01")
    nothing = cli("events", "list", "--store", store, *words)
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "no such events" in nothing.stderr


def test_an_event_is_shown_with_its_clock(cli: Cli, store: Path) -> None:
    """Words for what the time is worth; where clip and picture lie."""
    add_events(store, ("wolf", EVENING), clock_quality="corrected", clock_shift_ms=-90_500,
               clip="clips/000007.avi", marked=1)  # fmt: skip
    shown = cli("events", "show", "7", "--store", store).stdout
    assert "2026-10-24 23:30:00.000+02:00" in shown
    assert "corrected: put right by -90.5 s" in shown
    assert str(store / "clips" / "000007.avi") in shown
    assert "yes, kept" in shown
    assert "may be wrong" in cli("events", "show", "5", "--store", store).stdout


def test_events_are_counted(cli: Cli, store: Path) -> None:
    """The hour that summer time repeats is two hours; figures for people and for machines."""
    shown = cli("events", "count", "--store", store).stdout.splitlines()
    assert [line.split() for line in shown] == [["label", "events"], ["fox", "3"], ["hare", "3"]]
    words = ("events", "count", "--store", store, "--by", "hour", "--json")
    rows = [json.loads(line) for line in cli(*words).stdout.splitlines()]
    assert [row["hour"] for row in rows[2:4]] == [
        "2026-10-25 01:00+02:00", "2026-10-25 02:00+02:00",
    ]  # fmt: skip
    assert rows[3]["started_at"] == "2026-10-25T00:00:00.000+00:00"
    assert rows[-1]["events"] == 2
    days = cli("events", "count", "--store", store, "--by", "day").stdout.splitlines()
    assert days[1].split() == ["2026-10-24", "1"]
    assert days[2].split() == ["2026-10-25", "5"]


def test_charts_on_the_terminal(cli: Cli, store: Path) -> None:
    """Blocks where the terminal has them, ASCII where it does not, never a colour."""
    for what in ("activity", "accumulation", "yield"):
        shown = cli("events", "chart", what, "--store", store)
        assert shown.returncode == 0, shown.stderr
        assert "hare" in shown.stdout
        assert "█" in shown.stdout
        assert "\x1b" not in shown.stdout
        assert max(map(len, shown.stdout.splitlines())) <= 100
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "70"}
    plain = subprocess.run(
        command("events", "chart", "--store", store), capture_output=True, check=True,
        env=environment,
    )  # fmt: skip
    assert b"###" in plain.stdout
    assert max(map(len, plain.stdout.decode("ascii").splitlines())) <= 70


def test_charts_in_files(cli: Cli, store: Path, tmp_path: Path) -> None:
    """A picture that opens, a page; another ending is refused before anything is read."""
    saved = cli("events", "chart", "--store", store, "--save", tmp_path / "a.png")
    assert saved.returncode == 0, saved.stderr
    assert cv2.imread(str(tmp_path / "a.png")).shape[1] == 1920
    cli("events", "chart", "yield", "--store", store, "--save", tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    refused = cli("events", "chart", "--store", tmp_path / "none", "--save", "a.pdf")
    assert refused.returncode == 2
    assert ".png or .html" in refused.stderr


def test_events_are_marked(cli: Cli, store: Path) -> None:
    """At once, as no run holds the store; the list shows it and finds them."""
    marked = cli("events", "mark", "2", "5", "--store", store)
    assert (marked.stdout, marked.stderr) == ("", "sightpost: 2 events marked\n")
    listed = cli("events", "list", "--marked", "--store", store)
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["2*", "5*"]
    assert "kept whatever" in listed.stderr
    assert "1 event unmarked" in cli("events", "unmark", "2", "--store", store).stderr
    assert [event.seq for event in find_events(store) if event.marked] == [5]
    missing = cli("events", "mark", "2", "99", "--store", store)
    assert missing.returncode == 7
    assert "no event 99" in missing.stderr
    assert [event.seq for event in find_events(store) if event.marked] == [5]


def test_a_run_is_asked_to_mark(cli: Cli, store: Path) -> None:
    """One process writes: while it does, the wish is left where it finds it."""
    with EventStore(store, source="0", model="m", model_digest="d"):
        said = cli("events", "mark", "1", "--store", store)
        assert "by the run" in said.stderr
        assert list((store / "requests").iterdir())
    assert not any(event.marked for event in find_events(store))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("list", "--since", "soon"), 2, "yesterday"),
        (("list", "--since", "today", "--until", "3d"), 2, "nothing lies between"),
        (("count", "--by", "week"), 2, "hour-of-day"),
        (("chart", "pie"), 2, "accumulation"),
        (("list", "--min-score", "2"), 2, "0<=x<=1"),
        (("list", "--label", "hair"), 2, "did you mean 'hare'?"),
        (("count", "--label", "HA"), 2, "did you mean 'hare'?"),
        (("chart", "--label", "zzz"), 2, "valid: fox, hare"),
        (("export", "--label", "hair"), 2, "did you mean 'hare'?"),
        (("chart", "--save", "none/there.png"), 2, "mkdir -p"),
        (("export", "--to", "none/there.csv"), 2, "mkdir -p"),
        (("samples", "--to", "none/there"), 2, "mkdir -p"),
    ],
)
def test_mistakes_are_explained(
    cli: Cli, store: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    """One message, the documented exit code."""
    result = cli("events", *words, "--store", store)
    assert result.returncode == code
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_health_is_in_local_time(cli: Cli, store: Path) -> None:
    """With its mark where the clock was not known to be right."""
    add(store, "health", {"at_ms": EVENING, "clock_quality": "unknown", "fault": "black"})
    shown = cli("events", "health", "--store", store)
    assert "time (UTC+02:00)" in shown.stdout
    assert "~2026-10-24 23:30:00" in shown.stdout
    assert "~ the clock" in shown.stderr


def test_what_was_dropped_is_said(cli: Cli, store: Path) -> None:
    """Also where there is no network that could tell, and no fault to list."""
    assert "dropped so far: nothing" in cli("events", "health", "--store", store).stdout
    add(store, "counters", {"name": "pictures dropped", "value": 4000},
        {"name": "outbox rows given up", "value": 2})  # fmt: skip
    said = cli("events", "health", "--store", store)
    assert said.stdout == "dropped so far: outbox rows given up 2, pictures 4,000\n"
    add(store, "health", {"at_ms": EVENING, "clock_quality": "unknown", "fault": "black"})
    lines = cli("events", "health", "--store", store, "--json").stdout.splitlines()
    assert json.loads(lines[0])["fault"] == "black"
    dropped = {"outbox rows given up": 2, "pictures dropped": 4000}
    assert json.loads(lines[1]) == {"dropped": dropped}


def test_a_narrow_terminal_has_fewer_columns(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those go first that matter least; a pipe gets everything."""
    add_events(store, ("wolf", EVENING), source="rtsp://a.example/stream", model="m" * 20,
               snapshot="snapshots/2026-10-24/000007.jpg")  # fmt: skip
    found = find_events(store)
    shown = {}
    for columns in (None, 200, 110, 80, 60):
        print_events(found, columns=columns)
        lines = capsys.readouterr().out.splitlines()
        shown[columns] = [name for name in ("model", "source", "snapshot") if name in lines[0]]
        assert columns in (None, 60) or max(map(len, lines)) <= columns
        assert "wolf" in lines[-1]
    everything = ["model", "source", "snapshot"]
    assert shown == {
        None: everything,
        200: everything,
        110: everything[:2],
        80: everything[:1],
        60: [],
    }


def test_when_is_a_duration_for_cameras_and_a_place_in_recordings(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seconds since a camera was switched on say nothing to anybody."""
    for source in ("picamera://0", "clip.mp4"):
        add_events(store, ("wolf", EVENING), source=source, started_s=70_000.0, ended_s=70_004.2)
    print_events(find_events(store)[-2:])
    live, recorded = capsys.readouterr().out.splitlines()[1:]
    assert " 4.2 s " in live
    assert "70000" not in live
    assert " 70000.0-70004.2 s " in recorded


def test_samples_are_in_local_time(cli: Cli, store: Path) -> None:
    """As events are, with their mark where the clock was not known to be right."""
    add(store, "samples", {"at_ms": EVENING, "clock_quality": "unknown", "kind": "random",
                           "label": "fox", "scores": '{"fox": 0.9}'})  # fmt: skip
    shown = cli("events", "samples", "--store", store)
    assert "time (UTC+02:00)" in shown.stdout
    assert "~2026-10-24 23:30:00" in shown.stdout
    assert "~ the clock" in shown.stderr
