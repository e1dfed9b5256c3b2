"""A full disk while training: it says so, and goes on from there once there is space."""

import subprocess
from pathlib import Path

import pytest

from sightpost_edge.errors import DiskFull

from ..conftest import TrainedRun
from .test_05_disk_full import small_disk

__all__ = ["small_disk"]


@pytest.mark.slow
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
