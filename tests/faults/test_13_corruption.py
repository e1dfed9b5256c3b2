"""Damaged databases: set aside, never deleted; the run serves on, and no number is used twice."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import cv2
import pytest

from sightpost_edge import clock
from sightpost_edge.errors import SightpostError, StoreError
from sightpost_edge.records import Event
from sightpost_edge.store import EventStore, database, read_events
from sightpost_edge.store.inspection import why_unusable
from sightpost_edge.store.quarantine import set_aside
from sightpost_edge.store.quota import Quota, StorageSettings
from sightpost_edge.testing import EPOCH, colour, frame

from .conftest import ReportFault

PAGE = database.PAGE_BYTES
EVENTS, UNCHECKPOINTED = 60, 10
HEADERS = (
    (0, b"X"), (0, b"\0" * 100), (16, b"\0\3"), (18, b"\7\7"), (20, b"\xff"), (24, b"\xff" * 8),
    (28, b"\xff" * 4), (32, b"\xff" * 8), (40, b"\xff" * 8), (44, b"\0\0\0\x63"),
    (52, b"\xff" * 4), (56, b"\0\0\0\2"), (100, b"\xff" * 8),
)  # fmt: skip
Damage = Callable[[Path], object]
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def event(label: str = "fox") -> Event:
    shown = frame(colour("red"), index=1, elapsed_s=1.0)
    return Event(label, 0.93, shown, shown, shown, shown, 5, "left")


def open_store(folder: Path) -> EventStore:
    return EventStore(folder, source="camera", model="m", model_digest="abc")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as a power cut leaves it: sixty events, the newest of them in the log only."""
    folder, copy = tmp_path_factory.mktemp("sound"), tmp_path_factory.mktemp("copies") / "store"
    with open_store(folder) as store:
        for _ in range(EVENTS - UNCHECKPOINTED):
            store.write(event(), snapshot=False)
    with open_store(folder) as store:
        for _ in range(UNCHECKPOINTED):
            store.write(event("owl"), snapshot=False)
        shutil.copytree(folder, copy)
    assert (copy / "events.db-wal").stat().st_size > 0
    return copy


def overwritten(file: Path, start: int, content: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(start)
        opened.write(content)


def truncated(file: Path, size: int) -> None:
    os.truncate(file, size)


def in_header(place: int, content: bytes) -> Damage:
    return lambda folder: overwritten(folder / "events.db", place, content)


def random_pages(seed: int) -> Damage:
    """Noise, zeros or another page of the file: what cards do."""

    def damage(folder: Path) -> None:
        rng, file = random.Random(seed), folder / "events.db"
        (folder / "events.db-wal").unlink()
        pages = file.stat().st_size // PAGE
        for _ in range(rng.randint(1, 3)):
            other = rng.randrange(pages) * PAGE
            content = (rng.randbytes(PAGE), b"\0" * PAGE, file.read_bytes()[other : other + PAGE])
            overwritten(file, rng.randrange(pages) * PAGE, rng.choice(content))

    return damage


def random_bytes(seed: int) -> Damage:
    def damage(folder: Path) -> None:
        rng = random.Random(seed)
        file = folder / rng.choice(["events.db", "events.db-wal"])
        for _ in range(rng.choice([1, 10, 100])):
            overwritten(file, rng.randrange(file.stat().st_size), rng.randbytes(1))

    return damage


def garbage(suffix: str, size: int) -> Damage:
    return lambda folder: (folder / f"events.db{suffix}").write_bytes(
        random.Random(size).randbytes(size)
    )


def a_folder(suffix: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / f"events.db{suffix}").unlink(missing_ok=True)
        (folder / f"events.db{suffix}").mkdir()
        (folder / f"events.db{suffix}" / "file").write_text("not ours")

    return damage


def a_link_to_nothing(folder: Path) -> None:
    (folder / "events.db").unlink()
    (folder / "events.db").symlink_to(folder / "nothing")


def by_sql(script: str) -> Damage:
    def damage(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "events.db")) as connection:
            connection.executescript(script)

    return damage


def of_another_program(folder: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        (folder / f"events.db{suffix}").unlink(missing_ok=True)
    by_sql("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine'); PRAGMA user_version = 3")(
        folder
    )


def damages(sound: Path, seeds: range) -> Iterator[tuple[str, Damage]]:
    size = (sound / "events.db").stat().st_size
    for length in (0, 1, 15, 99, 100, 511, PAGE - 1, PAGE + 1, size - 1, *range(PAGE, size, PAGE)):
        yield f"{length} bytes", lambda f, n=length: truncated(f / "events.db", n)
    for place, content in HEADERS:
        yield f"header {place}", in_header(place, content)
    for seed in seeds:
        yield f"pages {seed}", random_pages(seed)
        yield f"bytes {seed}", random_bytes(seed)
    log_size = (sound / "events.db-wal").stat().st_size
    for length in (0, 1, 31, 32, 33, 56, 4000, log_size // 2, log_size - 1):
        yield f"log of {length} bytes", lambda f, n=length: truncated(f / "events.db-wal", n)
    for suffix in ("-wal", "-shm"):
        for length in (1, 32, 5000, 40_000):
            yield f"{suffix} is garbage of {length}", garbage(suffix, length)
    yield "text", lambda folder: (folder / "events.db").write_text("hello\n" * 1000)
    yield "a folder in its place", a_folder("")
    yield "a folder in the place of its log", a_folder("-wal")
    yield "a link to nothing", a_link_to_nothing
    yield "only its log", lambda folder: (folder / "events.db").unlink()
    yield "a negative version", by_sql("PRAGMA user_version = -1")
    for version in range(3):
        yield f"version {version}, newer tables", by_sql(f"PRAGMA user_version = {version}")
    yield "a table is missing", by_sql("DROP TABLE outbox")
    yield "a column is missing", by_sql("ALTER TABLE events DROP COLUMN trace")
    yield "another program's", of_another_program


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody cuts the power here, and syncs are most of the time."""
    monkeypatch.setattr(database, "SYNCHRONOUS", "OFF")
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.usefixtures("unsynced")
@pytest.mark.parametrize(
    "seeds", [range(15), pytest.param(range(15, 300), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_the_run_serves_on(
    sound: Path, tmp_path: Path, seeds: range, report_fault: ReportFault
) -> None:
    """Whatever is there: opened without a person, nothing deleted, the next number is a new one,
    and so it is again after the next start."""
    broken: dict[str, str] = {}
    slowest_s = 0.0
    all_damages = list(damages(sound, seeds))
    for number, (name, damage) in enumerate(all_damages):
        folder = tmp_path / str(number)
        shutil.copytree(sound, folder)
        damage(folder)
        began_s = time.monotonic()
        try:
            serve(folder)
        except (AssertionError, SightpostError, sqlite3.Error, OSError) as exc:
            broken[name] = f"{type(exc).__name__}: {exc}"[:200]
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        shutil.rmtree(folder)
    report_fault("13 damaged databases", len(all_damages), len(broken), slowest_s)
    assert not broken, "\n".join(f"{name}: {what}" for name, what in broken.items())


def serve(folder: Path) -> None:
    """Two runs; one that meets hidden damage may end and be started again, as systemd does."""
    before = (folder / "events.db").read_bytes() if (folder / "events.db").is_file() else b""
    numbers: list[int] = []
    failures = 0
    while len(numbers) < 4:
        try:
            with open_store(folder) as store:
                numbers += [store.write(event("deer"), snapshot=False).seq for _ in range(2)]
        except StoreError:
            failures += 1
            assert failures < 2, "a crash loop"
    assert min(numbers) > EVENTS, f"a number was used twice: {numbers}"
    assert len(set(numbers)) == 4
    kept = {e.seq for e in read_events(folder)}
    assert set(numbers) <= kept
    names = {path.name for path in folder.glob("events.db.damaged-*")}
    aside = {folder / name.removesuffix("-wal").removesuffix("-shm") for name in names}
    if not kept >= set(range(1, EVENTS - UNCHECKPOINTED + 1)):
        assert len(aside) == 1, "what is not in the new one is in the old one"
        assert failures or not before or aside.pop().read_bytes() == before


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)",
        "CREATE VIRTUAL TABLE words USING fts5(label)",
        "CREATE INDEX mine ON events(model)",
        "CREATE VIEW mine AS SELECT seq FROM events",
        "CREATE TABLE t (a); CREATE VIEW broken AS SELECT a FROM t; DROP TABLE t",
        "ALTER TABLE events ADD COLUMN mine TEXT",
    ],
)
def test_what_others_have_added_is_no_damage(script: str, sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(sound, folder)
    by_sql(script)(folder)
    with open_store(folder) as store:
        store.write(event(), snapshot=False)
    assert len(read_events(folder)) == EVENTS + 1
    assert not list(folder.glob("events.db.damaged-*"))


@pytest.mark.fault("13 start after damage")
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_database_of_somebody_else_s_is_no_damage(
    suffix: str, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run as root leaves it so: said, with what to do, and it stays in its place."""
    folder = tmp_path / "store"
    shutil.copytree(sound, folder)
    before = {path.name: path.read_bytes() for path in folder.glob("events.db*")}
    forbidden = folder / f"events.db{suffix}"
    monkeypatch.setattr(os, "access", lambda path, mode, **_: Path(path) != forbidden)
    with pytest.raises(StoreError, match=f"permission to read and write {forbidden}") as caught:
        open_store(folder)
    assert "chown" in caught.value.hint
    assert {path.name: path.read_bytes() for path in folder.glob("events.db*")} == before


@pytest.mark.fault("13 start after damage")
def test_text_that_a_card_has_spoiled_hides_nothing(sound: Path, tmp_path: Path) -> None:
    """No check of SQLite's sees it; the event is listed, with what is left of its label."""
    folder = tmp_path / "store"
    shutil.copytree(sound, folder)
    by_sql("UPDATE events SET label = CAST(x'66ff78' AS TEXT) WHERE seq = 7")(folder)
    with open_store(folder) as store:
        quota = Quota(folder, store.connection, StorageSettings())
        quota.enforce()
    assert [e.label for e in read_events(folder)][6] == "f\N{REPLACEMENT CHARACTER}x"


def test_names_of_damaged_files_are_never_taken_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A station without a network starts at the same time of day again and again."""
    monkeypatch.setattr(clock, "now", lambda: EPOCH)
    path = tmp_path / "events.db"
    for content in (b"first", b"second", b"third"):
        path.write_bytes(content)
        set_aside(path, "a test")
    found = {one.read_bytes() for one in tmp_path.glob("events.db.damaged-*")}
    assert found == {b"first", b"second", b"third"}


def test_the_check_at_the_start_takes_a_bounded_time(sound: Path, tmp_path: Path) -> None:
    """A gigabyte on a slow card is not read through before the camera is opened."""
    folder = tmp_path / "store"
    shutil.copytree(sound, folder)
    filler = "INSERT INTO health SELECT NULL, 1, 0, 0, '', '', 0, '', 0, hex(zeroblob(500)) FROM "
    series = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)"
    by_sql(f"{filler} {series} SELECT i FROM n)")(folder)
    overwritten(folder / "events.db", 100 * PAGE, b"\xff" * PAGE)
    assert why_unusable(folder / "events.db", at_most_s=0.001) == ""
    assert why_unusable(folder / "events.db", at_most_s=60.0)


@pytest.mark.fault("13 start after damage")
@pytest.mark.parametrize("name", ["text", "16384 bytes", "a folder in its place"])
def test_the_command_line_says_what_is_wrong_and_mends_it(
    name: str, sound: Path, tmp_path: Path, cli: Cli, bundle_file: Path
) -> None:
    """Reading commands end with code 7 and a hint, and change nothing; the next run serves."""
    folder = tmp_path / "store"
    shutil.copytree(sound, folder)
    dict(damages(sound, range(5)))[name](folder)
    before = sorted(path.name for path in folder.iterdir())
    listed = cli("events", "list", "--store", folder)
    assert listed.returncode == 7, listed.stderr
    assert "hint:" in listed.stderr
    assert "Traceback" not in listed.stderr
    assert set(before) >= {p.name for p in folder.iterdir()} - {"events.db-wal", "events.db-shm"}
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        cv2.imwrite(str(photos / f"{number}.png"), colour("red")[..., ::-1])
    began_s = time.monotonic()
    ran = cli("run", "--model", bundle_file, "--source", photos, "--store", folder, "--json")
    assert time.monotonic() - began_s < 30
    assert ran.returncode == 0, ran.stderr
    assert "set aside as" in ran.stderr
    written = [json.loads(line)["seq"] for line in ran.stdout.splitlines()]
    assert min(written) > EVENTS
    assert cli("events", "list", "--store", folder).returncode == 0
