"""The loops a user would run instead, written anew after their published shape, without a window.

Each takes a ``VideoCapture`` and the folder of networks and yields, decision by decision, when the
frame it is about was captured. Kept as published: full decoding, mirroring, squashing to a square,
what is done for every class in Python, the number of threads. Left out in their favour: drawing
text, showing the picture. Put right: colours in the order that the network wants.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .camera import VideoCapture

PX = 224
Loop = Callable[[VideoCapture, Path], Iterator[int]]


@dataclass
class Category:
    """One class of the tensorflow/examples loop: it makes such an object for each of them."""

    label: str
    score: float


def tensorflow_example(capture: VideoCapture, files: Path, *, threads: int = 4) -> Iterator[int]:
    """tensorflow/examples, lite/examples/image_classification/raspberry_pi/classify.py@1e62452.

    The last version before it became a wrapper around MediaPipe; it passes B,G,R to a function
    that asks for R,G,B, which is put right here.
    """
    interpreter = _interpreter(files, threads)
    labels = (files / "labels.txt").read_text().splitlines()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    while True:
        _, picture = capture.read()
        picture = cv2.flip(picture, 1)
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        small = cv2.resize(rgb, (PX, PX))
        interpreter.tensor(taken["index"])()[0][:, :] = small
        interpreter.invoke()
        scores = _dequantized(np.squeeze(interpreter.get_tensor(given["index"])), given)
        order = sorted(range(len(scores)), key=lambda k: scores[k], reverse=True)
        categories = [Category(labels[k], scores[k]) for k in order]
        _best = list(filter(lambda category: category.score >= 0.0, categories))[:3]
        yield capture.captured_ns


def one_thread(capture: VideoCapture, files: Path) -> Iterator[int]:
    """The same with one thread in place of the published four."""
    return tensorflow_example(capture, files, threads=1)


def picamera2_example(capture: VideoCapture, files: Path) -> Iterator[int]:
    """raspberrypi/picamera2, examples/tensorflow/real_time_with_labels.py@084cd9d.

    Its model finds boxes and looks at grey pictures only; kept here is what it does for every
    picture: read the labels, build an interpreter with four threads, squash, invoke.
    """
    while True:
        _, picture = capture.read()
        with open(files / "labels.txt") as lines:
            _labels = dict(enumerate(line.strip() for line in lines))
        interpreter = _interpreter(files, 4)
        taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        interpreter.set_tensor(taken["index"], np.expand_dims(cv2.resize(rgb, (PX, PX)), axis=0))
        interpreter.invoke()
        _best = _dequantized(interpreter.get_tensor(given["index"])[0], given).argmax()
        yield capture.captured_ns


def mediapipe_video(capture: VideoCapture, files: Path) -> Iterator[int]:
    """google-ai-edge/mediapipe-samples, examples/image_classification/raspberry_pi/classify.py.

    With the video mode in place of the live stream, whose answers arrive a picture or two later.
    """
    _keep_to_ourselves()
    import mediapipe as mp  # type: ignore[import-not-found]
    from mediapipe.tasks.python import BaseOptions, vision  # type: ignore[import-not-found]

    options = vision.ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=str(files / "network.tflite")),
        running_mode=vision.RunningMode.VIDEO, max_results=5, score_threshold=0.0,
    )  # fmt: skip
    with vision.ImageClassifier.create_from_options(options) as classifier:
        while True:
            _, picture = capture.read()
            picture = cv2.flip(picture, 1)
            rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            image = mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb)
            found = classifier.classify_for_video(image, capture.captured_ns // 1_000_000)
            _best = [(c.category_name, c.score) for c in found.classifications[0].categories]
            yield capture.captured_ns


def opencv_dnn(capture: VideoCapture, files: Path) -> Iterator[int]:
    """opencv/opencv, samples/dnn/classification.py, with the network as float32 ONNX.

    OpenCV 5 refuses the int8 .tflite, and an int8 ONNX takes it twice as long.
    """
    network = cv2.dnn.readNetFromONNX(str(files / "float32.onnx"))
    mean = (127.5, 127.5, 127.5)
    while True:
        _, picture = capture.read()
        blob = cv2.dnn.blobFromImage(picture, 1 / 127.5, (PX, PX), mean, True, crop=False)
        network.setInput(blob)
        scores = network.forward().flatten()
        _best = scores[np.argmax(scores)]
        yield capture.captured_ns


def onnxruntime_float(capture: VideoCapture, files: Path) -> Iterator[int]:
    """The steps of onnxruntime's tutorial for the Raspberry Pi (cassiebreviu's example), in a loop.

    It writes each picture to a JPEG and resizes that with LANCZOS: left out, in its favour.
    """
    return _onnxruntime(capture, files / "float32.onnx")


def onnxruntime_int8(capture: VideoCapture, files: Path) -> Iterator[int]:
    """The same with the network quantized by onnxruntime's own tool (static, QDQ)."""
    return _onnxruntime(capture, files / "int8.onnx")


def _onnxruntime(capture: VideoCapture, network: Path) -> Iterator[int]:
    import onnxruntime  # type: ignore[import-not-found]

    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    while True:
        _, picture = capture.read()
        picture = cv2.flip(picture, -1)
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        pixels = cv2.resize(rgb, (PX, PX)).astype(np.float32).transpose(2, 0, 1)
        scores = session.run([], {name: (pixels[None] - 127.5) / 127.5})[0].flatten()
        _best = np.argsort(-scores)[:5]
        yield capture.captured_ns


def _interpreter(files: Path, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(files / "network.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def _dequantized(raw: Any, tensor: Any) -> Any:
    scale, zero_point = tensor["quantization"]
    return scale * (raw.astype(np.int32) - zero_point) if scale else raw


def _keep_to_ourselves() -> None:
    """MediaPipe reports its use to its maker; nobody listens on the discard port."""
    os.environ.update(dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9"))
    os.environ.update(dict.fromkeys(("no_proxy", "NO_PROXY"), ""))
