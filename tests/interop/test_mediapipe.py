"""MediaPipe Tasks, which we did not write, opens the models that we seal and sees the same in them.

Needs the interop environment (requirements/interop.txt in ``.venv-interop``, or its Python named by
SIGHTPOST_INTEROP_PYTHON) and the photos (``../shared/data``, or SIGHTPOST_DATA).
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier

from . import sealed

pytestmark = [
    pytest.mark.workshop,
    pytest.mark.data,
    # First of all, so that a missing environment costs no conversion.
    pytest.mark.usefixtures("interop_python"),
]

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("mediapipe_classify.py")
SCORE_TOLERANCE = 0.02
"""Equal kernels give equal scores; an XNNPACK of another age rounds int8 off by up to 0.027."""
TIE = 1e-4
"""Labels whose scores are this close are equally right; int8 scores move in steps of 0.004."""


@pytest.fixture(scope="module")
def interop_python() -> Path:
    named = os.environ.get("SIGHTPOST_INTEROP_PYTHON")
    python = Path(named) if named else ROOT / ".venv-interop" / "bin" / "python"
    if not python.exists():
        pytest.skip("no interop environment (.venv-interop or SIGHTPOST_INTEROP_PYTHON)")
    return python


@pytest.fixture(scope="module", params=sealed.KINDS)
def bundle(request: pytest.FixtureRequest, bundles: dict[str, Path]) -> Path:
    return bundles[request.param]


@pytest.fixture(scope="module")
def theirs(
    interop_python: Path, bundle: Path, pictures: NDArray[np.uint8], tmp_path_factory: Any
) -> list[dict[str, Any]]:
    """What MediaPipe says of each picture, given nothing but the file."""
    archive = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    np.savez(archive, images=pictures)
    command = [str(interop_python), str(SCRIPT), str(bundle), str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{done.stderr}\nSystem libraries: requirements/interop.in"
    return list(json.loads(done.stdout))


def test_mediapipe_agrees_with_the_device(
    bundle: Path,
    theirs: list[dict[str, Any]],
    pictures: NDArray[np.uint8],
    record_property: Callable[[str, object], None],
) -> None:
    """Same top label and score on 100 photos: pixel range, label order and heads are right."""
    classifier = BundleClassifier(Bundle.open(bundle))
    off = []
    for picture, said in zip(pictures, theirs, strict=True):
        ours = classifier.scores(picture)
        assert ours[said["categories"][0]["index"]] >= ours.max() - TIE
        off.append(abs(said["score"] - ours.max()))
    record_property(f"mediapipe, {bundle.stem}: top score off by", f"{max(off):.7f}")
    assert max(off) <= SCORE_TOLERANCE


def test_mediapipe_reads_our_labels_in_order(
    theirs: list[dict[str, Any]], labels: tuple[str, ...]
) -> None:
    """Every class of every photo carries the name that stands at its place in labels.txt."""
    for said in theirs:
        assert {c["index"]: c["label"] for c in said["categories"]} == dict(enumerate(labels))
        assert said["label"] == said["categories"][0]["label"]
