"""What the tests of other runtimes share: photos, and the same network sealed three ways."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from . import sealed

ROOT = Path(__file__).resolve().parents[2]
TIE = {"float32": 1e-4, "int8": 1 / 256, "two heads": 1e-4}
"""Labels whose scores are this close are equally right; int8 scores move in steps of 1/256."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    sealed.report(terminalreporter, "interop")


@pytest.fixture(scope="session")
def data() -> Path:
    folder = Path(os.environ.get("SIGHTPOST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "flowers5").is_dir() or not (folder / "weights").is_dir():
        pytest.skip("the photos are not here (SIGHTPOST_DATA, with flowers5 and weights)")
    return folder


@pytest.fixture(scope="session")
def pictures(data: Path) -> NDArray[np.uint8]:
    """(100, 128, 128, 3) uint8, R,G,B: photos of all five flowers, fitted as on the device."""
    return sealed.fitted_photos(data)


@pytest.fixture(scope="session")
def labels(data: Path) -> tuple[str, ...]:
    return sealed.imagenet_labels(data)


@pytest.fixture(scope="session")
def bundles(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles by kind: "float32", "int8" and "two heads"."""
    return sealed.seal_all(data, tmp_path_factory.mktemp("sealed"))
