"""One training run from photos to run folder: read, fit, judge, write."""

import dataclasses
import json
import sys
import time
from pathlib import Path

from sightpost_edge.durable import make_folder, write_file
from sightpost_edge.errors import ConfigError, writing_to
from sightpost_edge.pixels import Geometry

from . import report
from .augment import scaled
from .backbones import BACKBONES
from .dataset import Dataset, read_folder, split_csv
from .fit import Fitted, fit_recipe
from .model import build_features
from .recipe import TrainRecipe

FINISHED = "metrics.json"
"""Written last: a run folder without it was interrupted."""


def run_training(photos: Path, out: Path, recipe: TrainRecipe) -> None:
    """Train and leave everything that convert and people need in ``out``.

    Raises:
        ConfigError: ``out`` already holds a finished run.
        DataError, TrainingError, StoreError: see ``sightpost_edge.errors``.
    """
    if (out / FINISHED).exists():
        raise ConfigError(
            f"{out} already holds a finished run",
            hint="choose another --out, or delete that folder if it is not needed any more",
        )
    make_folder(out)
    began_s = time.perf_counter()
    backbone = build_features(recipe)
    data = read_folder(
        photos, Geometry(recipe.input_px, recipe.input_px), seed=recipe.seed,
        validation_share=recipe.validation_share, test_share=recipe.test_share,
    )  # fmt: skip
    _say_what_was_read(data)
    with writing_to(out):
        fitted = fit_recipe(recipe, backbone, data, out)
    test = _test(fitted, data, recipe)
    _write(out, recipe, data, fitted, test, seconds=time.perf_counter() - began_s)
    _say_result(out, fitted, test, time.perf_counter() - began_s)


def _test(fitted: Fitted, data: Dataset, recipe: TrainRecipe) -> report.TestFigures:
    row = BACKBONES[recipe.backbone]
    pixels, targets = data.select("test")
    scores = fitted.model.predict(scaled(pixels, row.mean, row.std), batch_size=64, verbose=0)
    return report.judge(scores, targets, data.labels)


def _write(
    out: Path, recipe: TrainRecipe, data: Dataset, fitted: Fitted, test: report.TestFigures,
    *, seconds: float,
) -> None:  # fmt: skip
    write_file(out / "split.csv", split_csv(data.photos).encode())
    write_file(out / "recipe.toml", _toml(recipe).encode())
    report.write_history(out / "history.csv", fitted.history)
    report.draw_curves(out / "curves.png", fitted.history)
    report.draw_confusion(out / "confusion.png", test)
    with writing_to(out / "model.keras"):
        fitted.model.save(out / "model.keras")
    (out / "checkpoint.weights.h5").unlink(missing_ok=True)
    figures = report.metrics(recipe, data, fitted, test, seconds=seconds)
    report.write_json(out / FINISHED, figures)


def _toml(recipe: TrainRecipe) -> str:
    """A flat record as TOML: JSON's strings, numbers and booleans are TOML's too."""
    rows = dataclasses.asdict(recipe).items()
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in rows)


def _say_what_was_read(data: Dataset) -> None:
    for item in data.left_out:
        print(f"sightpost: left out: {item.path}: {item.reason}", file=sys.stderr)
    print(
        f"sightpost: {len(data.photos)} photos of {len(data.labels)} classes, "
        f"{len(data.left_out)} left out, {data.duplicates} exact duplicates",
        file=sys.stderr,
    )


def _say_result(out: Path, fitted: Fitted, test: report.TestFigures, seconds: float) -> None:
    width = max(len(figures.label) for figures in test.classes)
    print(f"{'class'.ljust(width)}  precision  recall     f1  photos")
    for row in test.classes:
        print(
            f"{row.label.ljust(width)}  {row.precision:9.3f}  {row.recall:6.3f}  {row.f1:5.3f}"
            f"  {row.photos:6d}"
        )
    print()
    for stage in fitted.stages:
        mark = "  <- kept" if stage.name == fitted.kept else ""
        print(
            f"{stage.name:<20} validation {stage.val_accuracy:.3f}  "
            f"test {stage.test_accuracy:.3f}{mark}"
        )
    print(
        f"\ntest accuracy {test.accuracy:.3f} on {test.photos} photos; {seconds:.0f} s; see {out}"
    )
