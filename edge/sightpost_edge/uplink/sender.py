"""Events go from the outbox to the broker, at least once, first time in order."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..errors import StoreError
from ..store.outbox import Parcel
from .backoff import Backoff
from .cursor import Cursor
from .messages import Message, encode
from .mqtt import Topics

log = logging.getLogger("sightpost")

WINDOW = 20
EARNED_BY = 20
"""A connection earns one more message on its way for each 20 acknowledged. What is on its way when
it breaks may arrive twice, so at most 5 % of what went through, and one."""
LINE = 50
"""Rows held in memory: 50 kB."""
REFUSED, REFUSED_S = 3, 600.0
"""So often and for so long the broker may refuse a message, while it takes others, before that is
set aside: long enough for a quota that a busy minute has used up."""
BLAMED = frozenset({0x81, 0x82, 0x87, 0x90, 0x95, 0x97, 0x99})
"""Reason codes of a DISCONNECT that mean the message it had just been sent."""


class Outbox(Protocol):
    """Where Parcels come from."""

    def has_news(self) -> bool:
        """Whether a look is worth its price."""

    def store_id(self) -> str:
        """Of the database; another one counts from the beginning again."""

    def read(self, *, after: int, limit: int) -> list[Parcel]:
        """The next Parcels after that number, in order."""


class Line(Protocol):
    """What of a Link is needed here."""

    @property
    def connected(self) -> bool:
        """Whether anything can be sent."""

    @property
    def room(self) -> int:
        """How many more messages the broker takes now."""

    @property
    def largest(self) -> int:
        """Bytes in one packet."""

    def send(self, topic: str, payload: bytes | str, on_answer: Callable[[str], None]) -> None:
        """Send at QoS 1; ``on_answer`` is given "" or why it was refused."""


@dataclass(slots=True)
class _Item:
    """A message in the line; ``number`` is its row in the outbox."""

    number: int
    message: Message
    state: str = "waiting"  # or "sent", "done"
    refusals: int = 0
    refused_s: float = 0.0  # when first
    is_alone: bool = False  # refused, and another one was accepted afterwards


class Sender:
    """Reads ahead a little, sends what the window allows, moves the cursor over what is done.

    Nothing is given up because a network is bad. A message that the broker itself refuses for ten
    minutes, while it takes others, is set aside: logged by its key and counted. Where it refuses
    everything (an access list, a quota), everything waits.
    """

    def __init__(
        self, outbox: Outbox, link: Line, topics: Topics, cursor: Cursor, *,
        pause: Backoff | None = None, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._outbox, self._link, self._topics, self._cursor = outbox, link, topics, cursor
        self._pause, self._clock = pause or Backoff(jitter=lambda _least, most: most), clock
        self._items: list[_Item] = []
        self._read_to = -1
        self._earned = 0
        self._resume_s = 0.0
        self._told = ""
        self.accepted = 0
        self._at_end = False

    @property
    def is_drained(self) -> bool:
        """Whether all is done and the last look found nothing more."""
        return self._at_end and not self._items

    def tick(self) -> None:
        """Read, send, save: whatever is possible now. Never waits."""
        self._fill()
        self._send()
        self._cursor.save_when_due()

    def lost(self, code: int) -> None:
        """The connection is gone; what was not answered is sent again on the next one."""
        self._earned = 0
        unanswered = [item for item in self._items if item.state == "sent"]
        for item in unanswered:
            item.state = "waiting"
        if unanswered and code in BLAMED:
            self._refuse(unanswered[0], f"it ended the connection with code {code:#x}")
            self._advance()

    def close(self) -> None:
        """Keep what is known."""
        self._cursor.save()

    def _fill(self) -> None:
        """Rows are only read while there is somebody to send them to."""
        if not self._link.connected or len(self._items) > LINE - WINDOW:
            return
        if not self._outbox.has_news():
            self._at_end = True
            return
        try:
            self._begin()
            parcels = self._outbox.read(after=self._read_to, limit=LINE - len(self._items))
        except StoreError as exc:
            self._say(str(exc))
            return
        for parcel in parcels:
            self._read_to = parcel.id
            self._items.append(self._item(parcel))
        self._at_end = not parcels
        self._advance()

    def _begin(self) -> None:
        """Where this database's outbox was acknowledged up to."""
        store = self._outbox.store_id()
        if store != self._cursor.store or self._read_to < 0:
            self._cursor.belongs_to(store)
            self._items.clear()
            self._read_to = self._cursor.acked

    def _item(self, parcel: Parcel) -> _Item:
        try:
            item = _Item(parcel.id, encode(parcel, self._topics))
        except ValueError as exc:
            item = _Item(parcel.id, Message("", b"", f"{parcel.kind} {parcel.id}"))
            self._set_aside(item, f"it cannot be written as JSON ({exc})")
        return item

    def _send(self) -> None:
        if self._clock() < self._resume_s:
            return
        window = min(WINDOW, 1 + self._earned // EARNED_BY)
        going = sum(item.state == "sent" for item in self._items)
        waiting = [item for item in self._items if item.state == "waiting"]
        # Where one was refused the others go first: only they show whether it is to blame.
        for item in sorted(waiting, key=lambda item: item.refusals):
            if going >= window or self._link.room <= 0:
                return
            if len(item.message.payload) + 1024 > self._link.largest:
                self._set_aside(item, f"the broker takes {self._link.largest} bytes at most")
                self._advance()
                continue
            item.state = "sent"
            going += 1
            self._link.send(item.message.topic, item.message.payload, self._answer_to(item))

    def _answer_to(self, item: _Item) -> Callable[[str], None]:
        def answer(refused: str) -> None:
            if item.state != "sent":
                return
            if refused:
                item.state = "waiting"
                self._refuse(item, refused)
            else:
                self._accept(item)
            self._advance()

        return answer

    def _accept(self, item: _Item) -> None:
        item.state = "done"
        self._earned += 1
        self.accepted += 1
        self._resume_s, self._told = 0.0, ""
        self._pause.reset()
        for other in self._items:
            other.is_alone = other.is_alone or other.refusals > 0

    def _refuse(self, item: _Item, why: str) -> None:
        now_s = self._clock()
        item.refused_s = item.refused_s if item.refusals else now_s
        item.refusals += 1
        is_old = item.refusals >= REFUSED and now_s - item.refused_s >= REFUSED_S
        if is_old and item.is_alone:
            self._set_aside(item, why)
            return
        self._resume_s = now_s + self._pause.next_wait_s()
        self._say(f"the broker refuses a message ({why}); trying again")

    def _set_aside(self, item: _Item, why: str) -> None:
        item.state = "aside"
        log.error("mqtt: %s is not sent and left behind: %s", item.message.key, why)

    def _advance(self) -> None:
        """The cursor passes only over what is done from the front on."""
        while self._items and self._items[0].state in ("done", "aside"):
            item = self._items.pop(0)
            self._cursor.advance(item.number, set_aside=item.state == "aside")

    def _say(self, why: str) -> None:
        if why != self._told:
            self._told = why
            log.warning("mqtt: %s", why)
