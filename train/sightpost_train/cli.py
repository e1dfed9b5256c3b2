"""The workshop's training commands; TensorFlow loads only when they run."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from sightpost_edge.extras import need_workshop


def train(
    photos: Annotated[
        Path,
        typer.Argument(help="Class folders, train/validation/test folders, or a CSV manifest."),
    ],
    out: Annotated[Path, typer.Option(help="Where the run is kept; a new folder.")],
    recipe: Annotated[Path | None, typer.Option(help="A recipe, as in configs/.")] = None,
    weights: Annotated[
        str, typer.Option(help='"imagenet", "none" or a .weights.h5 file; wins over the recipe.')
    ] = "",
    unseen: Annotated[
        Path | None,
        typer.Option(help="Photos of other things, to measure how well novelty is told."),
    ] = None,
    folds: Annotated[
        int, typer.Option(help="Only measure: train so many times, each photo tested once.")
    ] = 0,
    quantization_aware: Annotated[
        Path | None,
        typer.Option(help="A finished run to fine-tune for int8, on the same photos and split."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a killed run.")] = False,
) -> None:
    """Train a MobileNet classifier from labelled photos.

    The run folder receives report.html, the model, its model card, metrics.json, history.csv,
    split.csv and the recipe. Unreadable photos are named and left out, never changed.
    """
    from sightpost_edge.config import load

    from .recipe import TrainRecipe

    chosen = load(TrainRecipe, recipe) if recipe else TrainRecipe()
    if weights:
        chosen = dataclasses.replace(chosen, weights=weights)
    need_workshop()
    if folds:
        from .crossval import cross_validate, say_folds

        say_folds(cross_validate(photos, out, chosen, count=folds, resume=resume), out)
        return
    if quantization_aware:
        from .requantize import run_quantization_aware

        run_quantization_aware(photos, out, quantization_aware, resume=resume)
        return
    from .training import run_training

    run_training(photos, out, chosen, unseen=unseen, resume=resume)


def demo(
    out: Annotated[Path, typer.Option(help="Where the demo keeps what it makes.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Show the whole chain on a generated production line: no camera, photos or network needed."""
    need_workshop()
    from .demo import run_demo

    run_demo(out)
