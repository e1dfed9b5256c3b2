"""The court: every candidate is made, judged on held-out photos, measured, and one is chosen."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from sightpost_edge.bench import Measured
from sightpost_edge.errors import SightpostError
from sightpost_edge.machine import this_machine
from sightpost_edge.records import Scores

from .bulk import Answers, answers, device_classifier
from .candidates import Candidate, Workbench, make_all
from .case import Case, Photos
from .judge import (
    Judgement,
    calibration_error,
    decisions,
    hopeless_after,
    novelty_auroc,
    recalls,
    right,
    worst_drop,
)
from .layers import Hurt, rank_layers, steps, worst_first
from .paths import PathJudged, judge_paths
from .quantizer import find_ranges
from .ranges import METHODS, images
from .target import Report, Target, measure_on
from .verdict import Budget, choose

TOO_SLOW = 10.0
"""Times float32's time for a photo: no budget on accuracy or size makes that the best choice."""
AGREEMENT = 0.97
"""Share of equal decisions that a mixed model must reach on the validation photos."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the court found. ``chosen`` is None where nobody is within budget.

    ``paths``: the faster ways to decode a camera's picture that the chosen one was judged through.
    """

    rows: tuple[Judgement, ...]
    chosen: Judgement | None
    hurt: tuple[Hurt, ...]
    report: Report
    models: dict[str, bytes] = field(repr=False)
    seconds: float
    paths: tuple[PathJudged, ...] = ()


def hold_court(case: Case, budget: Budget, target: Target, say: Say) -> Ruling:
    """Make, judge and measure every candidate; rescue int8 where it falls short.

    Args:
        case: the model, its photos and its contract.
        budget: what a candidate may cost.
        target: where latency and memory are measured.
        say: is told what is going on, a few words at a time.

    Raises:
        TargetUnreachable: see ``target``.
    """
    began = time.monotonic()
    if target.kind == "host":
        # Whatever is wrong with the connection shall be known before the work, not after it.
        measure_on(target, {"first": case.model}, threads=(1,), seconds=0.0, progress=say)
    session = _Session(case, budget, say)
    bench = session.judge_all()
    hurt = session.rescue(bench) if bench and not session.int8_is_good() else ()
    say("measuring")
    report = measure_on(target, session.models, progress=say) if session.models else _nothing()
    rows = tuple(_with_costs(session.rows, report.rows, budget))
    chosen = choose(rows)
    say("judging reduced decoding")
    paths = judge_paths(case, session.models[chosen.kind]) if chosen else ()
    seconds = round(time.monotonic() - began, 1)
    return Ruling(rows, chosen, hurt, report, session.models, seconds, paths)


def _nothing() -> Report:
    return Report(this_machine(), (), "no machine: no candidate gave an answer", "")


class _Session:
    """The rows so far; the first one that answers is the reference of all others."""

    def __init__(self, case: Case, budget: Budget, say: Say) -> None:
        self.case, self.budget, self.say = case, budget, say
        self.rows: list[Judgement] = []
        self.models: dict[str, bytes] = {}
        self._pace_s = 0.0

    def judge_all(self) -> Workbench | None:
        """Every kind; the workbench where the model can be quantized here.

        Where the float model itself gives no finite scores, nothing else is tried.
        """
        case, bench = self.case, None
        contract = case.contract
        samples = images(case.calibration, mean=contract.mean, std=contract.std)
        for made in make_all(case.model, samples, case.saved, self.say):
            if isinstance(made, Workbench):
                bench = made
                continue
            row = self.add(made)
            if row is self.rows[0] and not row.finite:
                return None
        return bench

    def add(self, candidate: Candidate) -> Judgement:
        """Judge one candidate; its row."""
        self.say(f"judging {candidate.kind}")
        row = self._judge(candidate)
        self.rows.append(row)
        if candidate.model and row.answers is not None:
            self.models[row.kind] = candidate.model
        return row

    def int8_is_good(self) -> bool:
        """Whether some full int8 model keeps the accuracy: then nothing needs a rescue."""
        return any(row.kind.startswith("int8") and row.within_budget for row in self.rows)

    def rescue(self, bench: Workbench) -> tuple[Hurt, ...]:
        """Other ranges, then the layers that hurt, then a model that leaves these in float."""
        for method in METHODS[1:]:
            self.say(f"making int8-{method}")
            if self.add(bench.make(f"int8-{method}", method=method)).within_budget:
                return ()
        self.say("looking for the layers that hurt")
        contract, photos = self.case.contract, self.case.validation
        try:
            ranges = find_ranges(bench.model, bench.samples)
        except (SightpostError, RuntimeError, ValueError):
            return ()
        hurt = worst_first(rank_layers(bench.model, ranges, contract, photos.pixels))
        if mixed := self._mixed(bench, hurt):
            self.add(mixed)
        return tuple(hurt)

    def _mixed(self, bench: Workbench, hurt: list[Hurt]) -> Candidate | None:
        """The first mixed model that satisfies the validation photos, or the last one tried."""
        photos = self.case.validation
        reference = answers(self.case.model, self.case.contract, photos.pixels)
        found = None
        for count in steps(len(hurt)):
            self.say(f"making mixed, {count} layers in float")
            found = bench.mixed([one.name for one in hurt[:count]])
            if found.model and self._satisfies(found, photos, reference):
                break
        return found

    def _satisfies(self, candidate: Candidate, photos: Photos, reference: Answers) -> bool:
        contract = self.case.contract
        try:
            given = answers(candidate.model, contract, photos.pixels).scores
        except SightpostError:
            return False
        multi = contract.multi_label
        lost = int(right(reference.scores, photos.truth, multi_label=multi).sum()) - int(
            right(given, photos.truth, multi_label=multi).sum()
        )
        same = _agreement(given, reference.scores, self.case)
        return lost <= self.budget.allowed_photos(len(photos)) and same >= AGREEMENT

    def _judge(self, candidate: Candidate) -> Judgement:
        row = Judgement(candidate.kind, candidate.maker, len(candidate.model))
        if candidate.failure:
            return replace(row, verdict=candidate.failure)
        try:
            if self._is_too_slow(candidate.model):
                slow = f"over {TOO_SLOW:.0f} times slower than float32: not judged"
                return replace(row, verdict=slow)
            given = self._answers(candidate.model)
        except SightpostError as exc:
            return replace(row, verdict=str(exc))
        return self._figures(row, given)

    def _is_too_slow(self, model: bytes) -> bool:
        """By a few photos; the reference sets the pace."""
        classifier = device_classifier(model, self.case.contract)
        times = []
        for photo in self.case.test.pixels[:5]:
            began = time.perf_counter()
            classifier.outputs(photo)
            times.append(time.perf_counter() - began)
        pace = min(times)
        if not self._pace_s:
            self._pace_s = pace
        return pace > TOO_SLOW * self._pace_s

    def _answers(self, model: bytes) -> Answers:
        case, multi = self.case, self.case.contract.multi_label
        if self._reference() is None:
            return answers(model, case.contract, case.test.pixels)
        needed = self._claimed() - self.budget.allowed_photos(len(case.test))
        return answers(
            model, case.contract, case.test.pixels,
            hopeless=lambda scores: hopeless_after(
                scores, case.test.truth, needed, multi_label=multi
            ),
        )  # fmt: skip

    def _claimed(self) -> int:
        """Test photos that are said to be named rightly: by training, else by the first model."""
        case, reference = self.case, self._reference()
        if case.trained is not None or reference is None:
            return round((case.trained or 0.0) * len(case.test))
        multi = case.contract.multi_label
        return int(right(reference.scores, case.test.truth, multi_label=multi).sum())

    def _reference(self) -> Answers | None:
        return next((row.answers for row in self.rows if row.answers is not None), None)

    def _figures(self, row: Judgement, given: Answers) -> Judgement:
        case, multi, whole = self.case, self.case.contract.multi_label, len(self.case.test)
        truth = case.test.truth[: len(given)]
        reference = (self._reference() or given).scores[: len(given)]
        hits = int(right(given.scores, truth, multi_label=multi).sum())
        claimed = hits if self._reference() is None and case.trained is None else self._claimed()
        lost = claimed - hits - (whole - len(given))
        share = claimed / whole if case.trained is None else case.trained
        worst, class_drop = worst_drop(given.scores, reference, truth, multi_label=multi)
        found = replace(
            row,
            photos=len(given),
            accuracy=hits / len(given),
            drop=share - (hits + whole - len(given)) / whole,
            class_recall=tuple(recalls(given.scores, truth, multi_label=multi).tolist()),
            worst_class=case.contract.labels[worst],
            class_drop=class_drop,
            agreement=_agreement(given.scores, reference, case),
            calibration_error=calibration_error(given.scores, truth, multi_label=multi),
            novelty_auroc=novelty_auroc(given, truth, case.novelty),
            finite=bool(np.isfinite(given.scores).all()),
            stopped=len(given) < whole,
            answers=given,
        )
        shown = int(truth[:, worst].sum())
        return replace(found, verdict=self.budget.accuracy(found, lost=lost, class_photos=shown))


def _agreement(scores: Scores, reference: Scores, case: Case) -> float:
    same = decisions(scores, case.contract) == decisions(reference, case.contract)
    return float(same.all(axis=1).mean())


def _with_costs(
    rows: list[Judgement], measured: tuple[Measured, ...], budget: Budget
) -> Iterator[Judgement]:
    """The rows with what the target said, and the rest of the budget applied."""
    found = {one.name: one for one in measured}
    for row in rows:
        if row.kind not in found:
            yield row
            continue
        one = found[row.kind]
        full = replace(
            row, timings=one.timings, peak_mb=one.peak_mb, partitions=one.partitions,
            verdict=row.verdict or one.failure,
        )  # fmt: skip
        cost = "" if full.verdict else budget.cost(full)
        yield replace(full, verdict=full.verdict or cost, too_costly=bool(cost))
