"""An uplink as a process of its own whose patience is a hundred times shorter than a station's."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from sightpost_edge.commands.uplink import _Ending
from sightpost_edge.uplink import service
from sightpost_edge.uplink.backoff import Backoff
from sightpost_edge.uplink.connection import Patience
from sightpost_edge.uplink.settings import MqttSettings

PATIENCE = Patience(dial_s=0.5, answer_s=0.5, keepalive_s=1, will_s=1, goodbye_s=0.3)


def careless(uplink: service.Uplink) -> None:
    """What was sent counts as delivered: what this whole machinery is there to avoid."""
    send = uplink.link.send

    def sent(topic: str, payload: bytes | str, on_answer: Callable[[str], None]) -> None:
        send(topic, payload, lambda _refused: None)
        on_answer("")

    uplink.link.send = sent  # type: ignore[method-assign]


def main(store: str, port: str, *flags: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    service.TURN_S = 0.05
    is_ending = _Ending()
    settings = MqttSettings(url=f"mqtt://127.0.0.1:{port}", discovery="")
    with service.only_one(Path(store)):
        uplink = service.Uplink(
            Path(store), settings, "gate", patience=PATIENCE, backoff=Backoff(0.02, 0.2, 2.0)
        )
        if "careless" in flags:
            careless(uplink)
        service.serve(uplink, is_ending)


if __name__ == "__main__":
    main(*sys.argv[1:])
