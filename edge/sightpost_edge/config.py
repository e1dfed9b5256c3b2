"""TOML files become frozen dataclasses; an unknown key is an error that names the nearest one."""

import dataclasses
import logging
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from .clips import ClipSettings
from .contract import Contract
from .durable import unreadable
from .errors import ConfigError, first_line, nearest, where_closed
from .export.deployment import Deployment
from .heat import Thermometer
from .judge import FrameJudge, HealthSettings
from .masking import without_password
from .motion import MotionSettings
from .pace import Pace, RateSettings
from .pixels import WHOLE, Region
from .rules import UNKNOWN, Rules
from .sampling import SampleSettings
from .sinks.gpio import ANY, PinSettings
from .sources.settings import CameraSettings
from .store import default_folder
from .store.quota import StorageSettings
from .uplink.settings import MqttSettings

T = TypeVar("T")

MOST_BYTES = 1_000_000
"""Of a file: /dev/zero would be read for ever."""

log = logging.getLogger("sightpost")

_NAMES: dict[type, str] = {
    float: "a number", int: "a whole number", str: 'a text in "quotes"', bool: "true or false",
    list: "a list", dict: "a table",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """One camera station: ``sightpost run --config site.toml``; options on the line win over it.

    ``name`` is the station's, in messages and exports; the host's where there is none. ``threads``
    0: as many as pay. ``rules`` are the keys of ``rules.Rules``; thresholds, from which
    predictions are logged and events open, come from the Bundle's contract unless given.
    """

    name: str = ""
    model: str = ""
    source: str = ""
    labels: str = ""
    log: str = ""
    store: str = ""
    snapshots: bool = True
    threads: int = 0
    camera: CameraSettings = dataclasses.field(default_factory=CameraSettings)
    regions: list[Region] = dataclasses.field(default_factory=list)
    motion: MotionSettings = dataclasses.field(default_factory=MotionSettings)
    health: HealthSettings = dataclasses.field(default_factory=HealthSettings)
    rate: RateSettings = dataclasses.field(default_factory=RateSettings)
    rules: dict[str, Any] = dataclasses.field(default_factory=dict)
    pins: list[PinSettings] = dataclasses.field(default_factory=list)
    storage: StorageSettings = dataclasses.field(default_factory=StorageSettings)
    clips: ClipSettings = dataclasses.field(default_factory=ClipSettings)
    samples: SampleSettings = dataclasses.field(default_factory=SampleSettings)
    mqtt: MqttSettings = dataclasses.field(default_factory=MqttSettings)
    deployment: Deployment = dataclasses.field(default_factory=Deployment)

    def __post_init__(self) -> None:
        build(Rules, self.rules, where="rules")
        names = [region.name for region in self.regions]
        if len(set(names)) < len(names) or "" in names:
            raise ConfigError("regions: each needs a name of its own")
        if self.threads < 0:
            raise ConfigError(f"threads must not be negative, got {self.threads}")
        if self.log and not self.log.endswith((".jsonl", ".csv")):
            raise ConfigError(f"log {self.log}: the name must end in .jsonl or .csv")

    @classmethod
    def given(cls, config: Path | None, **options: str | Path | None) -> "Site":
        """The site of a config file, or a bare one, with the options that were given on the line.

        Raises:
            ConfigError: also where neither names a model.
        """
        site = load(cls, config) if config else cls()
        changes: dict[str, Any] = {key: str(value) for key, value in options.items() if value}
        site = dataclasses.replace(site, **changes)
        if not site.model:
            raise ConfigError("no model given", hint='--model FILE, or model = "..." in the config')
        return site

    def rules_for(self, contract: Contract) -> Rules:
        """The decision rules, with the Bundle's thresholds where the site gives none.

        Raises:
            ConfigError: they name labels that the model does not have.
        """
        rules = build(Rules, self.rules, where="rules")
        rules = rules.with_contract(contract, threshold_given="threshold" in self.rules)
        rules.check_labels(contract.labels, contract.nothing)
        return rules

    def judge(self) -> FrameJudge:
        """What withholds pictures on which nothing can be seen."""
        return FrameJudge(self.health)

    def pace(self) -> Pace:
        """How often to look."""
        return Pace(self.rate, Thermometer(), tell=log.warning)

    def check_pins(self, rules: Rules, contract: Contract) -> None:
        """Refuse pins that follow what no Event can be called: they would never move.

        Raises:
            ConfigError: naming the nearest label.
        """
        silent = {*contract.nothing, *rules.nothing}
        known = [x for x in (*contract.labels, *rules.groups, UNKNOWN, ANY) if x not in silent]
        for pin in self.pins:
            for label in pin.labels:
                if label not in known:
                    raise ConfigError(
                        f"pin {pin.pin}: no event is ever called {label!r}",
                        hint=nearest(label, known),
                    )

    @property
    def store_folder(self) -> Path:
        """Where its events live."""
        return Path(self.store) if self.store else default_folder()

    @property
    def looked_at(self) -> tuple[Region, ...]:
        """The regions, or the whole picture."""
        return tuple(self.regions) or (WHOLE,)


def load(cls: type[T], path: Path) -> T:
    """Read a TOML file into the dataclass ``cls``.

    Raises:
        ConfigError: no file, not TOML, an unknown key, or a value of the wrong kind.
        StoreError: its disk fails.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError as exc:
        raise ConfigError(f"no config file at {path}") from exc
    except OSError as exc:
        raise unreadable(path, exc, hint=where_closed(path, exc)) from exc
    return build(cls, parse(content, where=str(path)), where=str(path))


def parse(content: bytes, *, where: str) -> dict[str, Any]:
    """The TOML of a config, however spoilt or hostile the file.

    Raises:
        ConfigError: it is none.
    """
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{where} is longer than {MOST_BYTES} bytes: no config is")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except ValueError as exc:  # not TOML, not UTF-8, or a number of 5,000 digits
        raise ConfigError(f"{where} is not valid TOML: {first_line(exc)}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{where}: lists or tables within each other, thousands deep") from exc


def build(cls: type[T], raw: dict[str, Any], *, where: str) -> T:
    """Fill the dataclass ``cls`` from parsed TOML; tables fill nested dataclasses.

    Raises:
        ConfigError: all unknown keys at once, else the first value that is wrong.
    """
    _refuse(list(_unknown(cls, raw, "")), where)
    hints = typing.get_type_hints(cls)
    return cls(**{
        key: _convert(hints[key], value, where=f"{where}: {key}") for key, value in raw.items()
    })  # fmt: skip


def _unknown(hint: Any, value: Any, place: str) -> Iterator[tuple[str, str, str]]:
    """Each unknown key of a table, and of the tables in it: the table's place, the key, a hint."""
    if typing.get_origin(hint) is list and isinstance(value, list):
        for i, item in enumerate(value):
            yield from _unknown(typing.get_args(hint)[0], item, f"{place}[{i}]")
    elif dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = typing.get_type_hints(hint)
        for key, inner in value.items():
            if key in hints:
                yield from _unknown(hints[key], inner, f"{place}: {key}")
            else:
                yield place, key, nearest(key, hints)


def _refuse(unknown: list[tuple[str, str, str]], where: str) -> None:
    if len(unknown) == 1:
        ((place, key, hint),) = unknown
        raise ConfigError(f"{where}{place}: unknown key {key!r}", hint=hint)
    if unknown:
        named = ", ".join(f"{key!r}{place.replace(': ', ' in ', 1)}" for place, key, _ in unknown)
        hints = "; ".join(f"{key!r}: {hint}" for _, key, hint in unknown)
        raise ConfigError(f"{where}: unknown keys {named}", hint=hints)


def _convert(hint: Any, value: Any, *, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be a table")
        return build(hint, value, where=where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and arguments and isinstance(value, list):
        return [_convert(arguments[0], item, where=f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is typing.Literal and value not in arguments:
        choices = [str(choice) for choice in arguments if choice]
        raise ConfigError(
            f"{where}: unknown value {_shown(value)}", hint=nearest(str(value), choices)
        )
    kinds = _kinds(hint)
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise ConfigError(f"{where} is beyond the 64 bits that TOML's integers have")
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not any(type(value) is kind for kind in kinds):
        given = (kind for kind in kinds if kind is not types.NoneType)
        names = " or ".join(_NAMES.get(kind, kind.__name__) for kind in given)
        raise ConfigError(f"{where} must be {names}, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    """Of a value in the wrong place: it may be a camera's address."""
    return without_password(repr(value))


def _kinds(hint: Any) -> tuple[type, ...]:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return tuple(k for part in typing.get_args(hint) for k in _kinds(part))
    if typing.get_origin(hint) is typing.Literal:
        return tuple({type(choice) for choice in typing.get_args(hint)})
    return (typing.get_origin(hint) or hint,)
