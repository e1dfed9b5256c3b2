"""Measures the device against the loop a user would otherwise copy, in one run: `make bench`.

The peer is the published TFLite loop for the Raspberry Pi, with its colours put right: read a
frame, squash it to the input with linear interpolation, invoke, sort every class in Python.
Both sides read the same video with the same model; rounds alternate, the median of CPU time counts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier, classify
from sightpost_edge.container import model_part
from sightpost_edge.conveyor import write_video
from sightpost_edge.interpreter import interpreter_class
from sightpost_edge.sources import open_source
from sightpost_edge.testing import tiny_bundle

ROUNDS = 5


def peer(model: Path, video: Path) -> int:
    """The published loop; returns the number of frames."""
    interpreter = interpreter_class()(model_content=model_part(model.read_bytes()), num_threads=4)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    height, width = taken["shape"][1:3]
    capture = cv2.VideoCapture(str(video))
    frames = 0
    while True:
        ok, picture = capture.read()
        if not ok:
            return frames
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        small = cv2.resize(rgb, (width, height))[None]
        if taken["dtype"] == np.float32:
            small = (small.astype(np.float32) - 127.5) / 127.5
        interpreter.set_tensor(taken["index"], small)
        interpreter.invoke()
        scores = interpreter.get_tensor(given["index"])[0]
        sorted(enumerate(scores), key=lambda pair: pair[1], reverse=True)[:3]
        frames += 1


def ours(model: Path, video: Path) -> int:
    """The device's own path, area resize and all."""
    classifier = BundleClassifier(Bundle.open(model))
    return sum(1 for _ in classify(open_source(str(video)), classifier))


def cpu_ms_per_frame(loop: Callable[[Path, Path], int], model: Path, video: Path) -> float:
    """CPU time of this process, children excluded, per frame."""
    before = time.process_time()
    frames = loop(model, video)
    return (time.process_time() - before) * 1000 / frames


def cpu_s(*words: str) -> float:
    """CPU seconds of a command, the best of three."""
    program = "from sightpost_edge.cli import main; main()"
    spent = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True)
        after = os.times()
        spent.append(sum(after[2:4]) - sum(before[2:4]))
    return min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a Bundle; default: a tiny one")
    parser.add_argument("--video", type=Path, help="default: ten seconds of the generated line")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = given.model or tiny_bundle(Path(folder) / "tiny.tflite")
        video = given.video or Path(folder) / "line.mp4"
        if not given.video:
            write_video(video, duration_s=10.0, seed=1)
        photo = Path(folder) / "photo.png"
        cv2.imwrite(str(photo), np.full((240, 320, 3), 99, np.uint8))
        rounds = [(cpu_ms_per_frame(ours, model, video), cpu_ms_per_frame(peer, model, video))
                  for _ in range(ROUNDS)]  # fmt: skip
        result = {
            "cpu_ms_per_frame": round(statistics.median(mine for mine, _ in rounds), 3),
            "peer_cpu_ms_per_frame": round(statistics.median(theirs for _, theirs in rounds), 3),
            "ratio": round(statistics.median(mine / theirs for mine, theirs in rounds), 3),
            "help_cpu_s": round(cpu_s("--help"), 3),
            "first_prediction_cpu_s": round(cpu_s("classify", str(model), str(photo)), 3),
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
