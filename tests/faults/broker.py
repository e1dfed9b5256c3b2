"""A real mosquitto on loopback that keeps its queue over restarts, and a listener that collects."""

import json
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Broker:
    """Started at once; ``stop`` is SIGTERM, whereupon it writes down what it still has to deliver.

    ``extra`` are lines of its config.
    """

    def __init__(self, folder: Path, *extra: str, open_to_all: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self.log = folder / "mosquitto.log"
        lines = [
            f"listener {self.port} 127.0.0.1", f"allow_anonymous {str(open_to_all).lower()}",
            "user root", "persistence true", f"persistence_location {folder}/",
            "autosave_interval 5", "max_queued_messages 0", f"log_dest file {self.log}", *extra,
        ]  # fmt: skip
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end_s = time.monotonic() + 10
        while time.monotonic() < end_s:
            assert self._process.poll() is None, self.log.read_text()[-2000:]
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return
        raise AssertionError("mosquitto does not listen")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(20) == 0
            self._process = None

    def __enter__(self) -> "Broker":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class Listener:
    """Subscribed at QoS 1 with a session that outlives it; ``seen`` is all that came, in order."""

    def __init__(self, port: int, topic_filter: str = "#", *, name: str = "listener") -> None:
        self._topic_filter = topic_filter
        self.seen: list[MQTTMessage] = []
        self.subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTv5)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.on_message = lambda _c, _u, message: self.seen.append(message)
        self._client.reconnect_delay_set(1, 1)
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=kept)
        self._client.loop_start()
        assert self.subscribed.wait(10)

    def of(self, topic_end: str) -> list[Any]:
        """The JSON of every message whose topic ends so."""
        return [json.loads(m.payload) for m in list(self.seen) if m.topic.endswith(topic_end)]

    def texts(self, topic_end: str) -> list[str]:
        """Likewise, as text."""
        return [m.payload.decode() for m in list(self.seen) if m.topic.endswith(topic_end)]

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _on_connect(self, client: Client, _u: Any, flags: Any, _r: Any, _p: Any) -> None:
        if not flags.session_present:
            client.subscribe(self._topic_filter, qos=1)
        else:
            self.subscribed.set()
