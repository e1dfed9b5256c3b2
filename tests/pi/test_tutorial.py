"""docs/raspberry-pi.md, followed to the letter on an emulated Pi 4 (aarch64, Python 3.13).

``make test-pi`` makes the Pi (``.ci/pi-tree``) and names its folder in PI; nothing else does. What
has a comment before its block is done as the comment says: "on the PC" here, "not emulated" not at
all. ``tests/docs`` holds the page to the commands that there are.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from sightpost_edge.cli import app
from sightpost_edge.testing import colour, tiny_bundle

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / ".ci" / "pi-tree"
PAGE = ROOT / "docs" / "raspberry-pi.md"
CPU = "cortex-a72"
FENCE = re.compile(r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```sh\n(?P<text>.*?)^```$", re.M | re.S)
MISSING = ("picamera", "cameras", "network")
"""Checks that may find faults here: there is no camera, and broker.example is none."""

if not (os.environ.get("PI") and (Path(os.environ["PI"]) / "tree").is_dir()):
    pytest.skip("no emulated Pi: `make test-pi` makes one", allow_module_level=True)


Record = Callable[[str, object], None]


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two fences, and the comment before them."""

    text: str
    mark: str = ""

    @property
    def commands(self) -> list[str]:
        """Without what belongs to a here-document."""
        plain = re.sub(r"<<'END'\n.*?^END$", "", self.text, flags=re.M | re.S)
        return [line for line in plain.splitlines() if line.strip()]


def blocks() -> list[Block]:
    return [Block(m["text"], m["mark"] or "") for m in FENCE.finditer(PAGE.read_text())]


def updated_twice(page: list[Block]) -> list[Block]:
    """What is right the first time finds what that left behind the second time."""
    at = next(n for n, block in enumerate(page) if block.mark == "on the PC: a new release")
    return [*page[: at + 2], *page[at:]]


@dataclass
class Followed:
    """What became of the page."""

    said: list[tuple[Block, str]] = field(default_factory=list)
    untried: list[Block] = field(default_factory=list)
    links: list[list[str]] = field(default_factory=list)
    seconds: float = 0.0

    def after(self, command: str) -> str:
        """All that was said by the blocks with this command."""
        return "\n".join(text for block, text in self.said if command in block.text)


class Maker:
    """Somebody with a PC (``bench``) and a Pi."""

    def __init__(self, folder: Path) -> None:
        self.bench, self.job = folder / "bench", folder / "job"
        self.bench.mkdir()
        self.job.mkdir()

    def types(self, text: str) -> str:
        """On the Pi, in a shell of their own; the first command that fails ends it.

        ``doctor`` may end with 13: what it finds is looked at afterwards.
        """
        ends = 'case "$BASH_COMMAND" in *"sightpost doctor"*) [ $code -eq 13 ];; *) false;; esac'
        script = f"trap 'code=$?; {{ {ends}; }} || exit 99' ERR\n{text}\ntrue"
        done = subprocess.run(
            [str(TREE), "as", "maker", CPU, str(self.job), script],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n---\n{done.stdout[-6000:]}"
        return done.stdout

    def at_the_pc(self, command: str) -> str:
        """``ssh`` and ``scp`` reach the Pi without a network."""
        words = command.split()
        if words[0] == "ssh":
            return self.types(f"cd\n{' '.join(words[2:])}")
        assert words[0] == "scp", command
        shutil.rmtree(self.job / "scp", ignore_errors=True)
        (self.job / "scp").mkdir()
        for pattern in words[1:-1]:
            found = list(self.bench.glob(pattern))
            assert found, pattern
            for path in found:
                shutil.copy(path, self.job / "scp")
        return self.types(f"cp /job/scp/* ~/{words[-1].partition(':')[2]}")


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """With a signed model and a clip of what it knows."""
    one = Maker(tmp_path_factory.mktemp("tutorial"))
    sign(tiny_bundle(one.bench / "garden.tflite"), one.bench / "garden")
    size = (160, 120)
    film = cv2.VideoWriter(str(one.bench / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, size)
    for name in ("green", "red", "green", "blue", "green"):
        for _ in range(20):
            film.write(colour(name, width=size[0], height=size[1])[..., ::-1])
    film.release()
    return one


def sign(model: Path, key: Path) -> None:
    """With a new key; the signature is that of `convert --sign`."""
    done = CliRunner().invoke(app, ["keys", "new", str(key), "--no-password"])
    assert done.exit_code == 0, done.output
    signer = ["keys", "sign", str(model), "--key", str(key.with_suffix(".key"))]
    done = CliRunner().invoke(app, signer)
    assert done.exit_code == 0, done.output


def make_dist(maker: Maker, version: str, place: Path) -> None:
    """``make dist`` of a copy of the project that calls itself another version."""
    folders = [".ci", "edge", "train", "convert", "requirements", "systemd"]
    for name in folders:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("*.*"):
        if path.is_file():
            shutil.copy(path, place)
    shutil.copy(ROOT / "LICENSE", place)
    (place / ".venv").symlink_to(ROOT / ".venv")
    about = place / "edge" / "sightpost_edge" / "__init__.py"
    about.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', about.read_text()))
    subprocess.run([str(place / ".ci" / "dist")], check=True, capture_output=True, timeout=300)
    shutil.rmtree(maker.bench / "dist", ignore_errors=True)
    shutil.copytree(place / "dist", maker.bench / "dist")
    if not (maker.job / "wheels").exists():
        lock = maker.bench / "dist" / "station-trixie.txt"
        subprocess.run([str(TREE), "wheels", str(lock), str(maker.job / "wheels")], check=True)
        for ours in (maker.job / "wheels").glob("sightpost-*.whl"):
            ours.unlink()  # it comes by scp


@pytest.fixture(scope="module")
def followed(maker: Maker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """The whole page, from its top to its end, with two new releases."""
    subprocess.run([str(TREE), "new"], check=True)
    versions = iter(["0.9.0", "0.9.1", "0.9.2"])
    result, start_s = Followed(), time.monotonic()
    for block in updated_twice(blocks()):
        if block.mark.startswith("not emulated"):
            result.untried.append(block)
        elif block.mark.startswith("on the PC"):
            make_dist(maker, next(versions), tmp_path_factory.mktemp("project"))
            for command in block.commands:
                if command != "make dist":
                    result.said.append((block, maker.at_the_pc(command)))
        else:
            assert not block.mark
            result.said.append((block, maker.types(block.text)))
            if "ln -sfT" in block.text:
                links = maker.types("readlink /opt/sightpost /opt/sightpost.before || true")
                result.links.append(links.split())
    result.seconds = time.monotonic() - start_s
    yield result
    subprocess.run([str(TREE), "new"], check=True)


def test_every_command_works_as_printed(followed: Followed, record_property: Record) -> None:
    """All that can be tried here was, and did what the page says."""
    tried = sum(len(block.commands) for block in {block for block, _ in followed.said})
    untried = [command for block in followed.untried for command in block.commands]
    assert tried >= 40
    record_property("tutorial: commands", f"{tried} in {followed.seconds:.0f} s")
    record_property("tutorial: not tried", len(untried))


def test_a_clip_gives_events(followed: Followed) -> None:
    """On the first try, with signed models too; the board computes what was sealed."""
    said = followed.after("--source clip.mp4 --store try")
    assert "verified" in said
    labels = re.findall(r"^#\d+  \S+  (\w+)  ", said, re.M)
    assert labels == ["green", "red", "green", "blue", "green"] * 2
    assert "opened 5" in said


def test_models_come_signed(followed: Followed) -> None:
    """Trusted key, installed, current, and then run from its folder."""
    said = followed.after("model install garden.tflite --store try")
    assert "tiny" in said
    assert said.count("watching clip.mp4") == 1


def test_the_doctor_misses_the_camera_and_the_broker_only(maker: Maker, followed: Followed) -> None:
    """Of Python, libraries, config, model, store and disk it finds no fault on a Pi set up so."""
    assert followed.said
    found = json.loads(maker.types("sightpost doctor --config ~/garden.toml --json"))
    faults = [one for one in found["findings"] if one["level"] == "fault"]
    assert not [one for one in faults if one["check"].partition(".")[0] not in MISSING]
    checks = {one["check"].partition(".")[0]: one["level"] for one in found["findings"]}
    assert {"python", "wheels", "model", "storage"} <= set(checks)


def test_the_new_release_is_installed_beside_the_old_one(followed: Followed) -> None:
    """Switched to, another one as well, and back to the one before: neither to the first nor
    nowhere."""
    versions = re.findall(r"^sightpost (\S+)$", "\n".join(text for _, text in followed.said), re.M)
    assert versions == ["0.9.0", "0.9.1", "0.9.2", "0.9.1"]
    assert followed.links == [
        ["sightpost-0.9.0"],
        ["sightpost-0.9.1", "sightpost-0.9.0"],
        ["sightpost-0.9.2", "sightpost-0.9.1"],
        ["sightpost-0.9.1", "sightpost-0.9.1"],
    ]
