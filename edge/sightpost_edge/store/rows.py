"""What the store gives back: one frozen record for each kind of row."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event; wall times are ISO 8601 in UTC, order is by ``seq``, never by time.

    ``run`` is 0 and ``named_by`` "label" for events written before these were kept.
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


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What a run was started with; ``rules`` is JSON, the decision rules in force."""

    run: int
    started_at: str
    source: str
    model: str
    model_path: str
    model_digest: str
    rules: str
