"""Someone else's .tflite as a case for the court: the same judges, the same seal."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sightpost_edge.bundle import Bundle
from sightpost_edge.container import model_part, read_file
from sightpost_edge.contract import Contract
from sightpost_edge.errors import ConfigError, DataError, ModelError, PhotoUnreadable, nearest
from sightpost_edge.pixels import PHOTO_SUFFIXES, fit, read_photo
from sightpost_edge.records import Pixels

from .bulk import CHUNK, answers
from .case import Case, Photos
from .graph import complete
from .metadata_reader import normalisation

SHARES = {"test": 0.6, "validation": 0.2, "calibration": 0.2}
MOST = {"test": 5000, "validation": 1000, "calibration": 200}
"""Photos of each part that are read: more tell nothing new, and all of them lie in memory."""
SLACK = 0.02
"""How far beyond 0 and 1 a quantized probability may reach."""


def case_of_model(path: Path, labels: tuple[str, ...] | None, photos: Path) -> Case:
    """Open a foreign model, in a child process first, and read labelled photos for it.

    Args:
        path: any .tflite image classifier.
        labels: its class names in output order; None where it carries them.
        photos: a folder with a folder of photos for each label; labels may be absent, but a
            folder that is no label is an error. Most photos judge, a fifth each calibrates and
            serves for choices.

    Raises:
        ModelError: the file cannot be used.
        DataError: too few photos, or none that can be read.
    """
    bundle = Bundle.open(path, labels=labels)
    if bundle.verified:
        raise ConfigError(
            f"{path} is a Bundle already",
            hint="sightpost inspect shows what it promises; convert the run that it was made from",
        )
    blob = read_file(path)
    if hashlib.sha256(blob).hexdigest() != bundle.digest:
        raise ModelError(f"{path} was replaced while it was being opened", hint="try again")
    model = complete(model_part(blob))
    contract = _contract(bundle, model)
    parts = _split(_labelled(photos, contract.labels))
    test = _read(parts["test"], contract)
    _refuse_logits(model, contract, test)
    return Case(
        name=path.stem,
        contract=contract,
        model=model,
        test=test,
        validation=_read(parts["validation"], contract),
        calibration=_read(parts["calibration"], contract).pixels,
        picture=lambda row: read_photo(parts["test"][row][0]),
        validation_picture=lambda row: read_photo(parts["validation"][row][0]),
        training={"origin": path.name, "judged_photos": len(test)},
        remedy="its author may have a version that was fine-tuned for int8",
        calibration_choice="a fifth of the photos of each class, drawn once",
    )


def _contract(bundle: Bundle, model: bytes) -> Contract:
    """Labels of their own, and how pixels are scaled.

    From the metadata for floats; a uint8 input takes a camera's bytes as they are, whatever else
    the metadata says (TFLite Task Library, image preprocessing).
    """
    scale, zero_point = bundle.network.input_quantization
    if bundle.network.input_dtype == "uint8":
        mean, std = float(zero_point), 1 / scale
    else:
        mean, std = normalisation(model)
    return Contract(unique(bundle.contract.labels), bundle.contract.geometry, mean=mean, std=std)


def unique(labels: Sequence[str]) -> tuple[str, ...]:
    """ImageNet has two cranes and two maillots; a number tells them apart."""
    seen: Counter[str] = Counter()
    found = []
    for label in labels:
        seen[label] += 1
        found.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return tuple(found)


def _refuse_logits(model: bytes, contract: Contract, photos: Photos) -> None:
    scores = answers(model, contract, photos.pixels[:CHUNK]).scores
    if np.isfinite(scores).all() and (scores.min() < -SLACK or scores.max() > 1 + SLACK):
        raise ModelError(
            f"the model's scores reach from {scores.min():.1f} to {scores.max():.1f}: "
            "no probabilities",
            hint="export it with its softmax or sigmoid",
        )


def _labelled(photos: Path, labels: tuple[str, ...]) -> list[tuple[Path, int]]:
    if not photos.is_dir():
        raise ConfigError(f"--photos {photos} is no folder", hint="one folder for each label in it")
    found = []
    for folder in sorted(p for p in photos.iterdir() if p.is_dir() and p.name[0] != "."):
        if folder.name not in labels:
            raise DataError(
                f"{folder} is named after no label of the model",
                hint=nearest(folder.name, labels),
            )
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES)
        found += [(file, labels.index(folder.name)) for file in files]
    if len(found) < 10:
        raise DataError(f"{len(found)} photos below {photos}: at least 10 judge anything")
    return found


def _split(found: list[tuple[Path, int]]) -> dict[str, list[tuple[Path, int]]]:
    """Shares of each class in an order drawn once; classes with one or two photos only judge."""
    rng = np.random.default_rng(0)
    parts: dict[str, list[tuple[Path, int]]] = {name: [] for name in SHARES}
    for label in sorted({label for _, label in found}):
        mine = [one for one in found if one[1] == label]
        mine = [mine[i] for i in rng.permutation(len(mine))]
        others = max(1, round(len(mine) * SHARES["validation"])) if len(mine) > 2 else 0
        parts["validation"] += mine[:others]
        parts["calibration"] += mine[others : 2 * others]
        parts["test"] += mine[2 * others :]
    if not parts["calibration"]:
        raise DataError("no label has three photos or more", hint="some must calibrate and choose")
    mixed = {name: [part[i] for i in rng.permutation(len(part))] for name, part in parts.items()}
    return {name: part[: MOST[name]] for name, part in mixed.items()}


def _read(part: list[tuple[Path, int]], contract: Contract) -> Photos:
    pixels: list[Pixels] = []
    truth = np.zeros((len(part), len(contract.labels)), np.bool_)
    for row, (path, label) in enumerate(part):
        try:
            pixels.append(fit(read_photo(path), contract.geometry))
        except PhotoUnreadable as exc:
            raise DataError(str(exc), hint="remove it or put a good copy in its place") from exc
        truth[row, label] = True
    return Photos(np.stack(pixels), truth)
