"""The device's half of novelty: read from a Bundle, as sealed and never more than that."""

import io
import math
import struct
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightpost_edge.bundle import Bundle
from sightpost_edge.container import model_part, read_members, wrong_fields
from sightpost_edge.contract import Contract
from sightpost_edge.errors import BundleCorrupt, ModelError, SightpostError
from sightpost_edge.novelty import MAX_BYTES, MEMBER, Novelty, score
from sightpost_edge.pixels import Geometry
from sightpost_edge.testing import pack, tiny_bundle

LABELS = ("a", "b", "c")
METHODS = ("gaussian", "knn", "energy", "max_score")


def arrays(features: int = 5) -> dict[str, np.ndarray]:
    """Parameters of three classes along the first three axes."""
    made = {
        "centre": np.zeros(features), "projection": np.eye(features)[:, :3],
        "whitening": np.eye(3), "points": np.eye(3), "weight": np.ones(1), "labels": np.arange(3),
    }  # fmt: skip
    return {name: np.asarray(array, np.float32) for name, array in made.items()}


def contract(method: str = "gaussian", threshold: Any = 0.5, **fields: Any) -> Contract:
    novelty = {"method": method, "threshold": threshold}
    return Contract(LABELS, Geometry(16, 16), **{"novelty": novelty, **fields})


def npz(**given: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **given)
    return buffer.getvalue()


GOOD = npz(**arrays())
HEAD = {"kernel": np.eye(5, 3, dtype=np.float32), "bias": np.zeros(3, np.float32)}
NEEDED = {"gaussian": arrays(), "knn": arrays(), "energy": HEAD, "max_score": {}}
EMBEDDINGS = np.array([[2, 0, 0, 0, 0], [0, 3, 0, 0, 0], [0, 0, 0, 0, 1]], np.float32)
SCORES = np.array([[0.9, 0.1, 0], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3]], np.float32)


def read(content: bytes = GOOD, method: str = "gaussian", **fields: Any) -> Novelty | None:
    return Novelty.from_bundle(contract(method, **fields), {MEMBER: content})


@pytest.mark.parametrize("method", METHODS)
def test_what_was_written_is_read(method: str) -> None:
    """The same scores to the last bit, and the same bytes when written again."""
    made = Novelty(method, 0.25, NEEDED[method])
    again = Novelty.from_bundle(contract(method, 0.25), {MEMBER: made.to_npz()})
    assert again is not None
    assert (again.method, again.threshold, again.multi_label) == (method, 0.25, False)
    np.testing.assert_array_equal(again.scores(EMBEDDINGS, SCORES), made.scores(EMBEDDINGS, SCORES))
    assert again.to_npz() == made.to_npz()


def test_known_things_score_less_than_strange_ones() -> None:
    """Along a class's axis 0, whatever the length; beside all of them more than 1."""
    found = read()
    assert found is not None
    scores = found.scores(EMBEDDINGS, SCORES)
    assert scores[:2] == pytest.approx([0, 0], abs=1e-6)
    assert scores[2] == pytest.approx(2.0)


def test_nothing_promised_is_nothing_told() -> None:
    """No method, an unknown one, no threshold, or a method whose arrays were not sealed."""
    files = {MEMBER: GOOD}
    assert Novelty.from_bundle(contract(novelty={}), files) is None
    assert Novelty.from_bundle(contract("oracle"), files) is None
    assert Novelty.from_bundle(contract(threshold=None), files) is None
    assert Novelty.from_bundle(contract("gaussian"), {}) is None
    assert Novelty.from_bundle(contract("max_score"), {}) == Novelty("max_score", 0.5, {})


def test_labels_of_their_own() -> None:
    """The contract says whether several labels may apply; the score follows."""
    found = Novelty.from_bundle(contract("max_score", multi_label=True), {})
    assert found is not None
    assert found.multi_label
    assert found.scores(None, SCORES) == pytest.approx([0.1, 0.2, 0.6], abs=1e-6)


@pytest.mark.parametrize("multi_label", [False, True])
def test_logits_come_back_from_scores(multi_label: bool) -> None:
    """The largest score is what it was; certain scores give no infinity."""
    found = Novelty("max_score", 0.5, {}, multi_label)
    certain = np.array([[1.0, 0.0, 0.0], [0.6, 0.3, 0.1]], np.float32)
    assert found.scores(None, certain) == pytest.approx([0.0, 0.4], abs=1e-5)
    energy = Novelty("energy", 0.5, {}, multi_label).scores(None, certain)
    assert np.isfinite(energy).all()


def test_energy_uses_the_heads_weights() -> None:
    """Probabilities lack the size of the logits; kernel and bias give it back."""
    kernel, bias = np.random.default_rng(0).normal(size=(5, 3)), np.array([0.5, 0.0, -1.0])
    found = read(npz(kernel=kernel, bias=bias), "energy")
    assert found is not None
    expected = score("energy", {}, EMBEDDINGS, EMBEDDINGS @ kernel + bias)
    np.testing.assert_allclose(found.scores(EMBEDDINGS, SCORES), expected, rtol=1e-5)


def test_without_a_label_its_point_is_strange() -> None:
    """The class's photos are as far as any, those of the others stay known."""
    found = read()
    assert found is not None
    rest = found.without(1)
    assert rest is not None
    assert rest.threshold == found.threshold
    scores = rest.scores(EMBEDDINGS, np.delete(SCORES, 1, axis=1))
    assert scores[0] == pytest.approx(0, abs=1e-6)
    assert scores[1] == pytest.approx(2.0)
    assert len(found.parameters["points"]) == 3


def test_without_one_label_and_another() -> None:
    """Points keep their owners, so that it can be done twice."""
    rest: Novelty | None = read()
    for label, left in ((0, 2), (2, 1)):
        assert rest is not None
        rest = rest.without(label)
        assert rest is not None
        assert len(rest.parameters["points"]) == left
    assert rest is not None
    assert rest.without(1) is None


def test_without_for_each_method() -> None:
    """Photos of knn need to say whose they are; the head loses a column; scores need nothing."""
    many = arrays() | {"points": np.eye(3)[[0, 1, 1, 2]], "labels": np.array([0, 1, 1, 2])}
    rest = Novelty("knn", 0.5, many).without(1)
    assert rest is not None
    assert len(rest.parameters["points"]) == 2
    nameless = {name: array for name, array in many.items() if name != "labels"}
    assert Novelty("knn", 0.5, nameless).without(1) is None
    head = Novelty("energy", 0.5, {"kernel": np.ones((5, 3)), "bias": np.arange(3)}).without(1)
    assert head is not None
    assert head.parameters["kernel"].shape == (5, 2)
    assert head.parameters["bias"].tolist() == [0, 2]
    assert Novelty("max_score", 0.5, {}).without(0) == Novelty("max_score", 0.5, {})


def bomb() -> bytes:
    """A member that unpacks to more than is allowed, from few bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("centre.npy", bytes(MAX_BYTES + 1))
    return buffer.getvalue()


def raw(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def huge_claim() -> bytes:
    """An array whose header claims far more than there is."""
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000000,), }"
    text = header.ljust(117) + "\n"
    return raw("centre.npy", b"\x93NUMPY\x01\x00" + bytes([len(text), 0]) + text.encode())


def odd_header(text: str) -> bytes:
    """An array whose header is no header, in a zip that is in order."""
    line = text.ljust(117).encode() + b"\n"
    return raw("centre.npy", b"\x93NUMPY\x01\x00" + bytes([len(line), 0]) + line)


def odd_method() -> bytes:
    """A member packed by a method that nobody has."""
    content = bytearray(raw("centre.npy", b""))
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(mark) + offset] = 77
    return bytes(content)


def packed() -> bytes:
    """As numpy's other program writes it."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays(200))
    return buffer.getvalue()


def spoilt_deflate() -> bytes:
    """Packed arrays, the first byte of the packed stream changed."""
    content = bytearray(packed())
    name, extra = struct.unpack_from("<2H", content, 26)
    content[30 + name + extra] = 0xFF  # a block of a kind that does not exist
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no zip", GOOD[:-30], GOOD[:40], bomb(), huge_claim(), spoilt_deflate(),
        raw("centre.npy", b""), raw("centre.npy", b"\x93NUMPY"), raw("x.txt", b"words"),
        npz(**arrays() | {"points": np.array([["a"]])}),
        npz(**arrays() | {"weight": np.array([np.nan])}),
        npz(**arrays() | {"weight": np.array([np.inf])}),
        npz(**{n: a for n, a in arrays().items() if n != "whitening"}),
        odd_header("{'descr': '<f4', ("), odd_header("(" * 116), odd_method(),
        npz(**arrays() | {"weight": np.array([1e300])}),
        npz(**arrays() | {"weight": np.array([1j])}),
    ],
    ids=["empty", "no-zip", "cut", "cut-early", "bomb", "huge", "deflate", "no-array", "no-header",
         "text", "words", "nan", "inf", "missing", "header", "brackets", "method", "too-great",
         "complex"],
)  # fmt: skip
def test_hostile_arrays_are_refused(content: bytes) -> None:
    """Whatever is in the file, it is refused as a damaged Bundle when that is opened."""
    with pytest.raises(BundleCorrupt):
        read(content)


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    """A pickle can run programs; numpy is told to refuse it."""
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trap,)

    with pytest.raises(BundleCorrupt):
        read(npz(**arrays(), labels2=np.array([Trap()], object)))
    assert not trap.exists()


@pytest.mark.parametrize(
    ("name", "shape"),
    [("centre", (4,)), ("projection", (5,)), ("projection", (4, 3)), ("whitening", (2, 3)),
     ("points", (3, 2)), ("points", (0, 3)), ("weight", (5,)), ("weight", (0,))],
)  # fmt: skip
def test_arrays_that_do_not_fit_together_are_refused(name: str, shape: tuple[int, ...]) -> None:
    """At opening, not at the first frame: a device starts at night and nobody looks."""
    with pytest.raises(BundleCorrupt):
        read(npz(**arrays() | {name: np.ones(shape, np.float32)}))


def told(given: dict[str, np.ndarray], method: str, **options: Any) -> Novelty | None:
    """What is read for a network with that many ``features``."""
    return Novelty.from_bundle(contract(method), {MEMBER: npz(**given)}, **options)


@pytest.mark.parametrize("method", METHODS)
def test_arrays_must_fit_the_model(method: str) -> None:
    """Five features were trained on: a model with four is refused, and one with none."""
    assert told(NEEDED[method], method, features=5) is not None
    if method == "max_score":
        assert told({}, method, features=0) is not None
        return
    with pytest.raises(BundleCorrupt, match="fits neither"):
        told(NEEDED[method], method, features=4)
    with pytest.raises(BundleCorrupt, match="needs an embedding: the model gives none"):
        told(NEEDED[method], method, features=0)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("kernel", (5, 2)), ("kernel", (5, 4)), ("kernel", (4, 3)), ("kernel", (5,)), ("bias", (2,)),
     ("bias", (3, 1)), ("bias", ())],
)  # fmt: skip
def test_a_head_must_fit_labels_and_embedding(name: str, shape: tuple[int, ...]) -> None:
    """Features by classes, and a bias for each class."""
    with pytest.raises(BundleCorrupt, match=name):
        told(HEAD | {name: np.ones(shape, np.float32)}, "energy", features=5)


def test_each_point_has_its_label() -> None:
    """Else leaving a class out would leave out others."""
    with pytest.raises(BundleCorrupt, match="labels of shape"):
        told(arrays() | {"labels": np.zeros(2)}, "knn")


@pytest.mark.parametrize("given", [{}, {"kernel": HEAD["kernel"]}, {"bias": HEAD["bias"]}])
def test_the_energy_of_a_softmax_needs_the_head(given: dict[str, np.ndarray]) -> None:
    """From probabilities it would be 0 for every picture; independent labels give it back."""
    for files in ({MEMBER: npz(**given)}, {} if not given else {MEMBER: npz(**given)}):
        with pytest.raises(BundleCorrupt, match=r"lacks .* for energy"):
            Novelty.from_bundle(contract("energy"), files)
    assert Novelty.from_bundle(contract("energy", multi_label=True), {}, features=0) is not None


def test_a_bundle_without_embedding_cannot_promise_one(tmp_path: Path) -> None:
    """Refused when it is opened, by name, not at the first frame."""
    novelty = {"method": "gaussian", "threshold": 0.5}
    path = tiny_bundle(tmp_path / "m.tflite", novelty=novelty)
    assert Bundle.open(path).novelty is None
    whole = path.read_bytes()
    path.write_bytes(pack(model_part(whole), {**read_members(whole), MEMBER: GOOD}))
    with pytest.raises(BundleCorrupt, match="needs an embedding"):
        Bundle.open(path)


@pytest.mark.parametrize("threshold", [math.nan, math.inf, -math.inf])
def test_a_threshold_that_is_no_number_is_refused(threshold: float) -> None:
    """With NaN nothing would ever be novel, in silence."""
    with pytest.raises(BundleCorrupt):
        read(threshold=threshold)


@pytest.mark.parametrize("content", [GOOD, packed()], ids=["stored", "packed"])
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_damage_is_a_named_error(content: bytes, data: st.DataObject) -> None:
    """Bytes changed anywhere: refused by name when the Bundle is opened, or read."""
    changes = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    spoilt = bytearray(content)
    for place, value in data.draw(st.lists(changes, min_size=1, max_size=4)):
        spoilt[place] = value
    with suppress(ModelError), wrong_fields():
        read(bytes(spoilt))


def test_a_bundle_with_it_tells(tmp_path: Path) -> None:
    """A Bundle that promises the greatest score tells novel pictures without further arrays."""
    path = tiny_bundle(tmp_path / "m.tflite",
                       novelty={"method": "max_score", "threshold": 0.2})  # fmt: skip
    bundle = Bundle.open(path)
    assert bundle.novelty == Novelty("max_score", 0.2, {})
    assert Bundle.open(tiny_bundle(tmp_path / "n.tflite")).novelty is None


def test_a_bundle_with_a_strange_promise_is_no_crash(tmp_path: Path) -> None:
    """Wrong kinds in the contract's novelty are named or ignored."""
    for i, novelty in enumerate(({"method": ["max_score"], "threshold": 1}, {"method": {}},
                                 {"method": "energy", "threshold": "1"}, [1])):  # fmt: skip
        path = tiny_bundle(tmp_path / f"{i}.tflite", novelty=novelty)
        try:
            assert Bundle.open(path).novelty is None
        except SightpostError as exc:
            assert isinstance(exc, BundleCorrupt)  # noqa: PT017 - either end is fine


def test_replacing_the_threshold_keeps_the_rest() -> None:
    """As the converter does it for each quantized model."""
    found = read()
    assert found is not None
    moved = replace(found, threshold=2.0)
    assert moved.parameters is found.parameters
