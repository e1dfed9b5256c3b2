"""One training run from photos to run folder: read, fit, calibrate, judge, write."""

import csv
import dataclasses
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sightpost_edge.durable import make_folder, write_file, writing
from sightpost_edge.errors import ConfigError, writing_to

from .account import account, versions
from .backbones import BACKBONES
from .card import model_card
from .dataset import Dataset, Part, read_recipe_photos, read_unseen
from .descent import NotFinite
from .figures import Figures, as_json, figures
from .fit import Fitted, Parts, fit_recipe
from .listing import manifest_csv
from .model import build_features, settle, use_hardware
from .page import write_page
from .recipe import TrainRecipe
from .results import Epoch, Results
from .work import Work, file_digest

FINISHED = "metrics.json"
"""Written last: a run folder without it was interrupted."""
LAST_GOOD = "last-good.keras"


def run_training(
    source: Path, out: Path, recipe: TrainRecipe, *, unseen: Path | None = None,
    resume: bool = False,
) -> None:  # fmt: skip
    """Train and leave everything that convert and people need in ``out``.

    Args:
        source: class folders, ready-made split folders or a CSV manifest.
        out: the run folder; finished steps are kept in it, so ``resume`` goes on after a kill.
        recipe: what to compute.
        unseen: a folder of photos of other things, to measure how well novelty is told.
        resume: go on with an unfinished run.

    Raises:
        ConfigError: ``out`` already holds a finished run, or an unfinished one without ``resume``.
        DataError, TrainingError, StoreError: see ``sightpost_edge.errors``.
    """
    refuse_finished(out, FINISHED)
    if unseen and not unseen.is_dir():
        raise ConfigError(f"--unseen {unseen} is no folder")
    make_folder(out)
    use_hardware()
    backbone = build_features(recipe)
    data = read_recipe_photos(source, recipe)
    strangers = read_unseen(unseen, recipe) if unseen else None
    say_what_was_read(data)
    work = Work.open(out, run_key(recipe, data), resume=resume)
    parts = Parts(*(data.part(split) for split in ("train", "validation", "test")))
    with saving_last_good(out):
        fitted = fit_recipe(recipe, backbone, parts, work, multi_label=data.multi_label)
    fitted.model = settle(recipe, fitted.model, len(data.labels), multi_label=data.multi_label)
    finish(out, recipe, data, parts, fitted, work, unseen=strangers)
    work.clear()


def finish(
    out: Path, recipe: TrainRecipe, data: Dataset, parts: Parts, fitted: Fitted, work: Work, *,
    unseen: Part | None, divide: bool = True,
) -> None:  # fmt: skip
    """Calibrate (see ``account``), write the run folder and say the result."""
    results = account(
        recipe, data, parts, fitted, work, name=data.root.resolve().name, unseen=unseen,
        divide=divide,
    )  # fmt: skip
    numbers = figures(results)
    _write(out, data, results, numbers, fitted.model)
    _say_result(out, results, numbers)


def run_key(recipe: TrainRecipe, data: Dataset) -> dict[str, Any]:
    """What the steps of a run depend on; a resumed run must have the same."""
    words, weights = dataclasses.asdict(recipe), Path(recipe.weights)
    if weights.is_file():
        words["weights"] = file_digest(weights)
    return {"recipe": words, "photos": data.key, "versions": versions()}


def refuse_finished(out: Path, marker: str) -> None:
    """Hours of training are not lost to a repeated command."""
    if (out / marker).exists():
        raise ConfigError(
            f"{out} already holds a finished run",
            hint="choose another --out, or delete that folder if it is not needed any more",
        )


@contextmanager
def saving_last_good(out: Path) -> Iterator[None]:
    """On an infinite loss the best model so far is saved, and the message says where."""
    try:
        with writing_to(out):
            yield
    except NotFinite as exc:
        if exc.last_good is not None:
            exc.last_good.save(out / LAST_GOOD)
            exc.hint += f"; the last good weights are in {out / LAST_GOOD}"
        raise


def _write(out: Path, data: Dataset, results: Results, numbers: Figures, model: Any) -> None:
    write_file(out / "split.csv", manifest_csv(data.everything.photos).encode())
    write_file(out / "recipe.toml", _toml(results.recipe).encode())
    write_file(out / "history.csv", history_csv(results.history).encode())
    write_page(out / "report.html", results, model)
    write_file(out / "model-card.md", model_card(results, numbers).encode())
    if results.novelty.parameters:
        with writing(out / "novelty.npz") as file:
            np.savez(file, **results.novelty.parameters)  # type: ignore[arg-type]
    with writing_to(out / "model.keras"):
        model.save(out / "model.keras")
    content = {**as_json(results, numbers), **for_convert(data, results)}
    write_file(out / FINISHED, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")


def for_convert(data: Dataset, results: Results) -> dict[str, Any]:
    """The part of metrics.json that the converter reads, by its own names."""
    row = BACKBONES[str(results.recipe["backbone"])]
    counts = {s: len(getattr(results, s).photos) for s in ("train", "validation", "test")}
    return {
        "photos": counts,
        "labels": list(data.labels),
        "multi_label": data.multi_label,
        "normalisation": {"mean": row.mean, "std": row.std},
        "dataset": {"root": str(data.root.resolve()), "fingerprint": data.fingerprint},
        "recipe": results.recipe,
        "kept": results.kept,
        "versions": results.versions,
    }


def history_csv(history: Iterable[Epoch]) -> str:
    """One row per epoch of every phase."""
    buffer = io.StringIO()
    names = [f.name for f in dataclasses.fields(Epoch)]
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in history)
    return buffer.getvalue()


def _toml(recipe: dict[str, Any]) -> str:
    """A flat record as TOML: JSON's strings, numbers and booleans are TOML's too."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in recipe.items())


def say_what_was_read(data: Dataset) -> None:
    """What takes part and what does not, to stderr."""
    for item in data.left_out:
        print(f"sightpost: left out: {item.path}: {item.reason}", file=sys.stderr)
    count = len(data.everything)
    print(
        f"sightpost: {count} photos of {len(data.labels)} classes, {len(data.left_out)} left out, "
        f"{data.duplicates} exact duplicates, {count - data.decoded} found decoded in the cache",
        file=sys.stderr,
    )


def _say_result(out: Path, results: Results, numbers: Figures) -> None:
    width = max(len(row.label) for row in numbers.classes)
    print(f"{'class'.ljust(width)}  precision  recall     f1  photos  believe from")
    for row, threshold in zip(numbers.classes, results.thresholds, strict=True):
        print(
            f"{row.label.ljust(width)}  {row.precision:9.3f}  {row.recall:6.3f}  {row.f1:5.3f}"
            f"  {row.photos:6d}  {threshold.score:12.2f}{'' if threshold.reached else ' (best)'}"
        )
    print()
    for stage in results.stages:
        mark = "  <- kept" if stage.name == results.kept else ""
        print(
            f"{stage.name:<20} validation {stage.val_accuracy:.3f}  "
            f"test {stage.test_accuracy:.3f}{mark}"
        )
    calibration, novelty = results.calibration, results.novelty
    print(
        f"\ncalibration error    {calibration.ece_before:.3f} before, {calibration.ece_after:.3f} "
        f"after temperature {calibration.temperature:.2f}\n"
        f"novelty              AUROC {novelty.auroc:.3f} ({novelty.method}, {novelty.against})\n"
        f"\ntest accuracy {numbers.accuracy:.3f} on {len(results.test.photos)} photos; "
        f"{results.seconds:.0f} s; see {out / 'report.html'}"
    )
