"""A full disk: one clear message, nothing acknowledged is lost, nothing half-written stays."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

from sightpost_edge.durable import write_file
from sightpost_edge.errors import DiskFull
from sightpost_edge.store import read_events
from sightpost_edge.testing import colour

from ..conftest import TrainedRun

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_and_loses_nothing(
    cli: Cli, bundle_file: Path, small_disk: Path, tmp_path: Path
) -> None:
    """Exit code 7, a hint, and every acknowledged event in a store that opens."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(600):
        name = ("red", "green", "blue")[index % 3]
        cv2.imwrite(
            str(photos / f"{index:04d}.png"), colour(name, width=320, height=240)[..., ::-1]
        )
    result = cli("run", "--model", bundle_file, "--source", photos, "--store",
                 small_disk / "store", "--json")  # fmt: skip
    assert result.returncode == 7, result.stderr
    assert "no space left" in result.stderr
    assert "hint:" in result.stderr
    acknowledged = [json.loads(line)["seq"] for line in result.stdout.splitlines()]
    assert acknowledged
    assert set(acknowledged) <= {event.seq for event in read_events(small_disk / "store")}
    assert not list((small_disk / "store" / "snapshots").glob(".*"))


def test_a_file_is_replaced_whole_or_not_at_all(small_disk: Path) -> None:
    """The old content survives a write that does not fit, and no temporary file is left."""
    target = small_disk / "model.tflite"
    write_file(target, b"old")
    with pytest.raises(DiskFull):
        write_file(target, b"x" * 4_000_000)
    assert target.read_bytes() == b"old"
    assert os.listdir(small_disk) == ["model.tflite"]


@pytest.mark.workshop
def test_training_goes_on_once_there_is_space(trained_run: TrainedRun, small_disk: Path) -> None:
    """Full while an epoch is kept: named, with what was finished intact; --resume ends the run."""
    from sightpost_train.recipe import TrainRecipe
    from sightpost_train.training import run_training

    recipe = TrainRecipe(width=0.35, input_px=32, weights="none", epochs=1, batch=8)
    run = small_disk / "run"
    with pytest.raises(DiskFull, match="no space left") as caught:
        run_training(trained_run.photos, run, recipe)
    assert caught.value.hint
    assert [p.name for p in (run / "unfinished").iterdir()] == ["key.json"]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    run_training(trained_run.photos, run, recipe, resume=True)
    assert (run / "metrics.json").exists()
    assert not (run / "unfinished").exists()
