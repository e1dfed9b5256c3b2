"""Finding and counting events: right in every zone, and by the index alone."""

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sightpost_edge.clock import to_ms
from sightpost_edge.errors import ConfigError, StoreError
from sightpost_edge.localtime import HOUR_MS, local, read_when, stretches
from sightpost_edge.store import reading
from sightpost_edge.store.counts import count_by, first_seen
from sightpost_edge.store.database import open_or_quarantine
from sightpost_edge.store.queries import EventFilter, find_events, iter_events
from sightpost_edge.store.schema import MIGRATIONS
from sightpost_edge.store.watched import Watch, read_watched

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = (
    UTC, BERLIN,
    ZoneInfo("Asia/Kathmandu"),  # 5:45 ahead
    ZoneInfo("Australia/Lord_Howe"),  # summer time is half an hour
    ZoneInfo("America/St_Johns"),  # 3:30 behind
)  # fmt: skip
LABELS = ("deer", "fox", "wild boar", 'a "quoted", one', "Bär")


def ms(text: str) -> int:
    """A UTC time as milliseconds since 1970."""
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def add(folder: Path, table: str, *rows: dict[str, Any]) -> None:
    """Put rows into a store; what they do not give is empty or zero."""
    folder.mkdir(exist_ok=True)
    with closing(open_or_quarantine(folder / "events.db")) as connection:
        info = connection.execute(f"PRAGMA table_info({table})").fetchall()
        connection.execute("BEGIN")
        for row in rows:
            empty = {name: "" if kind == "TEXT" else 0 for _, name, kind, needed, *_ in info
                     if needed}  # fmt: skip
            full = {**empty, **row}
            marks = ",".join("?" * len(full))
            connection.execute(
                f"INSERT INTO {table} ({','.join(full)}) VALUES ({marks})", list(full.values())
            )
        connection.execute("COMMIT")


def add_events(folder: Path, *events: tuple[str, int], **more: Any) -> None:
    """Events of (label, started_ms)."""
    rows = [
        {"label": label, "score": 0.9, "started_ms": started_ms, "ended_ms": started_ms + 2000,
         "clock_quality": "synchronized", "named_by": "label", **more}
        for label, started_ms in events
    ]  # fmt: skip
    add(folder, "events", *rows)


def various(folder: Path, count: int, *, begin: int, end: int) -> list[dict[str, Any]]:
    """Random events, most of them in order of time; gives their rows."""
    chance = random.Random(count)
    times = sorted(chance.randrange(begin, end) for _ in range(count))
    chance.shuffle(times[: count // 10])
    rows = [
        {"seq": seq, "label": "lynx" if seq == 7 else chance.choice(LABELS),
         "score": round(chance.random(), 3), "started_ms": times[seq - 1], "ended_ms": 0,
         "marked": int(chance.random() < 0.05), "clock_quality": "synchronized"}
        for seq in range(1, count + 1)
    ]  # fmt: skip
    add(folder, "events", *rows)
    return rows


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A year with 5,000 events in it."""
    folder = tmp_path_factory.mktemp("queries")
    return folder, various(folder, 5000, begin=ms("2026-01-01"), end=ms("2027-01-01"))


MIDDLE, LATER = ms("2026-05-01"), ms("2026-08-01")
FILTERS = [
    {}, {"label": "fox"}, {"label": "lynx"}, {"label": "none"}, {"min_score": 0.5},
    {"min_score": 0.999}, {"since_ms": MIDDLE}, {"until_ms": MIDDLE}, {"marked": True},
    {"marked": False}, {"since_ms": MIDDLE, "until_ms": LATER},
    {"label": "deer", "since_ms": MIDDLE, "until_ms": LATER, "min_score": 0.7},
    {"label": "deer", "marked": True, "until_ms": MIDDLE},
]  # fmt: skip


def kept(rows: list[dict[str, Any]], wanted: EventFilter) -> list[dict[str, Any]]:
    """What the filter means, in Python."""
    found = [
        row for row in rows
        if wanted.label in ("", row["label"])
        and wanted.from_ms <= row["started_ms"] < wanted.to_ms
        and row["score"] >= (wanted.min_score or 0)
        and wanted.marked in (None, bool(row["marked"]))
    ]  # fmt: skip
    return found[-wanted.last :] if wanted.last else found


@pytest.mark.parametrize("given", FILTERS)
@pytest.mark.parametrize("last", [None, 3, 2500])
def test_a_filter_means_what_it_says(
    store: tuple[Path, list[dict[str, Any]]], given: dict[str, Any], last: int | None
) -> None:
    """The same events as a look at every row, in the order of their numbers; counts agree."""
    folder, rows = store
    wanted = EventFilter(**given, last=last)
    expected = kept(rows, wanted)
    assert [e.seq for e in find_events(folder, wanted)] == [row["seq"] for row in expected]
    by_label = {one.name: one.events for one in count_by(folder, "label", wanted)}
    assert by_label == Counter(row["label"] for row in expected)
    assert sum(one.events for one in count_by(folder, "hour", wanted)) == len(expected)


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("what", ["hour", "day", "hour-of-day"])
def test_hours_and_days_are_those_of_the_clock_on_the_wall(
    tmp_path: Path, zone: tzinfo, what: str
) -> None:
    """In every zone, through both changes of summer time, and for a board that boots in 1970."""
    around = [ms("2026-03-28T20:00"), ms("2026-04-04T12:00"), ms("2026-10-03T12:00"),
              ms("2026-10-24T20:00"), ms("2026-11-01T02:00"), 0]  # fmt: skip
    times = [start + step * 600_000 for start in around for step in range(150)]
    add_events(tmp_path, *(("fox", at) for at in times))
    forms = {"day": "%Y-%m-%d", "hour-of-day": "%H:00"}

    def name(at: int) -> str:
        if what != "hour":
            return f"{local(at, zone):{forms[what]}}"
        hour = local(at, zone).replace(minute=0, tzinfo=None)
        return f"{hour:%Y-%m-%d %H:%M}{local(at, zone).isoformat()[-6:]}"

    counts = count_by(tmp_path, what, zone=zone)
    assert {one.name: one.events for one in counts} == Counter(map(name, times))
    if what == "hour-of-day":
        assert [one.name for one in counts] == sorted(one.name for one in counts)
    else:
        begun = [one.started_ms for one in counts]
        assert begun == sorted(begun)
        assert all(
            f"{local(one.started_ms, zone):%Y-%m-%d}" == one.name[:10]
            for one in counts if one.started_ms is not None
        )  # fmt: skip


def test_counted_label_by_label(store: tuple[Path, list[dict[str, Any]]]) -> None:
    """Every label in every month's days; names with quotes and umlauts stay whole."""
    folder, rows = store
    counts = count_by(folder, "day", each_label=True, zone=UTC)
    found = Counter({(one.name, one.label): one.events for one in counts})
    assert found == Counter(
        (f"{local(row['started_ms'], UTC):%Y-%m-%d}", row["label"]) for row in rows
    )


def test_the_first_of_each_label(store: tuple[Path, list[dict[str, Any]]]) -> None:
    """By time, whatever the numbers say."""
    folder, rows = store
    first: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: row["started_ms"]):
        first.setdefault(row["label"], row["started_ms"])
    assert [(one.label, one.started_ms) for one in first_seen(folder)] == list(first.items())
    late = first_seen(folder, EventFilter(since_ms=LATER, min_score=0.5))
    assert all(one.started_ms >= LATER for one in late)
    assert {one.label for one in late} == set(LABELS)


def plans(
    folder: Path, ask: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """What SQLite says it does for every statement that is asked."""
    said: list[str] = []
    connect = reading._connect_readonly

    def traced(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(said.append)
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_connect_readonly", traced)
        ask()
    with closing(connect(folder / "events.db")) as connection:
        for text in said:
            if not text.startswith("PRAGMA"):
                for row in connection.execute(f"EXPLAIN QUERY PLAN {text}"):
                    yield row[3]


@pytest.mark.parametrize("given", FILTERS)
def test_no_row_is_read_to_be_left_out(
    store: tuple[Path, list[dict[str, Any]]], given: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A million rows are 2 GB: only the index may be gone through, rows are fetched by number."""
    folder, _ = store
    wanted = EventFilter(**given, last=50)
    asked: list[Callable[[], object]] = [
        lambda: find_events(folder, wanted), lambda: first_seen(folder, wanted),
        *(lambda what=what: count_by(folder, what, wanted)
          for what in ("hour", "day", "label", "hour-of-day")),
    ]  # fmt: skip
    for ask in asked:
        steps = [step for step in plans(folder, ask, monkeypatch) if " events" in step]
        assert steps
        for step in steps:
            by_number = "USING INTEGER PRIMARY KEY" in step
            assert by_number or "COVERING INDEX" in step or step == "SEARCH events", step
            assert not step.startswith("SCAN events") or "COVERING INDEX" in step, step


def test_a_long_read_holds_nobody_up(tmp_path: Path) -> None:
    """Half-way through, the log is written back whole and rows are deleted: the rest is read."""
    add_events(tmp_path, *(("fox", at) for at in range(2000)))
    events = iter_events(tmp_path)
    seen = [next(events).seq for _ in range(600)]
    with closing(sqlite3.connect(tmp_path / "events.db", timeout=0)) as writer:
        writer.execute("DELETE FROM events WHERE seq > 1900")
        writer.commit()
        assert writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    assert seen + [event.seq for event in events] == list(range(1, 1901))


def test_a_store_of_an_older_release(tmp_path: Path) -> None:
    """Its events are listed; counting waits until a run has brought it up to date."""
    with closing(sqlite3.connect(tmp_path / "events.db")) as connection:
        connection.executescript(f"{MIGRATIONS[0]} {MIGRATIONS[1]} PRAGMA user_version = 2;")
        names = [row[1] for row in connection.execute("PRAGMA table_info(events)")]
        for day in (1, 2, 3):
            given = {"label": "fox", "score": day / 4, "started_at": f"2026-01-0{day}T10:00:00Z"}
            row = [given.get(name, day if name == "seq" else 0) for name in names]
            connection.execute(f"INSERT INTO events VALUES ({','.join('?' * len(row))})", row)
        connection.commit()
    wanted = EventFilter(label="fox", since_ms=ms("2026-01-02"), min_score=0.5, last=5)
    assert [event.seq for event in find_events(tmp_path, wanted)] == [2, 3]
    with pytest.raises(StoreError, match="older release") as caught:
        count_by(tmp_path, "hour")
    assert "sightpost run" in caught.value.hint


@pytest.mark.parametrize(
    "wrong", [{"last": 0}, {"min_score": 1.5}, {"since_ms": 2, "until_ms": 2}], ids=str
)
def test_senseless_filters_are_refused(wrong: dict[str, Any]) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigError):
        EventFilter(**wrong)


def test_times_that_cannot_be(tmp_path: Path) -> None:
    """A clock that says nonsense breaks nothing."""
    add_events(tmp_path, ("fox", 10**15), ("fox", 5), ("hare", 2**61))
    for what in ("hour", "day", "label", "hour-of-day"):
        for zone in (BERLIN, None):
            assert sum(one.events for one in count_by(tmp_path, what, zone=zone)) == 3
    assert [one.label for one in first_seen(tmp_path)] == ["fox", "hare"]


def test_an_unknown_way_to_count(tmp_path: Path) -> None:
    """The nearest one is named."""
    with pytest.raises(ConfigError) as caught:
        count_by(tmp_path, "hours")
    assert "hour" in caught.value.hint


NOW = datetime(2026, 11, 21, 17, 30, tzinfo=UTC)  # 18:30 in Berlin


@pytest.mark.parametrize(
    ("text", "whole_day", "utc"),
    [
        ("2026-11-20", False, "2026-11-19T23:00"),
        ("2026-11-20", True, "2026-11-20T23:00"),
        ("2026-11-21T18:00", True, "2026-11-21T17:00"),
        ("2026-11-21 18:00", False, "2026-11-21T17:00"),
        ("2026-07-01T12:00", False, "2026-07-01T10:00"),
        ("2026-10-25", True, "2026-10-25T23:00"),  # a day of 25 hours
        ("2026-11-21T18:00Z", False, "2026-11-21T18:00"),
        ("2026-11-21T18:00+05:45", False, "2026-11-21T12:15"),
        ("2h", False, "2026-11-21T15:30"),
        ("30 min", True, "2026-11-21T17:00"),
        ("3d", False, "2026-11-18T17:30"),
        ("today", False, "2026-11-20T23:00"),
        ("Yesterday", False, "2026-11-19T23:00"),
        ("yesterday", True, "2026-11-20T23:00"),
    ],
)
def test_times_as_people_write_them(text: str, whole_day: bool, utc: str) -> None:
    """In local time, unless they say another one."""
    assert read_when(text, whole_day=whole_day, now=NOW, zone=BERLIN) == ms(utc)


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "h", "-2h", "12", "9999-12-31", "2026-1"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With examples of what is one."""
    with pytest.raises(ConfigError) as caught:
        read_when(text, whole_day=True, now=NOW, zone=BERLIN)
    assert "yesterday" in caught.value.hint


def test_local_time_in_stretches() -> None:
    """Cut to the second where summer time begins and ends, with nothing left out between."""
    year = list(stretches(ms("2026-01-01"), ms("2027-01-01"), BERLIN))
    assert [one.from_ms for one in year[1:]] == [ms("2026-03-29T01:00"), ms("2026-10-25T01:00")]
    assert [one.offset_ms // HOUR_MS for one in year] == [1, 2, 1]
    assert [one.to_ms for one in year[:-1]] == [one.from_ms for one in year[1:]]
    assert [one.offset_name for one in stretches(0, 1, ZONES[4])] == ["-03:30"]


def test_when_the_station_watched(tmp_path: Path) -> None:
    """Live runs, joined over a restart; a file's run says nothing; an open end lasts on."""
    hour = HOUR_MS
    runs = [(1, 5, "picamera://0", "synchronized"), (5, 9, "0", "unsynchronized"),
            (2, 30, "clip.mp4", "synchronized"), (20, None, "rtsp://x", "corrected")]  # fmt: skip
    for number, (begun, ended, source, quality) in enumerate(runs, 1):
        add(tmp_path, "runs", {
            "run": number, "started_ms": begun * hour, "source": source, "clock_quality": quality,
            "ended_ms": None if ended is None else ended * hour,
        })  # fmt: skip
    watched = read_watched(tmp_path, now_ms=24 * hour)
    assert watched.watches == (Watch(hour, 9 * hour), Watch(20 * hour, 24 * hour))
    assert (watched.runs, watched.doubtful) == (3, 1)
    later = read_watched(tmp_path, from_ms=10 * hour, now_ms=24 * hour)
    assert (later.runs, later.doubtful) == (1, 0)
