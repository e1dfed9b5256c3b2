"""One contestant in a process of its own: takes a round's orders on stdin, answers on stdout.

    python -m bench.runtime.contestant NAME FILES

Each line in is {"clip": PATH, "fps": 240, "seconds": 2}, each line out a Round, or {"error": WHY}.
Everything is loaded once, so that rounds of all contestants can follow each other closely.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from . import peers
from .camera import Clip, VideoCapture
from .meter import Meter

Play = Callable[[Clip, float, Meter], None]


def peer(loop: peers.Loop, files: Path) -> Play:
    """A published loop: it opens camera and model anew for each round."""

    def play(clip: Clip, fps: float, meter: Meter) -> None:
        with closing(loop(VideoCapture(clip, fps), files)) as decisions:  # type: ignore[type-var]
            for captured_ns in decisions:
                if not meter.decided(captured_ns):
                    return

    return play


def device(files: Path, *, gate: bool = False, overlap: bool | None = None) -> Play:
    """Our loop."""
    from .ours import Device

    return partial(Device(files).watch, gate=gate, overlap=overlap)


def invoke(files: Path) -> Play:
    """Nothing but the model: its speed is the limit for everybody."""
    from .ours import Device

    network = Device(files).bundle.network

    def play(clip: Clip, _fps: float, meter: Meter) -> None:
        import numpy as np

        pixels = np.full((*network.input_shape, 3), 99, np.uint8)
        for _ in itertools.count():
            began_ns = time.monotonic_ns()
            network.outputs(pixels, mean=127.5, std=127.5)
            if not meter.decided(began_ns):
                return

    return play


CONTESTANTS: dict[str, Callable[[Path], Play]] = {
    "invoke": invoke,
    "sightpost": device,
    "sightpost, one thread": partial(device, overlap=False),
    "sightpost, gate": partial(device, gate=True),
    "naive": partial(peer, peers.tensorflow_example),
    "naive, 1 thread": partial(peer, peers.one_thread),
    "picamera2 example": partial(peer, peers.picamera2_example),
    "MediaPipe video": partial(peer, peers.mediapipe_video),
    "OpenCV DNN f32": partial(peer, peers.opencv_dnn),
    "onnxruntime f32": partial(peer, peers.onnxruntime_float),
    "onnxruntime int8": partial(peer, peers.onnxruntime_int8),
}
IN_PEERS = frozenset(name for name in CONTESTANTS if name.startswith(("MediaPipe", "onnx")))
"""These run with the Python of ``.venv-peers``."""


def main(name: str, files: str) -> None:
    """Play rounds until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    # What a library prints must not come between two answers.
    os.dup2(2, 1)
    play: Play | None = None
    for line in sys.stdin:
        try:
            play = play or CONTESTANTS[name](Path(files))
            answer: dict[str, Any] = one_round(play, json.loads(line))
        except Exception as exc:  # noqa: BLE001 - a peer that cannot run is a row of the table
            answer = {"error": f"{type(exc).__name__}: {str(exc).strip().splitlines()[-1][:150]}"}
        print(json.dumps(answer), file=answers, flush=True)


def one_round(play: Play, order: dict[str, Any]) -> dict[str, Any]:
    """One contestant, one scenario, once."""
    meter = Meter(order["seconds"])
    play(Clip(Path(order["clip"])), order["fps"], meter)
    return meter.result().as_row()


if __name__ == "__main__":
    main(*sys.argv[1:])
