"""A run that goes on and on: nothing grows, nothing is left open, nobody starts it again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_edge.store import read_events
from sightpost_edge.testing import colour, tiny_bundle

from .conftest import SOAK_MINUTES, ReportFault

camera: Any = pytest.importorskip("bench.runtime.camera")
processes: Any = pytest.importorskip("bench.runtime.processes")

FPS = 10.0
SHORT_MINUTES = 2.0
WARM_S = 600.0
"""At ten pictures a second caches took seven minutes to fill; the nine after them added nothing."""
MOST_MIB = 160.0
"""What a run may take at all. A short soak is all warm-up, in which 16 MiB come and go."""
SITE = """
[rules]
max_s = 4.0
[samples]
per_hour = 3600
max_mb = 5
[storage]
max_mb = 30
"""
"""Events, clips and samples at a hundred times the usual rate, and a quota that is soon reached."""


def scenes(path: Path) -> Path:
    """Twelve seconds of a camera of 640x480: three colours, each with noise of its own."""
    rng = np.random.default_rng(1)
    frames = []
    for name in ("red", "green", "blue"):
        plain = colour(name, width=640, height=480)[..., ::-1].astype(np.int16)
        for _ in range(40):
            noise = rng.integers(-25, 26, plain.shape, dtype=np.int16)
            picture = np.clip(plain + noise, 0, 255).astype(np.uint8)
            frames.append(bytes(cv2.imencode(".jpg", picture)[1]))
    camera.write_clip(path, frames)
    return path


@pytest.mark.slow
def test_a_run_neither_grows_nor_ends(tmp_path: Path, report_fault: ReportFault) -> None:
    """Two hours in ``make soak``, minutes here, which say nothing of a slow leak."""
    tiny_bundle(tmp_path / "network.tflite")
    clip, site, store = scenes(tmp_path / "scenes.mjpeg"), tmp_path / "site.toml", tmp_path / "kept"
    site.write_text(SITE)
    found = processes.soak(
        tmp_path, clip, minutes=SOAK_MINUTES or SHORT_MINUTES, fps=FPS, say=print,
        warm_s=WARM_S,
        more=("--config", str(site), "--store", str(store)),
    )  # fmt: skip
    broken = (
        ["it ended"]
        if "failure" in found
        else [p for p, holds in PROMISES.items() if not holds(found)]
    )
    report_fault("15 soak", 0, len(broken), None, said(found))
    assert not broken, found
    kept = read_events(store)
    assert kept[-1].seq > 12 * (SOAK_MINUTES or SHORT_MINUTES), "too quiet to prove anything"
    assert any(event.clip for event in kept)
    assert any((store / "samples").rglob("*.jpg"))


def flat(found: dict[str, Any]) -> bool:
    """It takes no more than it may, and after its warm-up it does not grow, as far as is seen."""
    slope, error = found["slope_mib_per_h"], found["slope_error"]
    small = found["peak_mib"] < MOST_MIB
    return bool(small and (error is None or slope <= max(1.0, error)))


PROMISES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "as many files": lambda found: found["files"][0] >= found["files"][1],
    "as many threads": lambda found: found["threads"][0] >= found["threads"][1],
    "memory": flat,
    "the rate": lambda found: found["frames"] >= 0.95 * FPS * 60 * (found["minutes"] - 0.1),
}


def said(found: dict[str, Any]) -> str:
    """For the table."""
    if "failure" in found:
        return str(found["failure"])
    minutes, slope = found["minutes"], found["slope_mib_per_h"]
    ends = f"{found['files'][1]} files, {found['threads'][1]} threads"
    if found["slope_error"] is None:
        return (
            f"{minutes:.0f} min: {ends} from the first to the last, {found['peak_mib']:.0f} MiB at "
            "most; too short for a slope, see make soak"
        )
    return f"{minutes:.0f} min at 10 fps: {slope:+.2f} ± {found['slope_error']} MiB/h, {ends}"
