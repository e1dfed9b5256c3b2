"""The workshop's training commands; TensorFlow loads only when they run."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from sightpost_edge.extras import need_workshop


def train(
    photos: Annotated[Path, typer.Argument(help="A folder with one sub-folder per class.")],
    out: Annotated[Path, typer.Option(help="Where the run is kept; a new folder.")],
    recipe: Annotated[Path | None, typer.Option(help="A recipe, as in configs/.")] = None,
    weights: Annotated[
        str, typer.Option(help='"imagenet", "none" or a .weights.h5 file; wins over the recipe.')
    ] = "",
) -> None:
    """Train a MobileNet classifier from labelled photos.

    The run folder receives the model, metrics.json, history.csv, curves.png, confusion.png,
    split.csv and the recipe. Unreadable photos are named and left out, never changed.
    """
    from sightpost_edge.config import load

    from .recipe import TrainRecipe

    chosen = load(TrainRecipe, recipe) if recipe else TrainRecipe()
    if weights:
        chosen = dataclasses.replace(chosen, weights=weights)
    need_workshop()
    from .training import run_training

    run_training(photos, out, chosen)


def demo(
    out: Annotated[Path, typer.Option(help="Where the demo keeps what it makes.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Show the whole chain on a generated production line: no camera, photos or network needed."""
    need_workshop()
    from .demo import run_demo

    run_demo(out)
