"""The Bundle: opens what was sealed, refuses everything else by name."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from sightpost_edge import golden as golden_module
from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.container import model_part
from sightpost_edge.contract import Contract
from sightpost_edge.errors import (
    BundleCorrupt,
    ContractMismatch,
    GoldenMismatch,
    ModelError,
    NotABundle,
)
from sightpost_edge.pixels import Geometry
from sightpost_edge.testing import TINY_LABELS, colour, pack, tiny_bundle, tiny_model


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repack(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(pack(model_part(path.read_bytes()), files))
    return path


def test_a_sealed_bundle_opens_verified(bundle_file: Path) -> None:
    """Digest, labels, shape and golden frames all hold on the machine that sealed it."""
    bundle = Bundle.open(bundle_file)
    assert bundle.verified
    assert bundle.contract.labels == TINY_LABELS
    assert [result.pixels_equal for result in bundle.golden] == [True, True]


def test_it_classifies_colours(bundle_file: Path) -> None:
    """The tiny model really tells red from blue, and channel order matters."""
    classifier = BundleClassifier(Bundle.open(bundle_file))
    assert TINY_LABELS[int(classifier.scores(colour("red")).argmax())] == "red"
    assert TINY_LABELS[int(classifier.scores(colour("red"), order="bgr").argmax())] == "blue"


def test_the_file_is_still_a_plain_tflite(bundle_file: Path) -> None:
    """What is in front of the zip is the model, byte for byte; the zip lists the rest."""
    assert model_part(bundle_file.read_bytes()) == tiny_model()
    assert set(members(bundle_file)) == {
        "contract.json", "labels.txt", "golden/red.png", "golden/green.png",
    }  # fmt: skip


def test_contract_survives_json() -> None:
    """Writing and reading contract.json gives the same record."""
    contract = Contract(("a", "b"), Geometry(3, 4, 0.9), training={"photos": 7})
    assert Contract.from_json(contract.to_json()) == contract


def test_missing_file(tmp_path: Path) -> None:
    """A missing model says what would make one."""
    with pytest.raises(ModelError, match="no model file") as caught:
        Bundle.open(tmp_path / "none.tflite")
    assert "sightpost convert" in caught.value.hint


def test_a_flipped_weight_is_refused(bundle_file: Path) -> None:
    """One bit of the model changed on a bad card."""
    blob = bytearray(bundle_file.read_bytes())
    at = blob.find(np.float32(6.0).tobytes())
    blob[at] ^= 1
    bundle_file.write_bytes(blob)
    with pytest.raises(BundleCorrupt, match="model differs"):
        Bundle.open(bundle_file)


def test_a_cut_short_copy_is_refused(bundle_file: Path) -> None:
    """A copy over a bad link that lost its tail is called damaged, not "a plain model"."""
    bundle_file.write_bytes(bundle_file.read_bytes()[:-200])
    with pytest.raises(BundleCorrupt, match="damaged or cut short"):
        Bundle.open(bundle_file)


def test_a_changed_label_file_is_refused(bundle_file: Path) -> None:
    """Two labels swapped in labels.txt would swap verdicts in other programs."""
    files = {**members(bundle_file), "labels.txt": b"green\nblue\nred"}
    with pytest.raises(BundleCorrupt, match=r"labels\.txt differs"):
        Bundle.open(repack(bundle_file, files))


def test_a_missing_golden_frame_is_refused(bundle_file: Path) -> None:
    """Evidence may not be left out."""
    files = members(bundle_file)
    del files["golden/red.png"]
    with pytest.raises(BundleCorrupt, match=r"golden/red\.png is missing"):
        Bundle.open(repack(bundle_file, files))


def test_wrong_label_count_is_refused(tmp_path: Path) -> None:
    """Four labels for three scores."""
    path = tiny_bundle(tmp_path / "m.tflite", labels=(*TINY_LABELS, "violet"))
    with pytest.raises(ContractMismatch):
        Bundle.open(path)


def test_wrong_input_size_is_refused(tmp_path: Path) -> None:
    """The contract's size must be the graph's."""
    path = tiny_bundle(tmp_path / "m.tflite", geometry=Geometry(32, 32))
    with pytest.raises(ContractMismatch, match="input pixels"):
        Bundle.open(path)


def test_a_contract_from_the_future_is_refused(tmp_path: Path) -> None:
    """A newer contract may mean things this program does not do."""
    with pytest.raises(ContractMismatch, match="newer"):
        Bundle.open(tiny_bundle(tmp_path / "m.tflite", version=99))


def test_unknown_pixel_rules_are_refused(tmp_path: Path) -> None:
    """A resize rule this program does not have is not silently replaced by another."""
    path = tiny_bundle(tmp_path / "m.tflite", geometry=Geometry(16, 16, shrink="lanczos"))
    with pytest.raises(ContractMismatch, match="pixel rules"):
        Bundle.open(path)


def test_an_unreadable_contract_is_refused(bundle_file: Path) -> None:
    """Broken JSON and missing fields are damage."""
    for text in (b"{", b'{"version": 1}', b"[]"):
        with pytest.raises(BundleCorrupt):
            Bundle.open(repack(bundle_file, {**members(bundle_file), "contract.json": text}))


@pytest.mark.parametrize("skew", ["channels", "squash", "blur"])
def test_a_device_with_other_pixels_is_refused(
    bundle_file: Path, skew: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The golden frames catch a device that swaps channels, or changes what it sees."""
    honest = golden_module.fit

    def skewed(picture, geometry, **options):  # type: ignore[no-untyped-def]
        fitted = honest(picture, geometry, **options)
        if skew == "channels":
            return np.ascontiguousarray(fitted[..., ::-1])
        return (fitted * 0.9 if skew == "squash" else fitted // 2).astype(np.uint8)

    monkeypatch.setattr(golden_module, "fit", skewed)
    with pytest.raises(GoldenMismatch, match="pixels off by"):
        Bundle.open(bundle_file)


def test_scores_that_are_not_numbers_are_refused(
    bundle_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN compares false with everything; the check is written so that it refuses."""
    nan = np.full(3, np.nan, np.float32)
    monkeypatch.setattr(golden_module.Network, "scores", lambda *a, **k: nan)
    with pytest.raises(GoldenMismatch):
        Bundle.open(bundle_file)


def test_a_plain_tflite_needs_labels(tmp_path: Path) -> None:
    """Without labels a score has no name; with them it runs, unverified."""
    path = tmp_path / "plain.tflite"
    path.write_bytes(tiny_model())
    with pytest.raises(NotABundle, match="neither labels nor a contract"):
        Bundle.open(path)
    bundle = Bundle.open(path, labels=["blue", "green", "red"])
    assert not bundle.verified
    scores = BundleClassifier(bundle).scores(colour("green"))
    assert bundle.contract.labels[int(scores.argmax())] == "green"


def test_a_plain_tflite_with_too_many_labels(tmp_path: Path) -> None:
    """The 1001-label file for a 1000-class model is the classic."""
    path = tmp_path / "plain.tflite"
    path.write_bytes(tiny_model())
    with pytest.raises(ContractMismatch, match="4 labels, but the model has 3") as caught:
        Bundle.open(path, labels=["background", "blue", "green", "red"])
    assert "background" in caught.value.hint


def test_labels_beside_a_bundle_must_agree(bundle_file: Path) -> None:
    """A Bundle knows its labels; a different list is a mistake worth stopping for."""
    with pytest.raises(ContractMismatch, match="differ from the labels sealed"):
        Bundle.open(bundle_file, labels=["red", "green", "blue"])


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"TFL3" * 100])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """Anything else is no model, and says so without a traceback of native code."""
    path = tmp_path / "x.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"this is no \.tflite|cut short or damaged|is empty"):
        Bundle.open(path, labels=["a"])
