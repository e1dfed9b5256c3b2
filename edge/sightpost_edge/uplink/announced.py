"""What this station has left on brokers: retained messages, which outlive it unless taken back."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..durable import give_to_owner, make_folder, write_file
from ..errors import StoreError
from ..polled import DAMAGED, read_object
from ..store.outbox import UPLINK

ANNOUNCED = f"{UPLINK}/announced.json"

log = logging.getLogger("sightpost")


@dataclass(frozen=True, slots=True)
class Announced:
    """``config``: where the device was announced, "" where it was not; ``components``: all that
    ever was there, id -> platform; ``topics``: all that may hold a retained message."""

    config: str = ""
    components: dict[str, str] = field(default_factory=dict)
    topics: list[str] = field(default_factory=list)


def read_announced(folder: Path) -> Announced:
    """Nothing where nothing was announced, or where the file is damaged (logged)."""
    try:
        return _parsed(read_object(folder / ANNOUNCED))
    except FileNotFoundError:
        return Announced()
    except (OSError, *DAMAGED) as exc:
        log.warning("%s cannot be read (%s): old names may stay on the broker", ANNOUNCED, exc)
        return Announced()


def write_announced(folder: Path, announced: Announced) -> None:
    """Before the announcement goes out: what is not remembered is never taken back."""
    try:
        make_folder(folder / UPLINK)
        write_file(folder / ANNOUNCED, json.dumps({"v": 1, **asdict(announced)}).encode())
        give_to_owner(folder, folder / UPLINK, folder / ANNOUNCED)
    except StoreError as exc:
        log.warning("%s cannot be written (%s): old names may stay on the broker", ANNOUNCED, exc)


def _parsed(found: Mapping[str, Any]) -> Announced:
    config, components, topics = found["config"], found["components"], found["topics"]
    if not isinstance(components, dict) or not isinstance(topics, list):
        raise ValueError("not what was written")  # noqa: TRY004
    words = [config, *components, *components.values(), *topics]
    if not all(isinstance(word, str) for word in words):
        raise ValueError("not what was written")
    if not all(topics) or any(c in topic for topic in topics for c in "+#\0"):
        raise ValueError("not a topic")
    return Announced(config, components, topics)
