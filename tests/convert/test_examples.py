"""Training photos travel in the Bundle: few, evenly, and as the sealed model sees them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightpost_convert.case import Case, Origin
from sightpost_convert.conversion import Wishes, convert_case
from sightpost_convert.examples import DIRECTIONS, LONGEST_NAME, examples_of
from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.container import read_file, read_members
from sightpost_edge.nearest import MEMBER, Examples
from sightpost_edge.novelty import Novelty
from sightpost_edge.testing import COLOURS, TINY_LABELS, tiny_model

from ..conftest import TrainedRun
from .conftest import Converted
from .courtroom import case_of, measure_nothing, photos_of

MODEL = tiny_model(embedding=True)


def planted(*names: str) -> Case:
    """A photo of each colour, whose embedding is its mean."""
    photos = photos_of(*([colour] for colour in TINY_LABELS))
    origins = tuple(Origin(name, label) for label, name in enumerate(names))
    return replace(case_of(MODEL, photos), origins=origins)


def test_a_photo_is_nearest_to_itself() -> None:
    """Names and labels in the order of the photos; distances of nothing."""
    case = planted("blue/1.png", "green/1.png", "red/1.png")
    found = examples_of(case, MODEL, None)
    assert found is not None
    for row, label in enumerate(TINY_LABELS):
        embedding = BundleClassifier(_open(MODEL, case)).outputs(case.calibration[row]).embedding
        assert embedding is not None
        first = found.nearest(embedding, TINY_LABELS)[0]
        assert (first.label, first.name) == (label, f"{label}/1.png")
        assert first.distance == pytest.approx(0, abs=1e-3)


def _open(model: bytes, case: Case) -> Bundle:
    from sightpost_convert.bulk import device_classifier

    return device_classifier(model, case.contract).bundle


def test_directions_are_shared_with_novelty() -> None:
    """Where it keeps them; a novelty from scores has none to share."""
    space = {"centre": np.zeros(3, np.float32), "projection": np.eye(3, dtype=np.float32)}
    case = planted("a", "b", "c")
    found = examples_of(case, MODEL, Novelty("knn", 1.0, space))
    assert found is not None
    assert found.shared
    assert found.projection is space["projection"]
    own = examples_of(case, MODEL, Novelty("max_score", 1.0, {}))
    assert own is not None
    assert not own.shared
    assert own.projection.shape == (3, 3)


def test_none_where_there_can_be_none() -> None:
    """A model without an embedding, or photos that nobody may name (someone else's model)."""
    photos = photos_of(["red"], ["green"])
    assert examples_of(planted("a", "b", "c"), tiny_model(), None) is None
    assert examples_of(case_of(MODEL, photos), MODEL, None) is None


def test_names_are_safe_and_short() -> None:
    """A path that would clear the screen does not; of a long one the end is kept."""
    long = "x" * 200 + "/last.jpg"
    found = examples_of(planted("a\x1b[2J\nb", long, "Füchse/3.jpg"), MODEL, None)
    assert found is not None
    assert found.names[0] == "a?[2J?b"
    assert len(found.names[1]) == LONGEST_NAME
    assert found.names[1].endswith("xxx/last.jpg")
    assert found.names[2] == "Füchse/3.jpg"


def test_two_hundred_photos_weigh_little() -> None:
    """1,280 features and 200 photos with long names: 25 KB with shared directions, else 110."""
    rng = np.random.default_rng(1)
    names = tuple(f"{'folder/' * 8}{i:06d}.jpg" for i in range(200))
    parts = {
        "labels": np.zeros(200), "points": rng.normal(size=(200, DIRECTIONS)),
        "centre": np.zeros(1280), "projection": rng.normal(size=(1280, DIRECTIONS)),
    }  # fmt: skip
    sizes = [len(Examples(names, **parts, shared=shared).to_npz()) for shared in (True, False)]
    assert sizes[0] < 30_000
    assert sizes[1] < 120_000


@pytest.mark.workshop
def test_names_stay_at_home_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File names may be personal data; nothing of the member is left, digest or directions."""
    measure_nothing(monkeypatch)
    case = planted("anna/1.png", "anna/2.png", "anna/3.png")
    for wishes, kept in ((Wishes(), True), (Wishes(examples=False), False)):
        bundle, _ = convert_case(case, tmp_path / "m.tflite", tmp_path, wishes)
        files = read_members(read_file(bundle.path))
        assert (MEMBER in files, MEMBER in bundle.contract.files) == (kept, kept)


@pytest.mark.workshop
def test_a_run_sends_its_photos_along(trained_run: TrainedRun, converted: Converted) -> None:
    """As many of each class; each one, shown to the device, finds itself and its class."""
    case, bundle = converted.case, converted.bundle
    files = read_members(read_file(bundle.path))
    assert MEMBER in bundle.contract.files
    found = Examples.from_bundle(
        bundle.contract, files, bundle.novelty, features=bundle.network.features
    )
    assert found is not None
    counts = np.bincount(found.labels.astype(int))
    assert len(counts) == len(COLOURS)
    assert counts.max() - counts.min() <= 1
    classifier = BundleClassifier(bundle)
    for row in range(0, len(found.names), 20):
        name, label = found.names[row], case.contract.labels[int(found.labels[row])]
        assert name.startswith(f"{label}/")
        assert (trained_run.photos / name).exists()
        embedding = classifier.outputs(case.calibration[row]).embedding
        assert embedding is not None
        nearest = found.nearest(embedding, case.contract.labels)
        assert nearest[0].distance == pytest.approx(0, abs=2e-3)
        assert {one.label for one in nearest} == {label}
