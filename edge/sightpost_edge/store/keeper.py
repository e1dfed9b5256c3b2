"""The writer thread of a running device: what is put is durable soon, whatever the disk does.

The loop never waits for a sync. What is put while one is under way shares the next: a burst of
events costs few. A full disk holds the loop up even less: what cannot be written waits in RAM,
bounded, while room is made; every other failure of the disk ends the run.
"""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable

from ..errors import DiskFull, StoreError
from ..records import Event, Health
from .backlog import GROUP, Backlog
from .events import EventStore
from .housekeeping import Housekeeping
from .outbox import count
from .pending import Pending, PendingClip
from .rows import StoredEvent, StoredHealth

log = logging.getLogger("sightpost")

TICK_S = 1.0
RETRY_S = 2.0
FLUSH_S, CLOSE_S = 10.0, 15.0
"""A disk that hangs for longer is left to whoever ends the process."""
GRACE_S = 10.0
"""So long the disk may be full before events go on without their pictures: then they are safe."""
SAY_S = 300.0


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
        self._waiting = Backlog()
        self._kept: queue.SimpleQueue[StoredEvent | StoredHealth] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._group = GROUP
        self._full_since_s = math.inf
        self._said_s = -math.inf
        self._closed = False
        self.turns = 0
        store.on_file = self._went_on  # a full group is 66 syncs: half a minute on a worn card
        self._thread = threading.Thread(target=self._work, name="keeper", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """How much is not durable yet."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether the disk takes nothing at the moment."""
        return self._full_since_s < math.inf

    def put(self, event: Event, *, snapshot: bool = True) -> None:
        """Have an Event kept; ``deliver`` passes it on once it is durable."""
        self.put_pending(self.store.pending(event, snapshot=snapshot))

    def put_health(self, health: Health) -> None:
        """Have kept what happened to the camera."""
        self.put_pending(self.store.pending_health(health))

    def put_pending(self, one: Pending) -> None:
        """Have anything kept.

        Raises:
            StoreError: the writer has failed, or was closed; nothing more will be kept.
        """
        self._check()
        while not self._waiting.put(one, patience_s=None if self._patient else TICK_S):
            self._check()

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
        if not found and self._error is not None:
            raise self._error
        return found

    def deliver(self) -> None:
        """Pass on what has become durable, in the thread that calls."""
        for kept in self.collect():
            self._on_kept(kept)

    def flush(self) -> None:
        """Wait until all that was put is durable; not while the disk is full, nor for ever."""
        self._waiting.wait_empty(FLUSH_S, lambda: self.full or not self._thread.is_alive())

    def close(self) -> None:
        """Write what waits, then close the store; what is durable can still be collected.

        Raises:
            StoreError: the disk hangs.
        """
        if self._closed:
            return
        self._closed = True
        self._waiting.close()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            raise StoreError(
                f"the disk of {self.store.folder} hangs; {self.backlog} not written",
                hint="see dmesg; what was acknowledged is kept",
            )
        self.store.close()

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise StoreError("the store is closed")

    # In the writer's thread

    def _work(self) -> None:
        try:
            while self._turn():
                self._went_on()
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread that asks
            self._error = exc

    def _went_on(self) -> None:
        """The disk answers: what watches over this thread counts on it."""
        self.turns += 1

    def _turn(self) -> bool:
        """Write what has come, do what is due; whether there will be more."""
        ending = self._waiting.wait(RETRY_S if self.full else TICK_S, for_work=not self.full)
        try:
            self._write()
            self._found_room()
        except DiskFull as exc:
            self._is_full(exc, last=ending)
        else:
            self._keep_house()
        return not ending

    def _write(self) -> None:
        while group := self._waiting.take(self._group):
            try:
                written = self.store.write_all(group)
            except DiskFull:
                self._waiting.failed()
                if len(group) == 1:
                    raise
                self._group = len(group) // 2  # what does not fit at once may fit bit by bit
                continue
            self._group = min(GROUP, 2 * self._group)
            for kept in written:
                self._kept.put(kept)
            self._waiting.written(group)
            self._went_on()
            self._housekeeping.changed([one.seq for one in group if isinstance(one, PendingClip)])

    def _is_full(self, exc: DiskFull, *, last: bool) -> None:
        """Make room; the next turn tries again."""
        if not self.full:
            log.warning("%s; what is seen meanwhile waits in memory", exc)
            self._full_since_s = time.monotonic()
        self._waiting.encode()
        first = self._waiting.take(1)
        self._waiting.failed()
        made = self._make_room(first[0].size if first else 0)
        late = last or time.monotonic() - self._full_since_s > GRACE_S
        if (made and self._again()) or (late and self._patient and self._without_pictures()):
            return
        if self._waiting and (last or not self._patient):
            raise DiskFull(f"{exc}; {len(self._waiting)} not written", hint=exc.hint) from exc

    def _make_room(self, size: int) -> bool:
        try:
            return self._housekeeping.make_room(size)
        except DiskFull:  # there is not even room to delete
            return False

    def _again(self) -> bool:
        try:
            self._write()
            self._found_room()
        except DiskFull:
            return False
        return True

    def _without_pictures(self) -> bool:
        """Rows are small: they may fit where no picture does, and are safe then."""
        while one := next(iter(self._waiting.take(1)), None):
            self._waiting.failed()
            if one.held:
                self._waiting.give_up_picture(one)
            if self._again():
                return True
            if not one.held:
                return False
        return True

    def _found_room(self) -> None:
        """What was lost meanwhile is counted for good, and said."""
        lost = self._waiting.lost
        if lost:
            with self.store.transaction() as connection:
                for name, number in lost.items():
                    count(connection, name, number)
            self._waiting.accounted(lost)
        if self.full or lost:
            self._full_since_s = math.inf
            text = "".join(f", {name}: {number}" for name, number in lost.items())
            log.warning("the disk takes events again%s", text)

    def _keep_house(self) -> None:
        """A disk too full for this and not for events is no reason to stop."""
        try:
            self._housekeeping.tick()
        except DiskFull as exc:
            self._make_room(0)
            if time.monotonic() - self._said_s > SAY_S:
                self._said_s = time.monotonic()
                log.warning("%s", exc)
