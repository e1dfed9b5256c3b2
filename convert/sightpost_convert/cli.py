"""The workshop's conversion command; TensorFlow loads only when it runs."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightpost_edge.commands.common import read_labels
from sightpost_edge.errors import ConfigError
from sightpost_edge.extras import need_workshop

if TYPE_CHECKING:
    from .case import Case

MB = 1024 * 1024


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder of sightpost train, or a .tflite.")
    ],
    out: Annotated[Path, typer.Option(help="The Bundle to write, for example model.tflite.")],
    name: Annotated[str, typer.Option(help="The model's name; default: the photo folder's.")] = "",
    max_drop: Annotated[
        float, typer.Option(help="Accuracy that may be lost against training.", min=0, max=1)
    ] = 0.01,
    max_class_drop: Annotated[
        float, typer.Option(help="Recall of any class that may be lost.", min=0, max=1)
    ] = 0.03,
    max_size: Annotated[float | None, typer.Option(help="Size of the model in MiB.", min=0)] = None,
    max_latency_ms: Annotated[
        float | None,
        typer.Option(help="95th percentile with the best number of threads, on the target.", min=0),
    ] = None,
    target: Annotated[
        str,
        typer.Option(help="this-machine, pi-zero2, pi4, pi5, or user@host: measured there by ssh."),
    ] = "this-machine",
    labels: Annotated[
        Path | None, typer.Option(help="Label file of a .tflite, one name per line.")
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of class folders to judge a .tflite with.")
    ] = None,
    display: Annotated[
        list[str] | None,
        typer.Option(help="Labels in another language, LOCALE=FILE, for example de=namen.txt."),
    ] = None,
    sign: Annotated[
        Path | None, typer.Option(help="Secret key of sightpost keys: writes OUT.minisig.")
    ] = None,
    version: Annotated[
        str, typer.Option(help="Version in the signature, 1.2; default: the time, 2026.11.21.2105.")
    ] = "",
    expires: Annotated[str, typer.Option(help="Last day of the signature, 2027-12-31.")] = "",
    no_examples: Annotated[
        bool,
        typer.Option(
            "--no-examples",
            help="Leave out the names of training photos that `why` shows: maybe personal data.",
        ),
    ] = False,
) -> None:
    """Quantize a model in every sensible way, judge each on held-out photos, seal the best one.

    The fastest candidate within budget is chosen. court.json and court.png, with every figure, go
    into the run folder, or beside OUT. Exit code 8 when no candidate is within budget.
    """
    need_workshop()
    # A polite kill ends the child process and removes the scratch folders, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    from .conversion import Wishes, convert_case
    from .verdict import Budget

    limit = None if max_size is None else round(max_size * MB)
    budget = Budget(max_drop, max_class_drop, limit, max_latency_ms)
    wishes = Wishes(
        budget, target, name, _localized(display or []), sign, version, expires,
        examples=not no_examples,
    )  # fmt: skip
    with _case(source, labels, photos) as (case, evidence):
        bundle, _ = convert_case(case, out, evidence or out.parent, wishes)
    print(f"{out}: {bundle.path.stat().st_size / 1024:.0f} KiB, sha256 {bundle.digest}")


@contextmanager
def _case(
    source: Path, labels: Path | None, photos: Path | None
) -> Iterator[tuple["Case", Path | None]]:
    """The case, and the run folder where there is one."""
    if source.is_file() or (source.suffix == ".tflite" and not source.is_dir()):
        from .imported import case_of_model

        if photos is None:
            raise ConfigError(
                f"{source} is a model: --photos FOLDER must say what to judge it with",
                hint="one folder for each label, 10 photos or more",
            )
        yield case_of_model(source, tuple(read_labels(labels)) if labels else None, photos), None
        return
    if labels or photos:
        raise ConfigError("--labels and --photos go with a .tflite: a run brings its own")
    from .from_run import case_of_run

    with case_of_run(source) as case:
        yield case, source


def _localized(given: list[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for item in given:
        locale, separator, file = item.partition("=")
        if not separator or not locale.replace("-", "").isalnum():
            raise ConfigError(f"--display {item!r}: LOCALE=FILE, for example de=namen.txt")
        found[locale] = tuple(read_labels(Path(file)))
    return found
