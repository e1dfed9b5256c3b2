"""What waits for the disk: in order, bounded, and shared by who puts and who writes."""

import threading
from collections.abc import Callable, Sequence

from .pending import Pending, PendingClip, PendingEvent, PendingHealth

GROUP = 64
"""So much at most shares one transaction."""
BUSY = 64
"""A recording waits when so much is not written yet: it can."""
MOST_WAITING = 2_000
MOST_PICTURE_BYTES = 32 * 1024 * 1024
"""What a live source gives while the disk takes nothing; beyond this pictures are let go, then
events."""
LOST_PICTURES, LOST_EVENTS = "pictures lost in RAM", "events lost in RAM"


class Backlog:
    """A queue whose content stays until it is written; any thread may call."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: list[Pending] = []
        self._writing: Sequence[Pending] = ()
        self._lost: dict[str, int] = {}
        self._closing = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, one: Pending, *, patience_s: float | None = None) -> bool:
        """Add one at the end; with ``patience_s`` wait so long for it to be short, False if not.

        Without it nothing waits: the oldest pictures are let go, then the oldest events.
        """
        with self._changed:
            if patience_s is not None and not self._changed.wait_for(
                lambda: len(self._items) < BUSY, patience_s
            ):
                return False
            self._items.append(one)
            self._bound()
            self._changed.notify_all()
        return True

    def wait(self, timeout_s: float, *, for_work: bool) -> bool:
        """Until there is something to write, or long enough; whether it is being closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closing or (for_work and bool(self._items)), timeout_s
            )
            return self._closing

    def take(self, most: int = GROUP) -> list[Pending]:
        """What is to be written together; it stays until ``written``. Films come last and alone:
        making one takes longer than any event should wait."""
        with self._changed:
            group = [one for one in self._items if not isinstance(one, PendingClip)][:most]
            self._writing = group or self._items[:1]
            return list(self._writing)

    def written(self, group: Sequence[Pending]) -> None:
        """These are durable, or given up."""
        gone = {id(one) for one in group}
        with self._changed:
            self._items = [one for one in self._items if id(one) not in gone]
            self._writing = ()
            self._changed.notify_all()

    def failed(self) -> None:
        """What was taken has to wait."""
        with self._changed:
            self._writing = ()

    def give_up_picture(self, one: Pending) -> None:
        """An event goes on without its picture, a film or a sample goes."""
        if isinstance(one, PendingEvent):
            one.picture = None
        else:
            self.written([one])
        self.lose(LOST_PICTURES)

    def encode(self) -> None:
        """Let go of pixels: a JPEG is a twentieth of them. In the writer's thread."""
        for one in tuple(self._items):
            if isinstance(one, PendingEvent) and one.picture is not None:
                one.picture.encoded()

    def wait_empty(self, timeout_s: float, given_up: Callable[[], bool]) -> bool:
        """Until all is durable; False if it takes too long or ``given_up`` says so."""
        with self._changed:
            done = self._changed.wait_for(lambda: not self._items or given_up(), timeout_s)
        return done and not self._items

    def close(self) -> None:
        """Nothing more will be put."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def lose(self, name: str) -> None:
        """Count something that is lost for good."""
        self._lost[name] = self._lost.get(name, 0) + 1

    @property
    def lost(self) -> dict[str, int]:
        """What was lost since ``accounted``, by name."""
        return dict(self._lost)

    def accounted(self, lost: dict[str, int]) -> None:
        """So much of it is in the store's counters now."""
        for name, number in lost.items():
            self._lost[name] -= number
        self._lost = {name: number for name, number in self._lost.items() if number}

    def _bound(self) -> None:
        """What is being written just now is left alone."""
        if len(self._items) <= BUSY and self._held() <= MOST_PICTURE_BYTES:
            return
        busy = {id(one) for one in self._writing}
        excess = self._held() - MOST_PICTURE_BYTES
        for one in tuple(self._items):
            if excess > 0 and one.held and id(one) not in busy:
                excess -= one.held
                if isinstance(one, PendingEvent):
                    one.picture = None
                else:
                    self._items.remove(one)
                self.lose(LOST_PICTURES)
        over = len(self._items) - MOST_WAITING
        for one in tuple(self._items) if over > 0 else ():
            if over > 0 and isinstance(one, PendingEvent | PendingHealth) and id(one) not in busy:
                over -= 1
                self._items.remove(one)
                self.lose(LOST_EVENTS)

    def _held(self) -> int:
        return sum(one.held for one in self._items)
