"""Classify fitted pictures with MediaPipe Tasks and print what it says as JSON.

Run by ``test_mediapipe.py`` with the Python of the interop environment, which has MediaPipe and
nothing of ours: ``mediapipe_classify.py MODEL PICTURES.npz``. The archive holds ``images``,
(N, height, width, 3) uint8, R,G,B.
"""

import json
import os
import sys
from typing import Any

import numpy as np

# MediaPipe reports its use to play.googleapis.com and has no switch for that. Its HTTP client
# honours these variables, and nobody listens on the discard port.
os.environ.update(dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9"))
os.environ.update(dict.fromkeys(("no_proxy", "NO_PROXY"), ""))

import mediapipe as mp  # type: ignore[import-not-found]
from mediapipe.tasks.python import BaseOptions  # type: ignore[import-not-found]
from mediapipe.tasks.python.vision import (  # type: ignore[import-not-found]
    ImageClassifier,
    ImageClassifierOptions,
)


def main(model: str, pictures: str) -> None:
    """Print one JSON list, an entry per picture."""
    with np.load(pictures) as archive:
        images = archive["images"]
    # No size, mean or labels are given here: all of it must come out of the file.
    options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model))
    with ImageClassifier.create_from_options(options) as classifier:
        json.dump([classify(classifier, image) for image in images], sys.stdout)


def classify(classifier: Any, image: Any) -> dict[str, Any]:
    """Top label and score, and every category, best first, of the head named "scores"."""
    result = classifier.classify(mp.Image(image_format=mp.ImageFormat.SRGB, data=image))
    head = next(h for h in result.classifications if h.head_name == "scores")
    categories = [
        {"index": c.index, "label": c.category_name, "score": c.score} for c in head.categories
    ]
    return {
        "label": categories[0]["label"],
        "score": categories[0]["score"],
        "categories": categories,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
