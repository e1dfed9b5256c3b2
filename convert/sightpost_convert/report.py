"""What the court found, as a table for people and as court.json for machines."""

import json
import math
import sys
from typing import TYPE_CHECKING, Any

from sightpost_edge.bench import as_json

from .case import Case
from .court import Ruling
from .judge import Judgement
from .paths import FEWEST, PathJudged
from .verdict import Budget, shortened

if TYPE_CHECKING:
    from .conversion import Wishes

FIGURES = (
    "kind", "maker", "verdict", "accuracy", "drop", "worst_class", "class_drop", "agreement",
    "calibration_error", "novelty_auroc", "photos", "stopped", "size_bytes", "peak_mb",
    "partitions",
)  # fmt: skip
NOT_JUDGED = f"not judged, fewer than {FEWEST} validation photos"


def print_ruling(ruling: Ruling, case: Case) -> None:
    """The court's table to stdout; where it was measured and what was chosen."""
    claim = "" if case.trained is None else f" (training said {case.trained:.3f})"
    print(f"{len(case.test)} held-out photos through the device's classifier{claim}")
    rows = [_cells(row) for row in ruling.rows]
    heading = ["kind", "accuracy", "drop", "class drop", "agree", "calib", "novelty", "KiB", "MB",
               "parts", *_thread_headings(ruling), "verdict"]  # fmt: skip
    _print_columns([heading, *rows])
    runs = f"ms: median/p95, measured on {ruling.report.measured_on}"
    print(f"{runs}; {ruling.report.note}" if ruling.report.note else runs)
    if ruling.chosen:
        print(f"decoding: {'; '.join(map(_path, ruling.paths)) or NOT_JUDGED}")
    print(f"chosen: {ruling.chosen.kind if ruling.chosen else 'none'} ({ruling.seconds:.0f} s)")
    sys.stdout.flush()


def _path(path: PathJudged) -> str:
    verdict = "allowed" if path.allowed else "not allowed"
    return f"{path.name} {verdict} ({path.levels:.2f} levels off, {path.equal:.1%} decided alike)"


def _thread_headings(ruling: Ruling) -> list[str]:
    timings = next((row.timings for row in ruling.rows if row.timings), ())
    return [f"ms t{timing.threads}" for timing in timings]


def _cells(row: Judgement) -> list[str]:
    times = [f"{t.median_ms:.2f}/{t.p95_ms:.2f}" for t in row.timings]
    return [
        row.kind, _figure(row.accuracy, 3), _figure(row.drop, 3), _figure(row.class_drop, 3),
        _figure(row.agreement, 3), _figure(row.calibration_error, 3),
        _figure(row.novelty_auroc, 3), f"{row.size_bytes / 1024:.0f}", _figure(row.peak_mb, 0),
        str(row.partitions or "-"), *times, shortened(row.verdict) or "within budget",
    ]  # fmt: skip


def _figure(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _print_columns(table: list[list[str]]) -> None:
    """Right-aligned but for the first and last column; rows without times keep their verdict."""
    width = len(table[0])
    full = [[*row[:-1], *["-"] * (width - len(row)), row[-1]] for row in table]
    widths = [max(len(row[i]) for row in full) for i in range(width)]
    for row in full:
        middle = [cell.rjust(size) for cell, size in zip(row[1:-1], widths[1:-1], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *middle, row[-1]]))


def table_row(row: Judgement) -> dict[str, Any]:
    """One candidate, JSON-ready: unknown figures are null."""
    plain = {name: _plain(getattr(row, name)) for name in FIGURES}
    return {
        **plain,
        "class_recall": [_plain(value) for value in row.class_recall],
        "timings": [
            {"threads": t.threads, "median_ms": t.median_ms, "p95_ms": t.p95_ms, "runs": t.runs}
            for t in row.timings
        ],
    }


def court_json(ruling: Ruling, case: Case, wishes: "Wishes", budget: Budget) -> str:
    """All of it: budget, machine, every row, the layers that hurt, the choice."""
    whole = {
        "format": 1,
        "name": wishes.name or case.name,
        "labels": list(case.contract.labels),
        "trained_accuracy": case.trained,
        "calibration_photos": len(case.calibration),
        "calibration_choice": f"{case.calibration_choice}; levels 0 and 255 added to each",
        "budget": {
            "max_drop": budget.max_drop,
            "max_class_drop": budget.max_class_drop,
            "max_size_bytes": budget.max_size_bytes,
            "max_latency_ms": budget.max_latency_ms,
            "max_memory_mb": budget.max_memory_mb,
        },
        "target": wishes.target,
        "measured_on": ruling.report.measured_on,
        "note": ruling.report.note,
        "machine": json.loads(as_json(ruling.report.machine, ()))["machine"],
        "chosen": ruling.chosen.kind if ruling.chosen else None,
        "paths": {p.name: {**p.figures, "allowed": p.allowed} for p in ruling.paths},
        "seconds": ruling.seconds,
        "candidates": [table_row(row) for row in ruling.rows],
        "layers_that_hurt": [
            {"layer": hurt.layer, "tensor": hurt.name, "moved": round(hurt.moved, 5)}
            for hurt in ruling.hurt
        ],
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value
