"""Permissions, closed outputs and full outputs: a message and a code, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sightpost_edge.testing import tiny_bundle

from ..conftest import command
from ..edge.test_sources import write_folder

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="dropping privileges needs root")


PROGRAM = """
import importlib, os, pkgutil, sys
import sightpost_edge
# Everything is loaded first: a stranger may not even read this Python's libraries.
for module in pkgutil.walk_packages(sightpost_edge.__path__, "sightpost_edge."):
    importlib.import_module(module.name)
from pathlib import Path
from sightpost_edge.bundle import Bundle
from sightpost_edge.cli import main
Bundle.open(Path(sys.argv.pop(1)))
os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
main()
"""


def as_nobody(model: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command line as a user who owns nothing here."""
    environment = {**os.environ, "HOME": "/nonexistent"}
    environment.pop("XDG_DATA_HOME", None)
    line = [sys.executable, "-c", PROGRAM.format(nobody=NOBODY), str(model), *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that everyone may enter, with a Bundle in it."""
    folder = tmp_path_factory.mktemp("world")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)
    tiny_bundle(folder / "tiny.tflite").chmod(0o644)
    return folder


@needs_root
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("events", "--store", "{private}/store"), 7),
        (("run", "--model", "{model}", "--source", "{private}/clip.mp4"), 5),
        (("run", "--model", "{model}", "--source", "synthetic://line", "--store", "{locked}/s"), 7),
        (("classify", "{model}", "{private}/a.jpg"), 3),
        (("inspect", "{private}/m.tflite"), 4),
        (("run", "--model", "{private}/models", "--source", "synthetic://line"), 4),
        (("bench", "{private}/m.tflite"), 4),
        (("model", "list", "--store", "{private}"), 7),
        (("support", "--out", "{private}/x.tar.gz"), 2),
    ],
)
def test_no_permission(world: Path, words: tuple[str, ...], code: int) -> None:
    """Each command says so with its own exit code and a hint or a path."""
    private, locked = world / "private", world / "locked"
    private.mkdir(mode=0o700)
    locked.mkdir(mode=0o755)
    names = {"private": private, "locked": locked, "model": world / "tiny.tflite"}
    result = as_nobody(world / "tiny.tflite", *(word.format(**names) for word in words))
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert "sightpost:" in result.stderr


def run_line(bundle_file: Path, tmp_path: Path, *more: object) -> list[str]:
    photos = write_folder(tmp_path / "photos")
    return command("run", "--model", bundle_file, "--source", photos, "--store",
                   tmp_path / "store", "--json", *more)  # fmt: skip


def test_a_full_log_is_a_full_disk(bundle_file: Path, tmp_path: Path) -> None:
    """Writing to /dev/full fails as a full card does."""
    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    line = run_line(bundle_file, tmp_path, "--log", tmp_path / "full.jsonl")
    result = subprocess.run(line, capture_output=True, text=True, check=False)
    assert result.returncode == 7
    assert "no space left" in result.stderr


def test_a_full_output_is_a_full_disk(bundle_file: Path, tmp_path: Path) -> None:
    """Standard output may be a file on the full card."""
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            run_line(bundle_file, tmp_path), stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    assert result.returncode == 7
    assert "Traceback" not in result.stderr


def test_a_reader_that_goes_away_is_no_crash(bundle_file: Path, tmp_path: Path) -> None:
    """`| head` ends the command quietly; what was acknowledged is kept."""
    read, write = os.pipe()
    os.close(read)
    line = run_line(bundle_file, tmp_path)
    result = subprocess.run(line, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert result.returncode == 141
    assert "Traceback" not in result.stderr


def test_closed_descriptors_are_no_crash(bundle_file: Path) -> None:
    """Some service managers start programs with nothing at 0, 1 and 2."""
    words = " ".join(f"'{word}'" for word in command("inspect", bundle_file))
    assert subprocess.run(f"{words} <&- >&- 2>&-", shell=True, check=False).returncode == 0
