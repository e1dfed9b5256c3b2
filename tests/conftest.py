"""What all tests share: the tiny Bundle, the command line as a process, and the real photos."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sightpost_edge.testing import tiny_bundle

from .workshop import colour_photos

REPOSITORY = Path(__file__).parent.parent
DATA = Path(os.environ.get("SIGHTPOST_DATA", REPOSITORY.parent / "shared" / "data"))

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The command changes it for its whole process, which here is that of all other tests."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(autouse=True, scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded photos and the record of tried models go into folders of the tests, never into the
    user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def bundle_file(tmp_path: Path) -> Path:
    """A sealed Bundle that names a picture's strongest colour."""
    return tiny_bundle(tmp_path / "tiny.tflite")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Runs ``sightpost`` in a process of its own, with a home folder of its own."""

    def run(*words: object, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "home")}
        environment.pop("STATE_DIRECTORY", None)
        return subprocess.run(
            command(*words), capture_output=True, text=True, check=False,
            env=environment, timeout=timeout,
        )  # fmt: skip

    return run


def command(*words: object) -> list[str]:
    """The command line of the root command with this Python."""
    program = "from sightpost_edge.cli import main; main()"
    return [sys.executable, "-c", program, *map(str, words)]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real photos; tests that need it are left out where it is absent."""
    if not DATA.is_dir():
        pytest.skip("the real photo sets are not here (../shared/data or $SIGHTPOST_DATA)")
    return DATA


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A folder of colour photos and the run that was trained on it."""

    photos: Path
    path: Path


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A real training run from scratch, small enough for every test session."""
    from sightpost_train.recipe import TrainRecipe
    from sightpost_train.training import run_training

    folder = tmp_path_factory.mktemp("trained")
    photos = colour_photos(folder / "photos", per_class=40)
    recipe = TrainRecipe(
        width=0.35, input_px=32, weights="none", epochs=12, augment="flips", batch=8
    )
    run_training(photos, folder / "run", recipe)
    return TrainedRun(photos, folder / "run")
