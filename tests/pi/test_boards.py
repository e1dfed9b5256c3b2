"""Our edge package on emulated Raspberry Pi boards computes what it computes here.

``make test-pi`` makes the boards (``.ci/pi-tree``) and names their folder in PI; nothing else does.
Speeds under emulation mean nothing. Bounds leave room over what was measured:
docs/interoperability.md.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ..interop import sealed

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / ".ci" / "pi-tree"
SCRIPT = ROOT / "tests" / "interop" / "runtime_scores.py"
DATA = Path(os.environ.get("SIGHTPOST_DATA", ROOT.parent / "shared" / "data"))
BOARDS = {"cortex-a53": "Pi 3", "cortex-a72": "Pi 4", "cortex-a76": "Pi 5"}
FLOAT32_BOUND = 1e-4
"""Sums in another order; measured 0.000002."""
INT8_STEP = 1 / 256
"""Whole numbers up to the softmax, whose exponentials are floats: a score may round otherwise."""

if not (os.environ.get("PI") and (Path(os.environ["PI"]) / "tree").is_dir()):
    pytest.skip("no emulated Pi: `make test-pi` makes one", allow_module_level=True)
if not (DATA / "flowers5").is_dir() or not (DATA / "weights").is_dir():
    pytest.skip(
        "the photos are not here (SIGHTPOST_DATA, with flowers5 and weights)",
        allow_module_level=True,
    )

Record = Callable[[str, object], None]


@dataclass(frozen=True, slots=True)
class Scored:
    """(100, n) float32 by way, and what the device said of itself."""

    ways: dict[str, NDArray[np.float32]]
    facts: dict[str, Any]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the boards are given: the script, photos as fitted here, and two Bundles."""
    folder = tmp_path_factory.mktemp("work")
    bundles = sealed.seal_all(DATA, folder, ("float32", "int8 two heads"))
    bundles["float32"].rename(folder / "float32.tflite")
    bundles["int8 two heads"].rename(folder / "int8.tflite")
    np.savez(folder / "pictures.npz", images=sealed.fitted_photos(DATA))
    copy(SCRIPT, folder)
    return folder


@pytest.fixture(scope="module")
def here(work: Path) -> dict[str, Scored]:
    """The scores of this machine, by kind."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "edge")}
    return {kind: run([sys.executable], work, work, kind, environment) for kind in ways()}


@pytest.fixture(scope="module", params=BOARDS)
def board(request: pytest.FixtureRequest, work: Path) -> dict[str, Scored]:
    """The scores of a board, by kind."""
    python = [str(TREE), "run", request.param, str(work), "/opt/venv/bin/python"]
    return {kind: run(python, work, Path("/job"), kind, dict(os.environ)) for kind in ways()}


def ways() -> dict[str, list[str]]:
    """As a device opens it, the trial included; and for int8 the output before the classes."""
    return {"float32": ["device"], "int8": ["device", "xnnpack-1-embedding"]}


def run(
    python: list[str], work: Path, seen: Path, kind: str, environment: dict[str, str]
) -> Scored:
    """Let a Python score the photos; it sees the folder ``work`` as ``seen``."""
    names = [f"{kind}.tflite", "pictures.npz", "out.npz"]
    words = [seen / SCRIPT.name, "litert", *(seen / name for name in names), *ways()[kind]]
    done = subprocess.run(
        [*python, *map(str, words)], env=environment,
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(work / "out.npz") as archive:
        return Scored({way: archive[way] for way in archive.files}, json.loads(done.stdout))


def test_the_golden_frames_come_out_again(
    board: dict[str, Scored], request: pytest.FixtureRequest, record_property: Record
) -> None:
    """Decoded, cropped and scaled on the board to the very pixels; scores within the tolerance."""
    for kind, scored in board.items():
        assert scored.facts["verified"]
        assert max(scored.facts["golden_pixels_off"]) == 0
        off = max(scored.facts["golden_scores_off"])
        record_property(f"{request.node.name}, {kind}: scores off by", f"{off:.7f}")


def test_float32_scores_are_those_of_this_machine(
    board: dict[str, Scored],
    here: dict[str, Scored],
    request: pytest.FixtureRequest,
    record_property: Record,
) -> None:
    """Sums in another order move the sixth digit and no label."""
    ours, theirs = here["float32"].ways["device"], board["float32"].ways["device"]
    off = float(np.abs(ours - theirs).max())
    record_property(f"{request.node.name}: off by", f"{off:.7f}")
    assert all(sealed.same_label(*rows, FLOAT32_BOUND) for rows in zip(ours, theirs, strict=True))
    assert off <= FLOAT32_BOUND


def test_int8_arithmetic_is_exact(board: dict[str, Scored], here: dict[str, Scored]) -> None:
    """The last whole numbers before the classes are bit for bit the same."""
    ours, theirs = (s["int8"].ways["xnnpack-1-embedding"] for s in (here, board))
    np.testing.assert_array_equal(ours, theirs)


def test_int8_scores_are_those_of_this_machine(
    board: dict[str, Scored],
    here: dict[str, Scored],
    request: pytest.FixtureRequest,
    record_property: Record,
) -> None:
    """The softmax may round a score to the next step; nothing else differs."""
    ours, theirs = here["int8"].ways["device"], board["int8"].ways["device"]
    off = float(np.abs(ours - theirs).max())
    equal = int((ours == theirs).all(axis=1).sum())
    record_property(f"{request.node.name}: off by", f"{off:.7f}, photos equal {equal}")
    assert all(sealed.same_label(*rows, INT8_STEP) for rows in zip(ours, theirs, strict=True))
    assert off <= INT8_STEP
