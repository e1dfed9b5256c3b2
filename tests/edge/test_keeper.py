"""The writer thread: nothing waits for the disk, nothing acknowledged is lost, nothing grows."""

import json
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sightpost_edge.clock import Reading
from sightpost_edge.errors import DiskFull, StoreError
from sightpost_edge.records import Event
from sightpost_edge.store import (
    EventStore,
    Keeper,
    backlog,
    numbers,
    read_events,
    read_health,
    read_run,
)
from sightpost_edge.store import keeper as keeper_module
from sightpost_edge.store.backfill import Backfill
from sightpost_edge.store.housekeeping import Housekeeping
from sightpost_edge.store.numbers import BLOCK
from sightpost_edge.store.outbox import (
    GIVEN_UP,
    prune,
    read_counters,
    read_outbox,
    store_id,
    tell,
)
from sightpost_edge.store.pending import Later, PendingClip
from sightpost_edge.store.requests import Mark, ask
from sightpost_edge.testing import colour, frame

NOW = 1_790_000_000_000
BOOT = "0b00"


def event(label: str = "fox", at_s: float = 1.0) -> Event:
    """A two-second event, half a second between its frames."""
    frames = [
        replace(frame(colour("red"), index=i, elapsed_s=at_s + i / 2),
                monotonic_ns=round((at_s + i / 2) * 1e9))
        for i in range(5)
    ]  # fmt: skip
    return Event(label, 0.93, frames[0], frames[3], frames[1], frames[4], 5, "left")


class Clocks:
    """What the board's clocks say, as a test wants it."""

    def __init__(self, wall_ms: int = NOW, monotonic_s: float = 10.0, quality: str = "") -> None:
        self.wall_ms, self.monotonic_s = wall_ms, monotonic_s
        self.quality = quality or "synchronized"

    def __call__(self) -> Reading:
        return Reading(self.wall_ms, round(self.monotonic_s * 1e9), self.quality, BOOT)


def open_store(folder: Path, *, outbox: bool = False, clocks: Clocks | None = None) -> EventStore:
    return EventStore(
        folder, source="camera", model="m", model_digest="abc", live=True, outbox=outbox,
        read_clock=clocks or Clocks(),
    )  # fmt: skip


def statements(store: EventStore) -> list[str]:
    """Everything the one connection is asked to do from now on."""
    said: list[str] = []
    store.connection.set_trace_callback(said.append)
    return said


def test_a_burst_shares_its_syncs(tmp_path: Path) -> None:
    """Twenty events put while the disk was busy: one transaction, in order, all acknowledged."""
    store = open_store(tmp_path)
    gate, real = threading.Event(), store.write_all

    def slow(waiting: object) -> object:
        gate.wait(5)
        return real(waiting)  # type: ignore[arg-type]

    store.write_all = slow  # type: ignore[method-assign, assignment]
    said = statements(store)
    kept: list[object] = []
    with Keeper(store, on_kept=kept.append, patient=True) as keeper:
        keeper.put(event("first"))
        for number in range(20):
            keeper.put(event(f"{number}"), snapshot=False)
        keeper.deliver()
        assert not kept, "acknowledged before it was durable"
        gate.set()
        keeper.close()
        keeper.deliver()
    assert [e.label for e in kept] == ["first", *map(str, range(20))]  # type: ignore[attr-defined]
    assert [e.label for e in read_events(tmp_path)] == ["first", *map(str, range(20))]
    inserts = [i for i, s in enumerate(said) if s.startswith("INSERT INTO events")]
    commits = [i for i, s in enumerate(said) if s == "COMMIT" and i > inserts[0]]
    assert sum(inserts[1] < i < inserts[-1] for i in commits) <= 1


def test_each_file_that_the_disk_takes_is_a_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 pictures are 65 syncs, half a second each on a worn card: the watchdog waits for 30 s."""
    store, real = open_store(tmp_path), os.fsync
    pictures = [store.pending(event()) for _ in range(backlog.GROUP)]
    turns: list[int] = []

    def fsync(handle: int) -> None:
        turns.append(keeper.turns)
        real(handle)

    with Keeper(store, patient=True) as keeper:
        with keeper._waiting._changed:  # all at once
            for one in pictures:
                keeper.put_pending(one)
            monkeypatch.setattr("os.fsync", fsync)
        keeper.flush()
    assert len(turns) > backlog.GROUP
    assert max(Counter(turns).values()) <= 2


def test_a_broken_disk_ends_the_run(tmp_path: Path) -> None:
    """Whoever puts is told; what was durable before is still passed on."""
    store = open_store(tmp_path)
    kept: list[object] = []
    keeper = Keeper(store, on_kept=kept.append, patient=True)
    keeper.put(event(), snapshot=False)
    while not store.connection.execute("SELECT count(*) FROM events").fetchone()[0]:
        pass

    def broken(waiting: object) -> object:
        raise StoreError("the store failed: disk I/O error")

    store.write_all = broken  # type: ignore[method-assign, assignment]
    keeper.put(event("deer"), snapshot=False)
    keeper.close()
    keeper.deliver()
    assert len(kept) == 1
    with pytest.raises(StoreError, match="I/O error"):
        keeper.deliver()


class FullDisk:
    """Makes ``write_all`` fail until there is space."""

    def __init__(self, store: EventStore) -> None:
        self.full, self._real, self.tries = True, store.write_all, 0
        store.write_all = self._write  # type: ignore[method-assign, assignment]

    def _write(self, waiting: object) -> object:
        self.tries += 1
        if self.full:
            raise DiskFull("no space left", hint="free some")
        return self._real(waiting)  # type: ignore[arg-type]


def test_a_full_disk_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting goes on; what waited is written once there is space; what was too much is counted."""
    monkeypatch.setattr(keeper_module, "RETRY_S", 0.01)
    monkeypatch.setattr(keeper_module, "TICK_S", 0.01)
    monkeypatch.setattr(backlog, "MOST_WAITING", 5)
    monkeypatch.setattr(backlog, "BUSY", 2)
    store = open_store(tmp_path)
    disk = FullDisk(store)
    with Keeper(store, patient=True) as keeper:
        for number in range(8):
            keeper.put(event(f"{number}"))
        while disk.tries < 3:
            pass
        assert keeper.full
        disk.full = False
    assert [e.label for e in read_events(tmp_path)] == ["3", "4", "5", "6", "7"]
    assert read_counters(tmp_path) == {backlog.LOST_EVENTS: 3}
    assert all((tmp_path / e.snapshot).exists() for e in read_events(tmp_path))


def test_pictures_go_before_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is full and RAM is short the oldest pictures are let go, no event is."""
    monkeypatch.setattr(keeper_module, "RETRY_S", 0.01)
    monkeypatch.setattr(keeper_module, "TICK_S", 0.01)
    monkeypatch.setattr(backlog, "MOST_PICTURE_BYTES", 20_000)
    store = open_store(tmp_path)
    disk = FullDisk(store)
    with Keeper(store, patient=True) as keeper:
        for number in range(6):
            keeper.put(event(f"{number}"))
        while disk.tries < 3:
            pass
        disk.full = False
    kept = read_events(tmp_path)
    assert len(kept) == 6
    assert not kept[0].snapshot
    assert kept[-1].snapshot
    assert read_counters(tmp_path)[backlog.LOST_PICTURES] >= 1


def test_a_recording_ends_with_a_full_disk(tmp_path: Path) -> None:
    """It can be run again; a camera cannot."""
    store = open_store(tmp_path)
    FullDisk(store)
    keeper = Keeper(store, patient=False)
    keeper.put(event(), snapshot=False)
    keeper.close()
    with pytest.raises(DiskFull, match="1 not written"):
        keeper.deliver()


def test_one_reading_dates_all_of_an_event(tmp_path: Path) -> None:
    """The clock was set a year ahead while the fox was there: its two seconds stay two seconds."""
    clocks = Clocks(monotonic_s=10.0)
    with open_store(tmp_path, clocks=clocks) as store:
        stored = store.write(event(at_s=1.0), snapshot=False)
    assert stored.started_at == "2026-09-21T14:13:11.000+00:00"
    assert stored.ended_at == "2026-09-21T14:13:12.500+00:00"


def test_time_that_arrives_later_dates_what_came_before(tmp_path: Path) -> None:
    """An event of a board that thought it was 1970 is moved to when it was, marked so, and told
    again: whoever was told, or has read ahead, knows the wrong time."""
    clocks = Clocks(wall_ms=1_000_000, monotonic_s=10.0, quality="unsynchronized")
    with open_store(tmp_path, outbox=True, clocks=clocks) as store:
        store.write(event("fox", at_s=8.0), snapshot=False)
        clocks.wall_ms, clocks.monotonic_s, clocks.quality = NOW, 100.0, "synchronized"
        backfill = Backfill(store.connection, outbox=True)
        backfill.expect(clocks())
        assert backfill.correct(clocks(), store.transaction) == 2
        assert backfill.correct(clocks(), store.transaction) == 0
    (found,) = read_events(tmp_path)
    assert found.clock_quality == "corrected"
    assert found.started_at == "2026-09-21T14:11:48.000+00:00"
    assert found.ended_at == "2026-09-21T14:11:49.500+00:00"
    assert found.clock_shift_ms == NOW - 92_000 - (1_000_000 - 2_000)
    assert [p.kind for p in read_outbox(tmp_path, after=0, limit=9)] == ["event", "correction"]
    run = read_run(tmp_path, 1)
    assert run is not None
    assert run.clock_quality == "corrected"
    assert run.started_at < run.ended_at < "2026-09-21T14:14", "moved once, both"


def test_a_late_row_is_dated_too(tmp_path: Path) -> None:
    """It was read before the clock was right, and written after everything had been put right."""
    clocks = Clocks(wall_ms=1_000_000, quality="unknown")
    with open_store(tmp_path, clocks=clocks) as store:
        waiting = store.pending(event(), snapshot=False)
        clocks.wall_ms, clocks.quality = NOW, "synchronized"
        backfill = Backfill(store.connection, outbox=False)
        backfill.expect(clocks())
        while backfill.correct(clocks(), store.transaction):
            pass
        store.write_all([waiting])
        assert backfill.correct(clocks(), store.transaction) == 1
    assert read_events(tmp_path)[0].clock_quality == "corrected"


def test_earlier_boots_stay_marked(tmp_path: Path) -> None:
    """Nobody knows how long the board was off: nothing is corrected, nothing is claimed."""
    clocks = Clocks(wall_ms=1_000_000, quality="unsynchronized")
    with open_store(tmp_path, clocks=clocks) as store:
        store.write(event(), snapshot=False)
        backfill = Backfill(store.connection, outbox=False)
        other = replace(Clocks()(), boot_id="another")
        backfill.expect(other)
        assert backfill.correct(other, store.transaction) == 0
    assert read_events(tmp_path)[0].clock_quality == "unsynchronized"


def test_a_recording_is_dated_by_its_file(tmp_path: Path) -> None:
    """What was not seen just now takes its frames' times, and says so."""
    with EventStore(tmp_path, source="clip.mp4", model="m", model_digest="abc") as store:
        stored = store.write(event(at_s=3.0), snapshot=False)
    assert stored.clock_quality == "recording"
    assert stored.started_at == event(at_s=3.0).started.captured_at.isoformat(
        timespec="milliseconds"
    )


def test_numbers_go_on_after_a_lost_database(tmp_path: Path) -> None:
    """What was told to others as number 1 is never another event's number."""
    with open_store(tmp_path) as store:
        first = store.write(event(), snapshot=False).seq
    for path in tmp_path.glob("events.db*"):
        path.unlink()
    with open_store(tmp_path) as store:
        assert store.write(event(), snapshot=False).seq > first
        before = store_id(tmp_path)
        assert store.write(event(), snapshot=False).seq <= 2 * BLOCK + 2
    assert before


def test_the_outbox_goes_only_on_acknowledgement(tmp_path: Path) -> None:
    """The cursor file says up to where; the newest row stays, so that numbers are never reused."""
    with open_store(tmp_path, outbox=True) as store:
        for _ in range(5):
            store.write(event(), snapshot=False)
        house = Housekeeping(store, outbox=True, clock_s=iter(range(0, 10**6, 10)).__next__)
        house.tick()
        assert [p.id for p in read_outbox(tmp_path, after=0, limit=9)] == [1, 2, 3, 4, 5]
        cursor(tmp_path, store_id(tmp_path), 3)
        house.tick()
        assert [p.id for p in read_outbox(tmp_path, after=0, limit=9)] == [4, 5]
        cursor(tmp_path, "of another database", 5)
        house.tick()
        assert [p.id for p in read_outbox(tmp_path, after=0, limit=9)] == [4, 5]
        cursor(tmp_path, store_id(tmp_path), 5)
        house.tick()
        store.write(event(), snapshot=False)
        assert [p.id for p in read_outbox(tmp_path, after=5, limit=9)] == [6]


def cursor(folder: Path, store: str, acked: int) -> None:
    (folder / "uplink").mkdir(exist_ok=True)
    (folder / "uplink" / "mqtt.json").write_text(json.dumps({"store": store, "acked": acked}))


def test_the_outbox_is_bounded_and_says_so(tmp_path: Path) -> None:
    """Beyond its limit the oldest are given up, and counted for ever."""
    with open_store(tmp_path, outbox=True) as store, store.transaction() as connection:
        tell(connection, "health", range(20))
        assert prune(connection, 0, most=5) == 15
    assert read_counters(tmp_path) == {GIVEN_UP: 15}


def test_a_mark_goes_through_the_run(tmp_path: Path) -> None:
    """Another command never writes beside a run: it asks, and the run obeys."""
    with open_store(tmp_path) as store:
        for _ in range(3):
            store.write(event(), snapshot=False)
        assert not ask(tmp_path, Mark((2, 99)))
        (tmp_path / "requests" / "1-1.json").write_text("{nonsense")
        Housekeeping(store).tick()
        assert [e.marked for e in read_events(tmp_path)] == [False, True, False]
        assert not list((tmp_path / "requests").iterdir())
    assert ask(tmp_path, Mark((2,), keep=False))
    assert not any(e.marked for e in read_events(tmp_path))


def test_clips_and_samples_are_durable_before_their_rows(tmp_path: Path) -> None:
    """No row names what is not there; a clip of an event that is gone leaves nothing behind."""
    with open_store(tmp_path) as store:
        seq = store.write(event()).seq
        store.write_all([PendingClip(n, Later(lambda: b"RIFF")) for n in (seq, 77)])
    (found,) = read_events(tmp_path)
    assert (tmp_path / found.clip).read_bytes() == b"RIFF"
    assert [p.name for p in (tmp_path / "clips").iterdir()] == [Path(found.clip).name]
    with closing(sqlite3.connect(tmp_path / "events.db")) as connection:
        (size,) = connection.execute("SELECT picture_bytes FROM events").fetchone()
    assert size == 4 + (tmp_path / found.snapshot).stat().st_size


def test_a_failed_transaction_leaves_no_picture(tmp_path: Path) -> None:
    """All or nothing: what could not be committed is not on the disk either."""
    store = open_store(tmp_path)

    @contextmanager
    def failing() -> Iterator[sqlite3.Connection]:
        yield store.connection
        raise DiskFull("no space left")

    store.transaction, real = failing, store.transaction  # type: ignore[method-assign, assignment]
    with pytest.raises(DiskFull):
        store.write(event())
    store.transaction = real  # type: ignore[method-assign]
    assert not list((tmp_path / "snapshots").iterdir())
    store.connection.execute("DELETE FROM events")
    assert store.write(event()).seq == 1
    store.close()


def test_health_is_dated_by_the_same_clocks(tmp_path: Path) -> None:
    """A fault's time is put right like an event's."""
    from sightpost_edge.records import Health
    from sightpost_edge.testing import EPOCH

    with open_store(tmp_path) as store:
        store.write_health(Health("frozen", False, "9 s", EPOCH, round(4e9)))
    assert read_health(tmp_path)[0].at == "2026-09-21T14:13:14.000+00:00"


def test_a_film_never_holds_up_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not fit, the events behind it do: they are durable, and it is given up in time."""
    monkeypatch.setattr(keeper_module, "RETRY_S", 0.01)
    monkeypatch.setattr(keeper_module, "GRACE_S", 0.1)
    store = open_store(tmp_path)
    first = store.write(event(), snapshot=False).seq
    real = store.write_all

    def small_disk(waiting: object) -> object:
        if any(one.size > 10_000 for one in waiting):  # type: ignore[attr-defined]
            raise DiskFull("no space left")
        return real(waiting)  # type: ignore[arg-type]

    store.write_all = small_disk  # type: ignore[method-assign, assignment]
    with Keeper(store, patient=True) as keeper:
        keeper.put_pending(PendingClip(first, Later(lambda: b"x" * 20_000, 20_000)))
        for number in range(5):
            keeper.put(event(f"{number}"))
        while keeper.backlog:
            pass
    assert [e.label for e in read_events(tmp_path)][1:] == ["0", "1", "2", "3", "4"]
    assert read_counters(tmp_path) == {backlog.LOST_PICTURES: 1}


def test_an_event_goes_on_without_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten seconds of a full disk its row is safe rather than its picture hoped for."""
    monkeypatch.setattr(keeper_module, "RETRY_S", 0.01)
    monkeypatch.setattr(keeper_module, "GRACE_S", 0.1)
    store = open_store(tmp_path)
    real = store.write_all

    def tiny_disk(waiting: object) -> object:
        if any(one.size for one in waiting):  # type: ignore[attr-defined]
            raise DiskFull("no space left")
        return real(waiting)  # type: ignore[arg-type]

    store.write_all = tiny_disk  # type: ignore[method-assign, assignment]
    with Keeper(store, patient=True) as keeper:
        keeper.put(event())
        while keeper.backlog:
            pass
    (kept,) = read_events(tmp_path)
    assert not kept.snapshot


def test_no_room_even_to_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making room meets the full disk itself: the run waits, it does not end."""
    monkeypatch.setattr(keeper_module, "RETRY_S", 0.01)
    store = open_store(tmp_path)
    disk = FullDisk(store)

    class NoRoom(Housekeeping):
        def tick(self) -> None:
            raise DiskFull("no space left for housekeeping")

        def make_room(self, bytes_needed: int = 0) -> bool:
            raise DiskFull("no space left to delete")

    keeper = Keeper(store, patient=True, housekeeping=NoRoom(store))
    keeper.put(event(), snapshot=False)
    while disk.tries < 4:
        pass
    disk.full = False
    keeper.close()
    keeper.deliver()
    assert len(read_events(tmp_path)) == 1


def test_a_disk_that_hangs_holds_up_nobody_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded, and the end comes; what is put after it is refused."""
    monkeypatch.setattr(keeper_module, "FLUSH_S", 0.05)
    monkeypatch.setattr(keeper_module, "CLOSE_S", 0.05)
    monkeypatch.setattr(backlog, "MOST_WAITING", 5)
    monkeypatch.setattr(backlog, "BUSY", 2)
    store = open_store(tmp_path)
    gate = threading.Event()
    store.write_all = lambda waiting: gate.wait(20) and []  # type: ignore[method-assign, assignment]
    keeper = Keeper(store, patient=True)
    for number in range(50):
        keeper.put(event(f"{number}"), snapshot=False)
    assert keeper.backlog <= 6
    keeper.flush()
    with pytest.raises(StoreError, match="hangs"):
        keeper.close()
    with pytest.raises(StoreError, match="closed"):
        keeper.put(event(), snapshot=False)
    gate.set()
    keeper._thread.join(5)
    store.close()


def test_rules_are_never_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event without the run that explains it, or a run's number used twice, helps nobody."""
    monkeypatch.setattr(backlog, "MOST_WAITING", 2)
    monkeypatch.setattr(backlog, "BUSY", 1)
    with open_store(tmp_path) as store:
        waiting = backlog.Backlog()
        waiting.put(store.pending_run("{}"))
        for number in range(4):
            waiting.put(store.pending(event(f"{number}"), snapshot=False))
        store.write_all(waiting.take())
    assert [e.label for e in read_events(tmp_path)] == ["3"]
    assert read_run(tmp_path, 2) is not None
    assert waiting.lost == {backlog.LOST_EVENTS: 3}


def test_a_number_is_reserved_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full when the next numbers were to be noted: it is tried again, not assumed."""
    with open_store(tmp_path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(numbers, "write_file", _no_space)
            with pytest.raises(DiskFull):
                store.write(event(), snapshot=False)
        first = store.write(event(), snapshot=False).seq
        assert int((tmp_path / "sequence").read_text()) > first


def _no_space(path: Path, content: bytes) -> None:
    raise DiskFull("no space left")


def test_an_older_copy_of_the_database_is_sent_again(tmp_path: Path) -> None:
    """The cursor is ahead of it: nothing new may count as acknowledged."""
    with open_store(tmp_path, outbox=True) as store:
        store.write(event(), snapshot=False)
        name = store_id(tmp_path)
    cursor(tmp_path, name, 25)
    with open_store(tmp_path, outbox=True) as store:
        assert store_id(tmp_path) != name
        store.write(event(), snapshot=False)
        Housekeeping(store, outbox=True).tick()
    assert len(read_outbox(tmp_path, after=0, limit=9)) == 2


@pytest.mark.parametrize(
    "asked", ['{"events": [1e999], "keep": true}', '{"events": [99999999999999999999]}', "[]", ""]
)
def test_a_strange_request_ends_nothing(tmp_path: Path, asked: str) -> None:
    """It is left out, and gone."""
    with open_store(tmp_path) as store:
        (tmp_path / "requests").mkdir()
        (tmp_path / "requests" / "1-1.json").write_text(asked)
        (tmp_path / "uplink").mkdir()
        (tmp_path / "uplink" / "mqtt.json").write_text('{"store": "x", "acked": 1e999}')
        Housekeeping(store, outbox=True).tick()
        assert not list((tmp_path / "requests").iterdir())


def test_a_request_that_cannot_be_removed_is_obeyed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else's file in somebody else's folder: said once, and the run goes on."""
    with open_store(tmp_path) as store:
        store.write(event(), snapshot=False)
        ask(tmp_path, Mark((1,)))
        house = Housekeeping(store, clock_s=iter(range(0, 10**6, 10)).__next__)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", _forbidden)
            house.tick()
            house.tick()
        assert read_events(tmp_path)[0].marked
    assert caplog.text.count("cannot be removed") == 1


def _forbidden(path: Path, missing_ok: bool = False) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_only_our_own_remains_are_removed(tmp_path: Path) -> None:
    """What a kill left behind goes; another program's hidden folder stays."""
    with open_store(tmp_path):
        pass
    (tmp_path / "snapshots" / ".stfolder").mkdir()
    (tmp_path / "snapshots" / ".nomedia").touch()
    (tmp_path / "snapshots" / ".a.jpg.12.34").touch()
    (tmp_path / ".sequence.12.34").touch()
    with open_store(tmp_path):
        pass
    assert sorted(p.name for p in (tmp_path / "snapshots").iterdir()) == [".nomedia", ".stfolder"]
    assert not (tmp_path / ".sequence.12.34").exists()


def test_a_store_that_has_lost_its_name_gets_another(tmp_path: Path) -> None:
    """Damage had taken the row: the run goes on, and what waits is sent again."""
    with open_store(tmp_path, outbox=True) as store:
        store.write(event(), snapshot=False)
        store.connection.execute("DELETE FROM store")
        assert store_id(tmp_path) == ""
    with open_store(tmp_path, outbox=True):
        assert store_id(tmp_path)
