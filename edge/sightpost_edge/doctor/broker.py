"""One short visit to a broker: whether it can be reached, proven and entered, and what it keeps.

It comes under a name of its own and leaves nothing behind: a second client with the station's name
would end the connection of the first.
"""

import os
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..uplink.settings import MqttSettings

DIAL_S = 5.0
ANSWER_S = 5.0
RETAINED_S = 1.0
"""Retained messages come at once after the answer to the subscription."""
_REFUSED = 0x80


@dataclass(frozen=True, slots=True)
class Visit:
    """``code`` is the broker's reason for refusing, 0 where it let us in, -1 where it said
    nothing; ``said`` is that in words. ``kept`` are retained messages by topic, ``denied`` the
    topics that may not be read."""

    code: int = 0
    said: str = ""
    kept: dict[str, bytes] = field(default_factory=dict)
    denied: tuple[str, ...] = ()


def reach(settings: MqttSettings) -> None:
    """Open a TCP connection and close it.

    Raises:
        OSError: nobody answers there.
    """
    socket.create_connection((settings.host, settings.port), timeout=DIAL_S).close()


def shake_hands(settings: MqttSettings) -> datetime | None:
    """TLS with everything verified; until when the certificate is valid, None without TLS.

    Raises:
        ssl.SSLCertVerificationError: it is not trusted; ``verify_code`` says why.
        OSError: there is no TLS, or the connection broke.
        ConfigError: the ca_file cannot be used.
    """
    context = settings.tls_context()
    if context is None:
        return None
    with (
        socket.create_connection((settings.host, settings.port), timeout=DIAL_S) as line,
        context.wrap_socket(line, server_hostname=settings.host) as shielded,
    ):
        found = shielded.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)


def visit(settings: MqttSettings, password: str | None, topics: Sequence[str]) -> Visit:
    """Say who we are, read what is retained on ``topics``, and leave.

    Raises:
        OSError: the connection could not be made, or broke.
    """
    guest = _Guest(settings, password, topics)
    try:
        guest.turn_until(lambda: guest.code is not None, ANSWER_S)
        if guest.code == 0:
            guest.turn_until(lambda: guest.subscribed, ANSWER_S)
            guest.turn_until(lambda: len(guest.kept) == len(topics), RETAINED_S)
            guest.leave()
    finally:
        guest.close()
    code = -1 if guest.code is None else guest.code
    return Visit(code, guest.said, guest.kept, tuple(guest.denied))


class _Guest:
    """paho's client, turned by hand: no thread is left behind."""

    def __init__(self, settings: MqttSettings, password: str | None, topics: Sequence[str]) -> None:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion

        self.code: int | None = None
        self.said, self.subscribed = "", not topics
        self.kept: dict[str, bytes] = {}
        self.denied: list[str] = []
        self._topics = list(topics)
        client: Any = Client(
            CallbackAPIVersion.VERSION2, client_id=f"sightpost-doctor-{os.urandom(4).hex()}",
            protocol=MQTTv5,
        )  # fmt: skip
        if settings.username:
            client.username_pw_set(settings.username, password)
        if (context := settings.tls_context()) is not None:
            client.tls_set_context(context)
        client.connect_timeout = DIAL_S
        client.on_connect, client.on_subscribe = self._on_connect, self._on_subscribe
        client.on_message = self._on_message
        self._client = client
        client.connect(settings.host, settings.port, keepalive=30, clean_start=True)

    def turn_until(self, is_so: Any, longest_s: float) -> None:
        """Or until the time is over, or the broker has hung up."""
        end_s = time.monotonic() + longest_s
        while not is_so() and time.monotonic() < end_s:
            if self._client.loop(timeout=0.1):
                return

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop(timeout=0.1)

    def close(self) -> None:
        held = self._client.socket()
        if held is not None:
            held.close()

    def _on_connect(self, client: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        self.code = reason.value if reason.value >= _REFUSED else 0
        self.said = str(reason)
        if self.code == 0 and self._topics:
            client.subscribe([(topic, 0) for topic in self._topics])

    def _on_subscribe(self, _c: Any, _u: Any, _m: Any, reasons: Any, _p: Any) -> None:
        answers = zip(self._topics, reasons, strict=False)
        self.denied += [topic for topic, reason in answers if reason.value >= _REFUSED]
        self.subscribed = True

    def _on_message(self, _client: Any, _userdata: Any, message: Any) -> None:
        if message.retain:
            self.kept[message.topic] = bytes(message.payload)
