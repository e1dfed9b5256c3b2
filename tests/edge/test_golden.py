"""Golden frames: recomputed as sealed, few at a start, and nothing wrong passes for right."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sightpost_edge import golden as module
from sightpost_edge.contract import Contract, Golden
from sightpost_edge.errors import BundleCorrupt, GoldenMismatch
from sightpost_edge.golden import (
    START_FRAMES,
    START_MS,
    THUMBNAIL_TOLERANCE,
    recompute,
    recompute_all,
    seal_golden,
    thumbnail,
)
from sightpost_edge.interpreter import Network
from sightpost_edge.pixels import Geometry, decode, fit
from sightpost_edge.testing import COLOURS, TINY_LABELS, colour, tiny_model

CONTRACT = Contract(TINY_LABELS, Geometry(16, 16), golden_tolerance=0.05)
NETWORK = Network(tiny_model())


def png(name: str) -> bytes:
    return bytes(cv2.imencode(".png", colour(name)[..., ::-1])[1])


FILES = {f"golden/{name}.png": png(name) for name in COLOURS}
MEMBERS = tuple(FILES)


def sealed(member: str = "golden/red.png") -> Golden:
    return seal_golden(member, FILES[member], CONTRACT, NETWORK)


def test_what_is_written_down() -> None:
    """Label, digest of the fitted pixels, 192 block means and every score."""
    found = sealed()
    pixels = fit(decode(FILES["golden/red.png"]), CONTRACT.geometry)
    assert (found.member, found.label) == ("golden/red.png", "red")
    assert found.pixels_sha256 == hashlib.sha256(pixels.tobytes()).hexdigest()
    assert len(found.thumbnail) == 8 * 8 * 3
    assert len(found.scores) == 3
    assert sum(found.scores) == pytest.approx(1, abs=1e-5)


def test_the_same_machine_gives_the_same() -> None:
    result = recompute(sealed(), FILES, CONTRACT, NETWORK)
    assert (result.label, result.pixels_equal, result.pixels_off) == ("red", True, 0.0)
    assert result.scores_off < 1e-5


def test_block_means() -> None:
    """Of a picture with one dark half, and rounded to a hundredth."""
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:, 8:] = 201
    small = np.reshape(thumbnail(picture), (8, 8, 3))
    assert (small[:, :4] == 0).all()
    assert (small[:, 4:] == 201).all()


def test_a_frame_that_is_not_there() -> None:
    with pytest.raises(BundleCorrupt, match=r"golden/red\.png is missing"):
        recompute(sealed(), {}, CONTRACT, NETWORK)


@pytest.mark.parametrize(
    ("change", "off"),
    [("swapped", "pixels off by"), ("other", "pixels off by"), ("scores", "scores by 0.2")],
)
def test_what_came_out_otherwise_is_refused(change: str, off: str) -> None:
    """Another picture, swapped channels, other scores: named with how far off they are."""
    golden, files = sealed(), dict(FILES)
    if change == "swapped":
        files[golden.member] = bytes(cv2.imencode(".png", colour("red"))[1])
    if change == "other":
        files[golden.member] = png("blue")
    if change == "scores":
        first, *others = golden.scores
        golden = replace(golden, scores=(first + 0.2, *others))
    with pytest.raises(GoldenMismatch, match=off) as caught:
        recompute(golden, files, CONTRACT, NETWORK)
    assert "red" in str(caught.value)
    assert "convert again" in caught.value.hint


def test_the_tolerance_itself_is_allowed() -> None:
    """Scores off by as much as the contract allows pass, by more they do not."""
    golden = sealed()
    moved = replace(golden, scores=(golden.scores[0] + 0.0499, *golden.scores[1:]))
    assert recompute(moved, FILES, CONTRACT, NETWORK).scores_off == pytest.approx(0.0499, abs=1e-4)
    with pytest.raises(GoldenMismatch):
        recompute(moved, FILES, replace(CONTRACT, golden_tolerance=0.049), NETWORK)


class Undecided:
    """Stands for a network of 200 classes; the first has ``top``, the others share the rest."""

    def __init__(self, top: float, *, at: int = 0) -> None:
        self.given = np.full(200, (1 - top) / 199, np.float32)
        self.given[at] = top

    def scores(self, *args: object, **options: object) -> np.ndarray:
        return self.given


MANY = replace(CONTRACT, labels=tuple(map(str, range(200))), golden_tolerance=0.15)


def undecided(top: float, here: Undecided) -> float:
    """How far a frame's scores, sealed with ``top`` as the highest, are off here."""
    member = "golden/red.png"
    golden = seal_golden(member, FILES[member], MANY, Undecided(top))  # type: ignore[arg-type]
    assert golden.label == "0"
    return recompute(golden, FILES, MANY, here).scores_off  # type: ignore[arg-type]


@pytest.mark.parametrize("top", [0.14, 0.1, 0.05, 0.03])
def test_low_scores_are_no_excuse(top: float) -> None:
    """A device that gives every class the same, or names another one, is within 0.15 of these."""
    for broken in (Undecided(1 / 200), Undecided(0.0), Undecided(top, at=7)):
        assert np.abs(broken.given - Undecided(top).given).max() < 0.15
        with pytest.raises(GoldenMismatch, match="scores by"):
            undecided(top, broken)


@pytest.mark.parametrize(
    ("top", "here"), [(0.0781, 0.0234), (0.0312, 0.0156), (0.9, 0.751), (0.25, 0.11), (0.01, 0.02)]
)
def test_honest_devices_pass_with_low_scores_too(top: float, here: float) -> None:
    """What whole numbers were seen to do: up to 0.71 of a low score, 0.15 of a high one."""
    assert undecided(top, Undecided(here)) == pytest.approx(abs(top - here), abs=1e-5)


@pytest.mark.parametrize("broken", ["scores", "thumbnail", "tolerance"])
def test_nan_is_never_close_enough(broken: str) -> None:
    """Comparisons are written so that NaN fails."""
    golden, contract = sealed(), CONTRACT
    if broken == "scores":
        golden = replace(golden, scores=(float("nan"),) * 3)
    if broken == "thumbnail":
        golden = replace(golden, pixels_sha256="", thumbnail=(float("nan"),) * 192)
    if broken == "tolerance":
        contract = replace(contract, golden_tolerance=float("nan"))
    with pytest.raises(GoldenMismatch):
        recompute(golden, FILES, contract, NETWORK)


@pytest.mark.parametrize(("shift", "passes"), [(0.4, True), (0.6, False)])
def test_another_decoder_may_round_otherwise(shift: float, passes: bool) -> None:
    """Where the digest differs, half a level on average is the limit."""
    assert THUMBNAIL_TOLERANCE == 0.5
    golden = sealed()
    off = tuple(level + shift for level in golden.thumbnail)
    golden = replace(golden, pixels_sha256="another", thumbnail=off)
    if passes:
        result = recompute(golden, FILES, CONTRACT, NETWORK)
        assert not result.pixels_equal
        assert result.pixels_off == pytest.approx(shift, abs=0.01)
    else:
        with pytest.raises(GoldenMismatch, match=r"pixels off by 0\.60 levels"):
            recompute(golden, FILES, CONTRACT, NETWORK)


def many(count: int) -> Contract:
    """So many golden frames, of the three colours in turn."""
    frames = [sealed(member) for member in MEMBERS]
    return replace(CONTRACT, golden=tuple(frames[i % 3] for i in range(count)))


@pytest.mark.parametrize(("count", "recomputed"), [(0, 0), (1, 1), (6, 6), (7, 6), (30, 6)])
def test_a_start_recomputes_a_few(count: int, recomputed: int) -> None:
    """Six at most, the first ones; inspect recomputes all."""
    assert START_FRAMES == 6
    contract = many(count)
    few = recompute_all(contract, FILES, NETWORK, every=False)
    assert len(few) == recomputed
    assert [one.label for one in few] == [golden.label for golden in contract.golden[:recomputed]]
    assert len(recompute_all(contract, FILES, NETWORK, every=True)) == count


@pytest.mark.parametrize(
    ("each_ms", "recomputed"), [(10, 6), (60, 5), (299, 2), (301, 1), (9000, 1)]
)
def test_a_slow_device_recomputes_fewer(
    monkeypatch: pytest.MonkeyPatch, each_ms: float, recomputed: int
) -> None:
    """No further one once 300 ms are spent, but one in any case."""
    assert START_MS == 300
    now = [100.0]
    honest = module.recompute

    def slow(*args: object) -> object:
        now[0] += each_ms / 1000
        return honest(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(module, "recompute", slow)
    assert len(recompute_all(many(10), FILES, NETWORK, every=False)) == recomputed
    assert len(recompute_all(many(10), FILES, NETWORK, every=True)) == 10


def test_a_wrong_frame_behind_the_first_six_is_found_by_inspect() -> None:
    """A start does not look at it; all frames are for that."""
    wrong = replace(sealed(), scores=(1.0, 0.0, 0.0))
    contract = replace(CONTRACT, golden=(*many(6).golden, wrong))
    recompute_all(contract, FILES, NETWORK, every=False)
    with pytest.raises(GoldenMismatch):
        recompute_all(contract, FILES, NETWORK, every=True)
