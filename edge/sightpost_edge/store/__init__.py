"""Durable events: what the device saw is the product.

``EventStore`` is opened by ``sightpost run`` only and owns every write, ``Keeper`` is the thread
that does them; the ``read_`` functions look without writing.
"""

from .events import EventStore, default_folder
from .keeper import Keeper
from .reading import read_events, read_health, read_run, read_trace
from .rows import StoredEvent, StoredHealth, StoredRun

__all__ = [
    "EventStore", "Keeper", "StoredEvent", "StoredHealth", "StoredRun", "default_folder",
    "read_events", "read_health", "read_run", "read_trace",
]  # fmt: skip
