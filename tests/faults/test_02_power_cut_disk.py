"""The model of a disk that loses power: it can lose all that was not synced, and nothing else."""

import os
import random
from pathlib import Path

import pytest

from .powercut import SECTOR, Disk, File, Operation, Unrecorded

OLD, NEW = b"o" * 4 * SECTOR, b"n" * 4 * SECTOR
SEEDS = range(300)


def survivors(file: File) -> set[bytes]:
    """All that cuts with different seeds leave of a file."""
    return {file.survivor(random.Random(seed)) for seed in SEEDS}


def after(tmp_path: Path, *done: Operation) -> list[dict[str, bytes]]:
    """What cuts with different seeds leave of a folder that was empty."""
    (tmp_path / "empty").mkdir()
    disk = Disk(tmp_path / "empty")
    for operation in done:
        disk.apply(operation)
    found = []
    for seed in SEEDS:
        into = tmp_path / str(seed)
        disk.cut(random.Random(seed), into)
        found.append({path.name: path.read_bytes() for path in into.iterdir()})
    return found


def create(name: bytes, handle: int = 3) -> Operation:
    return Operation("O", handle, os.O_CREAT | os.O_WRONLY, name, b"")


def write(data: bytes, handle: int = 3) -> Operation:
    return Operation("W", handle, 0, data, b"")


def sync(handle: int = 3) -> Operation:
    return Operation("F", handle, 0, b"", b"")


def rename(old: bytes, new: bytes) -> Operation:
    return Operation("R", 0, 0, old, new)


SYNC_FOLDER = (Operation("O", 9, os.O_RDONLY, b"", b""), sync(9))


def test_what_was_synced_stays() -> None:
    """Bytes and size, whatever came before; a promise is a promise."""
    file = File()
    file.write(0, OLD)
    file.write(SECTOR, NEW)
    file.resize(3 * SECTOR)
    file.sync()
    assert survivors(file) == {OLD[:SECTOR] + NEW[: 2 * SECTOR]}


def test_a_write_over_a_synced_one_is_torn_at_sectors() -> None:
    """Every sector is the old or the new one; mixtures occur; the rest is as it was."""
    file = File(OLD)
    file.write(0, NEW[: 3 * SECTOR])
    found = survivors(file)
    assert {OLD, NEW[: 3 * SECTOR] + OLD[:SECTOR]} < found
    assert len(found) == 8
    for content in found:
        sectors = [content[at : at + SECTOR] for at in range(0, len(OLD), SECTOR)]
        assert set(sectors) <= {OLD[:SECTOR], NEW[:SECTOR]}
        assert sectors[3] == OLD[:SECTOR]


def test_half_a_sector_keeps_its_other_half() -> None:
    """A write of few bytes changes nothing that was synced beside them."""
    file = File(OLD)
    file.write(100, b"new")
    assert survivors(file) == {OLD, OLD[:100] + b"new" + OLD[103:]}


def test_of_two_writes_the_first_may_be_what_is_left() -> None:
    """The disk may have written the cached sector between the two."""
    file = File(b"0")
    file.write(0, b"1")
    file.write(0, b"2")
    assert survivors(file) == {b"0", b"1", b"2"}


def test_what_grew_may_be_short_or_empty_or_hollow() -> None:
    """A size without its bytes reads as zeros."""
    file = File()
    file.write(0, NEW[:SECTOR])
    file.write(SECTOR, NEW[:SECTOR])
    found = survivors(file)
    assert {b"", NEW[:SECTOR], NEW[: 2 * SECTOR], bytes(2 * SECTOR)} < found
    assert bytes(SECTOR) + NEW[:SECTOR] in found


def test_a_file_without_its_folders_sync_may_have_no_name(tmp_path: Path) -> None:
    """fsync of a file says nothing about its name; that of its folder does."""
    found = after(tmp_path, create(b"a"), write(NEW), sync())
    assert {} in found
    assert {"a": NEW} in found
    assert all(files in ({}, {"a": NEW}) for files in found)


def test_a_synced_rename_of_unsynced_bytes_may_show_an_empty_file(tmp_path: Path) -> None:
    """The mistake that the control with pictures stands for."""
    found = after(tmp_path, create(b".a"), write(NEW), rename(b".a", b"a"), *SYNC_FOLDER)
    assert all(list(files) == ["a"] for files in found)
    assert {"a": b""} in found
    assert {"a": NEW} in found


def test_names_survive_in_their_order(tmp_path: Path) -> None:
    """Of what happened to a folder a first part: never the second file without the first, never
    both names of a file that was renamed."""
    found = after(tmp_path, create(b"a"), create(b"b", 4), rename(b"a", b"c"))
    seen = {frozenset(files) for files in found}
    assert seen == {frozenset(names) for names in ("", "a", "ab", "bc")}


def test_a_journal_that_does_not_tell_all_is_refused(tmp_path: Path) -> None:
    """A file that came about past the recording library would never be cut."""
    disk = Disk(tmp_path)
    (tmp_path / "picture.jpg").write_bytes(NEW)
    with pytest.raises(Unrecorded, match=r"picture\.jpg"):
        disk.compare(tmp_path)
    with pytest.raises(Unrecorded, match="sendfile"):
        disk.apply(Operation("X", 0, 0, b"sendfile", b""))
