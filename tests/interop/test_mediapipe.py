"""MediaPipe Tasks, which we did not write, opens the models that we seal and sees the same in them.

Needs the interop environment (requirements/interop.txt in ``.venv-interop``, or its Python named by
SIGHTPOST_INTEROP_PYTHON) and the photos (``../shared/data``, or SIGHTPOST_DATA).
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightpost_edge import pixels
from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier

pytestmark = [
    pytest.mark.workshop,
    pytest.mark.data,
    # First of all, so that a missing environment costs no conversion.
    pytest.mark.usefixtures("interop_python"),
]

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("mediapipe_classify.py")
SIZE = 128
PHOTOS = 100
SCORE_TOLERANCE = 0.02
"""Equal kernels give equal scores; an XNNPACK of another age rounds int8 off by up to 0.027."""
TIE = 1e-4
"""Labels whose scores are this close are equally right; int8 scores move in steps of 0.004."""


@pytest.fixture(scope="module")
def data() -> Path:
    folder = Path(os.environ.get("SIGHTPOST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "flowers5").is_dir() or not (folder / "weights").is_dir():
        pytest.skip("the photos are not here (SIGHTPOST_DATA, with flowers5 and weights)")
    return folder


@pytest.fixture(scope="module")
def interop_python() -> Path:
    named = os.environ.get("SIGHTPOST_INTEROP_PYTHON")
    python = Path(named) if named else ROOT / ".venv-interop" / "bin" / "python"
    if not python.exists():
        pytest.skip("no interop environment (.venv-interop or SIGHTPOST_INTEROP_PYTHON)")
    return python


@pytest.fixture(scope="module")
def pictures(data: Path) -> NDArray[np.uint8]:
    """(100, 128, 128, 3) uint8, R,G,B: photos of all five flowers, fitted as on the device."""
    paths = sorted((data / "flowers5").rglob("*.jpg"))
    chosen = paths[:: len(paths) // PHOTOS][:PHOTOS]
    geometry = pixels.Geometry(SIZE, SIZE)
    return np.stack([pixels.fit(pixels.read_photo(path), geometry) for path in chosen])


@pytest.fixture(scope="module")
def labels(data: Path) -> tuple[str, ...]:
    """The 1,000 ImageNet names in Keras order; the file counts "background" first."""
    text = (data / "weights" / "imagenet_labels.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines()[1:])


@pytest.fixture(scope="module")
def network(data: Path) -> Any:
    """MobileNetV1 0.25 with the outputs "scores" and "embedding"; the converter swaps them."""
    import keras

    weights = data / "weights" / f"mobilenet_v1_0.25_{SIZE}.weights.h5"
    net = keras.applications.MobileNet(alpha=0.25, input_shape=(SIZE, SIZE, 3), weights=weights)
    pooling = keras.layers.GlobalAveragePooling2D
    pooled = next(layer for layer in net.layers if isinstance(layer, pooling)).output
    return keras.Model(net.input, {"scores": net.output, "embedding": pooled})


def converted(network: Any, heads: list[str], folder: Path, calibration: Any = None) -> bytes:
    """The network as .tflite with the outputs named; uint8 in and out where pictures are given.

    ExportArchive, because a tf.Module that holds a Keras 3 model is saved without its variables.
    """
    import keras
    import tensorflow as tf

    def serve(image: Any) -> dict[str, Any]:
        outputs = network(image, training=False)
        return {head: outputs[head] for head in heads}

    archive = keras.export.ExportArchive()
    archive.track(network)
    image = tf.TensorSpec((1, SIZE, SIZE, 3), tf.float32, name="image")
    archive.add_endpoint("serve", serve, input_signature=[image])
    archive.write_out(str(folder), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample] for sample in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    return bytes(converter.convert())


@pytest.fixture(scope="module", params=["float32", "int8", "two heads"])
def sealed(
    request: pytest.FixtureRequest,
    network: Any,
    pictures: NDArray[np.uint8],
    labels: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A model with metadata and appended files, as ``convert`` seals it."""
    from sightpost_convert.metadata import append_files, attach_metadata

    folder = tmp_path_factory.mktemp("sealed")
    heads = ["scores", "embedding"] if request.param == "two heads" else ["scores"]
    samples = pictures[:, None].astype(np.float32) / 127.5 - 1
    samples[0, 0, 0, :2] = [[-1] * 3, [1] * 3]  # both ends, so that the input scale is 1/127.5
    model = converted(network, heads, folder, samples if request.param == "int8" else None)
    words = {"name": "test", "description": "", "version": "1", "author": "", "license": "MIT"}
    described = attach_metadata(model, **words, mean=127.5, std=127.5)
    files = {"labels.txt": "\n".join(labels).encode(), "golden/0.jpg": b"\xff\xd8", "contract": b""}
    path = folder / "model.tflite"
    path.write_bytes(append_files(described, files))
    return path


@pytest.fixture(scope="module")
def theirs(
    interop_python: Path, sealed: Path, pictures: NDArray[np.uint8], tmp_path_factory: Any
) -> list[dict[str, Any]]:
    """What MediaPipe says of each picture, given nothing but the file."""
    archive = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    np.savez(archive, images=pictures)
    command = [str(interop_python), str(SCRIPT), str(sealed), str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{done.stderr}\nSystem libraries: requirements/interop.in"
    return list(json.loads(done.stdout))


def test_mediapipe_agrees_with_the_device(
    sealed: Path, theirs: list[dict[str, Any]], pictures: NDArray[np.uint8]
) -> None:
    """Same top label and score on 100 photos: pixel range, label order and heads are right."""
    classifier = BundleClassifier(Bundle.open(sealed))
    for picture, said in zip(pictures, theirs, strict=True):
        ours = classifier.scores(picture)
        best = said["categories"][0]
        assert ours[best["index"]] >= ours.max() - TIE
        assert abs(said["score"] - ours.max()) <= SCORE_TOLERANCE


def test_mediapipe_reads_our_labels_in_order(
    theirs: list[dict[str, Any]], labels: tuple[str, ...]
) -> None:
    """Every class of every photo carries the name that stands at its place in labels.txt."""
    for said in theirs:
        assert {c["index"]: c["label"] for c in said["categories"]} == dict(enumerate(labels))
        assert said["label"] == said["categories"][0]["label"]
