"""Keeps a broker's picture of the station true: announcement, state, snapshot; takes commands in.

State and snapshot are published without Home Assistant as well: they are for any dashboard.
"""

import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import __version__, clock
from ..control import read_control, write_control
from ..errors import SightpostError
from ..live import polled_live
from ..machine import this_machine
from ..store.rows import StoredEvent
from .announced import Announced, read_announced, write_announced
from .asked import asked
from .discovery import Station, announcement, components, config_topic
from .mqtt import Link, Topics
from .picture import MOST_BYTES, picture
from .settings import MqttSettings
from .state import Facts, StoreWatch, as_payload, gist, state

BIRTH = b"online"
BIRTH_WAIT_S = (1.0, 10.0)
"""A fleet of 500 that answers Home Assistant's restart at once would be a storm of 2 MB."""
LOOK_S = 1.0
USUAL_S = 60.0
PICTURE_S = 5.0
"""Of a burst of events only every so often one is shown."""
SETTLED_S = 90.0
"""A message unanswered for 60 s costs the connection: what it has outlived so long has arrived."""
GRUMBLE_S = 60.0
ROOM = 1024
"""Bytes of a packet beside its payload, at most."""

log = logging.getLogger("sightpost")


class HomeAssistant:
    """Hooks itself into a Link; ``tick`` is called at every turn of the loop.

    Args:
        link: the line to the broker.
        topics: of this station.
        settings: of the broker.
        folder: the store; ``control.json`` and ``uplink/announced.json`` are written there.
        name: what people call the station; that of its topics where it has none.
        clock_s, read_clock, chance: for tests.
    """

    def __init__(
        self, link: Link, topics: Topics, settings: MqttSettings, folder: Path, *,
        name: str = "", clock_s: Callable[[], float] = time.monotonic,
        read_clock: Callable[[], clock.Reading] = clock.read,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:  # fmt: skip
        self._link, self._topics, self._settings, self._folder = link, topics, settings, folder
        self._clock_s, self._read_clock, self._chance = clock_s, read_clock, chance
        self._station = _station(name or topics.device)
        self._live, self._store = polled_live(folder), StoreWatch(folder)
        self._announced = read_announced(folder)
        self._looked_s = self._told_s = self._shown_s = self._grumbled_s = -math.inf
        self._announce_s = self._emptied_s = math.inf
        self._birth = False
        self._gist: Mapping[str, Any] | None = None
        self._shown: int | None = None
        self._repeated: int | None = None
        link.on_connected.append(self._on_connected)
        link.on_lost.append(self._on_lost)
        link.subscribe(topics.command("+"), self._on_command)
        if settings.discovery:
            link.subscribe(f"{settings.discovery}/status", self._on_birth)

    def tick(self) -> None:
        """Publish what is due."""
        now_s = self._clock_s()
        if not self._link.connected:
            return
        if self._birth:
            self._birth = False
            self._announce_s = min(self._announce_s, now_s + self._chance(*BIRTH_WAIT_S))
        if now_s >= self._announce_s:
            self._announce(now_s)
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._look(now_s)
        if now_s - self._emptied_s >= SETTLED_S:
            self._settle()

    def farewell(self) -> None:
        """How things are when this ends, since what is retained says it until the next start.

        The state first: on a thin line ``running`` does not wait behind a picture of 128 KiB.
        """
        if not self._link.connected:
            return
        now_s = self._clock_s()
        if now_s >= self._announce_s:
            self._announce(now_s)
        self._gist, self._shown_s = None, -math.inf
        now, facts = self._read()
        self._tell(facts, now, now_s)
        self._show(facts.last, now_s)

    # Announcing

    def _announce(self, now_s: float) -> None:
        """The announcement last: until then nobody looks at what it names."""
        self._announce_s, self._gist = math.inf, None
        made = components(self._topics, snapshots=self._settings.snapshots)
        own = _own_topics(self._topics, self._settings)
        config = own[0] if self._settings.discovery else ""
        before = self._announced
        known = before.components if before.config == config else {}
        given = {one.id: one.platform for one in made} if config else {}
        left = [topic for topic in before.topics if topic not in own]
        self._remember(Announced(config, {**known, **given}, [*own, *left]))
        self._empty(left)
        self._emptied_s = now_s if left else math.inf
        if config:
            gone = {id_: platform for id_, platform in known.items() if id_ not in given}
            payload = announcement(self._station, self._topics, made, gone)
            self._link.publish(config, payload, retain=True)

    def _settle(self) -> None:
        """Once more, for a last will that came late, and then no more."""
        own = _own_topics(self._topics, self._settings)
        self._empty([topic for topic in self._announced.topics if topic not in own])
        self._remember(Announced(self._announced.config, self._announced.components, own))
        self._emptied_s = math.inf

    def _empty(self, topics: list[str]) -> None:
        for topic in topics:
            self._link.publish(topic, b"", retain=True)

    def _remember(self, announced: Announced) -> None:
        if announced != self._announced:
            write_announced(self._folder, announced)
            self._announced = announced

    # Telling

    def _look(self, now_s: float) -> None:
        now, facts = self._read()
        self._show(facts.last, now_s)  # before the state: who waits for it finds the picture
        self._tell(facts, now, now_s)

    def _read(self) -> tuple[clock.Reading, Facts]:
        now = self._read_clock()
        return now, self._store(clock.from_ms(now.wall_ms))

    def _tell(self, facts: Facts, now: clock.Reading, now_s: float) -> None:
        told = state(self._live(), facts, now)
        news = gist(told)
        if news != self._gist or now_s - self._told_s >= USUAL_S:
            self._link.publish(self._topics.state, as_payload(told), retain=True)
            self._gist, self._told_s = news, now_s

    def _show(self, last: StoredEvent | None, now_s: float) -> None:
        if last is None or not last.snapshot or not self._settings.snapshots:
            return
        if last.seq == self._shown or now_s - self._shown_s < PICTURE_S:
            return
        most = min(MOST_BYTES, self._link.largest - ROOM)
        content = picture(self._folder / last.snapshot, most=most)
        self._shown, self._shown_s = last.seq, now_s
        if content is not None:
            self._link.publish(self._topics.snapshot, content, retain=True)

    # Hearing

    def _on_connected(self) -> None:
        self._announce_s = self._looked_s = -math.inf
        self._gist = None
        self._store.count_again()

    def _on_lost(self, _code: int) -> None:
        self._emptied_s = math.inf  # the next announcement empties them again
        if self._clock_s() - self._shown_s < SETTLED_S and self._shown != self._repeated:
            # It may not have arrived. But once more only: it may be what broke a thin line.
            self._repeated, self._shown, self._shown_s = self._shown, None, -math.inf

    def _on_birth(self, _topic: str, payload: bytes, retained: bool) -> None:
        """Home Assistant has started. One that was retained is old: we announce on connecting."""
        self._birth = self._birth or (payload == BIRTH and not retained)

    def _on_command(self, topic: str, payload: bytes, retained: bool) -> None:
        """What waited at the broker while we were away is still wished, the latest last.

        What is retained there comes with every connection and says nothing about when it was
        wished; an empty message takes such a one back.
        """
        if not payload:
            return
        if retained:
            self._grumble(f"a retained message on {topic} is no command: send it without retain")
            return
        try:
            before = read_control(self._folder)
            wish = asked(before, topic.rpartition("/")[2], payload)
            if wish != before:
                write_control(self._folder, wish)
                log.info("mqtt: %s asked for", wish)
        except SightpostError as exc:
            self._grumble(f"a command was not followed: {exc}")

    def _grumble(self, what: str) -> None:
        """Now and then: whoever sends rubbish does not fill the log."""
        now_s = self._clock_s()
        if now_s - self._grumbled_s >= GRUMBLE_S:
            self._grumbled_s = now_s
            log.warning("mqtt: %s", what)


def forget(link: Link, topics: Topics, settings: MqttSettings, folder: Path) -> list[str]:
    """Take back everything that was ever left on the broker; gives the topics, none while offline.

    The caller lets the link flush and does not let it say "offline" afterwards. The topics stay
    remembered: the broker may not have heard, and to empty them twice costs nothing.
    """
    if not link.connected:
        return []
    own = _own_topics(topics, settings)
    left = [topic for topic in read_announced(folder).topics if topic not in own]
    for topic in (*own, *left):
        link.publish(topic, b"", retain=True)
    write_announced(folder, Announced(topics=[*own, *left]))
    return [*own, *left]


def _own_topics(topics: Topics, settings: MqttSettings) -> list[str]:
    """All that is retained, the announcement first: no entity sees its state go before itself."""
    config = [config_topic(settings.discovery, topics)] if settings.discovery else []
    pictures = [topics.snapshot] if settings.snapshots else []
    return [*config, topics.state, *pictures, topics.status]


def _station(name: str) -> Station:
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata("sightpost").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    url = urls[0].partition(",")[2].strip() if urls else ""
    return Station(name, __version__, this_machine().board, url)
