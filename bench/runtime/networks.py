"""One network in every format the contestants read: MobileNetV2 1.0 at 224 px, 1,000 classes.

    python -m bench.runtime.networks FOLDER DATA [PEERS]

FOLDER receives ``network.tflite`` (a sealed Bundle: int8 inside, uint8 pixels in), ``labels.txt``
and, where PEERS (the site-packages of ``.venv-peers``) is given, ``float32.onnx`` of the same
weights. Without DATA's weights they are random: speed does not depend on them.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sightpost_convert.candidates import Workbench, tolerance
from sightpost_convert.export import float_model, save
from sightpost_convert.ranges import images
from sightpost_convert.seal import Provenance, seal
from sightpost_convert.sensitive import frames
from sightpost_edge.contract import Contract
from sightpost_edge.pixels import Geometry, fit

from .scenes import photos_720p

PX = 224
CLASSES = 1000
PATHS = {"jpeg/2": {"levels": 0.5, "equal": 1.0}}
"""Half-size decoding moves pixels by 0.3 to 0.5 grey levels; a real conversion measures both."""


def make(folder: Path, data: Path, peers: Path | None) -> None:
    """Write the files named above."""
    photos = [np.ascontiguousarray(photo[..., ::-1]) for photo in photos_720p(data)]
    contract = Contract(_labels(data), Geometry(PX, PX), kind="int8", threshold=0.3,
                        golden_tolerance=tolerance("int8"), paths=PATHS)  # fmt: skip
    calibration = np.stack([fit(photo, contract.geometry) for photo in photos])
    with tempfile.TemporaryDirectory() as saved:
        save(_model(data), Path(saved))
        float32 = float_model(Path(saved))
    int8 = Workbench(float32, images(calibration, mean=127.5, std=127.5)).make("int8")
    provenance = Provenance("imagenet", {"weights": "MobileNetV2 1.0"}, {"chosen": "int8"})
    golden = frames([_at_most(photo, 640) for photo in photos[:6]], contract.geometry)
    seal(int8.model, contract, golden, provenance, folder / "network.tflite")
    (folder / "labels.txt").write_text("\n".join(contract.labels))
    if peers:
        np.save(folder / "calibration.npy", calibration)
        _to_onnx(float32, folder / "float32.onnx", peers)


def _model(data: Path) -> Any:
    import keras

    weights = data / "weights" / "mobilenet_v2_1.0_224_fromint8.weights.h5"
    given = str(weights) if weights.exists() else None
    return keras.applications.MobileNetV2(input_shape=(PX, PX, 3), weights=given)


def _labels(data: Path) -> tuple[str, ...]:
    path = data / "weights" / "imagenet_labels.txt"
    if not path.exists():
        return tuple(f"class {i}" for i in range(CLASSES))
    lines = path.read_text().splitlines()[-CLASSES:]
    return tuple(f"{i} {line.strip()}" for i, line in enumerate(lines))


def _at_most(photo: Any, width: int) -> Any:
    """A golden frame as the workshop would seal it: of a photo, not of a large video frame."""
    height = photo.shape[0] * width // photo.shape[1]
    return cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)


def _to_onnx(model: bytes, out: Path, peers: Path) -> None:
    """Needs TensorFlow, from here, and tf2onnx, from the peers' environment."""
    sys.path.append(str(peers))
    import tf2onnx  # type: ignore[import-not-found]
    from ai_edge_litert.interpreter import Interpreter

    name = Interpreter(model_content=model).get_input_details()[0]["name"]
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(model)
        file.flush()
        tf2onnx.convert.from_tflite(
            file.name, opset=17, inputs_as_nchw=[name], output_path=str(out)
        )


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
