"""Runs inside the tree: one scene with the real picamera2, told as JSON on the last line.

python scenes.py NAME
"""

import faulthandler
import itertools
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import libcamera
import picamera2
import virtual_camera

from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.errors import SourceUnavailable
from sightpost_edge.records import Pixels
from sightpost_edge.sources import open_source, picamera_controls
from sightpost_edge.sources.picamera import BUFFERS, PiCamera
from sightpost_edge.sources.settings import CameraSettings

JOB = Path("/job")
MOVING = CameraSettings(frozen_s=0.0)
BARS = {
    (255, 255, 255): "white", (255, 255, 0): "yellow", (0, 255, 255): "cyan",
    (0, 255, 0): "green", (255, 0, 255): "magenta", (255, 0, 0): "red", (0, 0, 255): "blue",
    (0, 0, 0): "black",
}  # fmt: skip


class Said(logging.Handler):
    """What the log was told."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


SAID = Said()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def number(model: str) -> int:
    """The virtual cameras come in an order of libcamera's."""
    infos = picamera2.Picamera2.global_camera_info()
    return next(i for i, info in enumerate(infos) if info["Model"] == model)


def bars_uri() -> str:
    return f"picamera://{number('Colour bars')}"


def named(picture: Pixels) -> list[str]:
    """The colours of a row from left to right, each once; pixels on a border are none."""
    names = [BARS.get(tuple((pixel > 127) * 255)) for pixel in picture[picture.shape[0] // 2]]
    clear = [int(abs(p.astype(int) - 127.5).min()) > 110 for p in picture[picture.shape[0] // 2]]
    seen: list[str] = []
    for name, certain in zip(names, clear, strict=True):
        if certain and name and (not seen or seen[-1] != name):
            seen.append(name)
    return seen


def bars() -> dict[str, Any]:
    """600 frames of the colour bars."""
    began_s = time.monotonic()
    source = open_source(bars_uri(), camera=MOVING)
    facts: dict[str, Any] = {"first_s": time.monotonic() - began_s}
    times, ages_ms = [], []
    for frame in source:
        times.append(frame.monotonic_ns)
        ages_ms.append((time.monotonic_ns() - frame.monotonic_ns) / 1e6)
        if frame.index == 0:
            facts["whole"], facts["size"] = named(frame.rgb()), frame.rgb().shape
            facts["half"] = named(frame.image.decode(2)[..., ::-1])
            facts["reductions"] = frame.image.reductions
        if frame.index == 100:
            facts["descriptors"], facts["memory_mb"] = descriptors(), memory_mb()
        if frame.index == 599:
            break
    facts |= {
        "frames": len(times), "dropped": source.dropped, "took_s": time.monotonic() - began_s,
        "rising": all(a < b for a, b in itertools.pairwise(times)),
        "age_ms": sorted(ages_ms)[len(ages_ms) // 2], "oldest_ms": max(ages_ms),
        "descriptors_end": descriptors(), "memory_mb_end": memory_mb(),
    }  # fmt: skip
    began_s = time.monotonic()
    source.close()
    return facts | {"close_s": time.monotonic() - began_s, "threads": threading.active_count()}


def reopen() -> dict[str, Any]:
    """Open, take five frames, close; four times."""
    left, took = [], []
    for _ in range(4):
        began_s = time.monotonic()
        source = open_source(bars_uri(), camera=MOVING)
        for frame in source:
            if frame.index == 4:
                break
        source.close()
        took.append(time.monotonic() - began_s)
        left.append(descriptors())
    return {"descriptors": left, "took_s": took, "threads": threading.active_count()}


def stall() -> dict[str, Any]:
    """All buffers are held, so no frame comes; then they are given back; then held until close."""
    camera = PiCamera(number("Colour bars"), CameraSettings(stall_s=1.0))
    facts: dict[str, Any] = {}
    for name in ("first", "second"):
        held = [camera._camera.capture_request(wait=5.0) for _ in range(BUFFERS)]
        began_s = time.monotonic()
        try:
            camera.read()
        except TimeoutError as exc:
            facts[name] = str(exc)
        facts[f"{name}_s"] = time.monotonic() - began_s
        if name == "first":
            for request in held:
                request.release()
            facts["went_on"] = [camera.read().monotonic_ns for _ in range(BUFFERS * 3)]
    began_s = time.monotonic()
    camera.close()
    return facts | {"close_s": time.monotonic() - began_s}


def trap() -> dict[str, Any]:
    """picamera2 itself: what the fake says of a job that timed out."""
    camera = picamera2.Picamera2(number("Colour bars"))
    camera.configure(camera.create_video_configuration(raw=None, buffer_count=BUFFERS))
    camera.start()
    held = [camera.capture_request(wait=5.0) for _ in range(BUFFERS)]
    facts: dict[str, Any] = {}
    try:
        camera.capture_request(wait=0.3)
    except TimeoutError:
        facts["timed_out"] = True
    facts["queued"] = len(camera._job_list)
    held.pop().release()
    deadline_s = time.monotonic() + 5
    while camera._job_list and time.monotonic() < deadline_s:
        time.sleep(0.01)
    try:
        held.append(camera.capture_request(wait=0.3))
    except TimeoutError:
        facts["swallowed"] = True
    stopping = threading.Thread(target=_quietly, args=(camera.stop,), daemon=True)
    stopping.start()
    stopping.join(1.0)
    facts["stop_hangs"] = stopping.is_alive()
    camera.cancel_all_and_flush()
    stopping.join(5.0)
    facts["flush_helps"] = not stopping.is_alive()
    try:
        camera.set_controls({"AfMode": 2})
    except RuntimeError as exc:
        facts["unadvertised"] = str(exc)
    camera.close()
    return facts


def _quietly(call: Any) -> None:
    try:
        call()
    except BaseException:  # noqa: BLE001 - the flush cancels it; only that it ended counts
        return


def errors() -> dict[str, Any]:
    """No such camera, and one that is in use."""
    facts = {}
    camera = PiCamera(number("Colour bars"))
    for name, uri in (("busy", bars_uri()), ("absent", "picamera://7")):
        try:
            open_source(uri).close()
        except SourceUnavailable as exc:
            facts[name] = f"{exc} | {exc.hint}"
    camera.close()
    return facts


def controls() -> dict[str, Any]:
    """Wishes that this camera cannot fulfil, and libcamera's numbers for those of a Pi."""
    camera = PiCamera(
        number("Colour bars"),
        CameraSettings(
            width=1276, height=956, fps=5, gain=2.0, white_balance="daylight",
            crop=[0.1, 0.1, 0.5, 0.5], rotation=180,
        ),
    )  # fmt: skip
    size = camera.read().image.decode().shape
    camera.close()
    awb = {name.lower(): int(v) for name, v in libcamera.controls.AwbModeEnum.__members__.items()}
    focus = {name.lower(): int(v) for name, v in libcamera.controls.AfModeEnum.__members__.items()}
    return {
        "size": size,
        "white_balance": [awb[name] == n for name, n in picamera_controls.WHITE_BALANCE.items()],
        "autofocus": [focus[name] == n for name, n in picamera_controls.AUTOFOCUS.items()],
    }


def classify() -> dict[str, Any]:
    """Photos as the sensor, a sealed Bundle, and what it calls them."""
    classifier = BundleClassifier(Bundle.open(JOB / "tiny.tflite"))
    source = open_source(f"picamera://{number('Photos')}", camera=MOVING)
    labels, took_ms = [], []
    for frame in source:
        prediction = classifier.classify(frame)
        labels.append(prediction.label)
        took_ms.append(prediction.inference_ms)
        if frame.index == 59:
            break
    source.close()
    rgb = frame.rgb()[200:280, 280:360].mean((0, 1))
    return {"labels": labels, "took_ms": sorted(took_ms)[30], "rgb": rgb.tolist()}


if __name__ == "__main__":
    faulthandler.dump_traceback_later(90, exit=True)
    virtual_camera.install()
    logging.getLogger("sightpost").addHandler(SAID)
    logging.getLogger("sightpost").setLevel(logging.INFO)
    told = globals()[sys.argv[1]]()
    print(json.dumps({**told, "said": SAID.lines}), flush=True)
