"""What quantization costs, pooled over runs that tested different photos.

    python bench/court.py RUN... > pooled.json

Give the runs of one recipe over several folds. For every kind that all courts judged whole: the
share of photos named rightly, the paired difference to float32 with its 95 % interval (normal
approximation over photos) and the share of equal decisions. The courts' tables go to stderr.
"""

import contextlib
import json
import sys
from pathlib import Path

import numpy as np

from sightpost_convert.bulk import answers
from sightpost_convert.court import Ruling, hold_court
from sightpost_convert.from_run import case_of_run
from sightpost_convert.judge import decisions, right
from sightpost_convert.report import print_ruling, table_row
from sightpost_convert.target import parse_target
from sightpost_convert.verdict import Budget

CHOSEN = "chosen"


def main(runs: list[Path]) -> None:
    hits: dict[str, list[np.ndarray]] = {}
    same: dict[str, list[np.ndarray]] = {}
    courts = []
    for run in runs:
        with case_of_run(run) as case, contextlib.redirect_stdout(sys.stderr):
            target = parse_target("this-machine")
            ruling = hold_court(case, Budget(), target, lambda text: None)
            print_ruling(ruling, case)
            courts.append({"run": run.name, "chosen": ruling.chosen and ruling.chosen.kind,
                           "seconds": ruling.seconds,
                           "table": [table_row(row) for row in ruling.rows]})  # fmt: skip
            gather(ruling, case.contract, case.test.pixels, case.test.truth, hits, same)
    whole = {kind: parts for kind, parts in hits.items() if len(parts) == len(runs)}
    reference = np.concatenate(whole["float32"])
    print(json.dumps({
        "photos": len(reference),
        "kinds": {kind: pooled(np.concatenate(parts), reference, np.concatenate(same[kind]))
                  for kind, parts in whole.items()},
        "courts": courts,
    }, indent=1))  # fmt: skip


def gather(ruling: Ruling, contract, pixels, truth, hits, same) -> None:
    """Photo by photo: named rightly, and decided as float32 did."""
    # Those that the court stopped as hopeless count in full here.
    found = {kind: answers(model, contract, pixels).scores for kind, model in ruling.models.items()}
    if ruling.chosen:
        found[CHOSEN] = found[ruling.chosen.kind]
    float_decisions = decisions(found["float32"], contract)
    for kind, scores in found.items():
        hits.setdefault(kind, []).append(right(scores, truth, multi_label=contract.multi_label))
        equal = (decisions(scores, contract) == float_decisions).all(axis=1)
        same.setdefault(kind, []).append(equal)


def pooled(mine: np.ndarray, reference: np.ndarray, equal: np.ndarray) -> dict[str, object]:
    """Accuracy, paired difference and agreement over all photos."""
    apart = mine.astype(float) - reference
    half = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
    return {
        "accuracy": round(float(mine.mean()), 4),
        "difference": round(float(apart.mean()), 4),
        "difference_95": [
            round(float(apart.mean() - half), 4),
            round(float(apart.mean() + half), 4),
        ],
        "agreement": round(float(equal.mean()), 4),
    }


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
