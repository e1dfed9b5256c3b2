"""The doctor on stores that have lost events, or cannot be a store: named, with what helps."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sightpost_edge.doctor import contents, storage
from sightpost_edge.doctor.mounts import mount_of
from sightpost_edge.errors import StoreError
from sightpost_edge.live import Live, write_live
from sightpost_edge.store.database import lock

from ..conftest import Cli
from .doctor_rig import MadeUp, only, plant
from .doctor_store import a_store, many

CARD = "/dev/mmcblk0p2 / ext4 rw 0 0\n"


@pytest.fixture
def machine(tmp_path: Path) -> MadeUp:
    plant(tmp_path, {"proc/self/mounts": CARD})
    return MadeUp(root=tmp_path, store=tmp_path / "gate", environ={})


def gone(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(("damage", "how"), [(gone, "is not there"), (emptied, "is empty")])
def test_a_database_that_is_gone(machine: MadeUp, damage: Callable[[Path], None], how: str) -> None:
    """What else is in the store tells that there were events."""
    store = a_store(machine.store, 3)
    plant(store, {"snapshots/1.jpg": "x", "snapshots/2.jpg": "x"})
    damage(store / "events.db")
    found = only(contents.check_database(machine), "warning")
    assert found.what == (
        f"/gate/events.db {how}; 3 events at most had been stored; 2 pictures left"
    )
    assert found.fix.startswith("Put a copy back as /gate/events.db")
    (store / "sequence").unlink()
    assert "2 pictures" in only(contents.check_database(machine), "warning").what


def test_a_database_that_is_gone_while_a_run_writes(machine: MadeUp) -> None:
    """What it sees from now on is lost with its end."""
    store = a_store(machine.store)
    gone(store / "events.db")
    write_live(store, Live())
    held = lock(store)
    found = only(contents.check_database(replace(machine, station="gate", uid=1000)), "fault")
    os.close(held)
    assert "deleted" in found.why
    assert found.fix == "sudo systemctl restart sightpost@gate.service"


def test_nothing_was_seen_yet(machine: MadeUp) -> None:
    """A start on a full disk leaves an empty database, and nothing is lost."""
    plant(machine.store, {"events.db": "", "snapshots/.keep": ""})
    (machine.store / "snapshots/.keep").unlink()
    found = only(contents.check_database(machine), "ok")
    assert found.what == "no events in /gate yet: /gate/events.db is empty"


def test_a_log_without_its_database(machine: MadeUp) -> None:
    """SQLite would delete it: no command that opens it is printed."""
    plant(machine.store, {"events.db": "", "events.db-wal": "x" * 4000})
    found = only(contents.check_database(machine), "fault")
    assert "its log is not" in found.what
    assert "sqlite3" not in found.fix


def scribbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    pages = len(content) // 2048
    for page in range(pages * 6 // 10, pages * 9 // 10):
        content[page * 2048 : (page + 1) * 2048] = b"\xa5" * 2048
    path.write_bytes(content)


def halved(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 4096 * 2048])


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="no sqlite3 on this machine")
@pytest.mark.parametrize("damage", [scribbled, halved])
def test_the_rescue_as_it_is_printed(
    machine: MadeUp, cli: Cli, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the sqlite3 that is here, which may lack ``.recover``: what can be read is then a store
    that can be exported, and the damaged file is as it was."""
    monkeypatch.chdir(machine.root)
    path = many(machine.store, 500) / "events.db"
    damage(path)
    before = path.read_bytes()
    here = replace(machine, root=Path("/"), uid=0, answers={"sqlite3": ""})
    found = only(contents.check_database(here), "fault")
    *shell, export = found.fix.splitlines()
    subprocess.run("\n".join(shell), shell=True, check=False, capture_output=True)
    assert export.startswith("sightpost events export --store rescued --to rescued.jsonl")
    assert cli("events", "export", "--store", "rescued", "--to", "rescued.jsonl").returncode == 0
    assert len(Path("rescued.jsonl").read_text().splitlines()) > 100
    assert path.read_bytes() == before
    plain = replace(here, uid=1000, answers={})
    assert only(contents.check_database(plain)).fix.startswith("sudo apt install -y sqlite3\n")


@pytest.mark.parametrize(
    ("name", "what"),
    [("", "/gate is a file: the store has to be a folder"),
     ("store.lock", "/gate/store.lock is a folder, and has to be a file"),
     ("sequence", "/gate/sequence is a folder, and has to be a file")],
)  # fmt: skip
def test_what_cannot_be_a_store(machine: MadeUp, name: str, what: str) -> None:
    """A run refuses it at its start, so the doctor does, too; the fix, as printed, mends it."""
    if name:
        plant(machine.store, {f"{name}/x": ""})
    else:
        machine.store.write_text("")
    with pytest.raises((StoreError, OSError)):
        a_store(machine.store)
    found = only(storage.check_owner(machine), "fault")
    assert found.what == what
    real = replace(machine, root=Path("/"), uid=0)
    subprocess.run(only(storage.check_owner(real)).fix, shell=True, check=True)
    a_store(machine.store)
    assert only(storage.check_owner(replace(machine, uid=0))).level == "ok"


def test_a_store_below_a_file(machine: MadeUp) -> None:
    """The file is named, not the folder that cannot be made in it."""
    plant(machine.root, {"gate": ""})
    inside = replace(machine, store=machine.store / "events")
    assert only(storage.check_owner(inside), "fault").what.startswith("/gate is a file")


def test_a_store_by_a_link_or_from_here(machine: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mounts are known by real and absolute paths only."""
    plant(machine.root, {"proc/self/mounts": f"{CARD}/dev/sda1 /mnt/usb ext4 ro 0 0\n",
                         "mnt/usb/x": ""})  # fmt: skip
    machine.store.symlink_to("mnt/usb")
    assert "read-only" in only(storage.check_filesystem(machine), "fault").what
    monkeypatch.chdir(machine.root)
    found = mount_of(machine, Path("mnt/usb/not/yet"))
    assert found is not None
    assert found.is_readonly


def test_the_next_run_goes_on(machine: MadeUp) -> None:
    """As the doctor says of a database that is gone: with the numbers of the lost events."""
    store = a_store(machine.store, 3)
    gone(store / "events.db")
    a_store(store)
    with sqlite3.connect(store / "events.db") as connection:
        assert connection.execute("SELECT seq FROM events").fetchall() == [(4,)]
    connection.close()
    assert only(contents.check_database(machine)).level == "ok"
