"""Samples in the store: which ones go when their budget is spent, and how a person gets them."""

import csv
import hashlib
import json
import re
import shutil
import sqlite3
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .clock import Reading, iso, to_ms
from .errors import writing_to
from .sampling import KINDS, Sample
from .store.pending import RECORDING, PendingSample, Picture
from .store.reading import columns, connected

LISTING = "samples.csv"


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A sample as it was kept; ``file`` is its picture's path below the store.

    ``scores`` are the best labels with theirs; the clock's fields are a StoredEvent's.
    """

    id: int
    kind: str
    label: str
    score: float
    scores: dict[str, float]
    novelty: float | None
    at: str
    monotonic_ns: int
    boot_id: str
    clock_quality: str
    clock_shift_ms: int
    run: int
    region: str
    file: str
    bytes: int
    model_digest: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What the budget needs to know of a sample."""

    id: int
    kind: str
    label: str
    file: str
    bytes: int


def pending_sample(sample: Sample, reading: Reading, run: int, *, live: bool) -> PendingSample:
    """A Sample as the store's writer takes it; its picture is encoded there."""
    frame = sample.frame
    row = {
        "kind": sample.kind,
        "label": sample.label,
        "score": round(sample.score, 6),
        "scores": json.dumps(sample.scores, ensure_ascii=False),
        "novelty": sample.novelty,
        "at_ms": reading.wall_of(frame.monotonic_ns) if live else to_ms(frame.captured_at),
        "monotonic_ns": frame.monotonic_ns,
        "boot_id": reading.boot_id,
        "clock_quality": reading.quality if live else RECORDING,
        "clock_shift_ms": 0,
        "run": run,
        "region": sample.region.name,
    }
    return PendingSample(row, Picture(sample.image()))


# The budget


def over_budget(connection: sqlite3.Connection, most_bytes: int) -> list[Kept]:
    """The samples to be deleted so that all others fit; see ``to_delete``."""
    (total,) = connection.execute("SELECT COALESCE(SUM(bytes), 0) FROM samples").fetchone()
    if total <= most_bytes:
        return []
    rows = connection.execute("SELECT id, kind, label, file, bytes FROM samples ORDER BY id")
    return to_delete([Kept(*row) for row in rows], most_bytes)


def to_delete(kept: Iterable[Kept], most_bytes: int) -> list[Kept]:
    """What goes, of samples given oldest first, so that kinds and labels stay in balance.

    Always one of the most numerous kind. Of the uncertain and the novel it is the oldest of the
    most numerous label. Random ones must stay random: each has a lot, drawn from its file's name,
    and the highest lot goes. What remains are the lowest lots of all that ever were, an even
    choice over the whole time; deleting by age or label would not be one.
    """
    queues: dict[str, dict[str, deque[Kept]]] = {kind: {} for kind in KINDS}
    for one in kept:
        label = "" if one.kind == "random" else one.label
        queues.setdefault(one.kind, {}).setdefault(label, deque()).append(one)
    for drawn in queues["random"].values():
        queues["random"][""] = deque(sorted(drawn, key=_lot, reverse=True))
    counts = {kind: sum(map(len, labels.values())) for kind, labels in queues.items()}
    left = sum(
        one.bytes for labels in queues.values() for queue in labels.values() for one in queue
    )
    gone: list[Kept] = []
    while left > most_bytes and any(counts.values()):
        kind = max(counts, key=lambda kind: counts[kind])
        one = max(queues[kind].values(), key=len).popleft()
        counts[kind] -= 1
        left -= one.bytes
        gone.append(one)
    return gone


def _lot(one: Kept) -> bytes:
    return hashlib.blake2b(one.file.encode(), digest_size=8).digest()


# A person


def read_samples(folder: Path, *, kind: str = "", label: str = "") -> list[StoredSample]:
    """The samples of a store, oldest first; none in a store that knows of no such thing.

    Raises:
        StoreError: there is no store, or it may not be read.
    """
    wanted = {"kind": kind, "label": label}
    given = {name: value for name, value in wanted.items() if value}
    query = "SELECT samples.*, COALESCE(model_digest, '') AS model_digest FROM samples"
    query += " LEFT JOIN runs USING (run)"
    query += " WHERE " + " AND ".join(f"samples.{name} = ?" for name in given) if given else ""
    with connected(folder) as connection:
        if not columns(connection, "samples"):
            return []
        connection.row_factory = sqlite3.Row
        rows = connection.execute(f"{query} ORDER BY id", list(given.values())).fetchall()
    return [_stored(dict(row)) for row in rows]


def _stored(row: dict[str, Any]) -> StoredSample:
    at, scores = iso(row.pop("at_ms")), json.loads(row.pop("scores"))
    return StoredSample(**row, at=at, scores=scores)


@dataclass(frozen=True, slots=True)
class Copied:
    """How many pictures were copied, were there already, and are gone from the store."""

    new: int
    there: int
    gone: int


def copy_samples(store: Path, samples: Sequence[StoredSample], to: Path) -> Copied:
    """Copy pictures as ``to/<label>/<name>.jpg``, with ``samples.csv``, to be put right by moving.

    A picture that is anywhere below ``to`` already stays where somebody moved it.

    Raises:
        DiskFull, StoreError: ``to`` cannot be written.
    """
    with writing_to(to):
        to.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in to.rglob("*.jpg")}
        rows = _listed(to / LISTING)
        new = gone = 0
        for one in samples:
            name = Path(one.file).name
            place = f"{folder_name(one.label)}/{name}"
            if name not in there:
                (to / place).parent.mkdir(exist_ok=True)
                try:
                    shutil.copyfile(store / one.file, to / place)
                except FileNotFoundError:  # the run spent its budget meanwhile
                    gone += 1
                    continue
                new += 1
            rows[name] = _row(one, place)
        _write_listing(to / LISTING, rows.values())
    return Copied(new, len(samples) - new - gone, gone)


def folder_name(label: str) -> str:
    """A label as a folder: no separators, not hidden, no ``|``, which manifests split at."""
    return re.sub(r"^\.|[/\\|\0]", "_", label) or "_"


_COLUMNS = (
    "file", "kind", "label", "score", "scores", "novelty", "time", "clock_quality", "region",
    "model_digest",
)  # fmt: skip


def _row(one: StoredSample, place: str) -> dict[str, Any]:
    row = {**asdict(one), "file": place, "time": one.at}
    row["scores"] = json.dumps(one.scores, ensure_ascii=False)
    return {name: row[name] for name in _COLUMNS}


def _listed(path: Path) -> dict[str, dict[str, Any]]:
    """What earlier copies said, by the picture's name: the store may have let it go."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {Path(row["file"]).name: row for row in csv.DictReader(file) if row.get("file")}


def _write_listing(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
