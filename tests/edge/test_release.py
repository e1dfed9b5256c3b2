"""A release is installed in one way, whether the page or a hint says how."""

import re
from pathlib import Path

import pytest

from sightpost_edge import __version__
from sightpost_edge.service.release import PROGRAM, install_commands, real_folder

from ..conftest import REPOSITORY

PAGES = ("README.md", "docs/raspberry-pi.md")


@pytest.mark.parametrize("page", PAGES)
def test_hints_and_pages_install_alike(page: str) -> None:
    """But for --clear, which a first installation does not need, and apt's Python by its path."""
    text = (REPOSITORY / page).read_text().replace("$version", __version__)
    typed = re.findall(r"^sudo (.*(?:-m venv|pip install|ln -sfT).*)$", text, re.M)
    hint = install_commands("trixie")
    plain = [line.replace("--clear ", "").replace("/usr/bin/python3", "python3") for line in hint]
    assert typed[: len(plain)] == plain


def test_a_folder_is_made_anew_where_it_is(tmp_path: Path) -> None:
    """No link can take its place; a link, even one that leads to nothing, is moved."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "broken").symlink_to("nothing")
    assert real_folder(tmp_path / "folder") == PROGRAM
    assert [real_folder(tmp_path / name) for name in ("link", "broken", "none")] == [""] * 3
    assert install_commands("bookworm", "/srv/my venv") == (
        "/usr/bin/python3 -m venv --clear --system-site-packages '/srv/my venv'",
        "'/srv/my venv'/bin/pip install --require-hashes -r station-bookworm.txt",
    )
