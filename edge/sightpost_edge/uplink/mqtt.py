"""The line to the broker: one thread, one loop, and it comes back by itself."""

import logging
import math
import ssl
import time
from collections.abc import Callable

from ..errors import SightpostError, first_line
from .backoff import Backoff
from .connection import PATIENCE, Connection, Patience
from .settings import MqttSettings
from .topics import Topics

__all__ = ["Link", "Topics"]

log = logging.getLogger("sightpost")

ONLINE, OFFLINE = "online", "offline"
HINTS = {
    0x84: "it must speak MQTT 5, as mosquitto does since 1.6",
    0x86: "see username and password_file",
    0x87: "see username and password_file, and its access list",
    0x8E: "another station has the same name",
}
"""What to do about the broker's reason codes."""

QUIET_S = 60.0
"""The same trouble is said again only after so long."""
MOST_REASONS = 20
SHORT_S, MANY_SHORT = 5.0, 5
"""So many connections in a row that broke so soon are no accident."""

Callback = Callable[[str, bytes, bool], None]


class Link:
    """A connection that is made again whenever it is lost.

    Callbacks run inside ``run_once``, never inside another one of them, and may publish.

    ``on_connected``: called after each CONNACK, once subscriptions are made and "online" is sent.
    ``on_lost``: called with the broker's reason code, 0 where there was none, when nothing that was
    sent and not yet answered will be answered any more.

    Args:
        settings: the broker.
        topics: of this station; the client's id is made from its name.
        patience: for tests.
        backoff: waits between attempts.
        clock, sleep: for tests.

    Raises:
        ConfigError: the password or the ca_file cannot be used.
    """

    def __init__(
        self, settings: MqttSettings, topics: Topics, *, patience: Patience = PATIENCE,
        backoff: Backoff | None = None, clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.on_connected: list[Callable[[], None]] = []
        self.on_lost: list[Callable[[int], None]] = []
        self._settings, self._topics, self._patience = settings, topics, patience
        self._backoff = backoff or Backoff()
        self._clock, self._sleep = clock, sleep
        self._tls = settings.tls_context()
        settings.password()  # refused now rather than at every attempt
        self._subscriptions: dict[str, Callback] = {}
        self._waiting: dict[str, tuple[bytes | str, bool]] = {}
        self._connection: Connection | None = None
        self._up_s: float | None = None
        self._due_s = clock()
        self._said: dict[str, float] = {}
        self._welcomed_s = -math.inf
        self._is_news = True
        self._short = 0
        self.subscribe(topics.status, self._on_status)

    @property
    def connected(self) -> bool:
        """Whether the broker has welcomed us and nothing has gone wrong since."""
        return self._up_s is not None

    @property
    def room(self) -> int:
        """How many more outbox messages the broker takes before it answers some."""
        return self._connection.room if self._connection and self.connected else 0

    @property
    def is_idle(self) -> bool:
        """Whether the broker has answered all that it was sent, and nothing waits."""
        answered = self._connection is not None and not self._connection.is_answering
        return self.connected and answered and not self._waiting

    @property
    def largest(self) -> int:
        """Bytes that the broker takes in one packet."""
        return self._connection.largest if self._connection else 0

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """Say how things are now: the latest wins, and while offline it is dropped."""
        if self.connected:
            self._waiting.pop(topic, None)
            self._waiting[topic] = (payload, retain)
            self._flush()

    def send(self, topic: str, payload: bytes | str, on_answer: Callable[[str], None]) -> None:
        """Send an outbox message; only where there is ``room``.

        ``on_answer`` is given "" when the broker has taken it, or why it refuses. It is not called
        at all where the connection is lost before: ``on_lost`` is.
        """
        if self._connection is not None and self.connected:
            self._connection.publish(topic, payload, on_answer=on_answer)

    def subscribe(self, topic_filter: str, callback: Callback) -> None:
        """Call ``callback(topic, payload, retained)`` for what comes; again after each connect."""
        self._subscriptions[topic_filter] = callback
        if self._connection is not None and self.connected:
            self._connection.subscribe(topic_filter)

    def run_once(self, timeout_s: float) -> None:
        """One turn of the loop: connect if it is time, exchange what is there, call back."""
        if self._connection is None:
            left_s = self._due_s - self._clock()
            if left_s > 0:
                self._sleep(min(left_s, timeout_s))
            else:
                self._dial()
            return
        self._connection.turn(timeout_s)
        if self._connection.is_ready and not self.connected:
            self._welcome(self._connection)
        self._deliver(self._connection)
        if self._connection.lost:
            self._lose(self._connection.lost, self._connection.lost_code)
        else:
            self._flush()

    def close(self, *, silent: bool = False) -> None:
        """Say "offline" unless ``silent``, wait two seconds for answers, and leave."""
        if self._connection is None:
            return
        if self.connected:
            if not silent:
                self.publish(self._topics.status, OFFLINE, retain=True)
            end_s = self._clock() + self._patience.goodbye_s
            while self._connection.lost == "" and not self.is_idle and self._clock() < end_s:
                self._connection.turn(0.1)
                self._answer(self._connection)
                self._flush()
            self._connection.leave()
        self._connection.close()
        self._connection, self._up_s = None, None

    def _dial(self) -> None:
        try:
            self._connection = Connection(
                self._settings, self._tls, client_id=f"sightpost-{self._topics.device}",
                will=(self._topics.status, OFFLINE), patience=self._patience, clock=self._clock,
            )  # fmt: skip
        except ssl.SSLCertVerificationError as exc:
            self._lose(f"its certificate is not trusted: {exc.verify_message}; see ca_file", 0)
        except (OSError, SightpostError) as exc:
            self._lose(getattr(exc, "strerror", None) or first_line(exc), 0)

    def _welcome(self, connection: Connection) -> None:
        self._up_s = self._welcomed_s = self._clock()
        if self._is_news:
            self._is_news = False
            log.info("mqtt: connected to %s", self._settings.address)
        for topic_filter in self._subscriptions:
            connection.subscribe(topic_filter)
        self.publish(self._topics.status, ONLINE, retain=True)
        for call in self.on_connected:
            call()

    def _lose(self, why: str, code: int) -> None:
        lasted_s = 0.0 if self._up_s is None else self._clock() - self._up_s
        if self._connection is not None:
            self._connection.close()
        self._connection, self._up_s = None, None
        self._waiting.clear()
        self._count_short(lasted_s)
        wait_s = self._backoff.next_wait_s(lasted_s)
        self._due_s = self._clock() + wait_s
        self._say(why, code)
        for call in self.on_lost:
            call(code)

    def _say(self, why: str, code: int) -> None:
        """Once for each reason in an outage, and not every minute where the line comes and goes."""
        now_s, last_s = self._clock(), self._said.get(why)
        if last_s is not None and (last_s >= self._welcomed_s or now_s - last_s < QUIET_S):
            return
        self._said[why] = now_s
        while len(self._said) > MOST_REASONS:
            del self._said[next(iter(self._said))]
        self._is_news = True
        hint = f"; {HINTS[code]}" if code in HINTS else ""
        log.warning(
            "mqtt: not connected to %s (%s%s); trying again, events wait",
            self._settings.address, why, hint,
        )  # fmt: skip

    def _count_short(self, lasted_s: float) -> None:
        """Some brokers do not say that they have met another client of the same name."""
        self._short = self._short + 1 if 0 < lasted_s < SHORT_S else 0
        if self._short == MANY_SHORT:
            log.warning(
                "mqtt: the broker ends every connection at once: is another station called %r?",
                self._topics.device,
            )

    def _deliver(self, connection: Connection) -> None:
        self._answer(connection)
        while connection.received:
            message = connection.received.popleft()
            for topic_filter, callback in list(self._subscriptions.items()):
                if _matches(topic_filter, message.topic):
                    callback(message.topic, message.payload, message.retained)

    @staticmethod
    def _answer(connection: Connection) -> None:
        while connection.answers:
            on_answer, refused = connection.answers.popleft()
            if on_answer is not None:
                on_answer(refused)

    def _flush(self) -> None:
        while self._waiting and self._connection is not None and self.room > 0:
            topic = next(iter(self._waiting))
            payload, retain = self._waiting.pop(topic)
            self._connection.publish(topic, payload, retain=retain)

    def _on_status(self, _topic: str, payload: bytes, retained: bool) -> None:
        """The will of a connection that died earlier may arrive late: we are here.

        What was retained is older than the "online" that we have just sent.
        """
        if not retained and payload == OFFLINE.encode():
            self.publish(self._topics.status, ONLINE, retain=True)


def _matches(topic_filter: str, topic: str) -> bool:
    from paho.mqtt.client import topic_matches_sub

    return topic_matches_sub(topic_filter, topic)
