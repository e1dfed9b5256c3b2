"""What a store must show after any fault: every promise kept, nothing torn, and on it goes.

A promise is what ``store_worker`` wrote down: {"event": 7, "label": "fox", ...}, {"health": 2},
{"clip": 7} and {"mark": 7} (of event 7), {"told": [5, 6]} (an uplink has these from now on, or
nobody waits for them), {"cursor": 9} (it keeps that it has all up to 9 of the outbox).
"""

import logging
import sqlite3
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightpost_edge import clock
from sightpost_edge.errors import SightpostError
from sightpost_edge.pixels import read_photo
from sightpost_edge.records import Event
from sightpost_edge.store import EventStore, Keeper, StoredEvent, read_events, read_health
from sightpost_edge.store.dropping import COUNTERS
from sightpost_edge.store.outbox import acknowledged, read_counters, read_outbox
from sightpost_edge.testing import colour, frame

from .store_worker import housekeeping

Promise = Mapping[str, Any]
_FAILURES = (SightpostError, sqlite3.Error, OSError, AssertionError)


def boot(folder: Path, promises: Sequence[Promise]) -> tuple[list[str], float]:
    """Do what a device does after the fault: open the store, tidy up, write one more event.

    Returns:
        What is wrong, one line for each thing; seconds until the store was open.
    """
    start = time.perf_counter()
    try:
        logging.disable()  # damage is told by the caller
        store = EventStore(
            folder, source="camera", model="m", model_digest="abc", live=True, outbox=True,
            read_clock=lambda: replace(clock.read(), boot_id="the next"),
        )  # fmt: skip
        took_s = time.perf_counter() - start
        used = {one.seq for one in read_events(folder)} | set(_given(promises, "event"))
        with Keeper(store, housekeeping=housekeeping(store)) as keeper:
            shown = frame(colour("red"), elapsed_s=1.0)
            keeper.put(Event("fox", 0.5, shown, shown, shown, shown, 1, "left"))
        (new,) = keeper.collect()
        wrong = [f"number {new.seq} was used again"] if new.seq in used else []
        wrong += broken(folder, [*promises, {"event": new.seq, "label": "fox", "score": 0.5}])
    except _FAILURES as exc:
        return [f"does not go on: {exc!r}"], time.perf_counter() - start
    finally:
        logging.disable(logging.NOTSET)
    return wrong, took_s


def understood(printed: Iterable[Promise]) -> list[Promise]:
    """Also what ``sightpost run --json`` prints, which without an uplink has nothing to tell."""
    found: list[Promise] = []
    for one in printed:
        if "seq" in one:
            names = ("label", "score", "snapshot")
            found += [{"event": one["seq"], **{name: one[name] for name in names}}]
            found += [{"told": [one["seq"]]}]
        else:
            found.append(one)
    return found


def broken(folder: Path, promises: Sequence[Promise]) -> Iterator[str]:
    """One line for each thing that is not as it was promised."""
    for aside in folder.glob("*.damaged-*"):
        yield f"{aside.name} was set aside"
    with closing(sqlite3.connect(folder / "events.db")) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        samples = [row[0] for row in connection.execute("SELECT file FROM samples")]
        acked = acknowledged(folder, connection)
    if verdict != "ok":
        yield f"integrity_check: {verdict}"
    events = {event.seq: event for event in read_events(folder)}
    yield from _rows(folder, events, promises)
    yield from _untold(folder, events, acked, promises)
    pictures = _pictures(folder, promises)
    for name in [*(event.snapshot for event in events.values()), *samples]:
        if name:
            yield from _picture(folder / name, pictures.get(name))
    for event in events.values():
        if event.clip:
            yield from _clip(folder / event.clip)


def _given(promises: Iterable[Promise], kind: str) -> list[Any]:
    return [promise[kind] for promise in promises if kind in promise]


def _rows(
    folder: Path, events: Mapping[int, StoredEvent], promises: Sequence[Promise]
) -> Iterator[str]:
    """A store within a tight quota gives events and pictures up, but counts every one."""
    promised = {one["event"]: one for one in promises if "event" in one}
    if twice := len(_given(promises, "event")) - len(promised):
        yield f"{twice} numbers were given out twice"
    dropped = read_counters(folder)
    here = [seq for seq in promised if seq in events]
    clips = [seq for seq in _given(promises, "clip") if seq in events]
    snapshots = [seq for seq in here if promised[seq].get("snapshot")]
    yield from _beyond(dropped.get(COUNTERS["events"], 0), "event", set(promised) - events.keys())
    yield from _beyond(
        dropped.get(COUNTERS["pictures"], 0), "the picture of event",
        [seq for seq in snapshots if not events[seq].snapshot],
    )  # fmt: skip
    yield from _beyond(
        dropped.get(COUNTERS["clips"], 0), "the clip of event",
        [seq for seq in clips if not events[seq].clip],
    )  # fmt: skip
    for seq in here:
        yield from _same(events[seq], promised[seq])
    health = {row.seq for row in read_health(folder)}
    yield from (f"health {seq} is lost" for seq in _given(promises, "health") if seq not in health)
    for seq in _given(promises, "mark"):
        if seq in events and not events[seq].marked:
            yield f"the mark of event {seq} is lost"


def _beyond(counted: int, what: str, missing: Collection[int]) -> Iterator[str]:
    """More is missing than was given up and counted."""
    if len(missing) > counted:
        yield from (f"{what} {seq} is lost" for seq in sorted(missing)[: len(missing) - counted])


def _same(kept: StoredEvent, promise: Promise) -> Iterator[str]:
    for name in ("label", "score", "snapshot"):
        found = getattr(kept, name)
        if name in promise and found and found != promise[name]:
            yield f"event {kept.seq} has another {name}: {found!r}"


def _untold(
    folder: Path, events: Collection[int], acked: int, promises: Sequence[Promise]
) -> Iterator[str]:
    """Nothing leaves the outbox before an uplink has it; numbers there are never used twice."""
    if acked < max(_given(promises, "cursor"), default=0):
        yield f"an uplink's cursor went back to {acked}"
    told = {seq for one in _given(promises, "told") for seq in one}
    parcels = read_outbox(folder, after=0, limit=1 << 30)
    waiting = {one.event.seq for one in parcels if one.event is not None and one.id > acked}
    for seq in _given(promises, "event"):
        if seq in events and seq not in waiting and seq not in told:
            yield f"event {seq} will never be told"


def _pictures(folder: Path, promises: Iterable[Promise]) -> dict[str, int]:
    """The checksums of acknowledged pictures, by name."""
    return {one["snapshot"]: one["crc"] for one in promises if "crc" in one}


def _picture(path: Path, crc: int | None) -> Iterator[str]:
    """Byte by byte where that is known: decoders are patient with a hole in the middle."""
    try:
        encoded = path.read_bytes()
        if crc is None:
            read_photo(path)
    except (OSError, SightpostError) as exc:
        yield f"{path.name} is torn: {type(exc).__name__}"
        return
    if not encoded.endswith(b"\xff\xd9") or crc not in (None, zlib.crc32(encoded)):
        yield f"{path.name} is torn"


def _clip(path: Path) -> Iterator[str]:
    """A RIFF file says how long it is and where each JPEG ends."""
    try:
        encoded = path.read_bytes()
    except OSError as exc:
        yield f"{path.name} is torn: {type(exc).__name__}"
        return
    whole = encoded[:4] == b"RIFF" and int.from_bytes(encoded[4:8], "little") == len(encoded) - 8
    at = encoded.find(b"idx1")
    if not whole or at < 0 or not all(_frames_end(encoded, at)):
        yield f"{path.name} is torn"


def _frames_end(encoded: bytes, index: int) -> Iterator[bool]:
    """Whether each picture that the index names is a whole JPEG."""
    movie = encoded.find(b"movi")
    size = int.from_bytes(encoded[index + 4 : index + 8], "little")
    for at in range(index + 8, index + 8 + size, 16):
        begin = movie + int.from_bytes(encoded[at + 8 : at + 12], "little") + 8
        end = begin + int.from_bytes(encoded[at + 12 : at + 16], "little")
        yield encoded[begin : begin + 2] == b"\xff\xd8" and encoded[end - 2 : end] == b"\xff\xd9"
