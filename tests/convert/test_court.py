"""The court over models whose fate is known: who collapses, who is rescued, who is refused."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sightpost_convert import court, quantizer
from sightpost_convert.bulk import answers, device_classifier
from sightpost_convert.candidates import Candidate
from sightpost_convert.case import Case, Photos
from sightpost_convert.conversion import Wishes, convert_case
from sightpost_convert.court import Ruling, hold_court
from sightpost_convert.graph import complete, pack, unpack
from sightpost_convert.imported import case_of_model
from sightpost_convert.judge import Judgement
from sightpost_convert.verdict import Budget, refusal
from sightpost_edge.errors import ConversionRefused
from sightpost_edge.testing import TINY_LABELS

from . import planted
from .courtroom import HERE, case_of, measure_nothing, photos_of, silent

pytestmark = pytest.mark.workshop

Court = Callable[[str], tuple[Case, Ruling]]


@pytest.fixture(scope="module")
def court_over(colour_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    """Holds court over a planted model, once for all tests; smaller is faster."""
    folder = tmp_path_factory.mktemp("planted")

    @cache
    def held(name: str) -> tuple[Case, Ruling]:
        path = folder / f"{name}.tflite"
        path.write_bytes(getattr(planted, name)())
        case = case_of_model(path, TINY_LABELS, colour_folders)
        return case, hold_court(case, Budget(), HERE, silent)

    with pytest.MonkeyPatch.context() as patch:
        measure_nothing(patch, float32=3.0, float16=2.5, int16x8=4.0, mixed=1.5)
        yield held


def by_kind(ruling: Ruling) -> dict[str, Judgement]:
    return {row.kind: row for row in ruling.rows}


def collapses(row: Judgement) -> bool:
    """Of no use: by its answers, or since the runtime does not take it."""
    return row.verdict.startswith(("loses at least", "the TFLite runtime refuses"))


def judged(
    case: Case, candidates: Sequence[Candidate], patch: pytest.MonkeyPatch, **budget: float
) -> Ruling:
    """Hold court over ready candidates: nothing is made, nothing is measured."""
    measure_nothing(patch)
    patch.setattr(court, "make_all", lambda *_: iter(candidates))
    return hold_court(case, Budget(**budget), HERE, silent)


def candidate(kind: str, model: bytes, failure: str = "") -> Candidate:
    return Candidate(kind, "a test", model, failure)


def test_a_healthy_model_has_a_choice(court_over: Court) -> None:
    """Six kinds keep the accuracy, int8 needs no rescue, the fastest small one wins."""
    case, ruling = court_over("healthy")
    kinds = ["float32", "float16", "weights8", "dynamic", "int8", "int16x8"]
    assert [row.kind for row in ruling.rows] == kinds
    assert all(row.within_budget and row.accuracy == 1.0 for row in ruling.rows)
    assert all(row.photos == len(case.test) == 54 for row in ruling.rows)
    assert ruling.hurt == ()
    assert ruling.chosen is not None
    assert ruling.chosen.kind in ("weights8", "dynamic", "int8")
    assert set(ruling.models) == set(kinds)


def test_a_weight_outlier_is_rescued_by_one_layer_in_float(court_over: Court) -> None:
    """int8 and weights8 collapse; the layer is found, and a mixed model keeps the accuracy."""
    _, ruling = court_over("weight_outlier")
    rows = by_kind(ruling)
    assert collapses(rows["int8"])
    assert collapses(rows["weights8"])
    assert rows["mixed"].within_budget
    assert rows["mixed"].accuracy == 1.0
    assert rows["mixed"].size_bytes < rows["float32"].size_bytes / 2
    assert ruling.hurt[0].layer == "last (fully_connected)"
    assert ruling.chosen is rows["mixed"]
    tried = [row.kind for row in ruling.rows][6:]
    assert tried == ["int8-percentile", "int8-mse", "mixed"]


def test_an_activation_outlier_is_rescued(court_over: Court) -> None:
    """int8 and dynamic collapse, kinds with float activations do not, and a mixed model works."""
    _, ruling = court_over("activation_outlier")
    rows = by_kind(ruling)
    assert collapses(rows["int8"])
    assert collapses(rows["dynamic"])
    assert rows["weights8"].within_budget
    assert rows["mixed"].within_budget
    assert {"first (fully_connected)", "second (fully_connected)"} & {h.layer for h in ruling.hurt}
    assert ruling.chosen is not None
    assert ruling.chosen.accuracy == 1.0


def test_a_layer_that_the_runtime_refuses_is_left_in_float(court_over: Court) -> None:
    """A layer whose int8 form cannot even be loaded hurts most of all."""
    _, ruling = court_over("refused_weight")
    rows = by_kind(ruling)
    assert collapses(rows["int8"])
    assert rows["mixed"].within_budget, rows["mixed"].verdict
    assert ruling.hurt[0].layer == "last (fully_connected)"


def test_scores_that_are_not_numbers_end_the_court(court_over: Court) -> None:
    """Where float32 itself is broken nothing else is tried, and the hint says to train again."""
    case, ruling = court_over("not_finite")
    (row,) = ruling.rows
    assert row.verdict == "scores are not finite"
    assert ruling.chosen is None
    error = refusal(ruling.rows, ruling.hurt, case.remedy)
    assert "float32: scores are not finite" in str(error)
    assert "train again" in error.hint


def test_one_kind_that_overflows_is_no_broken_model(court_over: Court) -> None:
    """float16 knows no number above 65,504: only that kind is out, and training is not to blame."""
    case, ruling = court_over("overflowing")
    rows = by_kind(ruling)
    assert rows["float32"].within_budget
    assert rows["float16"].verdict == "scores are not finite"
    large = replace(rows["float32"], verdict="266 KiB, 1 allowed", too_costly=True)
    too_large = [large, *ruling.rows[1:]]
    assert "train again" not in refusal(too_large, (), case.remedy).hint


def test_hopeless_candidates_are_stopped_early(court_over: Court) -> None:
    """Fewer photos were looked at, and the verdict says "at least"."""
    case, ruling = court_over("weight_outlier")
    stopped = [row for row in ruling.rows if row.stopped]
    assert {"weights8", "dynamic"} <= {row.kind for row in stopped}
    for row in stopped:
        assert row.photos < len(case.test)
        assert row.photos == len(row.answers or ())
        assert row.verdict.startswith("loses at least")
    assert not by_kind(ruling)["float32"].stopped


def test_at_least_is_true(court_over: Court) -> None:
    """The whole test set would have cost no less than what is said of a stopped candidate."""
    case, ruling = court_over("weight_outlier")
    for row in ruling.rows:
        if row.stopped:
            whole = answers(ruling.models[row.kind], case.contract, case.test.pixels).scores
            accuracy = (whole.argmax(axis=1) == case.test.truth.argmax(axis=1)).mean()
            said = float(row.verdict.split("%")[0].rsplit(" ", maxsplit=1)[1]) / 100
            assert said <= 1.0 - accuracy + 0.001, row.kind


@pytest.mark.parametrize(("size_mib", "kind"), [(0.1, "mixed"), (0.2, "mixed"), (None, "mixed")])
def test_a_limit_on_size_leaves_the_mixed_model(
    court_over: Court, monkeypatch: pytest.MonkeyPatch, size_mib: float | None, kind: str
) -> None:
    """266 KiB in float, 84 in the mixed model."""
    case, ruling = court_over("weight_outlier")
    ready = [candidate(name, model) for name, model in ruling.models.items()]
    limit = None if size_mib is None else round(size_mib * 2**20)
    found = judged(case, ready, monkeypatch, max_size_bytes=limit)
    assert found.chosen is not None
    assert found.chosen.kind == kind
    verdict = by_kind(found)["float32"].verdict
    assert verdict == ("" if limit is None else f"266 KiB, {limit / 1024:.0f} allowed")


def test_nobody_within_budget_is_refused(
    court_over: Court, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message says why of each and names the layer; court.json and court.png are written."""
    case, _ = court_over("weight_outlier")
    measure_nothing(monkeypatch)
    wishes = Wishes(Budget(max_size_bytes=round(0.075 * 2**20)))
    with pytest.raises(ConversionRefused, match=r"int8 hurts most in last \(fully_conn") as caught:
        convert_case(case, tmp_path / "m.tflite", tmp_path / "evidence", wishes)
    assert "float32: 266 KiB, 77 allowed" in str(caught.value)
    assert "mixed: 84 KiB, 77 allowed" in str(caught.value)
    assert "tried already: int8-percentile, int8-mse, mixed" in caught.value.hint
    assert "mixed keep the accuracy: allow more size or time" in caught.value.hint
    assert not (tmp_path / "m.tflite").exists()
    assert {path.name for path in (tmp_path / "evidence").iterdir()} == {"court.json", "court.png"}


def tens(blue: int, green: int, red: int) -> Photos:
    """So many photos of each colour, the red ones first."""
    return photos_of(*[["red"]] * red, *[["blue"]] * blue, *[["green"]] * green)


RED = TINY_LABELS.index("red")


def test_a_class_lost_entirely_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 of 60 photos are within 5 %, but they are all of one class."""
    ready = [candidate("float32", planted.healthy()), candidate("int8", planted.never(RED))]
    case = case_of(planted.healthy(), tens(30, 27, 3))
    rows = by_kind(judged(case, ready, monkeypatch, max_drop=0.05))
    assert rows["int8"].drop == pytest.approx(0.05)
    assert (rows["int8"].worst_class, rows["int8"].class_drop) == ("red", 1.0)
    assert rows["int8"].class_recall == (1.0, 1.0, 0.0)
    assert rows["int8"].verdict == "loses 100.0% of red, 3.0% allowed"
    assert judged(case, ready, monkeypatch, max_drop=0.05, max_class_drop=1.0).rows[1].within_budget


@pytest.mark.parametrize(("lost", "verdict"), [(1, ""), (2, "loses")])
def test_one_photo_is_no_evidence(monkeypatch: pytest.MonkeyPatch, lost: int, verdict: str) -> None:
    """Even with nothing allowed and a class of one photo; with the second one it is out."""
    ready = [candidate("float32", planted.healthy()), candidate("int8", planted.never(RED))]
    case = case_of(planted.healthy(), tens(6, 6, lost))
    row = judged(case, ready, monkeypatch, max_drop=0.0, max_class_drop=0.0).rows[1]
    assert row.class_recall[RED] == 0.0
    assert row.verdict[:5] == verdict
    assert row.accuracy == pytest.approx(12 / (12 + lost))


def test_several_labels_for_a_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right is who names exactly the labels; int8 of the same network is made and judged."""
    pairs = [["red"], ["green", "red"], ["blue"], ["blue", "red"], ["green"], ["blue", "green"]]
    case = case_of(planted.several(), photos_of(*pairs * 5), multi_label=True)
    ready = [candidate("float32", planted.several()), candidate("int8", planted.never(RED))]
    rows = by_kind(judged(case, ready, monkeypatch))
    assert rows["float32"].accuracy == 1.0
    assert rows["float32"].class_recall == (1.0, 1.0, 1.0)
    assert rows["int8"].verdict.startswith("loses")
    assert rows["int8"].worst_class == "red"


def test_the_bar_is_what_training_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A float model that is not what was trained is refused by its own answers."""
    photos = tens(10, 10, 10)
    case = case_of(planted.healthy(), Photos(photos.pixels, np.roll(photos.truth, 1, axis=1)),
                   trained=0.98)  # fmt: skip
    found = judged(case, [candidate("float32", planted.healthy())], monkeypatch)
    assert found.rows[0].verdict == "loses 98.0% accuracy, 1.0% allowed"
    assert found.chosen is None


def test_stopping_early_keeps_to_the_same_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training said 59 of 60, float32 named 60, this one 58: one photo lost, which is allowed.

    Whether it is stopped must not depend on the order of the photos.
    """
    ready = [candidate("float32", planted.healthy()), candidate("int8", planted.never(RED))]
    found = []
    for reverse in (False, True):
        photos = tens(29, 29, 2).at(np.arange(60)[:: -1 if reverse else 1])
        case = case_of(planted.healthy(), photos, trained=59 / 60)
        row = judged(case, ready, monkeypatch, max_class_drop=1.0).rows[1]
        found.append((row.within_budget, row.stopped))
    assert found == [(True, False), (True, False)]


def test_who_cannot_be_made_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing kind ends nothing, even where it is float32: the next one is the reference."""
    ready = [
        candidate("float32", b"", "out of memory"),
        candidate("int8", planted.healthy()),
        candidate("float16", b"no model at all"),
    ]
    found = judged(case_of(planted.healthy(), tens(5, 5, 5), trained=1.0), ready, monkeypatch)
    assert found.rows[0].verdict == "out of memory"
    assert "runtime refuses" in found.rows[2].verdict
    assert found.chosen is found.rows[1]
    assert list(found.models) == ["int8"]


def test_who_is_far_too_slow_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eleven times float32's time for a photo; nine times is still judged."""
    models = {"float32": planted.healthy(), "int8": planted.cnn(1), "int16x8": planted.cnn(2)}
    took = dict(zip(models.values(), (1.0, 9.0, 11.0), strict=True))
    now = [0.0]

    def classifier(model: bytes, contract: object) -> object:
        def outputs(photo: object) -> None:
            now[0] += took[model]

        return SimpleNamespace(outputs=outputs)

    clock = SimpleNamespace(perf_counter=lambda: now[0], monotonic=lambda: now[0])
    monkeypatch.setattr(court, "time", clock)
    monkeypatch.setattr(court, "device_classifier", classifier)
    ready = [candidate(kind, model) for kind, model in models.items()]
    rows = by_kind(judged(case_of(planted.healthy(), tens(5, 5, 5)), ready, monkeypatch))
    assert rows["int16x8"].verdict == "over 10 times slower than float32: not judged"
    assert rows["int16x8"].photos == 0
    assert rows["int8"].photos == 15


def test_a_model_that_fails_while_it_is_measured_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the target says goes into the verdict; who has no times is never chosen."""
    case = case_of(planted.healthy(), tens(5, 5, 5))
    ready = [candidate("float32", planted.healthy()), candidate("int8", planted.cnn())]
    measure_nothing(monkeypatch)
    honest = court.measure_on

    def failing(*args: object, **options: object) -> object:
        report = honest(*args, **options)  # type: ignore[arg-type]
        row = court.replace(report.rows[0], timings=(), failure="killed by SIGILL")
        return court.replace(report, rows=(row, *report.rows[1:]))

    monkeypatch.setattr(court, "make_all", lambda *_: iter(ready))
    monkeypatch.setattr(court, "measure_on", failing)
    ruling = hold_court(case, Budget(max_drop=1.0, max_class_drop=1.0), HERE, silent)
    assert ruling.rows[0].verdict == "killed by SIGILL"
    assert ruling.chosen is ruling.rows[1]


def test_all_photos_are_answered_in_order() -> None:
    """Sixteen at a time on every core, yet photo by photo the same as one after the other."""
    photos = photos_of(*[[TINY_LABELS[i % 3]] for i in range(70)])
    case = case_of(planted.cnn(), photos)
    alone = device_classifier(case.model, case.contract)
    given = answers(case.model, case.contract, photos.pixels)
    assert given.embeddings is None
    np.testing.assert_array_equal(given.scores, [alone.scores(photo) for photo in photos.pixels])
    seen = answers(case.model, case.contract, photos.pixels, hopeless=lambda found: len(found) > 20)
    np.testing.assert_array_equal(seen.scores, given.scores[: len(seen)])
    assert len(seen) == 32


@pytest.mark.parametrize("name", [b"", None, b"x"], ids=["empty", "none", "all-alike"])
def test_tensors_need_no_names(monkeypatch: pytest.MonkeyPatch, name: bytes | None) -> None:
    """Names are optional in a .tflite and need not differ: float32 can be chosen in any case."""
    graph = unpack(planted.healthy())
    for tensor in graph.subgraphs[0].tensors:
        tensor.name = name
    measure_nothing(monkeypatch)
    case = case_of(pack(graph), tens(8, 8, 8))
    ruling = hold_court(case, Budget(), HERE, silent)
    assert by_kind(ruling)["float32"].within_budget
    assert ruling.chosen is not None


@pytest.mark.parametrize("raw_bytes", [True, False])
def test_a_quantized_model_is_judged_as_given(
    monkeypatch: pytest.MonkeyPatch, raw_bytes: bool
) -> None:
    """Nothing is made of it, whether or not it has QUANTIZE layers, and it is not called float."""
    if not raw_bytes:
        monkeypatch.setattr(quantizer, "with_raw_bytes", lambda model: model)
    photos = tens(8, 8, 8)
    samples = court.images(photos.pixels, mean=127.5, std=127.5)
    healthy = complete(planted.healthy())
    int8 = quantizer.quantize(healthy, "int8", quantizer.find_ranges(healthy, samples))
    measure_nothing(monkeypatch)
    ruling = hold_court(case_of(int8, photos), Budget(), HERE, silent)
    assert [row.maker for row in ruling.rows] == ["as given"]
    assert ruling.chosen is ruling.rows[0]
    assert ruling.chosen.accuracy == 1.0
    assert not ruling.chosen.kind.startswith("float")
