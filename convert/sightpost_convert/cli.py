"""The workshop's conversion command; TensorFlow loads only when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from sightpost_edge.extras import need_workshop


def convert(
    run: Annotated[Path, typer.Argument(help="A run folder that sightpost train made.")],
    out: Annotated[Path, typer.Option(help="The Bundle to write, for example model.tflite.")],
    name: Annotated[str, typer.Option(help="The model's name; default: the photo folder's.")] = "",
) -> None:
    """Quantize a trained run, judge every candidate on held-out photos, seal the best one.

    Exit code 8 when no candidate keeps the accuracy that training measured.
    """
    need_workshop()
    from .conversion import run_conversion

    bundle, _ = run_conversion(run, out, name=name)
    print(f"{out}: {bundle.path.stat().st_size / 1024:.0f} KiB, sha256 {bundle.digest}")
