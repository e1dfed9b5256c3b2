"""A process that does all a store can do, as fast as it can, and says what it was promised.

    python store_worker.py FOLDER ACKS '{"events": 60, "seed": 1}'

Each promise is a line of JSON in the file ACKS, written after it was given; ``store_promises``
checks them after a fault. Kept apart from the tests: it is killed, or its writes are recorded.
"""

import itertools
import json
import os
import random
import stat
import sys
import time
import zlib
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sightpost_edge import clock
from sightpost_edge.avi import avi
from sightpost_edge.durable import make_folder, write_file
from sightpost_edge.image import JpegImage
from sightpost_edge.records import Event, Frame, Health, Moment
from sightpost_edge.store import EventStore, Keeper, database, keeper
from sightpost_edge.store.ballast import Space
from sightpost_edge.store.housekeeping import Housekeeping
from sightpost_edge.store.outbox import UPLINK, acknowledged, read_outbox, store_id
from sightpost_edge.store.pending import Later, PendingClip, PendingSample, Picture
from sightpost_edge.store.quota import Quota, StorageSettings
from sightpost_edge.store.requests import Mark, ask
from sightpost_edge.store.rows import StoredEvent, StoredHealth

LABELS = ("deer", "fox", "badger", "nothing")
WIDTH, HEIGHT = 96, 72
BURSTS = (1, 1, 1, 2, 5, 12)


@dataclass(frozen=True, slots=True)
class Work:
    """What to do.

    ``events``: how many, 0: until it is killed; ``pages``: of the log until it is checkpointed
    (SQLite's own 1000 would need 300 events); ``reopen_every``: so many events the store is closed
    and opened again; ``sync``: what Python syncs: "all", "folders" or "files"; ``disk_mb``:
    what the store may fill but for a twentieth, 0: 4 MB, which is more than it needs.
    """

    events: int = 40
    seed: int = 1
    pages: int = 12
    reopen_every: int = 15
    synchronous: str = "FULL"
    sync: str = "all"
    disk_mb: float = 0.0


class Worker:
    """One store folder, and where its promises go."""

    def __init__(self, folder: Path, acks: str, work: Work) -> None:
        self._folder, self._work = folder, work
        self._acks = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._rng = random.Random(work.seed)
        self._pictures = pictures(work.seed)
        self._seconds = itertools.count(step=10)
        self._put: deque[int] = deque()
        """A 0 for each event and fault that is not known to be durable."""
        self._films: deque[int] = deque()
        """The events whose clips were put and are not known to be durable."""
        self._to_show: list[int] = []
        self._told = 0
        self._synchronized = False

    def run(self) -> None:
        """Open, write, close, again."""
        self._promise(started=True)
        done = 0
        while not self._work.events or done < self._work.events:
            with self._open() as kept_by:
                until = done + self._work.reopen_every
                while done < until:
                    done += self._burst(kept_by)
                    self._now_and_then(kept_by)
            kept_by.deliver()
            self._promise_clips(kept_by)
            self._put.clear()

    def _open(self) -> Keeper:
        """As ``sightpost run`` does with an uplink; housekeeping is due at every turn."""
        self._synchronized = self._rng.random() < 0.5
        store = EventStore(
            self._folder, source="camera", model="m", model_digest="abc", live=True, outbox=True,
            read_clock=self._read_clock,
        )  # fmt: skip
        self._told = acknowledged(self._folder, store.connection)
        parts = housekeeping(store, disk_mb=self._work.disk_mb, clock_s=lambda: next(self._seconds))
        store.connection.execute(f"PRAGMA wal_autocheckpoint = {self._work.pages}")
        return Keeper(store, on_kept=self._kept, patient=True, housekeeping=parts)

    def _read_clock(self) -> clock.Reading:
        now = clock.read()
        quality = "synchronized" if self._synchronized else "unsynchronized"
        return clock.Reading(now.wall_ms, now.monotonic_ns, quality, now.boot_id)

    def _burst(self, kept_by: Keeper) -> int:
        count = self._rng.choice(BURSTS)
        for _ in range(count):
            self._put.append(0)
            kept_by.put(self._event())
        if self._rng.random() < 0.7:
            while 0 in self._put:
                time.sleep(0.0005)
                kept_by.deliver()
        return count

    def _now_and_then(self, kept_by: Keeper) -> None:
        """Whatever else a station does, in no order."""
        self._promise_clips(kept_by)
        while self._to_show:
            self._films.append(seq := self._to_show.pop())
            kept_by.put_pending(self._clip(seq))
        if self._rng.random() < 0.1:
            self._put.append(0)
            kept_by.put_health(Health("frozen", False, "9 s", datetime.now(UTC), 5))
        if self._rng.random() < 0.1:
            kept_by.put_pending(self._sample())
        if self._rng.random() < 0.2:
            self._tell()
        if self._rng.random() < 0.05:
            self._synchronized = True

    def _kept(self, kept: StoredEvent | StoredHealth) -> None:
        """Acknowledge; some get a clip later, some are marked."""
        self._put.popleft()
        if isinstance(kept, StoredHealth):
            self._promise(health=kept.seq)
            return
        what = {"label": kept.label, "score": kept.score, "snapshot": kept.snapshot}
        with suppress(FileNotFoundError):  # given up already, for want of room
            what["crc"] = zlib.crc32((self._folder / kept.snapshot).read_bytes())
        self._promise(event=kept.seq, **what)
        if self._rng.random() < 0.2:
            self._to_show.append(kept.seq)
        if self._rng.random() < 0.1:
            ask(self._folder, Mark((kept.seq,)))
            self._promise(mark=kept.seq)

    def _promise_clips(self, kept_by: Keeper) -> None:
        """Nothing waits any more: all are durable."""
        while self._films and not kept_by.backlog:
            self._promise(clip=self._films.popleft())

    def _tell(self) -> None:
        """Be an uplink: the promise says what is told from now on, whether that is kept or not."""
        parcels = read_outbox(self._folder, after=self._told, limit=20)
        if not parcels:
            return
        self._told = parcels[-1].id
        self._promise(told=[one.event.seq for one in parcels if one.event is not None])
        make_folder(self._folder / UPLINK)
        cursor = {"store": store_id(self._folder), "acked": self._told}
        write_file(self._folder / UPLINK / "mqtt.json", json.dumps(cursor).encode())
        self._promise(cursor=self._told)

    def _promise(self, **what: Any) -> None:
        os.write(self._acks, json.dumps(what).encode() + b"\n")

    def _event(self) -> Event:
        started, ended, peak, decided = (self._frame(index / 2) for index in range(4))
        score = round(self._rng.random(), 6)
        label = self._rng.choice(LABELS)
        story = tuple(
            Moment(at / 2, label, self._rng.random(), "nothing", self._rng.random(), "confirming")
            for at in range(self._rng.choice((2, 20, 200)))
        )
        return Event(label, score, started, ended, peak, decided, 4, "left", trace=story)

    def _frame(self, elapsed_s: float) -> Frame:
        when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=elapsed_s)
        image = JpegImage(self._rng.choice(self._pictures))
        return Frame(0, elapsed_s, when, time.monotonic_ns(), image)

    def _clip(self, seq: int) -> PendingClip:
        shown = self._rng.choices(self._pictures, k=3)
        film = Later(partial(avi, shown, width=WIDTH, height=HEIGHT, fps=5))
        return PendingClip(seq, film)

    def _sample(self) -> PendingSample:
        now = self._read_clock()
        row = {
            "kind": "random", "label": "fox", "score": 0.5, "scores": "{}", "novelty": None,
            "at_ms": now.wall_ms, "monotonic_ns": now.monotonic_ns, "boot_id": now.boot_id,
            "clock_quality": now.quality, "clock_shift_ms": 0, "run": 1, "region": "",
        }  # fmt: skip
        return PendingSample(row, Picture(self._frame(0).image))


def housekeeping(store: EventStore, *, disk_mb: float = 0.0, **given: Any) -> Housekeeping:
    """All of it, on a disk of 4 MB or less: its ballast is written again after every cut."""
    small = Space(total=int((disk_mb or 4.0) * 1e6), free=3_000_000)
    settings = StorageSettings(max_share=1.0)
    room = Quota(store.folder, store.connection, settings, measure=lambda folder: small)
    return Housekeeping(store, room=room, outbox=True, **given)


def pictures(seed: int) -> list[bytes]:
    """JPEGs of one size with more and more noise, 1 to 9 KB: from two sectors to two pages."""
    noise = np.random.default_rng(seed)
    found = []
    for strength in (1, 60, 255):
        pixels = noise.integers(0, strength, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        found.append(cv2.imencode(".jpg", pixels)[1].tobytes())
    return found


def break_rules(work: Work) -> None:
    """For the controls: leave out what durability rests on. Turns come quickly, as many as can."""
    database.SYNCHRONOUS = work.synchronous
    keeper.TICK_S = 0.01
    fsync = os.fsync

    def sync_some(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        if work.sync == ("folders" if is_folder else "files"):
            fsync(handle)

    if work.sync != "all":
        os.fsync = sync_some  # type: ignore[assignment]


def main(arguments: list[str]) -> None:
    """See the module."""
    folder, acks, options = arguments
    work = Work(**json.loads(options))
    break_rules(work)
    Worker(Path(folder), acks, work).run()


if __name__ == "__main__":
    main(sys.argv[1:])
