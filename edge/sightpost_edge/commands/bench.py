"""``sightpost bench``: how long models take and how much memory they need, on this machine."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, ModelError, SightpostError, looking_at
from ..native import one_blas_thread

if TYPE_CHECKING:
    from ..bench_report import Loop, Measured
    from ..bundle import Bundle
    from .progress import Line

MOST_THREADS = 64


def bench(
    models: Annotated[
        list[Path], typer.Argument(help="Bundles, .tflite files, and folders of them.")
    ],
    threads: Annotated[
        str, typer.Option(help="Numbers of threads, for example 1,2,4; default: up to the cores.")
    ] = "",
    seconds: Annotated[
        float, typer.Option(help="For each number of threads, shared by all models.", min=0.0)
    ] = 5.0,
    source: Annotated[
        str, typer.Option(help="A camera or recording: measure the whole loop on it as well.")
    ] = "",
    labels: Annotated[
        Path | None, typer.Option(help="Label file for --source, of files that are no Bundles.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="All of it as one JSON line.")] = False,
) -> None:
    """Measure models against each other: time of one invoke, peak memory, what XNNPACK takes over.

    With --source also the loop of `run` from camera to decision, model by model. A model that
    cannot be run is a row with the reason; exit code 4 where none can.
    """
    one_blas_thread()  # as in ``run``
    from ..bench import as_json, default_threads, measure, this_machine
    from .progress import Line

    files, counts = find_models(models), parse_threads(threads) or default_threads()
    uri = _tried(source) if source else ""
    line = Line()
    try:
        rows = measure(files, threads=counts, seconds=seconds, progress=line.show)
        runs = [files[row.name] for row in rows if not row.failure]
        loops = [_loop(file, labels, source, uri, seconds, line) for file in runs if source]
    finally:
        line.close()
    machine = this_machine()
    if json:
        print(as_json(machine, rows, loops))
    else:
        print(f"sightpost: {machine}", file=sys.stderr)
        _print(rows, counts)
        if loops:
            _print_loops(loops)
    for warning in machine.warnings():
        print(f"sightpost: {warning}", file=sys.stderr)
    if all(row.failure for row in rows):
        raise ModelError(f"none of {len(rows)} models runs here: {rows[0].failure}")


def parse_threads(text: str) -> tuple[int, ...]:
    """ "1,2,4" as numbers, each once; nothing for an empty text.

    Raises:
        ConfigError: something else stands there.
    """
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    for word in words:
        if not (word.isascii() and word.isdigit() and 1 <= int(word) <= MOST_THREADS):
            raise ConfigError(
                f"--threads takes whole numbers from 1 to {MOST_THREADS}, not {word!r}",
                hint="for example --threads 1,2,4",
            )
    return tuple(dict.fromkeys(int(word) for word in words))


def find_models(paths: Sequence[Path]) -> Mapping[str, Path]:
    """Model files by the name they get in the table: the file's own, or its path where two agree.

    Raises:
        ModelError: nothing is there.
    """
    files: list[Path] = []
    for path in paths:
        with looking_at(path, ModelError):
            found = sorted(path.glob("*.tflite")) if path.is_dir() else [path]
            is_file = bool(found) and found[0].is_file()
        if not found:
            raise ModelError(f"no .tflite files in {path}")
        if not is_file:
            raise ModelError(f"no model at {path}", hint="sightpost convert makes one from a run")
        files.extend(found)
    files = list(dict.fromkeys(files))
    names = [file.name for file in files]
    return {f.name if names.count(f.name) == 1 else str(f): f for f in files}


def _print(rows: Sequence["Measured"], counts: Sequence[int]) -> None:
    from .common import print_table

    heading = ["model", "KiB", "input", "XNNPACK", "peak MB"]
    heading += [f"{n} thread{'s' * (n > 1)}: median / p95 ms" for n in counts]
    failed = any(row.failure for row in rows)
    table = [_cells(row, counts) + [row.failure] * failed for row in rows]
    print_table(table, heading + ["failure"] * failed)


def _cells(row: "Measured", counts: Sequence[int]) -> list[str]:
    times = {t.threads: f"{t.median_ms:.2f} / {t.p95_ms:.2f}" for t in row.timings}
    known = bool(row.input_type)
    return [
        row.name,
        f"{row.size_bytes / 1024:.0f}",
        row.input_type or "-",
        _delegated(row) if known else "-",
        f"{row.peak_mb:.1f}" if known else "-",
        *(times.get(n, "-") for n in counts),
    ]


def _tried(source: str) -> str:
    """What it is called without passwords; one that cannot be opened is refused before the work."""
    from ..sources import open_source

    with closing(open_source(source)) as opened:
        return opened.uri


def _loop(
    file: Path, labels: Path | None, source: str, uri: str, seconds: float, line: "Line"
) -> "Loop":
    """Every model gets the source to itself, opened anew; one that fails leaves the others."""
    from ..bench_loop import measure_loop
    from ..bench_report import Loop
    from ..classifier import BundleClassifier
    from ..sources import open_source

    try:
        classifier = BundleClassifier(_open(file, labels))
        with closing(open_source(source)) as opened:
            return measure_loop(classifier, opened, seconds=seconds, progress=line.show)
    except SightpostError as exc:
        return Loop(file.stem, uri, failure=str(exc))


def _open(file: Path, labels: Path | None) -> "Bundle":
    """A Bundle has its own labels; ``labels`` are for the other files among the models."""
    from ..errors import NotABundle
    from .common import open_bundle

    try:
        return open_bundle(file, None, threads=0)
    except NotABundle:
        if labels is None:
            raise
        return open_bundle(file, labels, threads=0)


def _print_loops(loops: Sequence["Loop"]) -> None:
    from .common import print_table

    print()
    heading = ["model", "threads", "decisions/s", "camera to decision: median / p95 ms",
               "decode to scores ms", "CPU ms each", "dropped", "peak MB"]  # fmt: skip
    failed = any(row.failure for row in loops)
    table = [_loop_cells(row) + [row.failure] * failed for row in loops]
    print_table(table, heading + ["failure"] * failed)


def _loop_cells(row: "Loop") -> list[str]:
    if row.failure:
        return [row.model, *["-"] * 7]
    return [
        row.model, str(row.threads), f"{row.per_second:.1f}",
        f"{row.latency_median_ms:.1f} / {row.latency_p95_ms:.1f}",
        f"{row.classify_median_ms:.1f}", f"{row.cpu_ms:.1f}", str(row.dropped),
        f"{row.peak_mb:.0f}",
    ]  # fmt: skip


def _delegated(row: "Measured") -> str:
    """ "all" is what a board wants; every further partition costs a change-over."""
    if not row.partitions:
        return "none"
    if row.partitions == 1 and not row.nodes:
        return "all"
    parts = f"{row.partitions} part{'s' * (row.partitions > 1)}"
    return f"{parts} + {row.nodes} ops" if row.nodes else parts
