"""The same Bundles under TensorFlow's own interpreter, LiteRT and tflite-runtime 2.14 with numpy 1.

The last needs ``.venv-tflite-runtime`` (``make test-interop``), or its Python named by
SIGHTPOST_TFLITE_RUNTIME_PYTHON. Bounds leave room over what was measured: docs/interoperability.md.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from . import sealed
from .conftest import ROOT, TIE

pytestmark = [pytest.mark.workshop, pytest.mark.data]

SCRIPT = Path(__file__).with_name("runtime_scores.py")
BARE = [f"{kernels}-{threads}" for kernels in ("xnnpack", "builtin") for threads in (1, 2, 4)]
RUNTIMES = ("litert", "tf.lite", "tflite-runtime")
OTHERS = [
    ("litert", "builtin-1"),
    ("tf.lite", "xnnpack-1"),
    ("tf.lite", "builtin-1"),
    ("tflite-runtime", "xnnpack-1"),
    ("tflite-runtime", "builtin-1"),
    ("tflite-runtime", "device"),
]
BOUND = {"float32": 1e-4, "int8": 0.15, "two heads": 1e-4}
"""Measured: 0.000009 and 0.094. Kernels of another age or kind round int8 otherwise."""
BUILTIN_THREADS_BOUND = 1e-5
"""Without XNNPACK float sums are split among threads: measured 0.000001."""

Record = Callable[[str, object], None]


@dataclass(frozen=True, slots=True)
class Scored:
    """(100, 1000) float32 by way, and what the device said of itself where it was asked.

    Ways with several threads have fewer rows.
    """

    ways: dict[str, NDArray[np.float32]]
    facts: dict[str, Any]


@pytest.fixture(scope="module")
def tflite_runtime_python() -> Path | None:
    named = os.environ.get("SIGHTPOST_TFLITE_RUNTIME_PYTHON")
    python = Path(named) if named else ROOT / ".venv-tflite-runtime" / "bin" / "python"
    return python if python.exists() else None


@pytest.fixture(scope="module")
def scored(
    tflite_runtime_python: Path | None,
    bundles: dict[str, Path],
    pictures: NDArray[np.uint8],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], Scored]:
    """What a runtime makes of a kind of Bundle, in a process of its own, once."""
    folder = tmp_path_factory.mktemp("scores")
    np.savez(folder / "pictures.npz", images=pictures)
    known: dict[tuple[str, str], Scored] = {}

    def ask(runtime: str, kind: str) -> Scored:
        python = tflite_runtime_python if runtime == "tflite-runtime" else Path(sys.executable)
        if python is None:
            pytest.skip("no .venv-tflite-runtime and no SIGHTPOST_TFLITE_RUNTIME_PYTHON")
        if (runtime, kind) not in known:
            known[runtime, kind] = run(python, runtime, bundles[kind], folder)
        return known[runtime, kind]

    return ask


def run(python: Path, runtime: str, bundle: Path, folder: Path) -> Scored:
    ways = BARE if runtime == "tf.lite" else ["device", *BARE]
    out = folder / "scores.npz"
    words = [python, SCRIPT, runtime, bundle, folder / "pictures.npz", out, *ways]
    done = subprocess.run(
        list(map(str, words)), env={**os.environ, "PYTHONPATH": str(ROOT / "edge")},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(out) as archive:
        arrays = {way: archive[way] for way in archive.files}
    return Scored(arrays, json.loads(done.stdout) if "device" in ways else {})


@pytest.mark.parametrize("kind", sealed.KINDS)
def test_the_device_adds_nothing_to_litert(kind: str, scored: Callable[[str, str], Scored]) -> None:
    """Our reading of a model gives the very scores that its signature gives."""
    ways = scored("litert", kind).ways
    np.testing.assert_array_equal(ways["device"], ways["xnnpack-1"])


@pytest.mark.parametrize("kind", sealed.KINDS)
@pytest.mark.parametrize(("runtime", "way"), OTHERS)
def test_runtimes_agree_with_the_device(
    runtime: str, way: str, kind: str, scored: Callable[[str, str], Scored], record_property: Record
) -> None:
    """Same top label on 100 photos, every score near ours."""
    theirs = scored(runtime, kind).ways[way]
    ours = scored("litert", kind).ways["device"]
    off = float(np.abs(ours - theirs).max())
    record_property(f"{runtime} {way}, {kind}: scores off by", f"{off:.7f}")
    labels = [sealed.same_label(*rows, TIE[kind]) for rows in zip(ours, theirs, strict=True)]
    assert all(labels)
    assert off <= BOUND[kind]


@pytest.mark.parametrize("kind", sealed.KINDS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_threads_change_no_score(
    runtime: str, kind: str, scored: Callable[[str, str], Scored], record_property: Record
) -> None:
    """One, two or four threads: exactly equal with XNNPACK and with int8."""
    ways = scored(runtime, kind).ways
    few = len(ways["xnnpack-2"])
    for threads in (2, 4):
        np.testing.assert_array_equal(ways[f"xnnpack-{threads}"], ways["xnnpack-1"][:few])
    off = max(float(np.abs(ways[f"builtin-{n}"] - ways["builtin-1"][:few]).max()) for n in (2, 4))
    record_property(f"{runtime} builtin, {kind}: 2 or 4 threads off by", f"{off:.7f}")
    assert off <= (0 if kind == "int8" else BUILTIN_THREADS_BOUND)


@pytest.mark.parametrize("kind", sealed.KINDS)
def test_the_device_verifies_itself_on_numpy_1(
    kind: str, scored: Callable[[str, str], Scored], record_property: Record
) -> None:
    """Without LiteRT our package takes tflite-runtime, and the golden frames come out again."""
    facts = scored("tflite-runtime", kind).facts
    assert facts["verified"]
    assert facts["numpy"].startswith("1.")
    assert facts["opencv"].startswith("4.11.")
    assert max(facts["golden_pixels_off"]) == 0
    off = max(facts["golden_scores_off"])
    record_property(f"tflite-runtime, {kind}: golden scores off by", f"{off:.7f}")
