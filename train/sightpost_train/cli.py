"""The workshop's training commands; TensorFlow loads only when they run."""

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightpost_edge.errors import ConfigError
from sightpost_edge.extras import need_workshop

if TYPE_CHECKING:
    from .recipe import TrainRecipe


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
    json: Annotated[bool, typer.Option("--json", help="The result as one JSON object.")] = False,
) -> None:
    """Train a MobileNet classifier from labelled photos.

    The run folder receives report.html, the model, its model card, metrics.json, history.csv,
    split.csv and the recipe. Unreadable photos are named and left out, never changed.
    """
    _refuse_together(
        {"--quantization-aware": quantization_aware, "--folds": folds, "--unseen": unseen},
        {"--quantization-aware": quantization_aware, "--recipe": recipe},
        {"--quantization-aware": quantization_aware, "--weights": weights},
    )
    chosen = _recipe(recipe, weights)
    need_workshop()
    # With --json stdout holds the object and nothing else.
    with contextlib.redirect_stdout(sys.stderr if json else sys.stdout):
        result = _train(photos, out, chosen, unseen, folds, quantization_aware, resume)
    if json:
        typer.echo(result.read_text(encoding="utf-8"), nl=False)


def _recipe(path: Path | None, weights: str) -> "TrainRecipe":
    from sightpost_edge.config import load

    from .recipe import TrainRecipe

    recipe = load(TrainRecipe, path) if path else TrainRecipe()
    file = weights or recipe.weights
    if file not in ("imagenet", "none"):
        # So that the run's own recipe.toml works from any folder.
        file = str(Path(file).absolute())
    return dataclasses.replace(recipe, weights=file)


def _train(
    photos: Path, out: Path, recipe: "TrainRecipe", unseen: Path | None, folds: int,
    quantization_aware: Path | None, resume: bool,
) -> Path:  # fmt: skip
    """Do what the options ask for; the file that holds the result."""
    if folds:
        from .crossval import FINISHED as RESULT
        from .crossval import cross_validate, say_folds

        say_folds(cross_validate(photos, out, recipe, count=folds, resume=resume), out)
        return out / RESULT
    from .training import FINISHED, run_training

    if quantization_aware:
        from .requantize import run_quantization_aware

        run_quantization_aware(photos, out, quantization_aware, resume=resume)
    else:
        run_training(photos, out, recipe, unseen=unseen, resume=resume)
    return out / FINISHED


def _refuse_together(*sets: dict[str, object]) -> None:
    """Options of which only one of a set makes sense."""
    for options in sets:
        given = [name for name, value in options.items() if value]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} do not go together", hint="give one of them")


def demo(
    out: Annotated[Path, typer.Option(help="Where the demo keeps what it makes.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Show the whole chain on a generated production line: no camera, photos or network needed."""
    need_workshop()
    from .demo import run_demo

    run_demo(out)
