"""What Home Assistant 2026.11.0 takes over MQTT, written down from its source.

Read in the wheel homeassistant-2026.11.0: components/mqtt/{discovery,schemas,abbreviations,const,
util,config,sensor,binary_sensor,switch,number,button,image}.py, components/sensor/const.py.
Release 2025.1.4, run over the same payload, took every component of it as well.

Its schemas leave out keys of a component that they do not know, silently: here they are refused.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

RELEASE = "2026.11.0"

# abbreviations.py, as far as we use it: at the root, in "avty" and in components.
ABBREVIATIONS = {
    "avty": "availability", "cmd_t": "command_topic", "cmps": "components",
    "cont_type": "content_type", "dev": "device", "dev_cla": "device_class",
    "ent_cat": "entity_category", "ic": "icon", "img_t": "image_topic",
    "json_attr_t": "json_attributes_topic", "json_attr_tpl": "json_attributes_template",
    "o": "origin", "ops": "options", "p": "platform", "pl_off": "payload_off",
    "pl_on": "payload_on", "pl_prs": "payload_press", "stat_cla": "state_class",
    "stat_off": "state_off", "stat_on": "state_on", "stat_t": "state_topic",
    "sug_dsp_prc": "suggested_display_precision", "t": "topic", "uniq_id": "unique_id",
    "unit_of_meas": "unit_of_measurement", "val_tpl": "value_template",
}  # fmt: skip
DEVICE_ABBREVIATIONS = {
    "ids": "identifiers", "mf": "manufacturer", "mdl": "model", "sw": "sw_version",
    "hw": "hw_version", "sn": "serial_number", "sa": "suggested_area", "cu": "configuration_url",
}  # fmt: skip
ORIGIN_ABBREVIATIONS = {"sw": "sw_version", "url": "support_url"}

DISCOVERY_TOPIC = re.compile(r"\w+/(?:[a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config")
ROOT = {
    "device", "origin", "components", "availability", "availability_mode", "availability_topic",
    "availability_template", "payload_available", "payload_not_available", "state_topic",
    "command_topic", "qos", "encoding", "message_expiry_interval", "child_devices",
}  # fmt: skip
DEVICE = {
    "identifiers", "connections", "manufacturer", "model", "model_id", "name", "hw_version",
    "serial_number", "sw_version", "via_device", "suggested_area", "configuration_url",
}  # fmt: skip
ORIGIN = {"name", "sw_version", "support_url"}
SHARED = {
    "availability", "availability_mode", "availability_template", "availability_topic",
    "command_topic", "encoding", "message_expiry_interval", "payload_available",
    "payload_not_available", "state_topic", "qos",
}  # fmt: skip
"""What a component takes over from the root where it does not say it itself."""

# MQTT_ENTITY_COMMON_SCHEMA and MQTT_BASE_SCHEMA
COMMON = {
    "device", "entity_picture", "origin", "enabled_by_default", "entity_category", "icon",
    "json_attributes_topic", "json_attributes_template", "default_entity_id",
    "message_expiry_interval", "unique_id", "visible_by_default", "availability",
    "availability_mode", "availability_topic", "availability_template", "payload_available",
    "payload_not_available", "qos", "encoding", "group", "name", "platform",
}  # fmt: skip
PLATFORMS: dict[str, tuple[set[str], set[str]]] = {
    # platform: mandatory keys, further ones
    "sensor": (
        {"state_topic"},
        {"value_template", "device_class", "expire_after", "force_update", "state_class",
         "last_reset_value_template", "options", "suggested_display_precision",
         "unit_of_measurement"},
    ),
    "binary_sensor": (
        {"state_topic"},
        {"value_template", "device_class", "expire_after", "force_update", "off_delay",
         "payload_off", "payload_on"},
    ),
    "switch": (
        {"command_topic"},
        {"state_topic", "optimistic", "retain", "command_template", "payload_off", "payload_on",
         "state_off", "state_on", "value_template", "device_class"},
    ),
    "number": (
        {"command_topic"},
        {"state_topic", "optimistic", "retain", "command_template", "device_class", "max", "min",
         "mode", "payload_reset", "step", "unit_of_measurement", "value_template"},
    ),
    "button": (
        {"command_topic"}, {"retain", "command_template", "device_class", "payload_press"}
    ),
    "image": (
        {"image_topic"}, {"content_type", "image_encoding"}  # or url_topic, which we never use
    ),
}  # fmt: skip

# sensor/const.py: the units that go with a device class, the state classes that go with it
UNITS = {"temperature": {"°C", "°F", "K"}, "timestamp": {None}, "enum": {None}}
STATE_CLASSES = {"temperature": {"measurement"}, "timestamp": set(), "enum": set()}
ALL_STATE_CLASSES = {"measurement", "measurement_angle", "total", "total_increasing"}
BINARY_CLASSES = {"problem", "running", "connectivity", "motion", "occupancy"}  # and 23 more
LONGEST_STATE = 255


class Refused(Exception):
    """Home Assistant logs a warning and takes nothing of it, or takes it for something else."""


def read_announcement(topic: str, payload: str, *, prefix: str) -> dict[str, dict[str, Any]]:
    """Its components as they are set up, by id; one that is removed is empty.

    Raises:
        Refused: saying why.
    """
    trimmed = topic.removeprefix(f"{prefix}/")
    _need(DISCOVERY_TOPIC.fullmatch(trimmed) and trimmed.startswith("device/"), f"topic {topic}")
    whole = _long(json.loads(payload), ABBREVIATIONS)
    _need(set(whole) <= ROOT, f"root: {set(whole) - ROOT}")
    _need({"device", "origin", "components"} <= set(whole), "root: device, origin, components")
    _check_texts(_long(whole["device"], DEVICE_ABBREVIATIONS), DEVICE, "device")
    _check_texts(_long(whole["origin"], ORIGIN_ABBREVIATIONS), ORIGIN, "origin")
    _need(whole["device"].get("ids") or whole["device"].get("cns"), "device: no identifier")
    _need(whole["origin"].get("name"), "origin: no name")
    for one in whole.get("availability", []):
        long = _long(one, ABBREVIATIONS)
        _need("topic" in long, "availability without a topic")
        _check_topic(long["topic"])
    _need(whole.get("qos", 0) in (0, 1, 2), "qos")
    shared = {key: value for key, value in whole.items() if key in SHARED}
    return {id_: _component(id_, one, shared) for id_, one in whole["components"].items()}


def render(template: str, message: Mapping[str, Any]) -> str:
    """What Jinja makes of the two forms that we use.

    Raises:
        Refused: another form, or a key that the message lacks (Home Assistant logs an error).
    """
    found = re.fullmatch(r"\{\{ value_json\.([a-z_.]+)( \| tojson)? \}\}", template)
    if not found:
        raise Refused(f"template {template}")
    value: Any = message
    for key in found[1].split("."):
        if not isinstance(value, dict) or key not in value:
            raise Refused(f"{template}: no {key}")
        value = value[key]
    return json.dumps(value) if found[2] else str(value)


def check_state(one: Mapping[str, Any], message: Mapping[str, Any]) -> None:
    """Whether a component makes something of a state message; "None" is unknown everywhere.

    Raises:
        Refused: it would log a warning or ignore it.
    """
    if "json_attributes_template" in one:
        attributes = json.loads(render(one["json_attributes_template"], message))
        _need(isinstance(attributes, dict), "attributes are no object")
    if "value_template" not in one or (text := render(one["value_template"], message)) == "None":
        return
    platform = one["platform"]
    if platform == "binary_sensor":
        _need(text in (one["payload_on"], one["payload_off"]), text)
    elif platform == "switch":
        _need(text in (one["state_on"], one["state_off"]), text)
    elif platform == "number":
        _need(one["min"] <= float(text) <= one["max"], text)
    elif one.get("device_class") == "timestamp":
        _need(datetime.fromisoformat(text).tzinfo is not None, f"{text}: no time zone")
    elif one.get("device_class") == "enum":
        _need(text in one["options"], text)
    elif one.get("state_class") or one.get("unit_of_measurement"):
        float(text)
    else:
        _need(len(text) <= LONGEST_STATE, "too long")


def _component(id_: str, short: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    own = _long(short, ABBREVIATIONS)
    platform = own.get("platform")
    _need(platform in PLATFORMS, f"{id_}: platform {platform}")
    if set(own) == {"platform"}:
        return {}  # removed
    _need(isinstance(own.get("unique_id"), str), f"{id_}: no unique_id")
    mandatory, further = PLATFORMS[platform]
    strange = set(own) - COMMON - mandatory - further
    _need(not strange, f"{id_}: {strange}")
    whole = {**shared, **own}
    _need(mandatory <= set(whole), f"{id_}: lacks {mandatory - set(whole)}")
    for key, value in whole.items():
        if key.endswith("topic"):
            _check_topic(value)
    categories = {None, "diagnostic"} if "sensor" in platform else {None, "diagnostic", "config"}
    _need(own.get("entity_category") in categories, f"{id_}: entity_category")
    _need(str(own.get("icon", "mdi:x")).startswith("mdi:"), f"{id_}: icon")
    if platform == "sensor":
        _check_sensor(id_, own)
    if platform == "binary_sensor":
        _need(own.get("device_class") in {None, *BINARY_CLASSES}, f"{id_}: device_class")
    if platform == "number":
        _need(own["min"] <= own["max"] and own["step"] >= 0.001, f"{id_}: range")
        _need(own["mode"] in ("auto", "box", "slider"), f"{id_}: mode")
    return whole


def _check_sensor(id_: str, own: Mapping[str, Any]) -> None:
    device, unit = own.get("device_class"), own.get("unit_of_measurement")
    state = own.get("state_class")
    _need(state is None or state in ALL_STATE_CLASSES, f"{id_}: state_class {state}")
    if device is not None:
        _need(device in UNITS, f"{id_}: device_class {device}")
        _need(unit in UNITS[device], f"{id_}: {unit} of {device}")
        _need(state is None or state in STATE_CLASSES[device], f"{id_}: {state} of {device}")
    if (options := own.get("options")) is not None:
        _need(options and device == "enum" and not state and not unit, f"{id_}: options")


def _long(short: Mapping[str, Any], abbreviations: Mapping[str, str]) -> dict[str, Any]:
    return {abbreviations.get(key, key): value for key, value in short.items()}


def _check_texts(table: Mapping[str, Any], known: set[str], where: str) -> None:
    _need(set(table) <= known, f"{where}: {set(table) - known}")
    for key, value in table.items():
        listed = value if key in ("identifiers", "connections") else [value]
        _need(all(isinstance(one, str) for one in listed), f"{where}: {key}")
        if key.endswith("url"):
            _need(re.match(r"(https?|homeassistant)://", value), f"{where}: {key} {value!r}")


def _check_topic(topic: str) -> None:
    _need(isinstance(topic, str) and topic and len(topic.encode()) <= 65535, f"topic {topic!r}")
    _need(not re.search(r"[+#\0-\x1f\x7f-\x9f]", topic), f"topic {topic!r}")


def _need(good: object, why: str) -> None:
    if not good:
        raise Refused(why)
