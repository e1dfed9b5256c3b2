"""TensorFlow's own int8 runs in a process of its own; its end, good or bad, is a result."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightpost_convert import export
from sightpost_convert.candidates import (
    Candidate,
    Workbench,
    is_float,
    make_all,
    tolerance,
)
from sightpost_convert.export import Int8Conversion
from sightpost_convert.graph import complete
from sightpost_convert.quantizer import find_ranges, quantize
from sightpost_convert.ranges import images
from sightpost_edge.testing import TINY_LABELS

from . import planted
from .courtroom import photos_of, silent

pytestmark = pytest.mark.workshop

SAMPLES = images(photos_of(*[[label] for label in TINY_LABELS * 2]).pixels, mean=127.5, std=127.5)


def conversion(patch: pytest.MonkeyPatch, program: str) -> Int8Conversion:
    patch.setattr(export, "CHILD", program)
    return Int8Conversion(Path("saved"), SAMPLES)


def test_the_child_gives_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told the SavedModel, the samples and where to write, in this order."""
    program = (
        "import sys, numpy, pathlib; _, saved, samples, out = sys.argv; "
        "pathlib.Path(out).write_bytes(f'{saved} {numpy.load(samples).shape}'.encode())"
    )
    made = conversion(monkeypatch, program)
    made.start()
    assert made.result() == (b"saved (6, 1, 16, 16, 3)", "")
    made.close()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit('out of\\nideas')", "ideas"),
        ("raise ValueError('no such operator: ' + 'x' * 900)", "ValueError: no such operator: xxx"),
        ("import os; os._exit(3)", "exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
        ("pass", "exit code 0"),
    ],
)
def test_a_child_that_dies_gives_a_reason(
    monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    """The last line that it said, or its exit code; never more than a line."""
    made = conversion(monkeypatch, program)
    model, why = made.result()
    made.close()
    assert model == b""
    assert why.startswith(reason)
    assert len(why) <= 200


def test_closing_ends_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """A court that ends early leaves neither process nor files."""
    made = conversion(monkeypatch, "import time; time.sleep(60)")
    made.start()
    process, folder = made._process, Path(made._folder.name)
    made.close()
    assert process is not None
    assert process.poll() is not None
    assert not folder.exists()


def made_of(model: bytes, saved: Path | None = None) -> list[Any]:
    return list(make_all(model, SAMPLES, saved, silent))


def test_every_kind_is_made() -> None:
    """float32 first, then the workbench, then what the quantizer makes."""
    first, bench, *others = made_of(planted.cnn())
    assert first == Candidate("float32", "as given", planted.cnn())
    assert isinstance(bench, Workbench)
    kinds = [one.kind for one in others]
    assert kinds == ["float16", "weights8", "dynamic", "int8", "int16x8"]
    assert all(one.model and not one.failure for one in others)


@pytest.mark.parametrize("free_mb", [100_000.0, 0.0])
def test_tensorflows_int8_comes_last(monkeypatch: pytest.MonkeyPatch, free_mb: float) -> None:
    """Beside the others where memory allows, and after them where not."""
    began: list[str] = []
    honest = Int8Conversion.start

    def start(self: Int8Conversion) -> None:
        began.append("start")
        honest(self)

    monkeypatch.setattr(export, "CHILD", "raise SystemExit('unsupported')")
    monkeypatch.setattr(Int8Conversion, "start", start)
    monkeypatch.setattr("sightpost_convert.candidates.available_mb", lambda: free_mb)
    candidates = make_all(planted.cnn(), SAMPLES, Path("saved"), silent)
    assert next(candidates) == Candidate("float32", "TensorFlow", planted.cnn())
    next(candidates)
    assert began == (["start"] if free_mb else [])
    *_, last = candidates
    assert (last.kind, last.model, last.failure) == ("int8-tensorflow", b"", "unsupported")


def test_a_kind_that_cannot_be_made_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of what the library said."""

    def broken(*args: object, **options: object) -> bytes:
        raise RuntimeError("no such kind\nand a long story")

    monkeypatch.setattr("sightpost_convert.candidates.quantize", broken)
    made = Workbench(planted.cnn(), SAMPLES).make("int8")
    assert (made.model, made.failure) == (b"", "cannot be made (no such kind)")


def test_ranges_are_measured_once_for_each_method(monkeypatch: pytest.MonkeyPatch) -> None:
    methods: list[str] = []

    def counted(model: bytes, samples: object, method: str) -> Any:
        methods.append(method)
        return find_ranges(model, SAMPLES, method)

    monkeypatch.setattr("sightpost_convert.candidates.find_ranges", counted)
    bench = Workbench(complete(planted.cnn()), SAMPLES)
    for kind in ("int8", "int16x8", "int8-mse"):
        assert bench.make(kind, method="mse" if "mse" in kind else "min/max").model
    assert methods == ["min/max", "mse"]


def test_what_is_in_float() -> None:
    """A model whose weights are bytes already is not quantized again."""
    model = complete(planted.cnn())
    ranges = find_ranges(model, SAMPLES)
    assert is_float(model)
    for kind in ("float16", "weights8", "dynamic", "int8"):
        assert not is_float(quantize(model, kind, ranges)), kind


def test_tolerance_by_family() -> None:
    """Kernels for whole numbers were seen 0.09 apart; those of floats agree far better."""
    for kind in ("int8", "int8-mse", "int8-tensorflow", "mixed", "int16x8", "dynamic"):
        assert 0.09 < tolerance(kind) < 0.2, kind
    for kind in ("float32", "float16", "weights8"):
        assert 0 < tolerance(kind) <= 0.02, kind


@pytest.mark.slow
def test_tensorflows_own_int8(tmp_path: Path) -> None:
    """A real Keras model: saved with two named outputs, as floats and as int8 with raw bytes."""
    import keras

    from sightpost_convert.export import float_model, save
    from sightpost_edge.interpreter import Network

    given = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(given))
    scores = keras.layers.Dense(3, "softmax", name="scores")(pooled)
    save(keras.Model(given, scores), tmp_path / "saved")
    network = Network(float_model(tmp_path / "saved"))
    assert (network.classes, network.features, network.input_dtype) == (3, 8, "float32")
    made = Int8Conversion(tmp_path / "saved", SAMPLES)
    model, why = made.result()
    made.close()
    assert why == ""
    assert Network(model).input_dtype == "uint8"
    assert np.isfinite(Network(model).scores(np.zeros((16, 16, 3), np.uint8), mean=0, std=1)).all()
