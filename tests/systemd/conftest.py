"""Boots a Debian for each scene that a chosen test asks for, several at once, and tells the times.

`make test-systemd` makes the tree (``.ci/systemd-tree``) and names its folder in SYSTEMD_TREE;
nothing else does.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pytest

from sightpost_edge.testing import COLOURS, tiny_bundle

HERE = Path(__file__).parent
TREE = HERE.parents[1] / ".ci" / "systemd-tree"
FOLDER = os.environ.get("SYSTEMD_TREE", "")
AT_ONCE = 4
LIMIT_S = 300
ROWS = pytest.StashKey[list[tuple[str, str, str]]]()


class Timed(Protocol):
    """The type of the fixture ``timed``, for annotations."""

    def __call__(self, what: str, took_s: float, limit_s: float) -> None:
        """Put a time into the table, and hold it to its limit."""


class Counted(Protocol):
    """The type of the fixture ``counted``, for annotations."""

    def __call__(self, what: str, count: int, wanted: int) -> None:
        """Put a count into the table, and hold it to what is wanted."""


def pytest_configure(config: pytest.Config) -> None:
    """One table for the whole session."""
    config.stash.setdefault(ROWS, [])


@pytest.fixture
def timed(request: pytest.FixtureRequest) -> Timed:
    rows = request.config.stash[ROWS]

    def timed(what: str, took_s: float, limit_s: float) -> None:
        rows.append((what, f"{took_s:.1f} s", f"{limit_s:g} s"))
        assert 0 <= took_s <= limit_s, f"{what}: {took_s:.1f} s of at most {limit_s:g} s"

    return timed


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Counted:
    rows = request.config.stash[ROWS]

    def counted(what: str, count: int, wanted: int) -> None:
        rows.append((what, str(count), str(wanted)))
        assert count == wanted, f"{what}: {count}, not {wanted}"

    return counted


@pytest.fixture(scope="session")
def tree() -> Path:
    """The script that boots."""
    if not (FOLDER and (Path(FOLDER) / "tree").is_dir()):
        pytest.skip("no tree to boot: `make test-systemd` makes one where there is root and apt")
    return TREE


@pytest.fixture(scope="session")
def boots(
    request: pytest.FixtureRequest, tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, "Future[dict[str, Any]]"]]:
    """The facts of each scene by its name; all are begun with the first test that wants one."""
    common = tmp_path_factory.mktemp("job")
    _fill(common)
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    names = dict.fromkeys(call.params["facts"] for call in calls if call and "facts" in call.params)
    jobs = {name: tmp_path_factory.mktemp(name) for name in names}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(_play, tree, name, common, job) for name, job in jobs.items()}
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def facts(
    request: pytest.FixtureRequest, boots: dict[str, "Future[dict[str, Any]]"]
) -> dict[str, Any]:
    """What the scene of this test found out; ``scene("night")`` names it."""
    return boots[request.param].result()


def _fill(job: Path) -> None:
    """Two models, a camera's pictures, the programs that are run inside, and what hangs."""
    tiny_bundle(job / "tiny.tflite")
    tiny_bundle(job / "other.tflite", golden=("blue", "green"))
    shutil.copytree(HERE / "inside", job / "inside", ignore=shutil.ignore_patterns("__pycache__"))
    _write_pictures(job / "pictures")
    cc = ["cc", "-shared", "-fPIC", "-O2", "-o", str(job / "hang.so")]
    subprocess.run([*cc, str(HERE / "hang.c"), "-ldl"], check=True)


def _write_pictures(folder: Path) -> None:
    """Three seconds of each colour in blocks that differ from one picture to the next: something
    moves, and nothing is blurred or covered."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    for turn, name in enumerate(("red", "green", "blue")):
        for index in range(30):
            blocks = np.array(COLOURS[name]) + rng.integers(-60, 61, (30, 40, 1))
            picture = np.clip(blocks, 0, 255).astype(np.uint8).repeat(16, 0).repeat(16, 1)
            cv2.imwrite(str(folder / f"{turn}{index:02}.jpg"), picture[..., ::-1])


def _play(tree: Path, name: str, common: Path, job: Path) -> dict[str, Any]:
    shutil.copytree(common, job, dirs_exist_ok=True)
    job.chmod(0o755)  # services are not root
    words = [str(tree), "boot", str(job), "/usr/bin/python3", "-B", "/job/inside/play.py", name]
    environment = {**os.environ, "LIMIT_S": str(LIMIT_S)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    facts = job / "facts.json"
    known: dict[str, Any] = json.loads(facts.read_text()) if facts.exists() else {}
    ends = [done.stdout[-3000:], done.stderr[-1000:]]
    ends += [_tail(job / name) for name in ("console.txt", "journal.txt")]
    assert done.returncode == 0, "\n".join([f"{name}: {done.returncode}", str(known), *ends])
    return known


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-3000:] if path.exists() else f"no {path.name}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The table, in the order of the tests."""
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    width = max(len(what) for what, _, _ in rows)
    terminalreporter.section(f"systemd as pid 1, {AT_ONCE} machines at once", sep="-")
    for what, found, allowed in [("", "measured", "allowed"), *rows]:
        terminalreporter.write_line(f"{what:{width}}   {found:>8}   {allowed:>7}")
