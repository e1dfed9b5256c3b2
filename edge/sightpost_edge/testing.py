"""Fakes that ship, for this package's tests and yours: a scripted camera, classifier, Bundle.

frames = ScriptedSource(colour_frames("red", "red", "blue"))
bundle = Bundle.open(tiny_bundle(tmp_path / "tiny.tflite"))
"""

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .container import CONTRACT_FILE, LABELS_FILE, with_files
from .contract import Contract
from .golden import seal_golden
from .image import RawImage
from .interpreter import Network
from .pixels import WHOLE, Geometry, Region
from .records import Frame, Pixels, Prediction

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
COLOURS = {"blue": (20, 30, 220), "green": (30, 210, 20), "red": (220, 20, 30)}
TINY_LABELS = tuple(sorted(COLOURS))
TINY_PX = 16


def colour(name: str, *, width: int = 64, height: int = 48) -> Pixels:
    """A picture of one colour with a little noise, (height, width, 3) uint8, R,G,B."""
    rng = np.random.default_rng(len(name))
    noise = rng.integers(-8, 9, (height, width, 3))
    return np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)


def frame(pixels: Pixels, *, index: int = 0, elapsed_s: float = 0.0, name: str = "") -> Frame:
    """A Frame at ``elapsed_s`` after a fixed moment."""
    when = EPOCH + timedelta(seconds=elapsed_s)
    return Frame(index, elapsed_s, when, round(elapsed_s * 1e9), RawImage(pixels, "rgb"), name)


def colour_frames(*names: str, fps: float = 10.0) -> list[Frame]:
    """One Frame per colour name, ``1 / fps`` seconds apart."""
    return [frame(colour(n), index=i, elapsed_s=i / fps) for i, n in enumerate(names)]


class ScriptedSource:
    """Yields the given Frames; a given exception is raised where it stands in the list."""

    uri = "scripted://"
    live = False
    dropped = 0

    def __init__(self, script: Iterable[Frame | Exception]) -> None:
        self._script = list(script)
        self.closed = False

    def __iter__(self) -> Iterator[Frame]:
        for item in self._script:
            if self.closed:
                return
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        """End the iteration."""
        self.closed = True


class FakeClassifier:
    """Gives the scripted scores in order, whatever the Frame shows."""

    def __init__(self, labels: Sequence[str], scores: Iterable[Sequence[float]]) -> None:
        self.labels = tuple(labels)
        self._scores = iter(scores)

    def fit(self, frame: Frame, region: Region = WHOLE) -> Pixels:
        """The region as it is."""
        return region.cut(frame.image.decode())

    def classify(
        self, frame: Frame, fitted: Pixels | None = None, *, region: Region = WHOLE
    ) -> Prediction:
        """The next scripted Prediction."""
        scores = np.array(next(self._scores), np.float32)
        best = int(scores.argmax())
        return Prediction(frame, self.labels[best], float(scores[best]), scores, region=region.name)


def tiny_bundle(
    path: Path,
    *,
    golden: Sequence[str] = ("red", "green"),
    members: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> Path:
    """Write a real, sealed Bundle that names a picture's strongest colour.

    With ``members`` (say ``novelty.npz``) these are sealed in too, and the model gives an embedding
    of 3: the means of red, green and blue, -1 to 1. ``changes`` replace fields of its contract
    after sealing, to make a file that lies.
    """
    model = tiny_model(embedding=members is not None)
    contract = Contract(TINY_LABELS, Geometry(TINY_PX, TINY_PX), name="tiny", kind="float32")
    files = {LABELS_FILE: "\n".join(TINY_LABELS).encode()}
    files |= {f"golden/{name}.png": _png(colour(name)) for name in golden}
    files |= members or {}
    network = Network(model)
    frames = tuple(
        seal_golden(f"golden/{n}.png", files[f"golden/{n}.png"], contract, network) for n in golden
    )
    contract = replace(with_files(replace(contract, golden=frames), model, files), **changes)
    path.write_bytes(pack(model, {**files, CONTRACT_FILE: contract.to_json().encode()}))
    return path


def pack(model: bytes, files: Mapping[str, bytes]) -> bytes:
    """A FlatBuffer with a zip of stored files behind it."""
    buffer = io.BytesIO(model)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _png(picture: Pixels) -> bytes:
    return bytes(cv2.imencode(".png", picture[..., ::-1])[1])


def tiny_model(*, classes: int = 3, embedding: bool = False) -> bytes:
    """A float32 .tflite: mean over the picture, one dense layer, softmax. Needs no TensorFlow.

    Input (1, 16, 16, 3) in [-1, 1]; output (1, classes), the first three being blue, green, red,
    and as ``embedding`` the mean of each channel, (1, 3).
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as s

    weights = np.zeros((classes, 3), np.float32)
    for row, channel in enumerate((2, 1, 0)):
        weights[row, channel] = 6.0
    constants = [np.array([1, 2], np.int32), weights, np.zeros(classes, np.float32)]
    model = s.ModelT()
    model.version, model.description = 3, "tiny"
    model.buffers = [_buffer(s, None), *(_buffer(s, c) for c in constants)]
    tensors = [
        ("image", (1, TINY_PX, TINY_PX, 3), s.TensorType.FLOAT32, 0),
        ("axes", (2,), s.TensorType.INT32, 1),
        ("weights", (classes, 3), s.TensorType.FLOAT32, 2),
        ("bias", (classes,), s.TensorType.FLOAT32, 3),
        ("mean", (1, 3), s.TensorType.FLOAT32, 0),
        ("logits", (1, classes), s.TensorType.FLOAT32, 0),
        ("scores", (1, classes), s.TensorType.FLOAT32, 0),
    ]
    steps = [
        (s.BuiltinOperator.MEAN, (0, 1), 4, s.BuiltinOptions.ReducerOptions, s.ReducerOptionsT()),
        (
            s.BuiltinOperator.FULLY_CONNECTED, (4, 2, 3), 5,
            s.BuiltinOptions.FullyConnectedOptions, s.FullyConnectedOptionsT(),
        ),
        (s.BuiltinOperator.SOFTMAX, (5,), 6, s.BuiltinOptions.SoftmaxOptions, s.SoftmaxOptionsT()),
    ]  # fmt: skip
    model.operatorCodes = [_code(s, step[0]) for step in steps]
    graph = s.SubGraphT()
    graph.tensors = [_tensor(s, *row) for row in tensors]
    graph.operators = [_operator(s, i, *step[1:]) for i, step in enumerate(steps)]
    graph.inputs, graph.outputs, graph.name = [0], [6], "main"
    model.subgraphs = [graph]
    if embedding:
        graph.outputs = [6, 4]
        model.signatureDefs = [_signature(s, {"image": 0}, {"scores": 6, "embedding": 4})]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _buffer(s: Any, content: Any) -> Any:
    buffer = s.BufferT()
    if content is not None:
        buffer.data = np.frombuffer(content.tobytes(), np.uint8)
    return buffer


def _code(s: Any, builtin: int) -> Any:
    code = s.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 1
    return code


def _tensor(s: Any, name: str, shape: Sequence[int], kind: int, buffer: int) -> Any:
    tensor = s.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
    return tensor


def _operator(
    s: Any, code: int, inputs: Sequence[int], output: int, kind: int, options: Any
) -> Any:
    operator = s.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, list(inputs), [output]
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    if hasattr(options, "beta"):
        options.beta = 1.0
    return operator


def _signature(s: Any, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Any:
    """Tensors by name: outputs may come in any order."""
    signature = s.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    for side, tensors in (("inputs", inputs), ("outputs", outputs)):
        maps = [s.TensorMapT() for _ in tensors]
        for made, (name, index) in zip(maps, tensors.items(), strict=True):
            made.name, made.tensorIndex = name, index
        setattr(signature, side, maps)
    return signature
