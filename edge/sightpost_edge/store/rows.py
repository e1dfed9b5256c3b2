"""What the store gives back: one frozen record for each kind of row."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from ..clock import iso


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event; wall times are ISO 8601 in UTC, order is by ``seq``, never by time.

    ``clock_quality`` says what the wall times are worth: "synchronized"; "unsynchronized", as the
    board had it; "corrected" by ``clock_shift_ms`` when time arrived later; "recording", as the
    file says; "unknown" where nobody could tell. ``run`` is 0 and ``named_by`` "label" for events
    written before these were kept. ``marked``: a person wants it kept.
    """

    seq: int
    label: str
    score: float
    started_at: str
    ended_at: str
    started_s: float
    ended_s: float
    peak_s: float
    decided_s: float
    monotonic_ns: int
    boot_id: str
    clock_quality: str
    frames: int
    frame_name: str
    reason: str
    source: str
    model: str
    model_digest: str
    snapshot: str
    region: str = ""
    named_by: str = "label"
    novelty: float | None = None
    run: int = 0
    clock_shift_ms: int = 0
    clip: str = ""
    marked: bool = False


@dataclass(frozen=True, slots=True)
class StoredHealth:
    """A camera fault that began (``ok`` False) or was over; ``fault`` is one of records.FAULTS."""

    seq: int
    run: int
    at: str
    monotonic_ns: int
    boot_id: str
    clock_quality: str
    fault: str
    ok: bool
    detail: str
    clock_shift_ms: int = 0


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What a run was started with; ``rules`` is JSON, the decision rules in force.

    ``ended_at`` is when it was last known to be alive, "" where that was not kept.
    """

    run: int
    started_at: str
    source: str
    model: str
    model_path: str
    model_digest: str
    rules: str
    ended_at: str = ""
    boot_id: str = ""
    clock_quality: str = "unknown"


def event_of(row: Mapping[str, Any]) -> StoredEvent:
    """A row of ``events`` as its record, whatever release wrote it."""
    return _record(StoredEvent, {**row, "marked": bool(row.get("marked", 0))})


def health_of(row: Mapping[str, Any]) -> StoredHealth:
    """A row of ``health`` as its record."""
    return _record(StoredHealth, {**row, "ok": bool(row["ok"])})


def run_of(row: Mapping[str, Any]) -> StoredRun:
    """A row of ``runs`` as its record."""
    return _record(StoredRun, row)


Record = TypeVar("Record", StoredEvent, StoredHealth, StoredRun)

_NAMES = {
    cls: frozenset(field.name for field in fields(cls))
    for cls in (StoredEvent, StoredHealth, StoredRun)
}
_TIMES = {"started_ms": "started_at", "ended_ms": "ended_at", "at_ms": "at"}


def columns_of(record: type, there: Set[str]) -> list[str]:
    """The columns, of those there are, that make such a record."""
    wanted = [field.name for field in fields(record)]
    return [name for name in there if name in wanted or _TIMES.get(name) in wanted]


def _record(cls: type[Record], row: Mapping[str, Any]) -> Record:
    """What the record lacks is left out; what the row lacks has its default."""
    names = _NAMES[cls]
    values = {name: value for name, value in row.items() if name in names}
    for name, text in _TIMES.items():
        if text in names and row.get(name) is not None:
            values[text] = iso(row[name])
    return cls(**values)
