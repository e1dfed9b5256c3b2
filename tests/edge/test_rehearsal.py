"""The rehearsal: a new model breaks, hangs or lies in a child process, and the reason is told."""

import hashlib
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightpost_edge import testing
from sightpost_edge.container import read_contract, read_file, read_members
from sightpost_edge.errors import (
    BundleCorrupt,
    GoldenMismatch,
    ModelError,
    NotABundle,
    SignatureRefused,
)
from sightpost_edge.models import rehearsal
from sightpost_edge.models.rehearsal import Rehearsal, rehearse
from sightpost_edge.testing import tiny_bundle, tiny_model


def child(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """The child does this before it begins; its own module is ``c``."""
    before = f"import sightpost_edge.models.rehearsal_child as c; {change}; main(int"
    monkeypatch.setattr(rehearsal, "PROGRAM", rehearsal.PROGRAM.replace("main(int", before))


def test_a_good_model(bundle_file: Path) -> None:
    """All golden frames agree, and the time for a picture is told."""
    done = rehearse(bundle_file)
    assert done.golden == 2
    assert 0 < done.median_ms < 1000


def test_a_signed_model(bundle_file: Path) -> None:
    """The digest that was signed, and no other."""
    digest = hashlib.sha256(bundle_file.read_bytes()).hexdigest()
    assert rehearse(bundle_file, signed_sha256=digest).golden == 2
    with pytest.raises(SignatureRefused, match="not the file that was signed"):
        rehearse(bundle_file, signed_sha256="0" * 64)


def test_without_golden_frames(tmp_path: Path) -> None:
    """It is run on plain pictures then."""
    assert rehearse(tiny_bundle(tmp_path / "m.tflite", golden=())).golden == 0


def test_a_relative_path(tmp_path: Path) -> None:
    """The child works in another folder."""
    path = tiny_bundle(tmp_path / "m.tflite", golden=["blue"])
    assert rehearse(Path(os.path.relpath(path))).golden == 1


def test_every_golden_frame_counts(tmp_path: Path) -> None:
    """A start recomputes six at most; here the ninth, which lies, is found."""
    path = tmp_path / "m.tflite"
    frames = read_contract(read_members(read_file(tiny_bundle(path)))).golden
    lie = replace(frames[0], scores=tuple(reversed(frames[0].scores)), label="blue")
    with pytest.MonkeyPatch.context() as patch:
        sealed = testing.with_files

        def lying(contract: Any, *about: Any) -> Any:
            return replace(sealed(contract, *about), golden=(*frames * 4, lie))

        patch.setattr(testing, "with_files", lying)
        tiny_bundle(path)
    with pytest.raises(GoldenMismatch, match=r"golden/red\.png .* scores by"):
        rehearse(path)


def test_scores_that_are_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no golden frame shows it, a run does."""
    six, nan = struct.pack("<f", 6.0), struct.pack("<f", float("nan"))
    bad = tiny_model().replace(six, nan)
    monkeypatch.setattr(testing, "tiny_model", lambda **options: bad)
    path = tiny_bundle(tmp_path / "m.tflite", golden=())
    with pytest.raises(ModelError, match="scores that are not finite"):
        rehearse(path)


def test_an_embedding_that_is_not_finite(
    bundle_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What novelty is told by."""
    child(
        monkeypatch,
        "import numpy as np; from sightpost_edge.interpreter import Outputs; "
        "c.BundleClassifier.novelty = lambda *a: None; "
        "c.BundleClassifier.answer = lambda *a: "
        "Outputs(np.ones(3, np.float32), np.full(2, np.inf, np.float32))",
    )
    with pytest.raises(ModelError, match="embedding that is not finite"):
        rehearse(bundle_file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"in a rehearsal \(SIGSEGV\)"),
        ("import time; time.sleep(60)", "a rehearsal of it took longer than 1 s"),
        ("c.Bundle = type('B', (), {'open': lambda *a, **k: bytearray(400 * 2**20)})",
         "wanted more than 256 MiB"),
        ("import sys; sys.exit('no room')", "could not be tried .*no room"),
        ("c.say = lambda work: print('{\"verdict\": \"passed\"}')", "ended oddly"),
        ("c.say = lambda work: print('{\"verdict\": \"passed\", \"median_ms\": NaN, "
         "\"golden\": 3}')", "ended oddly"),
        ("c.say = lambda work: print('{\"verdict\": \"passed\", \"median_ms\": [], "
         "\"golden\": 3}')", "ended oddly"),
    ],
)  # fmt: skip
def test_what_it_may_come_to(
    change: str, words: str, bundle_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each end has its sentence, and no child is left."""
    child(monkeypatch, change)
    with pytest.raises(ModelError, match=words):
        rehearse(bundle_file, timeout_s=1.0)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_refusals_keep_their_class(bundle_file: Path, tmp_path: Path) -> None:
    """A plain model, a damaged one, none at all."""
    (tmp_path / "plain.tflite").write_bytes(tiny_model())
    with pytest.raises(NotABundle, match=r"plain\.tflite is a plain"):
        rehearse(tmp_path / "plain.tflite")
    content = bytearray(bundle_file.read_bytes())
    content[200] ^= 1
    bundle_file.write_bytes(content)
    with pytest.raises(BundleCorrupt, match="model differs from what was sealed"):
        rehearse(bundle_file)
    with pytest.raises(ModelError, match="no model file"):
        rehearse(tmp_path / "absent.tflite")


def test_what_the_child_may_do(
    bundle_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits are those of a trial, and a slow model is not run for ever."""
    child(
        monkeypatch,
        "import resource as r; real = c.Bundle.open; "
        "c.Bundle = type('B', (), {'open': lambda *a, **k: ("
        f"open({str(tmp_path / 'told')!r}, 'w').write(str([r.getrlimit(k)[0] for k in "
        "(r.RLIMIT_CORE, r.RLIMIT_FSIZE, r.RLIMIT_CPU)])), real(*a, **k))[1]}); "
        "c.ENOUGH_S = 0.0; c.islice = lambda items, most: (print(most) or items)",
    )
    assert rehearse(bundle_file, timeout_s=7.0) == Rehearsal(pytest.approx(0, abs=1000), 2)
    assert (tmp_path / "told").read_text() == "[0, 65536, 8]"
