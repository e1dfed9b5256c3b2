"""kill -9 while training, then --resume: the run ends bit-equal to one that was never killed."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ..conftest import TrainedRun, command

pytestmark = pytest.mark.workshop

RECIPE = """
width = 0.35
input_px = 32
batch = 8
epochs = 3
dropout = 0.3
augment = "strong"
"""


@pytest.fixture(scope="module")
def train(
    trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts ``sightpost train`` on pretrained weights, with a photo cache of its own per run."""
    import keras

    folder = tmp_path_factory.mktemp("kill")
    model = keras.models.load_model(trained_run.path / "model.keras", compile=False)
    next(layer for layer in model.layers if isinstance(layer, keras.Model)).save_weights(
        folder / "notop.weights.h5"
    )
    (folder / "recipe.toml").write_text(RECIPE)

    def start(out: Path, *more: str) -> "subprocess.Popen[str]":
        words = command(
            "train", trained_run.photos, "--out", out, "--recipe", folder / "recipe.toml",
            "--weights", folder / "notop.weights.h5", *more,
        )  # fmt: skip
        environment = {**os.environ, "XDG_CACHE_HOME": str(out.parent / "cache")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(words, text=True, env=environment, **pipes)

    return start


@pytest.fixture(scope="module")
def whole(
    train: Callable[..., "subprocess.Popen[str]"], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[Path]]:
    """A run that nobody kills; it goes on beside the others."""
    out = tmp_path_factory.mktemp("whole") / "run"
    process = train(out)

    def finished() -> Path:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        return out

    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(finished)


def weights(run: Path) -> list[np.ndarray]:
    import keras

    return list(keras.models.load_model(run / "model.keras", compile=False).get_weights())


def kill_when(process: "subprocess.Popen[str]", reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not reached() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)  # the process is watched from outside: there is nothing to wait on
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def at(step: str) -> Callable[[Path], Callable[[], bool]]:
    """The moment at which a step's file has appeared."""
    return lambda run: (run / "unfinished" / step).exists


def second_epoch(run: Path) -> Callable[[], bool]:
    """The moment at which the file of the epochs has been replaced."""
    path, seen = run / "unfinished" / "fine-tuned.npz", set[int]()

    def reached() -> bool:
        if path.exists():
            seen.add(path.stat().st_ino)
        return len(seen) > 1

    return reached


def cache_begun(run: Path) -> Callable[[], bool]:
    """The moment at which the first photos are being written."""
    return lambda: any((run.parent / "cache").rglob("pixels.u8"))


MOMENTS = {
    "reading": cache_begun, "features": at("features-train.npz"), "head": at("head.npz"),
    "first epoch": at("fine-tuned.npz"), "second epoch": second_epoch,
}  # fmt: skip
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in MOMENTS if name != "first epoch"]


@pytest.mark.parametrize("moment", ["first epoch", *SLOW])
def test_a_killed_run_ends_bit_equal(
    moment: str, train: Callable[..., "subprocess.Popen[str]"], whole: Future[Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    """Weights equal to the last bit, and no photo decoded twice once its block was kept."""
    run = tmp_path / "run"
    kill_when(train(run), MOMENTS[moment](run))
    process = train(run, "--resume")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    if moment != "reading":
        assert "120 found decoded in the cache" in errors
    for mine, theirs in zip(weights(run), weights(whole.result()), strict=True):
        assert np.array_equal(mine, theirs)
    assert not (run / "unfinished").exists()


def test_an_unfinished_run_is_not_overwritten(
    train: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    """Repeating the command without --resume names the option and touches nothing."""
    run = tmp_path / "run"
    (run / "unfinished").mkdir(parents=True)
    process = train(run)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "--resume" in errors
    assert [p.name for p in run.iterdir()] == ["unfinished"]
