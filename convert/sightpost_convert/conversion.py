"""From a training run to one sealed Bundle: convert, judge, choose, seal."""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sightpost_edge.bundle import Bundle
from sightpost_edge.contract import Contract
from sightpost_edge.durable import write_file
from sightpost_edge.records import Pixels

from .candidates import KINDS, TOLERANCES, Candidate, convert_all
from .judge import Judgement, choose, judge
from .run_folder import RunFolder, labels_of
from .seal import GOLDEN_FRAMES, Provenance, seal

CALIBRATION_PHOTOS = 200
"""About so many, the same number from every class: more did not move the ranges."""


def run_conversion(run: Path, out: Path, *, name: str = "") -> tuple[Bundle, list[Judgement]]:
    """Convert a run and write the chosen candidate to ``out``; table.json goes into the run.

    Raises:
        DataError: the run or a photo it used is not there any more.
        ConversionRefused: no candidate keeps the accuracy.
    """
    folder = RunFolder.open(run)
    contract = _contract(folder)
    candidates = _convert(folder, contract)
    photos, truth = folder.photos("test")
    trained = float(folder.metrics["test"]["accuracy"])
    rows = judge(candidates, photos, truth, contract, trained=trained)
    print_table(rows, photos=len(photos), trained=trained)
    chosen = choose(rows)
    print(f"chosen: {chosen.kind}")
    _recommend(rows, run)
    model = next(c.model for c in candidates if c.kind == chosen.kind)
    sealed = replace(contract, kind=chosen.kind, golden_tolerance=TOLERANCES[chosen.kind])
    provenance = Provenance(
        name or folder.metrics["dataset"]["root"].rstrip("/").rsplit("/", 1)[-1],
        _training(folder),
        _conversion(rows, chosen),
    )
    bundle = seal(model, sealed, _golden_photos(folder, chosen), provenance, out)
    write_file(run / "table.json", json.dumps([_row(r) for r in rows], indent=1).encode())
    return bundle, rows


def _recommend(rows: Sequence[Judgement], run: Path) -> None:
    """What helps where full int8, the fastest on most boards, is out of budget."""
    int8 = next((row for row in rows if row.kind == "int8"), None)
    if int8 is not None and not int8.within_budget:
        print(
            f"sightpost: int8 {int8.verdict}; sightpost train PHOTOS --quantization-aware {run} "
            "--out ANOTHER fine-tunes for it",
            file=sys.stderr,
        )


def _contract(folder: RunFolder) -> Contract:
    """What training found out, in the device's terms."""
    metrics = folder.metrics
    novelty = ("method", "threshold", "auroc", "false_alarm", "against")
    return Contract(
        folder.labels, folder.geometry, mean=folder.mean, std=folder.std,
        multi_label=folder.multi_label,
        thresholds=tuple(float(row["score"]) for row in metrics["thresholds"]),
        temperature=float(metrics["calibration"]["temperature"]),
        novelty={name: metrics["novelty"][name] for name in novelty},
    )  # fmt: skip


def _convert(folder: RunFolder, contract: Contract) -> list[Candidate]:
    model = folder.load_model()
    per_class = max(1, round(CALIBRATION_PHOTOS / len(contract.labels)))
    calibration, _ = folder.photos("train", per_class=per_class)
    stream = convert_all(model, calibration, mean=contract.mean, std=contract.std)
    bar = tqdm(
        stream, desc="converting", total=len(KINDS), unit=" candidates", leave=False, disable=None
    )
    return list(bar)


def _golden_photos(folder: RunFolder, chosen: Judgement) -> list[Pixels]:
    """One held-out photo of each class, of middling certainty.

    The surest ones would hardly move; the least sure ones move so much between kernels (0.09 was
    seen) that a good device might be refused.
    """
    rows = folder.select("test", per_class=None, seed=0)
    doubt = np.sort(chosen.scores, axis=1)
    margin = doubt[:, -1] - doubt[:, -2]
    chosen_rows = []
    for label in folder.labels:
        mine = [i for i in np.argsort(margin) if label in labels_of(rows[i])]
        chosen_rows.append(rows[mine[len(mine) // 2]])
    return [folder.picture(row) for row in chosen_rows[:GOLDEN_FRAMES]]


def _training(folder: RunFolder) -> dict[str, object]:
    metrics, recipe = folder.metrics, folder.metrics["recipe"]
    return {
        "backbone": f"{recipe['backbone']} width {recipe['width']} at {recipe['input_px']} px",
        "weights": Path(recipe["weights"]).name,
        "kept": metrics["kept"],
        "test_accuracy": metrics["test"]["accuracy"],
        "photos": sum(metrics["photos"].values()),
        "dataset_fingerprint": metrics["dataset"]["fingerprint"],
        "versions": metrics["versions"],
    }


def _conversion(rows: Sequence[Judgement], chosen: Judgement) -> dict[str, object]:
    return {"chosen": chosen.kind, "accuracy": chosen.accuracy, "table": [_row(r) for r in rows]}


def _row(row: Judgement) -> dict[str, object]:
    figures = ("kind", "accuracy", "drop", "agreement", "size_bytes", "median_ms", "verdict")
    values = {name: getattr(row, name) for name in figures}
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


def print_table(rows: Sequence[Judgement], *, photos: int, trained: float) -> None:
    """The court's table to stdout; the machine that was timed is named on stderr."""
    print(f"{photos} held-out photos through the device's classifier (training said {trained:.3f})")
    print("kind      accuracy   drop  agreement     KiB  ms (this machine)  verdict")
    for row in rows:
        print(
            f"{row.kind:<9} {row.accuracy:8.3f} {row.drop:6.3f} {row.agreement:10.3f} "
            f"{row.size_bytes / 1024:7.0f} {row.median_ms:18.2f}  {row.verdict or 'within budget'}"
        )
    sys.stdout.flush()
