"""What a camera's health is told to: the log, unless somebody keeps it."""

import logging
import time
from collections.abc import Callable

from .. import clock
from ..records import Health

log = logging.getLogger("sightpost")

Report = Callable[[Health], None]
"""Called from a thread of the source, one call at a time."""


def health(fault: str, detail: str, *, ok: bool) -> Health:
    """A Health of now."""
    return Health(fault, ok, detail, clock.now(), time.monotonic_ns())


def log_health(health: Health) -> None:
    """A failure as a warning, the recovery as news."""
    level = logging.INFO if health.ok else logging.WARNING
    state = "is over" if health.ok else "found"
    log.log(level, "camera fault %r %s: %s", health.fault, state, health.detail)
