"""What Home Assistant is told of a station: one message that describes the device and all of it.

The form is that of Home Assistant's MQTT device discovery, as release 2026.11.0 reads it: keys are
its abbreviations; what components share (availability, state topic, QoS) stands beside them once.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..control import HIGHEST, LOWEST
from ..records import FAULTS
from .mqtt import Topics

NO_FAULT = "none"
QUALITIES = ("synchronized", "unsynchronized", "unknown")
ARMED, THRESHOLD, DEFAULT = "armed", "threshold", "default"
"""Commands, and the word that takes a threshold back."""
_FIGURE = {"stat_cla": "measurement"}
_COUNT = {"stat_cla": "total_increasing"}
_HEALTH = {"ent_cat": "diagnostic"}
_TRUTH = {"pl_on": "True", "pl_off": "False"}
_TROUBLE = {"dev_cla": "problem", **_TRUTH, **_HEALTH}


@dataclass(frozen=True, slots=True)
class Component:
    """One entity: its platform, its key, its name, and where in the state its value stands.

    ``extra`` are further keys of the platform; ``attributes`` is the part of the state that is
    shown beside the value.
    """

    platform: str
    key: str
    name: str
    value: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    attributes: str = ""

    @property
    def id(self) -> str:
        """With its platform: a key that moves to another one is another component."""
        return f"{self.platform}_{self.key}"


def _sensor(key: str, name: str, value: str, **extra: Any) -> Component:
    return Component("sensor", key, name, value, extra)


def _enum(key: str, name: str, value: str, *options: str) -> Component:
    return _sensor(key, name, value, dev_cla="enum", ops=list(options), **_HEALTH)


def _trouble(key: str, name: str, value: str, attributes: str = "") -> Component:
    return Component("binary_sensor", key, name, value, _TROUBLE, attributes)


READ_ONLY = (
    _sensor("last_label", "Last label", "last.label", ic="mdi:label-outline"),
    _sensor("last_score", "Last score", "last.score", sug_dsp_prc=2, ic="mdi:gauge", **_FIGURE),
    _sensor("last_time", "Last event", "last.time", dev_cla="timestamp"),
    _sensor(
        "events_today", "Events today", "events.today",
        unit_of_meas="events", ic="mdi:calendar-today", **_COUNT,
    ),
    _sensor(
        "events_total", "Events", "events.total", unit_of_meas="events", ic="mdi:counter", **_COUNT
    ),
    Component("binary_sensor", "running", "Running", "running",
              {"dev_cla": "running", **_TRUTH, **_HEALTH}),
    _trouble("camera", "Camera", "camera.problem", "camera"),
    _enum("camera_fault", "Camera fault", "camera.fault", NO_FAULT, *FAULTS),
    _sensor("fps", "Frame rate", "fps", unit_of_meas="fps", sug_dsp_prc=1, ic="mdi:speedometer",
            **_FIGURE, **_HEALTH),
    _sensor("temperature", "Temperature", "temperature_c", dev_cla="temperature",
            unit_of_meas="°C", sug_dsp_prc=0, **_FIGURE, **_HEALTH),
    _trouble("throttled", "Throttled", "heat.throttled", "heat"),
    _trouble("disk", "Storage full", "disk_full"),
    _sensor("undelivered", "Undelivered", "undelivered", unit_of_meas="messages",
            ic="mdi:tray-full", **_FIGURE, **_HEALTH),
    Component("sensor", "dropped", "Dropped", "drops.total",
              {"ic": "mdi:delete-outline", **_COUNT, **_HEALTH}, "drops"),
    _enum("clock", "Clock", "clock_quality", *QUALITIES),
)  # fmt: skip


def components(topics: Topics, *, snapshots: bool) -> tuple[Component, ...]:
    """All entities of a station."""
    asked = topics.command(THRESHOLD)
    switch = {
        "cmd_t": topics.command(ARMED), "pl_on": "ON", "pl_off": "OFF",
        "stat_on": "True", "stat_off": "False", "ic": "mdi:shield-check-outline",
    }  # fmt: skip
    slider = {
        "cmd_t": asked, "min": LOWEST, "max": HIGHEST, "step": 0.01, "mode": "slider",
        "ent_cat": "config", "ic": "mdi:tune-variant",
    }  # fmt: skip
    back = {"cmd_t": asked, "pl_prs": DEFAULT, "ent_cat": "config", "ic": "mdi:restore"}
    picture = {"img_t": topics.snapshot, "cont_type": "image/jpeg"}
    return (
        Component("switch", ARMED, "Armed", "armed", switch),
        Component("number", THRESHOLD, "Threshold", "threshold", slider),
        Component("button", "threshold_default", "Default threshold", "", back),
        *((Component("image", "snapshot", "Snapshot", "", picture),) if snapshots else ()),
        *READ_ONLY,
    )


@dataclass(frozen=True, slots=True)
class Station:
    """Who announces itself; ``hardware`` and ``url`` may be unknown: ""."""

    name: str
    version: str
    hardware: str = ""
    url: str = ""


def object_id(topics: Topics) -> str:
    """The name of the device and of all that is unique, of letters that discovery allows."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", f"{topics.base}_{topics.device}")


def config_topic(prefix: str, topics: Topics) -> str:
    """Where the announcement is kept."""
    return f"{prefix}/device/{object_id(topics)}/config"


def announcement(
    station: Station, topics: Topics, made: tuple[Component, ...], gone: Mapping[str, str]
) -> str:
    """The payload; ``gone`` are components of older releases, id -> platform.

    A component that names its platform and nothing else is removed. It goes on being named for
    good: whoever was away when it went would keep a ghost.
    """
    identity = object_id(topics)
    told: dict[str, Any] = {id_: {"p": platform} for id_, platform in gone.items()}
    for one in made:
        told[one.id] = _described(one, identity, topics)
    device = {"ids": [identity], "name": station.name, "mf": "sightpost", "mdl": "camera station",
              "sw": station.version, "hw": station.hardware}  # fmt: skip
    origin = {"name": "sightpost", "sw": station.version, "url": station.url}
    whole = {
        "dev": {key: value for key, value in device.items() if value},
        "o": {key: value for key, value in origin.items() if value},
        "avty": [{"t": topics.status}],
        "stat_t": topics.state,
        "qos": 1,
        "cmps": told,
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def _described(one: Component, identity: str, topics: Topics) -> dict[str, Any]:
    told: dict[str, Any] = {
        "p": one.platform, "uniq_id": f"{identity}_{one.key}", "name": one.name, **one.extra
    }  # fmt: skip
    if one.value:
        told["val_tpl"] = f"{{{{ value_json.{one.value} }}}}"
    if one.attributes:
        told["json_attr_t"] = topics.state
        told["json_attr_tpl"] = f"{{{{ value_json.{one.attributes} | tojson }}}}"
    return told
