"""What a measurement found, as records and as one line of JSON that another machine can read."""

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import UnionType
from typing import Any, TypeVar, get_args

from .errors import ReportUnreadable
from .machine import Machine

FORMAT = 2
"""Rises with every change of a field, so that two releases never misunderstand each other."""

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one invoke takes with so many threads, pixels set before the clock starts."""

    threads: int
    median_ms: float
    p95_ms: float
    runs: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One model on one machine.

    ``peak_mb``: resident memory that loading and running it added to a fresh process, at its peak,
    one thread. ``partitions``: nodes that XNNPACK took over, 0 where none was; ``nodes``:
    operations left outside of them. ``failure`` says why figures are missing.
    """

    name: str
    size_bytes: int
    timings: tuple[Timing, ...] = ()
    peak_mb: float = 0.0
    partitions: int = 0
    nodes: int = 0
    input_type: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Loop:
    """How one model kept up with one source: the whole way from camera to decision.

    ``latency``: from the moment a picture was taken to its scores. ``classify``: decoding, cutting,
    scaling and the model. ``cpu_ms``: of all threads of the process, per decision. ``dropped``:
    pictures that a newer one replaced. ``peak_mb``: resident memory of the process, at its peak.
    ``failure`` says why figures are missing.
    """

    model: str
    source: str
    threads: int = 0
    decisions: int = 0
    per_second: float = 0.0
    latency_median_ms: float = 0.0
    latency_p95_ms: float = 0.0
    classify_median_ms: float = 0.0
    cpu_ms: float = 0.0
    dropped: int = 0
    peak_mb: float = 0.0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class BenchReport:
    """One machine and what every model did on it."""

    machine: Machine
    models: tuple[Measured, ...]
    loops: tuple[Loop, ...] = ()


def as_json(machine: Machine, models: Iterable[Measured], loops: Iterable[Loop] = ()) -> str:
    """One line of JSON; ``from_json`` reads it."""
    report = {
        "format": FORMAT,
        "machine": dataclasses.asdict(machine),
        "models": [dataclasses.asdict(row) for row in models],
        "loops": [dataclasses.asdict(row) for row in loops],
    }
    return json.dumps(report, ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> BenchReport:
    """Read what ``as_json`` wrote, field by field.

    Raises:
        ReportUnreadable: damaged, or written by another release.
    """
    try:
        raw = json.loads(text)
    except ValueError as exc:
        raise ReportUnreadable(f"the measurement is not JSON ({exc})") from exc
    form = raw.get("format") if isinstance(raw, dict) else None
    if form != FORMAT:
        raise ReportUnreadable(
            f"the measurement has format {form!r}, this release reads {FORMAT}",
            hint="install the same release of sightpost on both machines",
        )
    _check_keys(raw, {"format", "machine", "models", "loops"}, "the measurement")
    machine = _record(Machine, raw["machine"], "machine")
    models = _list(raw["models"], "models")
    loops = _list(raw["loops"], "loops")
    return BenchReport(
        machine,
        tuple(_measured(row, f"models[{i}]") for i, row in enumerate(models)),
        tuple(_record(Loop, row, f"loops[{i}]") for i, row in enumerate(loops)),
    )


def _measured(raw: Any, where: str) -> Measured:
    row = _record(Measured, raw, where)
    timings = enumerate(_list(row.timings, f"{where}.timings"))
    read = tuple(_record(Timing, raw, f"{where}.timings[{i}]") for i, raw in timings)
    return dataclasses.replace(row, timings=read)


def _record(kind: type[Record], raw: Any, where: str) -> Record:
    if not isinstance(raw, dict):
        raise ReportUnreadable(f"{where} is not an object")
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    _check_keys(raw, {field.name for field in fields}, where)
    for field in fields:
        if field.name != "timings":
            _check_value(raw[field.name], field.type, f"{where}.{field.name}")
    return kind(**raw)


def _list(raw: Any, where: str) -> list[Any]:
    if not isinstance(raw, list):
        raise ReportUnreadable(f"{where} is not a list")
    return raw


def _check_keys(raw: dict[str, Any], names: set[str], where: str) -> None:
    if missing := sorted(names - raw.keys()):
        raise ReportUnreadable(f"{where} lacks {', '.join(missing)}")
    if unknown := sorted(raw.keys() - names):
        raise ReportUnreadable(f"{where} has unknown fields: {', '.join(unknown)}")


def _check_value(value: Any, kind: Any, where: str) -> None:
    """A number may be whole where a fraction is expected; nothing else is forgiven."""
    kinds: tuple[Any, ...] = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if float in kinds:
        kinds = (*kinds, int)
    good = isinstance(value, kinds) and not isinstance(value, bool)
    if isinstance(value, (int, float)):
        good = good and math.isfinite(value) and (value >= 0 or where.endswith("_c"))
    if not good:
        raise ReportUnreadable(f"{where} is {value!r}")
