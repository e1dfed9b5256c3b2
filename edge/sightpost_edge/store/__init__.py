"""Durable events: what the device saw is the product.

``EventStore`` is opened by ``sightpost run`` only and owns every write; ``read_events`` looks
without writing.
"""

from .events import EventStore, StoredEvent, default_folder, read_events

__all__ = ["EventStore", "StoredEvent", "default_folder", "read_events"]
