"""Score fitted pictures with one TFLite runtime and write down what came out.

``runtime_scores.py RUNTIME MODEL PICTURES.npz OUT.npz WAY...`` runs with any Python that has numpy
and the runtime: "litert", "tf.lite" or "tflite-runtime". The archive holds ``images``, (N, height,
width, 3) uint8, R,G,B. OUT gets (N, classes) float32 for each way, which is one of

- "device": our edge package, on PYTHONPATH; what it finds out about itself is printed as JSON.
  "signed" is the same without its trial of the model in a child process.
- kernels and threads of the bare interpreter: "xnnpack-1", "builtin-4", and "xnnpack-1-embedding"
  for another output than the scores. Several threads score the first ten pictures only: on busy
  cores tflite-runtime's threads spin for each other, a hundred cost a minute.
"""

import hashlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

MODULES = {
    "litert": "ai_edge_litert.interpreter",
    "tf.lite": "tensorflow.lite.python.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
FEW = 10


def main(runtime: str, model: str, pictures: str, out: str, *ways: str) -> None:
    """Write the scores of each way."""
    with np.load(pictures) as archive:
        images = archive["images"]
    scores = {}
    for way in ways:
        if way in ("device", "signed"):
            scores[way] = device(runtime, Path(model), images, signed=way == "signed")
        else:
            kernels, threads, head, *_ = [*way.split("-"), "scores"]
            scores[way] = bare(runtime, model, images, kernels, int(threads), head)
    np.savez(out, **scores)


def bare(runtime: str, model: str, images: Any, kernels: str, threads: int, head: str) -> Any:
    """The runtime alone: the file's signature says which output is meant."""
    library = importlib.import_module(MODULES[runtime])
    resolver = {
        "xnnpack": library.OpResolverType.AUTO,
        "builtin": library.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    }[kernels]
    interpreter = library.Interpreter(
        model_path=model, num_threads=threads, experimental_op_resolver_type=resolver
    )
    # Before the runner is asked for: tflite-runtime's would otherwise leave XNNPACK out.
    interpreter.allocate_tensors()
    run = interpreter.get_signature_runner()
    takes = run.get_input_details()["image"]["dtype"]
    scale, zero_point = run.get_output_details()[head]["quantization"]
    rows = []
    for image in images if threads == 1 else images[:FEW]:
        # Sealed int8 models take grey levels as they are.
        fed = image if takes == np.uint8 else ((image - 127.5) / 127.5).astype(np.float32)
        row = run(image=fed[None])[head][0].astype(np.float32)
        rows.append((row - zero_point) * scale if scale else row)
    return np.stack(rows).astype(np.float32)


def device(runtime: str, model: Path, images: Any, *, signed: bool) -> Any:
    """Our edge package: it verifies the golden frames and finds the runtime by itself."""
    import cv2

    from sightpost_edge.bundle import Bundle
    from sightpost_edge.classifier import BundleClassifier
    from sightpost_edge.interpreter import interpreter_class

    found = interpreter_class().__module__
    if found != MODULES[runtime]:
        raise SystemExit(f"the device took {found}, not {MODULES[runtime]}")
    digest = hashlib.sha256(model.read_bytes()).hexdigest() if signed else ""
    bundle = Bundle.open(model, signed_sha256=digest, every_golden=True)
    facts = {
        "verified": bundle.verified,
        "golden_scores_off": [golden.scores_off for golden in bundle.golden],
        "golden_pixels_off": [golden.pixels_off for golden in bundle.golden],
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }
    json.dump(facts, sys.stdout)
    classifier = BundleClassifier(bundle)
    return np.stack([classifier.scores(image) for image in images])


if __name__ == "__main__":
    main(*sys.argv[1:])
