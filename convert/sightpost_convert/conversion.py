"""From a training run, or someone else's model, to one sealed Bundle: make, judge, choose, seal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sightpost_edge.bundle import Bundle
from sightpost_edge.durable import make_folder, write_file
from sightpost_edge.errors import ConfigError, ConversionRefused
from sightpost_edge.manifest import signature_of
from sightpost_edge.novelty import Novelty

from .bulk import answers
from .candidates import tolerance
from .case import Case
from .court import Ruling, Say, hold_court
from .examples import examples_of
from .judge import Judgement
from .plot import draw_court
from .report import court_json, print_ruling, table_row
from .seal import Provenance, seal
from .sensitive import choose_rows, frames
from .signer import signer_for
from .target import Target, parse_target
from .verdict import Budget, names, refusal


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a user may ask of a conversion; see ``cli`` for each.

    ``examples``: whether names of training photos may travel in the Bundle.
    """

    budget: Budget = field(default_factory=Budget)
    target: str = "this-machine"
    name: str = ""
    localized: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sign: Path | None = None
    version: str = ""
    expires: str = ""
    examples: bool = True


def convert_case(case: Case, out: Path, evidence: Path, wishes: Wishes) -> tuple[Bundle, Ruling]:
    """Hold court over a case, write the evidence, seal the chosen candidate.

    Args:
        case: the model and what it is judged on.
        out: the Bundle to write.
        evidence: a folder for court.json and court.png; written before a refusal, too.
        wishes: budget, target, names and key.

    Raises:
        ConversionRefused: no candidate is within budget.
        ConfigError: a limit on latency without a machine to measure it on.
        TargetUnreachable: the target does not answer.
    """
    target, budget = _measurable(wishes)
    _check_display(wishes.localized, case)
    signer = signer_for(wishes.sign, wishes.version, wishes.expires, target)
    with _progress() as say:
        ruling = hold_court(case, budget, target, say)
    print_ruling(ruling, case)
    make_folder(evidence)
    write_file(evidence / "court.json", court_json(ruling, case, wishes, budget).encode())
    draw_court(ruling, evidence / "court.png")
    if ruling.chosen is None:
        raise refusal(ruling.rows, ruling.hurt, case.remedy)
    _refuse_guesses(ruling, case)
    _say_what_hurts(ruling, case)
    bundle = _seal(case, ruling, ruling.chosen, out, wishes)
    signature_of(out).unlink(missing_ok=True)
    if signer:
        signer.sign(bundle)
    return bundle, ruling


def _check_display(localized: dict[str, tuple[str, ...]], case: Case) -> None:
    for locale, words in localized.items():
        if len(words) != len(case.contract.labels):
            raise ConfigError(
                f"--display {locale}: {len(words)} names for {len(case.contract.labels)} labels",
                hint="one line for each label, in the model's order",
            )


def _refuse_guesses(ruling: Ruling, case: Case) -> None:
    """Nobody vouches for a foreign model's labels: it must do better than guessing."""
    first = ruling.rows[0]
    if case.trained is not None or not first.class_recall:
        return
    shown = [recall for recall in first.class_recall if not np.isnan(recall)]
    mean, chance = sum(shown) / len(shown), 1 / len(case.contract.labels)
    if mean < min(0.75, 1.5 * chance):
        raise ConversionRefused(
            f"the model names {mean:.1%} of the photos of a class rightly, guessing {chance:.1%}",
            hint="are its labels in output order (a 1001-output model counts 'background' first), "
            "and its pixels scaled as it wants?",
        )


def _measurable(wishes: Wishes) -> tuple[Target, Budget]:
    """A board's name sets the memory that is left there; its speed it cannot tell."""
    target = parse_target(wishes.target)
    if target.board is None:
        return target, wishes.budget
    if wishes.budget.max_latency_ms is not None:
        raise ConfigError(
            f"--max-latency-ms needs a {target.text} to measure on",
            hint="--target user@HOST measures on one; --target this-machine measures here",
        )
    return target, replace(wishes.budget, max_memory_mb=float(target.board.model_mb))


def _seal(case: Case, ruling: Ruling, chosen: Judgement, out: Path, wishes: Wishes) -> Bundle:
    model = ruling.models[chosen.kind]
    allowed = tolerance(chosen.kind)
    novelty = _novelty(case, model)
    contract = replace(
        case.contract, kind=chosen.kind, golden_tolerance=allowed,
        novelty={**case.contract.novelty, "threshold": novelty.threshold} if novelty else {},
        paths={path.name: path.figures for path in ruling.paths if path.allowed},
    )  # fmt: skip
    assert chosen.answers is not None
    rows = choose_rows(
        chosen.answers.scores, case.test.truth, allowed, multi_label=contract.multi_label
    )
    provenance = Provenance(
        wishes.name or case.name, case.training, _conversion(ruling, chosen),
        localized=wishes.localized,
    )  # fmt: skip
    golden = frames([case.picture(row) for row in rows], contract.geometry)
    return seal(
        model, contract, golden, provenance, out,
        novelty=novelty,
        examples=examples_of(case, model, novelty) if wishes.examples else None,
    )  # fmt: skip


def _novelty(case: Case, model: bytes) -> Novelty | None:
    """Training's way of telling novel pictures, its threshold moved to this model's outputs.

    At the same share of false alarms on the validation photos as the float model had there.
    """
    if case.novelty is None:
        return None
    photos = case.validation.pixels
    before, after = (answers(m, case.contract, photos) for m in (case.model, model))
    alarms = float(
        (case.novelty.scores(before.embeddings, before.scores) > case.novelty.threshold).mean()
    )
    found = np.sort(case.novelty.scores(after.embeddings, after.scores))
    rank = min(len(found) - 1, max(0, round((1 - alarms) * len(found)) - 1))
    return replace(case.novelty, threshold=float(found[rank]))


def _known(figure: float) -> float | None:
    return None if np.isnan(figure) else round(figure, 4)


def _conversion(ruling: Ruling, chosen: Judgement) -> dict[str, Any]:
    return {
        "chosen": chosen.kind,
        "accuracy": chosen.accuracy,
        "agreement": _known(chosen.agreement),
        "measured_on": ruling.report.measured_on,
        "table": [table_row(row) for row in ruling.rows],
    }


def _say_what_hurts(ruling: Ruling, case: Case) -> None:
    """Where full int8, the fastest on most boards, fell short: the layers and what helps."""
    if ruling.hurt:
        print(f"sightpost: int8 hurts most in {names(ruling.hurt)}", file=sys.stderr)
        if case.remedy:
            print(f"  hint: {case.remedy}", file=sys.stderr)


@contextmanager
def _progress() -> Iterator[Say]:
    """A line on stderr that says what is being made, judged or measured; only on a terminal."""
    with tqdm(bar_format="{desc} {elapsed}", leave=False, disable=None) as bar:
        yield bar.set_description_str
