"""Commands that come in over MQTT, checked: anybody who may publish there can send anything."""

import math
from dataclasses import replace

from ..control import Control
from ..errors import ConfigError
from .discovery import ARMED, DEFAULT, THRESHOLD

LONGEST = 32
"""Bytes; "default" has 7 and no threshold needs more than 20."""
_WORDS = {"ON": True, "OFF": False}


def asked(control: Control, command: str, payload: bytes) -> Control:
    """What is asked for from now on.

    Raises:
        ConfigError: no such command, or not a word or figure that it takes.
    """
    if len(payload) > LONGEST:
        raise ConfigError(f"{command[:40]!r}: {len(payload)} bytes are no command")
    text = payload.decode("ascii", "replace").strip()
    if command == ARMED:
        if text.upper() not in _WORDS:
            raise ConfigError(f"armed: {text!r} is neither ON nor OFF")
        return replace(control, armed=_WORDS[text.upper()])
    if command == THRESHOLD:
        return replace(control, threshold=None if text == DEFAULT else _figure(text))
    raise ConfigError(f"there is no command {command[:40]!r}")


def _figure(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan  # which is in no range
