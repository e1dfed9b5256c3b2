"""TOML files become frozen dataclasses; an unknown key is an error that names the nearest one."""

import dataclasses
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from .decide import Rules
from .errors import ConfigError, nearest

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """One camera station: ``sightpost run --config site.toml``; options on the line win over it.

    ``rules`` are the keys of ``decide.Rules``; ``rules.threshold``, the confidence from which a
    prediction is logged and an event opens, comes from the Bundle's contract unless given.
    """

    model: str = ""
    source: str = ""
    labels: str = ""
    log: str = ""
    store: str = ""
    snapshots: bool = True
    threads: int = 1
    rules: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rules_with(threshold=0.8)
        if self.threads < 1:
            raise ConfigError(f"threads must be at least 1, not {self.threads}")
        if self.log and not self.log.endswith((".jsonl", ".csv")):
            raise ConfigError(f"log {self.log}: the name must end in .jsonl or .csv")

    def rules_with(self, *, threshold: float) -> Rules:
        """The decision rules; ``threshold`` is used where the file names none."""
        return build(Rules, {"threshold": threshold, **self.rules}, where="rules")


def load(cls: type[T], path: Path) -> T:
    """Read a TOML file into the dataclass ``cls``.

    Raises:
        ConfigError: no file, not TOML, an unknown key, or a value of the wrong kind.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as exc:
        raise ConfigError(f"no config file at {path}") from exc
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}") from exc
    return build(cls, raw, where=str(path))


def build(cls: type[T], raw: dict[str, Any], *, where: str) -> T:
    """Fill the dataclass ``cls`` from parsed TOML; tables fill nested dataclasses."""
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in hints:
            raise ConfigError(f"{where}: unknown key {key!r}", hint=nearest(key, hints))
        values[key] = _convert(hints[key], value, where=f"{where}: {key}")
    return cls(**values)


def _convert(hint: Any, value: Any, *, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be a table")
        return build(hint, value, where=where)
    kinds = _kinds(hint)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not any(type(value) is kind for kind in kinds):
        names = " or ".join(kind.__name__ for kind in kinds if kind is not types.NoneType)
        raise ConfigError(f"{where} must be {names}, got {value!r}")
    return value


def _kinds(hint: Any) -> tuple[type, ...]:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return tuple(k for part in typing.get_args(hint) for k in _kinds(part))
    if typing.get_origin(hint) is typing.Literal:
        return tuple({type(choice) for choice in typing.get_args(hint)})
    return (typing.get_origin(hint) or hint,)
