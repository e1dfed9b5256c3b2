"""What all tests share: the tiny Bundle, the command line as a process, and the real photos."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sightpost_edge.testing import tiny_bundle

REPOSITORY = Path(__file__).parent.parent
DATA = Path(os.environ.get("SIGHTPOST_DATA", REPOSITORY.parent / "shared" / "data"))

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


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
