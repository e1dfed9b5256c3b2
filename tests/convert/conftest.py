"""Photos for the converter's tests."""

from pathlib import Path

import pytest

from .courtroom import photo_folders


@pytest.fixture(scope="session")
def colour_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of three colours, 30 each, in class folders."""
    return photo_folders(tmp_path_factory.mktemp("colours") / "photos")
