"""``sightpost uplink`` put together: the link, the sender, and what else uses the link."""

import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from ..durable import give_to_owner, make_folder
from ..errors import StoreBusy, UplinkError, writing_to
from ..store.outbox import UPLINK
from .backoff import Backoff
from .connection import PATIENCE, Patience
from .cursor import Cursor
from .mqtt import Link, Topics
from .sender import Sender
from .settings import MqttSettings
from .waiting import StoreOutbox

log = logging.getLogger("sightpost")

TURN_S = 0.5
"""So long a new event waits at most before it is seen."""
LAST_S = 1.0
GIVE_UP_S = 60.0
"""``--once`` ends after so long in which nothing was acknowledged."""
CURSOR, LOCK = "mqtt.json", "lock"


class Part(Protocol):
    """What else uses the link; it has made its subscriptions and ``on_connected`` itself."""

    def tick(self) -> None:
        """Called at every turn of the loop, at least twice a second; must not wait."""

    def farewell(self) -> None:
        """Called once at a planned end, before "offline" is said; must not wait."""


Parts = Callable[[Link, Topics], Sequence[Part]]


class Uplink:
    """One station's line to one broker.

    Args:
        folder: the store.
        settings: the broker.
        device: the station's name.
        parts: makes what else uses the link.
        patience, backoff: for tests.

    Raises:
        ConfigError: a setting, a password file or a ca_file cannot be used.
    """

    def __init__(
        self, folder: Path, settings: MqttSettings, device: str = "", *,
        parts: Parts = lambda _link, _topics: (), patience: Patience = PATIENCE,
        backoff: Backoff | None = None,
    ) -> None:  # fmt: skip
        topics = Topics.of(settings.topic, device or socket.gethostname().partition(".")[0])
        self.link = Link(settings, topics, patience=patience, backoff=backoff)
        if settings.is_exposed:
            log.warning(
                "mqtt: what is sent to %s, the password too, can be read on the way; "
                "mqtts:// is encrypted", settings.host,
            )  # fmt: skip
        cursor = Cursor(folder / UPLINK / CURSOR)
        self.sender = Sender(StoreOutbox(folder), self.link, topics, cursor)
        self.link.on_lost.append(self.sender.lost)
        self.topics = topics
        self._parts = list(parts(self.link, topics))

    @property
    def is_done(self) -> bool:
        """Whether all that waited has arrived."""
        return self.sender.is_drained and self.link.is_idle

    def turn(self) -> None:
        """Everything once; waits for the network for at most half a second."""
        self.sender.tick()
        for part in self._parts:
            part.tick()
        self.link.run_once(TURN_S)

    def finish(self, within_s: float = LAST_S) -> None:
        """What was written a moment ago, such as the last event of a run, still goes out, and how
        things are now."""
        end_s = time.monotonic() + within_s
        while self.link.connected and time.monotonic() < end_s:
            self.sender.tick()
            if self.is_done:
                break
            self.link.run_once(0.1)
        self.sender.close()  # so that nothing that has arrived is called undelivered
        for part in self._parts:
            part.farewell()

    def close(self) -> None:
        """Keep the cursor, say "offline"."""
        self.sender.close()
        self.link.close()
        self.sender.close()


def serve(uplink: Uplink, is_ending: Callable[[], bool]) -> None:
    """Send whatever comes until told to end."""
    try:
        while not is_ending():
            uplink.turn()
        uplink.finish()
    finally:
        uplink.close()


def send_waiting(
    uplink: Uplink, is_ending: Callable[[], bool], *, give_up_s: float = GIVE_UP_S
) -> int:
    """Send what waits now, then end; gives how many messages the broker has taken.

    Raises:
        UplinkError: for a minute it took none.
    """
    try:
        _turn(uplink, lambda: uplink.is_done or is_ending(), give_up_s)
        uplink.finish()
    finally:
        uplink.close()
    return uplink.sender.accepted


def take_back(
    uplink: Uplink,
    forget: Callable[[], object],
    is_ending: Callable[[], bool],
    *,
    give_up_s: float = GIVE_UP_S,
) -> None:
    """Connect, have ``forget`` empty what is retained at the broker, and leave without a word.

    Raises:
        UplinkError: the broker was not reached within a minute.
    """
    link = uplink.link
    try:
        _turn(uplink, lambda: link.connected or is_ending(), give_up_s)
        forget()
        _turn(uplink, lambda: link.is_idle or is_ending(), give_up_s)
    finally:
        link.close(silent=True)
        uplink.sender.close()


def _turn(uplink: Uplink, is_done: Callable[[], bool], give_up_s: float) -> None:
    accepted, progress_s = 0, time.monotonic()
    while not is_done():
        uplink.turn()
        if uplink.sender.accepted > accepted:
            accepted, progress_s = uplink.sender.accepted, time.monotonic()
        if time.monotonic() - progress_s >= give_up_s:
            raise UplinkError(
                f"the broker took nothing for {give_up_s:g} s, {accepted} messages before",
                hint="the lines above say why; what was not taken waits for the next time",
            )


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the store's uplink lock meanwhile.

    Raises:
        StoreBusy: another uplink sends from there.
    """
    make_folder(folder / UPLINK)
    with ExitStack() as held:
        with writing_to(folder / UPLINK / LOCK):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            handle = os.open(folder / UPLINK / LOCK, flags, 0o644)
            give_to_owner(folder, folder / UPLINK, folder / UPLINK / LOCK)
        held.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise StoreBusy(
                f"another uplink sends from {folder}",
                hint="sightpost run starts one itself where its config has an [mqtt] url",
            ) from exc
        yield
