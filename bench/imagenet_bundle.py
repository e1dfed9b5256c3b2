"""Seals a ready-made ImageNet classifier, to try the device on clips before training anything.

    python bench/imagenet_bundle.py WEIGHTS LABELS PHOTOS OUT [--width 1.0] [--px 224] [--novelty]

WEIGHTS are a MobileNetV2 .weights.h5 with its top; LABELS has 1,000 lines, or 1,001 with the
background first; PHOTOS is a folder to calibrate int8 with and to take golden frames from. With
--novelty a picture is novel whose energy exceeds that of 95 % of PHOTOS.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sightpost_convert.bulk import answers
from sightpost_convert.candidates import Workbench, tolerance
from sightpost_convert.export import HEAD, float_model, save
from sightpost_convert.imported import unique
from sightpost_convert.ranges import images
from sightpost_convert.seal import Provenance, seal
from sightpost_convert.sensitive import frames
from sightpost_edge.commands.common import read_labels
from sightpost_edge.contract import Contract
from sightpost_edge.extras import need_workshop
from sightpost_edge.novelty import Novelty
from sightpost_edge.pixels import Geometry, fit, read_photo
from sightpost_edge.records import Pixels
from sightpost_edge.sources.folder import list_photos

FALSE_ALARM = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("weights", "labels", "photos", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--px", type=int, default=224)
    parser.add_argument("--novelty", action="store_true")
    given = parser.parse_args()
    need_workshop()
    import keras

    model = keras.applications.MobileNetV2(
        input_shape=(given.px, given.px, 3), alpha=given.width, weights=str(given.weights)
    )
    if given.novelty:
        model = with_embedding(model)
    labels = unique(read_labels(given.labels)[-1000:])
    contract = Contract(labels, Geometry(given.px, given.px), kind="int8", threshold=0.3,
                        golden_tolerance=tolerance("int8"))  # fmt: skip
    photos = [read_photo(path) for path in list_photos(given.photos)]
    calibration = np.stack([fit(photo, contract.geometry) for photo in photos])
    with tempfile.TemporaryDirectory() as saved:
        save(model, Path(saved))
        bench = Workbench(float_model(Path(saved)), images(calibration, mean=127.5, std=127.5))
    int8 = bench.make("int8")
    provenance = Provenance("imagenet", {"weights": given.weights.name}, {"chosen": "int8"})
    golden = frames(photos[:: max(1, len(photos) // 6)], contract.geometry)
    novelty = None
    if given.novelty:
        novelty = energy(model, int8.model, contract, calibration)
        contract = replace(contract, novelty={
            "method": novelty.method, "threshold": novelty.threshold, "auroc": None,
            "false_alarm": FALSE_ALARM, "against": "nothing: the threshold is all that is known",
        })  # fmt: skip
    bundle = seal(int8.model, contract, golden, provenance, given.out, novelty=novelty)
    print(bundle.path, bundle.digest)


def with_embedding(model: Any) -> Any:
    """The same network; its last layer has the name by which the embedding is found."""
    import keras

    last = model.layers[-1]
    head = keras.layers.Dense(last.units, activation="softmax", name=HEAD)
    named = keras.Model(model.input, head(last.input))
    head.set_weights(last.get_weights())
    return named


def energy(model: Any, int8: bytes, contract: Contract, photos: Pixels) -> Novelty:
    """Novelty by energy; the head's weights as float16 are 2.6 MB."""
    kernel, bias = (weights.astype(np.float16) for weights in model.layers[-1].get_weights())
    novelty = Novelty("energy", 0.0, {"kernel": kernel, "bias": bias})
    seen = answers(int8, contract, photos)
    found = np.sort(novelty.scores(seen.embeddings, seen.scores))
    rank = min(len(found), int(np.ceil((len(found) + 1) * (1 - FALSE_ALARM))))
    return replace(novelty, threshold=float(found[rank - 1]))


if __name__ == "__main__":
    main()
