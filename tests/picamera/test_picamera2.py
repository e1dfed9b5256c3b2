"""Our source on the real picamera2 and libcamera's virtual camera, in a Debian tree of its own.

``make test-picamera`` makes the tree (``.ci/picamera-tree``) and names its folder in PICAMERA;
nothing else does. The virtual camera offers NV12 only, keeps to no frame rate and has neither
autofocus nor exposure; its colour bars move by a pixel in every frame.
"""

import json
import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import pytest

from sightpost_edge.testing import colour, tiny_bundle

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / ".ci" / "picamera-tree"
FOLDER = os.environ.get("PICAMERA", "")
BARS = ["white", "yellow", "cyan", "green", "magenta", "red", "blue", "black"]

pytestmark = pytest.mark.skipif(
    not (FOLDER and (Path(FOLDER) / "tree").is_dir()),
    reason="no virtual camera: `make test-picamera` makes one where there is root and apt",
)

Scene = Callable[[str], dict[str, Any]]
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Plays a scene of ``scenes.py`` in the tree, once, and gives its facts."""
    job = tmp_path_factory.mktemp("job")
    tiny_bundle(job / "tiny.tflite")
    (job / "photos").mkdir()
    for name in ("red", "green"):
        photo = colour(name, width=640, height=480)[..., ::-1]
        cv2.imwrite(str(job / "photos" / f"{len(name)}.jpg"), photo)

    @cache
    def play(name: str) -> dict[str, Any]:
        words = [str(TREE), "run", str(job), "/opt/venv/bin/python", "/tests/picamera/scenes.py"]
        done = subprocess.run(
            [*words, name], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr[-3000:]
        facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return facts

    return play


def rolled(row: list[str]) -> list[str]:
    """The bars move: one that is cut in two by the picture's border is counted once."""
    row = row[:-1] if row[0] == row[-1] else row
    start = row.index("white")
    return row[start:] + row[:start]


def test_frames_arrive_in_order(scene: Scene, record_property: Record) -> None:
    """600 of them, each with a later time of the sensor, none old."""
    bars = scene("bars")
    assert bars["frames"] == 600
    assert bars["rising"]
    assert bars["age_ms"] < 100
    assert bars["first_s"] < 10
    for name in ("first_s", "took_s", "age_ms", "oldest_ms", "dropped"):
        record_property(f"600 frames of 1280 x 960, {name}", f"{bars[name]:.3f}")


def test_colours_are_right(scene: Scene) -> None:
    """NV12 is converted to the bars' colours in their order, in the picture and in its half."""
    bars = scene("bars")
    assert bars["size"] == [960, 1280, 3]
    assert rolled(bars["whole"]) == BARS
    assert rolled(bars["half"]) == BARS


def test_the_half_is_measured_and_used(scene: Scene, record_property: Record) -> None:
    """Two streams of one frame agree to a level or so."""
    bars = scene("bars")
    assert bars["reductions"] == [2]
    line = next(line for line in bars["said"] if "grey levels" in line)
    assert "used" in line
    assert "not used" not in line
    record_property("the camera's half", line.split(": ", 1)[1])


def test_nothing_leaks_while_frames_come(scene: Scene, record_property: Record) -> None:
    """Between frames 100 and 600: no descriptor, and no memory to speak of."""
    bars = scene("bars")
    assert bars["descriptors_end"] == bars["descriptors"]
    assert bars["memory_mb_end"] - bars["memory_mb"] < 16
    record_property("memory at frame 100 and 600, MB", (bars["memory_mb"], bars["memory_mb_end"]))


def test_close_returns(scene: Scene, record_property: Record) -> None:
    """Within two seconds, and no thread stays behind."""
    bars = scene("bars")
    assert bars["close_s"] < 2
    assert bars["threads"] == 1
    record_property("close, s", f"{bars['close_s']:.2f}")


def test_a_camera_can_be_opened_again_and_again(scene: Scene) -> None:
    """A station that rests between looks does so hundreds of times a day."""
    facts = scene("reopen")
    assert len(set(facts["descriptors"])) == 1
    assert facts["threads"] == 1


def test_a_stalled_camera_times_out_goes_on_and_closes(scene: Scene) -> None:
    """The read ends in time, leaves nothing queued, and close does not hang."""
    facts = scene("stall")
    for name in ("first", "second"):
        assert "no picture within 0.5 s" in facts[name]
        assert facts[f"{name}_s"] < 2
    assert len(set(facts["went_on"])) == 12
    assert facts["close_s"] < 3


def test_the_fake_models_traps_that_are_there(scene: Scene) -> None:
    """A job that timed out stays queued, swallows a request and hangs stop(); the flush helps."""
    facts = scene("trap")
    assert facts["timed_out"]
    assert facts["queued"] == 1
    assert facts["swallowed"]
    assert facts["stop_hangs"]
    assert facts["flush_helps"]
    assert "AfMode is not advertised" in facts["unadvertised"]


def test_errors_say_what_to_do(scene: Scene) -> None:
    """A camera in use, and one that is not there."""
    facts = scene("errors")
    assert "Device or resource busy" in facts["busy"]
    assert "fuser" in facts["busy"]
    assert "no Raspberry Pi camera 7 (2 found)" in facts["absent"]


def test_what_the_camera_cannot_do_is_said(scene: Scene) -> None:
    """It opens all the same, at a size of its own, without the controls it lacks."""
    facts = scene("controls")
    said = "\n".join(facts["said"])
    assert facts["size"] == [960, 1280, 3]
    assert "gives 1280 x 960, not 1276 x 956" in said
    for name in ("AnalogueGain", "AwbMode", "ScalerCrop"):
        assert f"has no control {name}" in said
    assert "(200000, 200000) becomes (33333, 33333)" in said


def test_our_numbers_are_libcameras(scene: Scene) -> None:
    """White balance and autofocus are set by number."""
    facts = scene("controls")
    assert all(facts["white_balance"] + facts["autofocus"])


def test_a_bundle_names_what_the_camera_sees(scene: Scene, record_property: Record) -> None:
    """Photos as the sensor, through picamera2, LiteRT and a sealed Bundle."""
    facts = scene("classify")
    assert set(facts["labels"]) == {"red", "green"}
    record_property("a photo's colour", [round(level) for level in facts["rgb"]])
    record_property("fit and classify, ms", f"{facts['took_ms']:.2f}")
