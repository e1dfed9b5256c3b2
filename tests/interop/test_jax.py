"""The same training on another Keras backend, in an environment without TensorFlow.

Needs ``.venv-jax`` (``make test-jax``), or its Python named by SIGHTPOST_JAX_PYTHON.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from ..workshop import colour_photos

pytestmark = [pytest.mark.workshop, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def jax_python() -> Path:
    named = os.environ.get("SIGHTPOST_JAX_PYTHON")
    python = Path(named) if named else ROOT / ".venv-jax" / "bin" / "python"
    if not python.exists():
        pytest.skip("no JAX environment (.venv-jax or SIGHTPOST_JAX_PYTHON)")
    return python


def test_training_runs_on_jax(jax_python: Path, tmp_path: Path) -> None:
    """From scratch and on frozen features with fine-tuning; the report is written as well."""
    photos = colour_photos(tmp_path / "photos", per_class=40)
    environment = {
        **os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("train", "edge")),
    }  # fmt: skip
    words = [jax_python, ROOT / "tests" / "interop" / "jax_train.py", photos, tmp_path / "runs"]
    done = subprocess.run(
        list(map(str, words)), env=environment, text=True, check=False, timeout=400,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["backend"], found["tensorflow"]) == ("jax", False)
    assert found["scratch"] >= 0.8
    assert found["transfer"] >= 0.8
    assert (tmp_path / "runs" / "transfer" / "report.html").stat().st_size > 20_000
