"""Someone else's .tflite as a case for the court: the same judges, the same seal."""

from pathlib import Path

import numpy as np

from sightpost_edge.bundle import Bundle
from sightpost_edge.container import model_part, read_file
from sightpost_edge.contract import Contract
from sightpost_edge.errors import ConfigError, DataError, PhotoUnreadable, nearest
from sightpost_edge.pixels import PHOTO_SUFFIXES, fit, read_photo
from sightpost_edge.records import Pixels

from .case import Case, Photos
from .metadata_reader import normalisation

SHARES = {"test": 0.6, "validation": 0.2, "calibration": 0.2}
CALIBRATION_PHOTOS = 200


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
    model = model_part(read_file(path))
    mean, std = normalisation(model)
    contract = Contract(bundle.contract.labels, bundle.contract.geometry, mean=mean, std=std)
    found = _labelled(photos, contract.labels)
    parts = _split(found)
    test, validation, calibration = (
        _read(parts[name], contract) for name in ("test", "validation", "calibration")
    )
    return Case(
        name=path.stem,
        contract=contract,
        model=model,
        test=test,
        validation=validation,
        calibration=calibration.pixels[:CALIBRATION_PHOTOS],
        picture=lambda row: read_photo(parts["test"][row][0]),
        training={"origin": path.name, "judged_photos": len(test)},
        remedy="its author may have a version that was fine-tuned for int8",
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
    """Shares in an order drawn once, class by class, so that each part has all classes."""
    rng = np.random.default_rng(0)
    parts: dict[str, list[tuple[Path, int]]] = {name: [] for name in SHARES}
    for label in sorted({label for _, label in found}):
        mine = [one for one in found if one[1] == label]
        mine = [mine[i] for i in rng.permutation(len(mine))]
        first = max(1, round(len(mine) * SHARES["test"]))
        second = first + max(1, round(len(mine) * SHARES["validation"]))
        parts["test"] += mine[:first]
        parts["validation"] += mine[first:second] or mine[:1]
        parts["calibration"] += mine[second:] or mine[:1]
    return {name: [part[i] for i in rng.permutation(len(part))] for name, part in parts.items()}


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
