"""The writer thread of a running device: what is put is durable soon, whatever the disk does.

The loop never waits for a sync. What is put while one is under way shares the next: a burst of
events costs few. A full disk holds the loop up even less: what cannot be written waits in RAM,
bounded, while room is made; every other failure of the disk ends the run.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable

from ..errors import DiskFull
from ..records import Event, Health
from .events import EventStore
from .housekeeping import Housekeeping
from .outbox import count
from .pending import Pending, PendingEvent
from .rows import StoredEvent, StoredHealth

log = logging.getLogger("sightpost")

TICK_S = 1.0
RETRY_S = 2.0
GROUP = 64
"""So much at most shares one transaction."""
BACKLOG = 64
"""A recording waits when so much is not written yet: it can."""
MOST_WAITING = 2_000
MOST_PICTURE_BYTES = 32 * 1024 * 1024
"""What a live source gives while the disk is full; beyond this pictures are let go, then events."""
LOST_PICTURES, LOST_EVENTS = "pictures lost in RAM", "events lost in RAM"


class Keeper:
    """Takes what a run has to keep and writes it in a thread of its own.

    Args:
        store: used by that thread alone from now on; closed by ``close``.
        on_kept: called by ``deliver`` with each thing that has become durable: what it prints is an
            acknowledgement.
        patient: a full disk is waited out, as a camera's run has to; a recording's ends with it.
        housekeeping: what else the one writer does: quota, clock, outbox, requests.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        on_kept: Callable[[StoredEvent | StoredHealth], object] = lambda kept: None,
        patient: bool = False,
        housekeeping: Housekeeping | None = None,
    ) -> None:
        self.store, self._on_kept, self._patient = store, on_kept, patient
        self._housekeeping = housekeeping or Housekeeping(store)
        self._inbox: queue.SimpleQueue[Pending | threading.Event | None] = queue.SimpleQueue()
        self._kept: queue.SimpleQueue[StoredEvent | StoredHealth] = queue.SimpleQueue()
        self._waiting: deque[Pending] = deque()
        self._flushed: list[threading.Event] = []
        self._room = threading.Semaphore(BACKLOG)
        self._error: BaseException | None = None
        self._lost: dict[str, int] = {}
        self._retry_s = 0.0
        self._group = GROUP
        self._closed = False
        self.full = False
        self.turns = 0
        self._thread = threading.Thread(target=self._work, name="keeper", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """How much is not durable yet."""
        return self._inbox.qsize() + len(self._waiting)

    def put(self, event: Event, *, snapshot: bool = True) -> None:
        """Have an Event kept; ``collect`` gives it back once it is durable."""
        self.put_pending(self.store.pending(event, snapshot=snapshot))

    def put_health(self, health: Health) -> None:
        """Have kept what happened to the camera."""
        self.put_pending(self.store.pending_health(health))

    def put_pending(self, one: Pending) -> None:
        """Have anything kept.

        Raises:
            StoreError: the writer has failed; nothing more will be kept.
        """
        while not self._patient and not self._room.acquire(timeout=TICK_S):
            self._raise()
        self._raise()
        self._inbox.put(one)

    def collect(self) -> list[StoredEvent | StoredHealth]:
        """What has become durable since the last call, in order.

        Raises:
            StoreError: the writer has failed, after all that was durable before was collected.
        """
        found: list[StoredEvent | StoredHealth] = []
        while True:
            try:
                found.append(self._kept.get_nowait())
            except queue.Empty:
                break
        if not found:
            self._raise()
        return found

    def deliver(self) -> None:
        """Pass on what has become durable, in the thread that calls."""
        for kept in self.collect():
            self._on_kept(kept)

    def flush(self) -> None:
        """Wait until all that was put is durable; not while the disk is full, nor for ever."""
        written = threading.Event()
        self._inbox.put(written)
        while not written.wait(0.1) and not self.full and self._thread.is_alive():
            pass

    def close(self) -> None:
        """Write what waits, then close the store; what is durable can still be collected."""
        if self._closed:
            return
        self._closed = True
        self._inbox.put(None)
        self._thread.join()
        self.store.close()

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    # In the writer's thread

    def _work(self) -> None:
        try:
            while self._turn():
                self.turns += 1
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread that asks
            self._error = exc

    def _turn(self) -> bool:
        """Take what has come, write it, do what is due; whether there will be more."""
        going = self._take(TICK_S)
        if going and time.monotonic() < self._retry_s:
            return True
        try:
            self._write()
            self._housekeeping.tick()
            self._found_room()
        except DiskFull as exc:
            self._is_full(exc, last=not going)
            self._retry_s = time.monotonic() + RETRY_S
        return going

    def _take(self, wait_s: float) -> bool:
        try:
            one = self._inbox.get(timeout=wait_s)
            while one is not None:
                if isinstance(one, threading.Event):
                    self._flushed.append(one)
                    return True
                self._waiting.append(one)
                if len(self._waiting) >= GROUP and not self.full:
                    return True
                one = self._inbox.get_nowait()
            return False
        except queue.Empty:
            return True
        finally:
            if self.full:
                self._bound()

    def _write(self) -> None:
        while self._waiting:
            group = [self._waiting[i] for i in range(min(self._group, len(self._waiting)))]
            try:
                written = self.store.write_all(group)
            except DiskFull:
                if len(group) == 1:
                    raise
                self._group = len(group) // 2  # what does not fit at once may fit bit by bit
                continue
            self._group = min(GROUP, 2 * self._group)
            for kept in written:
                self._kept.put(kept)
            for _ in group:
                self._waiting.popleft()
                self._room.release()
        while self._flushed:
            self._flushed.pop().set()

    def _is_full(self, exc: DiskFull, *, last: bool) -> None:
        """Make room; the next turn tries again."""
        if not self.full:
            log.warning("%s; what is seen meanwhile waits in memory", exc)
        self.full = True
        self._bound()
        made = self._housekeeping.make_room(self._waiting[0].size if self._waiting else 0)
        if made and self._again():
            return
        if last or not self._patient:
            raise DiskFull(f"{exc}; {len(self._waiting)} not written", hint=exc.hint) from exc

    def _again(self) -> bool:
        try:
            self._write()
        except DiskFull:
            return False
        self._found_room()
        return True

    def _found_room(self) -> None:
        if not self.full:
            return
        self.full = False
        log.warning("the disk takes events again%s", self._account())

    def _account(self) -> str:
        """Count for good what was lost, and say it."""
        lost, self._lost = self._lost, {}
        with self.store.transaction() as connection:
            for name, number in lost.items():
                count(connection, name, number)
        return "".join(f", {name}: {number}" for name, number in lost.items())

    def _bound(self) -> None:
        """Nothing grows for ever: the oldest pictures go first, then the oldest events."""
        sizes = [one.size for one in self._waiting]
        excess = sum(sizes) - MOST_PICTURE_BYTES
        for one, size in zip(tuple(self._waiting), sizes, strict=True):
            if excess <= 0:
                break
            if not size:
                continue
            excess -= size
            if isinstance(one, PendingEvent):
                one.picture = None
            else:
                self._waiting.remove(one)
            self._lose(LOST_PICTURES)
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._lose(LOST_EVENTS)

    def _lose(self, name: str) -> None:
        self._lost[name] = self._lost.get(name, 0) + 1
