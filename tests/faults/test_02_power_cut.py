"""Power cuts: whatever of the unsynced a disk keeps, every acknowledged event is there."""

import random
import shutil
from pathlib import Path

import cv2
import pytest

from sightpost_edge.testing import colour

from .conftest import ReportFault
from .old_stores import old_store
from .powercut import Disk
from .powercut_run import STORE, Left, Line, Tally, campaign, compiled, device, record, writer
from .store_promises import boot, understood
from .store_worker import Work


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that records what a process writes."""
    return compiled(tmp_path_factory.mktemp("powercut"))


def describe(tally: Tally) -> str:
    """What a failed test prints."""
    common = "\n".join(f"{count} x {text}" for text, count in tally.examples.most_common(12))
    return f"{tally.failed} of {tally.cuts} cuts failed:\n{common}"


def writers(count: int, **same: object) -> list[Line]:
    """Half of them on disks so small that pictures are given up, and rows, told or not."""
    disks_mb = (0.0, 0.0, 0.2, 0.1)
    return [
        writer(Work(**{"seed": seed, "disk_mb": disks_mb[seed % 4], **same}))  # type: ignore[arg-type]
        for seed in range(count)
    ]


def test_a_power_cut_loses_nothing_acknowledged(
    library: Path, place: Path, report_fault: ReportFault
) -> None:
    """Sixty cuts; every second recording goes on from what a cut of the one before left."""
    tally = campaign(library, place, writers(4, events=30), 15)
    report_fault("2 power cut", tally.cuts, tally.failed, tally.slowest_s)
    assert not tally.failed, describe(tally)


def test_a_power_cut_at_the_very_first_start(
    library: Path, place: Path, report_fault: ReportFault
) -> None:
    """After each single call of a store's first moments: the next start goes on by itself."""
    (place / "empty").mkdir()
    (place / "first").mkdir()
    start, rng, tally = Left(place / "empty"), random.Random(3), Tally()
    journal = record(library, place / "first", start, writer(Work(seed=1, events=1)))
    disk = Disk(start.folder)
    for operation in journal[:150]:
        disk.apply(operation)
        for _ in range(3):
            disk.cut(rng, place / "cut")
            tally.add(*boot(place / "cut" / STORE, understood(disk.promised())))
            shutil.rmtree(place / "cut")
    report_fault("2 power cut, first start", tally.cuts, tally.failed, tally.slowest_s)
    assert not tally.failed, describe(tally)


def test_a_power_cut_of_the_whole_device(
    bundle_file: Path, tmp_path: Path, library: Path, place: Path, report_fault: ReportFault
) -> None:
    """What ``sightpost run`` has printed is there after the cut, with its picture."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(40):
        pixels = colour(("red", "green", "blue")[index % 3])
        cv2.imwrite(str(photos / f"{index:02d}.png"), pixels[..., ::-1])
    line = device("--model", bundle_file, "--source", photos)
    tally = campaign(library, place, [line, line], 20)
    report_fault("2 power cut, sightpost run", tally.cuts, tally.failed, tally.slowest_s)
    assert not tally.failed, describe(tally)


@pytest.mark.slow
def test_a_thousand_power_cuts(library: Path, place: Path, report_fault: ReportFault) -> None:
    """The same, longer."""
    tally = campaign(library, place, writers(40, events=60), 25)
    report_fault("2 power cut, long", tally.cuts, tally.failed, tally.slowest_s)
    assert not tally.failed, describe(tally)


def migrations(place: Path, count: int) -> list[Left]:
    """Stores of both older schemas, one after the other."""
    found = []
    for seed in range(count):
        folder = place / f"old-{seed}"
        promises = old_store(folder / STORE, 1 + seed % 2, events=20 + 20 * seed, seed=seed)
        found.append(Left(folder, tuple(promises)))
    return found


def test_a_power_cut_while_an_old_store_is_brought_up_to_date(
    library: Path, place: Path, report_fault: ReportFault
) -> None:
    """Older schemas with their pictures; the cuts fall mostly into the migration."""
    starts = migrations(place, 2)
    tally = campaign(library, place, writers(2, events=2), 15, starts)
    report_fault("2 power cut, migration", tally.cuts, tally.failed, tally.slowest_s)
    assert not tally.failed, describe(tally)


@pytest.mark.slow
def test_many_power_cuts_while_old_stores_are_brought_up_to_date(
    library: Path, place: Path, report_fault: ReportFault
) -> None:
    """The same, longer."""
    starts = migrations(place, 8)
    tally = campaign(library, place, writers(8, events=2), 25, starts)
    report_fault("2 power cut, migration, long", tally.cuts, tally.failed, tally.slowest_s)
    assert not tally.failed, describe(tally)


def test_without_syncs_most_cuts_lose_something(library: Path, place: Path) -> None:
    """The same harness sees what synchronous=OFF loses: what it never says of FULL it could say."""
    tally = campaign(library, place, writers(3, events=30, synchronous="OFF"), 20)
    assert tally.failed > tally.cuts / 2, describe(tally)


@pytest.mark.parametrize("sync", ["folders", "files"])
def test_pictures_without_both_syncs_are_lost(library: Path, place: Path, sync: str) -> None:
    """And it sees a picture renamed before its bytes were on the disk, or before its name was."""
    tally = campaign(library, place, writers(3, events=30, sync=sync), 20)
    assert tally.failed > tally.cuts / 2, describe(tally)
