"""The instruments of `make bench-runtime`: a camera that lies would make every figure wrong."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from bench.runtime import __main__ as command
from bench.runtime import camera, meter, processes
from bench.runtime.meter import Round
from bench.runtime.report import Goal
from bench.runtime.rounds import Result

PERIOD_NS = 10_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that sleeping moves."""
    clock = SimpleNamespace(ns=1_000_000_000)

    def sleep(seconds: float) -> None:
        clock.ns += round(seconds * 1e9)

    fake = SimpleNamespace(monotonic_ns=lambda: clock.ns, sleep=sleep)
    monkeypatch.setattr(camera, "time", fake)
    return clock


def test_a_driver_queues_four_frames_and_drops_what_comes_then(clock: SimpleNamespace) -> None:
    """Who reads late gets the oldest frame, not the newest: that is what a naive loop suffers."""
    driver = camera.Driver(fps=100)
    assert driver.dequeue() == (0, 1_000_000_000 + PERIOD_NS)
    driver.requeue()
    clock.ns += 10 * PERIOD_NS
    taken = [driver.dequeue() for _ in range(5)]
    assert [t[0] for t in taken if t] == [1, 2, 3, 4, 11]
    assert driver.dropped == 6


def test_a_buffer_that_is_being_decoded_is_not_filled(clock: SimpleNamespace) -> None:
    """OpenCV gives a buffer back after decoding: until then the driver has three."""
    driver = camera.Driver(fps=100)
    driver.dequeue()
    clock.ns += 10 * PERIOD_NS
    driver.requeue()
    clock.ns += PERIOD_NS
    taken = [driver.dequeue() for _ in range(4)]
    assert [t[0] for t in taken if t] == [1, 2, 3, 11]


def test_a_driver_waits_for_the_next_frame_and_ends(clock: SimpleNamespace) -> None:
    """Reading early blocks until the frame's own moment; after the last there is nothing."""
    driver = camera.Driver(fps=100, limit=2)
    for index in range(2):
        assert driver.dequeue() == (index, clock.ns)
        driver.requeue()
    assert clock.ns == 1_000_000_000 + 2 * PERIOD_NS
    assert driver.dequeue() is None


def test_both_sides_see_the_same_frames(tmp_path: Path) -> None:
    """The peers' decoded picture and our undecoded bytes come from the same place of the clip."""
    pictures = [np.full((16, 24, 3), level, np.uint8) for level in (40, 200)]
    camera.write_clip(tmp_path / "clip.bin", [bytes(cv2.imencode(".jpg", p)[1]) for p in pictures])
    clip = camera.Clip(tmp_path / "clip.bin")
    assert [clip.copy(i) == clip.view(i).tobytes() for i in range(3)] == [True] * 3
    capture = camera.VideoCapture(clip, fps=1000)
    levels = [int(capture.read()[1].mean()) for _ in range(3)]
    assert levels == pytest.approx([40, 200, 40], abs=2)


def test_a_meter_counts_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 decisions a second, each 5 ms late and 2 ms of work, come out as just that."""
    now = SimpleNamespace(ns=1, cpu=0.0)
    fake = SimpleNamespace(monotonic_ns=lambda: now.ns, process_time=lambda: now.cpu)
    monkeypatch.setattr(meter, "time", fake)
    told = meter.Meter(seconds=1.0)
    while told.decided(now.ns - 5_000_000):
        now.ns += PERIOD_NS
        now.cpu += 0.002
    found = told.result()
    assert (found.per_s, found.cpu_ms) == pytest.approx((100, 2.0))
    assert (found.latency_ms, found.latency_p95_ms) == pytest.approx((5, 5))
    assert found.total_cpu_s > found.decisions * 0.002


def test_disturbed_rounds_do_not_count_while_two_quiet_ones_exist() -> None:
    def one(cpu_ms: float, foreign_cores: float) -> Round:
        return Round(10, 1.0, cpu_ms, 1.0, 1.0, 0.1, foreign_cores)

    assert Result("a", (one(5, 0.0), one(7, 0.1), one(90, 1.5))).median("cpu_ms") == 6
    disturbed = Result("a", (one(5, 0.0), one(7, 0.9), one(90, 1.5)))
    assert (disturbed.median("cpu_ms"), disturbed.quiet) == (7, False)


def test_a_leak_is_seen_and_a_flat_line_is_none() -> None:
    """3 MiB an hour stand out of a megabyte of jitter after an hour; warm-up does not count."""
    rng = np.random.default_rng(1)
    at_s = np.arange(3600.0)
    for leak in (0.0, 3.0):
        resident = 80 + rng.normal(0, 0.3, 3600) + leak * at_s / 3600
        resident[:250] -= 20
        flat = np.ones(3600)
        samples = np.stack([at_s, resident, resident, flat * 9, flat * 4, at_s * 0.1], axis=1)
        found = processes._trend(samples, "sightpost: 36000 frames in 3600.0 s\n")
        assert found["slope_mib_per_h"] == pytest.approx(leak, abs=0.2)
        assert 0 < found["slope_error"] < 0.2
        assert found["cpu_ms_per_frame"] == 10.0
        assert processes._trend(samples[:180], "")["slope_error"] is None


@pytest.mark.parametrize(
    ("program", "failure"),
    [
        ("import sys; sys.exit('x' * 200_000 + '\\nthe end')", "the end"),
        ("import sys; sys.exit(3)", "it said nothing"),
        ("print('done')", "too short for a slope, 20 are not"),
    ],
)
def test_a_soak_that_tells_nothing_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, failure: str
) -> None:
    """Also where the run has much to say before it fails, and where it is over too soon."""
    monkeypatch.setattr(processes, "RUN", ("-c", program))
    found = processes.soak(tmp_path, tmp_path, minutes=0.1, fps=1, say=lambda text: None)
    assert failure in found["failure"]


def test_the_versions_of_the_peers_are_kept(tmp_path: Path) -> None:
    """Figures of another release are no comparison."""
    versions = command._versions()
    assert {line.split("==")[0] for line in versions} == {
        "mediapipe", "onnxruntime", "opencv-contrib-python",
    }  # fmt: skip
    found: dict[str, Any] = {name: {} for name in command.SCENARIOS}
    command._write(found, versions, tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text())["peers"] == versions


def test_a_goal_says_by_how_much_it_was_missed() -> None:
    assert "SHORT" in str(Goal("speed", 2.0, 2.5, at_least=True))
    assert "0.50 short" in str(Goal("speed", 2.0, 2.5, at_least=True))
    assert "PASS" in str(Goal("memory", 100, 160, at_least=False))
    assert Goal("memory", None, 160, at_least=False).reached is None
