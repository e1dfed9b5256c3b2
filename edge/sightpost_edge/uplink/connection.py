"""One connection to a broker, from dialling to its loss; nothing of it is used again.

paho resends by itself what a broken connection left unanswered, in its own order, from memory. Here
each connection has a client of its own, and the outbox says what is sent next: one memory, on disk.

MQTT 5, because only there a broker can say that it refuses a message: the PUBACK of 3.1.1 has no
room for it, so an event that an access list threw away would count as delivered.
"""

import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import first_line
from .settings import MqttSettings, loading_paho

FAILURE = 0x80
"""Reason codes from here on say no."""
DISCONNECT = b"\xe0\x00"
MOST_UNANSWERED = 64
"""QoS 1 messages on their way, whatever the broker would allow: the memory that a stall costs."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds; only tests have reason to change them.

    ``dial_s``: for TCP and TLS. ``answer_s``: no PUBACK for so long, though one is due, and the
    connection is given up: 20 messages and a picture of 100 kB take 57 s at 2 kB/s.
    ``keepalive_s``: a ping after so long without traffic; no answer to it for as long ends it.
    ``will_s``: the broker waits so long before it says "offline": a short hiccup is no news.
    ``session_s``: commands wait at the broker for a station that is away, until they are stale.
    ``goodbye_s``: for the last "offline" to be acknowledged.
    """

    dial_s: float = 10.0
    answer_s: float = 60.0
    keepalive_s: int = 30
    will_s: int = 10
    session_s: int = 86_400
    goodbye_s: float = 2.0


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Received:
    """One message from the broker."""

    topic: str
    payload: bytes
    retained: bool


class Connection:
    """Dials at once; ``turn`` it until ``lost`` says why it is over.

    ``lost_code`` is the broker's reason code where the broker ended it, 0 otherwise.

    Raises:
        OSError: no address, no answer, no good certificate.
    """

    def __init__(
        self, settings: MqttSettings, tls: ssl.SSLContext | None, *, client_id: str,
        will: tuple[str, str], patience: Patience, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.is_ready = False
        self.lost, self.lost_code = "", 0
        self.received: deque[Received] = deque()
        self.answers: deque[tuple[Callable[[str], None] | None, str]] = deque()
        self.room = 0
        self.largest = 268_435_455
        self._patience, self._clock = patience, clock
        self._unanswered: dict[int, Callable[[str], None] | None] = {}
        self._heard_s = clock()
        self._client = self._make_client(settings, tls, client_id, will)
        self._client.connect(
            settings.host, settings.port, keepalive=patience.keepalive_s, clean_start=False,
            properties=_properties("CONNECT", SessionExpiryInterval=patience.session_s),
        )  # fmt: skip
        self._socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def is_answering(self) -> bool:
        """Whether something that was sent has no answer yet."""
        return bool(self._unanswered)

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        *,
        retain: bool = False,
        on_answer: Callable[[str], None] | None = None,
    ) -> None:
        """Send at QoS 1; ``on_answer`` comes back in ``answers`` with "" or why it was refused."""
        if not self._unanswered:
            self._heard_s = self._clock()  # until now nothing was due
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        self._unanswered[info.mid] = on_answer
        self.room -= 1

    def subscribe(self, topic_filter: str) -> None:
        """At QoS 1."""
        self._client.subscribe(topic_filter, qos=1)

    def turn(self, timeout_s: float) -> None:
        """Read and write what is there, waiting at most so long for it."""
        try:
            code = self._exchange(timeout_s)
        except OSError as exc:  # the socket went away under select
            self._lose(first_line(exc))
            return
        except Exception as exc:  # noqa: BLE001 - paho, parsing what a stranger sent
            self._lose(f"its answer makes no sense ({first_line(exc)})")
            return
        if code:
            self._lose(_client_says(code))
        elif not self._unanswered and self.is_ready:
            return
        elif self._clock() - self._heard_s > self._patience.answer_s:
            awaited = "PUBACK" if self.is_ready else "CONNACK"
            self._lose(f"no {awaited} for {self._patience.answer_s:g} s")

    def leave(self) -> None:
        """Say goodbye, which also withdraws the last will, and hear the broker out.

        Closing with something unread resets the connection, and the goodbye may go unread; paho's
        own ``disconnect`` does that.
        """
        if self._client.want_write():
            return
        end_s = self._clock() + self._patience.goodbye_s
        with suppress(OSError):
            held = self._socket()
            held.settimeout(self._patience.goodbye_s)
            held.sendall(DISCONNECT)
            while held.recv(65536) and self._clock() < end_s:
                pass

    def close(self) -> None:
        """Let the socket go without a word."""
        held = self._client.socket()
        if held is not None:
            held.close()

    def _exchange(self, timeout_s: float) -> int:
        client, held = self._client, self._socket()
        pending = isinstance(held, ssl.SSLSocket) and held.pending() > 0
        writers = [held] if client.want_write() else []
        readable, writable, _ = select.select([held], writers, [], 0 if pending else timeout_s)
        code = client.loop_read() if readable or pending else 0
        if writable and not code and not self.lost:
            code = client.loop_write()
        return int(code or (0 if self.lost else client.loop_misc()))

    def _socket(self) -> socket.socket:
        held: socket.socket | None = self._client.socket()
        if held is None:
            raise OSError("the connection is closed")
        return held

    def _lose(self, why: str) -> None:
        self.lost = self.lost or why
        self.is_ready = False

    def _make_client(
        self, settings: MqttSettings, tls: ssl.SSLContext | None, client_id: str,
        will: tuple[str, str],
    ) -> Any:  # fmt: skip
        with loading_paho():
            from paho.mqtt.client import Client, MQTTv5
            from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv5)
        client.connect_timeout = self._patience.dial_s
        client.max_inflight_messages_set(MOST_UNANSWERED)
        if settings.username:
            client.username_pw_set(settings.username, settings.password())
        if tls is not None:
            client.tls_set_context(tls)
        delay = _properties("WILLMESSAGE", WillDelayInterval=self._patience.will_s)
        client.will_set(will[0], will[1], qos=1, retain=True, properties=delay)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _on_connect(self, _c: Any, _u: Any, _flags: Any, reason: Any, properties: Any) -> None:
        self._heard_s = self._clock()
        if reason.value >= FAILURE:
            self.lost_code = reason.value
            self._lose(f"the broker says: {reason}")
            return
        if getattr(properties, "MaximumQoS", 2) < 1:
            self._lose("the broker takes no QoS 1, so nothing could be acknowledged")
            return
        self.room = min(getattr(properties, "ReceiveMaximum", 65_535), MOST_UNANSWERED)
        self.largest = getattr(properties, "MaximumPacketSize", self.largest)
        self.is_ready = True

    def _on_disconnect(self, _c: Any, _u: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self.lost_code = self.lost_code or reason.value
        self._lose(f"the broker says: {reason}" if self.lost_code else "the connection broke")

    def _on_publish(self, _c: Any, _u: Any, mid: int, reason: Any, _properties: Any) -> None:
        if mid in self._unanswered:
            self._heard_s = self._clock()
            self.room += 1
            refused = str(reason) if reason.value >= FAILURE else ""
            self.answers.append((self._unanswered.pop(mid), refused))

    def _on_message(self, _client: Any, _userdata: Any, message: Any) -> None:
        self.received.append(Received(message.topic, bytes(message.payload), message.retain))


def _client_says(code: int) -> str:
    from paho.mqtt.client import error_string
    from paho.mqtt.enums import MQTTErrorCode

    return error_string(MQTTErrorCode(code)).rstrip(".").lower()


def _properties(packet: str, **values: int) -> Any:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    made: Any = Properties(getattr(PacketTypes, packet))  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(made, name, value)
    return made
