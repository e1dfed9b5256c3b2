"""What is sent: one JSON object for each thing the outbox tells of; docs/mqtt.md describes them."""

import json
from dataclasses import dataclass
from typing import Any

from ..store.outbox import Parcel
from ..store.rows import StoredEvent, StoredHealth
from .mqtt import Topics

VERSION = 1
"""Fields are added under the same version; one that goes or means something else makes the next."""


@dataclass(frozen=True, slots=True)
class Message:
    """A Parcel ready to be sent; ``key`` names it for whoever receives it twice."""

    topic: str
    payload: bytes
    key: str


def encode(parcel: Parcel, topics: Topics) -> Message:
    """The message for a Parcel.

    Raises:
        ValueError: it holds what JSON cannot say, such as an infinite score or half a character.
    """
    if parcel.event is not None:
        content = event_payload(
            parcel.event, topics.device, is_correction=parcel.kind == "correction"
        )
        topic = topics.event
    elif parcel.health is not None:
        content, topic = health_payload(parcel.health, topics.device), topics.health
    else:
        content, topic = drops_payload(dict(parcel.drops or {}), topics.device), topics.drops
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Message(topic, text.encode(), str(content.get("key", parcel.kind)))


def event_payload(
    event: StoredEvent, device: str, *, is_correction: bool = False
) -> dict[str, Any]:
    """An event; a correction is the whole event again with better times, under the same key."""
    return {
        "v": VERSION,
        "key": f"{device}/{event.boot_id}/{event.seq}",
        **({"correction": True} if is_correction else {}),
        "device": device,
        "seq": event.seq,
        "label": event.label,
        "score": event.score,
        "started_at": event.started_at,
        "ended_at": event.ended_at,
        "clock_quality": event.clock_quality,
        "clock_shift_ms": event.clock_shift_ms,
        "region": event.region,
        "reason": event.reason,
        "named_by": event.named_by,
        "novelty": event.novelty,
        "frames": event.frames,
        "model": event.model,
        "model_digest": event.model_digest,
        "source": event.source,
    }


def health_payload(health: StoredHealth, device: str) -> dict[str, Any]:
    """A camera fault that began or was over; its numbers are not those of events."""
    return {
        "v": VERSION,
        "key": f"{device}/{health.boot_id}/health/{health.seq}",
        "device": device,
        "seq": health.seq,
        "fault": health.fault,
        "ok": health.ok,
        "detail": health.detail,
        "at": health.at,
        "clock_quality": health.clock_quality,
        "clock_shift_ms": health.clock_shift_ms,
    }


def drops_payload(drops: dict[str, int], device: str) -> dict[str, Any]:
    """Everything that was ever left out, counted by name: sums, so the newest one is all."""
    return {"v": VERSION, "device": device, "drops": drops}
