"""The event store: durable, single writer, readable by anyone."""

import os
import sqlite3
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from sightpost_edge.errors import StoreBusy, StoreError
from sightpost_edge.pixels import read_photo
from sightpost_edge.records import Event, Health, Moment
from sightpost_edge.store import (
    EventStore,
    default_folder,
    read_events,
    read_health,
    read_run,
    read_trace,
)
from sightpost_edge.store.schema import MIGRATIONS
from sightpost_edge.testing import EPOCH, colour, frame


def event(label: str = "fox", at_s: float = 1.0) -> Event:
    """A two-second event."""
    frames = [frame(colour("red"), index=i, elapsed_s=at_s + i / 2) for i in range(5)]
    return Event(label, 0.93, frames[0], frames[3], frames[1], frames[4], 5, "left")


def test_a_story_is_told_in_few_bytes(tmp_path: Path) -> None:
    """Four digits of a score and microseconds, which is how exactly an event's times are kept."""
    third = 1 / 3
    moments = tuple(
        Moment(i + third, "fox", third, "deer", 0.1 + third, "confirming", novelty=2 * third)
        for i in range(100)
    )
    with open_store(tmp_path) as store:
        store.write(replace(event(), trace=moments), snapshot=False)
    kept = read_trace(tmp_path, 1)
    assert kept[1] == Moment(1.333333, "fox", 0.3333, "deer", 0.4333, "confirming", 0.6667)
    with closing(sqlite3.connect(tmp_path / "events.db")) as database:
        (size,) = database.execute("SELECT length(trace) FROM events").fetchone()
    assert size < 70 * len(moments)


def open_store(folder: Path) -> EventStore:
    return EventStore(folder, source="camera", model="m", model_digest="abc")


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    """Every field comes back, numbered from one."""
    with open_store(tmp_path) as store:
        written = [store.write(event("fox")), store.write(event("deer", 9.0))]
    assert read_events(tmp_path) == written
    assert [e.seq for e in written] == [1, 2]
    assert written[0].source == "camera"
    assert written[0].decided_s == 3.0


def test_the_snapshot_is_the_peak(tmp_path: Path) -> None:
    """A picture that opens, named by the row."""
    with open_store(tmp_path) as store:
        stored = store.write(event())
    picture = read_photo(tmp_path / stored.snapshot)
    assert picture.shape == (48, 64, 3)
    assert picture[..., 0].mean() > 180


def test_numbers_are_never_used_twice(tmp_path: Path) -> None:
    """A new run goes on counting; the number is the event's name for ever."""
    for expected in (1, 2):
        with open_store(tmp_path) as store:
            assert store.write(event(), snapshot=False).seq == expected


def test_only_one_run_writes(tmp_path: Path) -> None:
    """The second run is told so; after the first one ends it may write."""
    with open_store(tmp_path), pytest.raises(StoreBusy, match="another run"):
        open_store(tmp_path)
    open_store(tmp_path).close()


def test_it_is_read_while_it_is_written(tmp_path: Path) -> None:
    """The list command does not disturb a running device."""
    with open_store(tmp_path) as store:
        store.write(event(), snapshot=False)
        assert len(read_events(tmp_path)) == 1
        store.write(event(), snapshot=False)
        assert len(read_events(tmp_path)) == 2


def test_filters(tmp_path: Path) -> None:
    """By label, and the newest so many, always oldest first."""
    with open_store(tmp_path) as store:
        for label in ("fox", "deer", "fox", "fox"):
            store.write(event(label), snapshot=False)
    assert [e.seq for e in read_events(tmp_path, label="fox")] == [1, 3, 4]
    assert [e.seq for e in read_events(tmp_path, last=2)] == [3, 4]


def test_the_promises_of_the_database(tmp_path: Path) -> None:
    """WAL and FULL are what the durability claims rest on."""
    with open_store(tmp_path) as store:
        pragma = store._connection.execute
        assert pragma("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert pragma("PRAGMA synchronous").fetchone()[0] == 2


def test_a_damaged_database_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The device goes on with a new one; the old one is kept for repair."""
    (tmp_path / "events.db").write_bytes(b"SQLite format 3\0" + b"\xa5" * 8000)
    with open_store(tmp_path) as store:
        store.write(event(), snapshot=False)
    assert len(read_events(tmp_path)) == 1
    assert list(tmp_path.glob("events.db.damaged-*"))
    assert "set aside" in caplog.text


def test_a_store_from_the_future_is_refused(tmp_path: Path) -> None:
    """An older program does not write into a newer store."""
    with open_store(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "events.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="newer"):
        open_store(tmp_path)


def test_no_store_yet(tmp_path: Path) -> None:
    """Asking before anything was logged is answered, not crashed."""
    with pytest.raises(StoreError, match="no events"):
        read_events(tmp_path)


def test_a_lock_that_is_none_is_named(tmp_path: Path) -> None:
    """A folder in the lock's place: that is what has to go, not the store."""
    (tmp_path / "store.lock").mkdir()
    with pytest.raises(StoreError, match=r"store\.lock: Is a directory"):
        open_store(tmp_path)


def test_a_database_of_no_bytes_is_begun(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A start on a full disk leaves one; the next run needs no other, and sets nothing aside."""
    (tmp_path / "events.db").touch()
    assert read_events(tmp_path) == []
    with open_store(tmp_path) as store:
        store.write(event())
    assert [one.seq for one in read_events(tmp_path)] == [1]
    assert "set aside" not in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    """The message names the folder and what to do."""
    tmp_path.chmod(0o555)
    with pytest.raises(StoreError, match="no permission"):
        open_store(tmp_path / "store")


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's state directory first, then the user's data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert default_folder() == Path("/data/sightpost")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/sightpost")
    assert default_folder() == Path("/var/lib/sightpost")


def test_rows_are_plain(tmp_path: Path) -> None:
    """Everything in a stored event can go into JSON or CSV."""
    with open_store(tmp_path) as store:
        row = asdict(store.write(event(), snapshot=False))
    assert all(isinstance(value, int | float | str | None) for value in row.values())


def old_store(folder: Path) -> None:
    """A store as the first release wrote it, with one event."""
    (folder / "snapshots").mkdir()
    with closing(sqlite3.connect(folder / "events.db")) as connection:
        connection.executescript(MIGRATIONS[0] + "PRAGMA user_version = 1;")
        names = [row[1] for row in connection.execute("PRAGMA table_info(events)")]
        texts = {"label": "fox", "source": "camera", "model": "m", "reason": "left"}
        row = [
            texts.get(name, 1 if name == "seq" else 0.5 if name[-2:] == "_s" else "")
            for name in names
        ]
        connection.execute(f"INSERT INTO events VALUES ({','.join('?' * len(names))})", row)
        connection.commit()


def test_an_older_store_is_brought_up_to_date(tmp_path: Path) -> None:
    """Its events stay, with what was not kept then left open; new ones go beside them."""
    old_store(tmp_path)
    (before,) = read_events(tmp_path)
    assert (before.label, before.run, before.named_by, before.novelty) == ("fox", 0, "label", None)
    assert read_trace(tmp_path, 1) == ()
    assert read_run(tmp_path, 0) is None
    assert read_health(tmp_path) == []
    with open_store(tmp_path) as store:
        store.write(event("deer"))
    assert [(e.label, e.run) for e in read_events(tmp_path)] == [("fox", 0), ("deer", 1)]


def test_a_newer_store_is_left_alone(tmp_path: Path) -> None:
    """A downgrade does not write into what it does not know."""
    old_store(tmp_path)
    with closing(sqlite3.connect(tmp_path / "events.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer sightpost"):
        open_store(tmp_path)


def test_an_event_keeps_its_story_and_its_rules(tmp_path: Path) -> None:
    """``sightpost why`` shows them months later."""
    story = (
        Moment(1.0, "fox", 0.4, "dog", 0.3, "below threshold", 0.2),
        Moment(1.5, "fox", 0.93, "dog", 0.05, "opened", 0.7, True),
    )
    with open_store(tmp_path) as store:
        stored = store.write(replace(event(), trace=story, region="gate", named_by="group"))
    assert read_trace(tmp_path, stored.seq) == story
    assert (stored.region, stored.named_by, stored.novelty) == ("gate", "group", 0.7)
    run = read_run(tmp_path, stored.run)
    assert run is not None
    assert (run.source, run.model_digest, run.rules) == ("camera", "abc", "{}")


def test_camera_health_is_kept(tmp_path: Path) -> None:
    """A fault that began and was over: two rows, in order."""
    with open_store(tmp_path) as store:
        for ok in (False, True):
            store.write_health(Health("frozen", ok, "9 s", EPOCH, 5))
    assert [(h.fault, h.ok, h.run) for h in read_health(tmp_path)] == [
        ("frozen", False, 1), ("frozen", True, 1),
    ]  # fmt: skip
