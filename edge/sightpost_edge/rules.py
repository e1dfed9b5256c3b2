"""When Predictions become an Event: the ``[rules]`` table of site.toml, checked as it is made."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from .errors import ConfigError, nearest

if TYPE_CHECKING:
    from .contract import Contract

UNKNOWN = "unknown"
"""What an Event of pictures unlike everything known is called."""
Smoothing = Literal["exponential", "majority"]
Unknown = Literal["event", "ignore", "off"]


@dataclass(frozen=True, slots=True)
class ClassRule:
    """What differs for one label or group; None where the general rule holds."""

    threshold: float | None = None
    leave: float | None = None
    least_s: float | None = None
    cooldown_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("threshold", "leave"):
            if (share := getattr(self, name)) is not None:
                _check_share(share, name)
        for name in ("least_s", "cooldown_s"):
            if (seconds := getattr(self, name)) is not None:
                _check_seconds(seconds, name)


@dataclass(frozen=True, slots=True)
class Rules:
    """When Predictions become an Event; times are in seconds of the source's own clock.

    ``threshold``: smoothed score at which an Event opens. ``leave``: below it (or below the
    threshold, where that is lower) for ``gap_s`` the Event closes. ``classes``: tables by label
    or group with ``ClassRule``'s keys, where one differs. ``smoothing``: see ``smoothing``;
    ``smoothing_s`` is the time constant or the window, 0 switches it off. ``switch_s``: another
    label must lead this long, above its threshold, to end the Event and open its own. ``max_s``:
    a subject that stays is reported this often. ``least_s``: what was there for less is no Event
    (a photo in a folder is exempt: it has no duration). ``cooldown_s``: after an Event none of
    the same label and region opens for so long. ``margin``: how far the surest label must lead
    the next one to count. ``unknown``: what pictures unlike everything known make, an "event" of
    that name, nothing at all ("ignore"), or what their scores say ("off"). ``groups``: parent ->
    labels; the parent speaks where none of its labels is sure. ``nothing``: further labels that
    mean nothing is there.
    """

    threshold: float = 0.8
    leave: float = 0.5
    classes: dict[str, Any] = field(default_factory=dict)
    smoothing: Smoothing = "exponential"
    smoothing_s: float = 0.15
    gap_s: float = 0.3
    switch_s: float = 0.8
    max_s: float = 30.0
    least_s: float = 0.0
    cooldown_s: float = 0.0
    margin: float = 0.0
    unknown: Unknown = "event"
    groups: dict[str, list[str]] = field(default_factory=dict)
    nothing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not (0 < self.threshold <= 1 and 0 < self.leave <= 1):
            raise ConfigError(
                f"threshold ({self.threshold}) and leave ({self.leave}) must lie in (0, 1]"
            )
        for name in ("smoothing_s", "gap_s", "switch_s", "least_s", "cooldown_s"):
            _check_seconds(getattr(self, name), f"rules: {name}")
        if not self.max_s > 0:
            raise ConfigError(
                f"rules: max_s ({self.max_s:g}) must be positive",
                hint="inf makes one Event of a subject, however long it stays",
            )
        if not 0 <= self.margin < 1:
            raise ConfigError(f"rules: margin ({self.margin}) must lie in [0, 1)")
        _check_choice(self.smoothing, get_args(Smoothing), "smoothing")
        _check_choice(self.unknown, get_args(Unknown), "unknown")
        _check_words(self.nothing, "nothing")
        _check_groups(self.groups)
        classes = {name: _class_rule(name, table) for name, table in self.classes.items()}
        object.__setattr__(self, "classes", classes)

    def of(self, name: str) -> ClassRule:
        """All four figures for a label or group; ``leave`` is never above ``threshold``."""
        own: ClassRule = self.classes.get(name, ClassRule())
        threshold = self.threshold if own.threshold is None else own.threshold
        return ClassRule(
            threshold=threshold,
            leave=min(self.leave if own.leave is None else own.leave, threshold),
            least_s=self.least_s if own.least_s is None else own.least_s,
            cooldown_s=self.cooldown_s if own.cooldown_s is None else own.cooldown_s,
        )

    def with_contract(self, contract: "Contract", *, threshold_given: bool) -> "Rules":
        """The same with the Bundle's thresholds where nobody gave one.

        A class's own rule goes first, then a ``threshold`` that somebody gave, then what training
        found for each label, then the contract's general one, which groups take as well.
        """
        if threshold_given:
            return self
        classes = dict(self.classes)
        for label, score in zip(contract.labels, contract.thresholds, strict=False):
            own = classes.get(label, ClassRule())
            if own.threshold is None:
                classes[label] = replace(own, threshold=score)
        return replace(self, threshold=contract.threshold, classes=classes)

    def check_labels(self, labels: tuple[str, ...], nothing: Iterable[str]) -> None:
        """Refuse names that the model does not have.

        Raises:
            ConfigError: in ``nothing``, ``groups`` or ``classes``, or a group called like a label.
        """
        silent = {*nothing, *self.nothing}
        _check_known(silent, labels, "nothing")
        for parent, members in self.groups.items():
            if parent in labels or parent == UNKNOWN:
                raise ConfigError(
                    f"rules: the group {parent!r} is called like a label",
                    hint="give the group a name of its own, for instance that of the family",
                )
            _check_known(members, labels, f"groups: {parent}")
            if idle := silent & set(members):
                raise ConfigError(
                    f"rules: groups: {parent}: {sorted(idle)[0]!r} means nothing is there",
                    hint="take it out of the group",
                )
        _check_known(self.classes, (*labels, *self.groups, UNKNOWN), "classes")


def _class_rule(name: str, table: Any) -> ClassRule:
    where = f"rules: classes: {name}"
    if isinstance(table, ClassRule):
        return table
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"{where} must be a table", hint=f"write [rules.classes.{name}] and below it its keys"
        )
    keys = [key.name for key in fields(ClassRule)]
    for key, value in table.items():
        if key not in keys:
            raise ConfigError(f"{where}: unknown key {key!r}", hint=nearest(key, keys))
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{where}: {key} must be a number, got {value!r}")
    try:
        return ClassRule(**{key: float(value) for key, value in table.items()})
    except ConfigError as exc:
        raise ConfigError(f"{where}: {exc}") from exc


def _check_share(value: float, name: str) -> None:
    if not 0 < value <= 1:
        raise ConfigError(f"{name} ({value}) must lie in (0, 1]")


def _check_seconds(value: float, name: str) -> None:
    if not 0 <= value < math.inf:
        raise ConfigError(f"{name} ({value}) must be a number of seconds and not negative")


def _check_choice(value: object, valid: tuple[str, ...], name: str) -> None:
    if value not in valid:
        raise ConfigError(f"rules: {name}: {value!r} is none", hint=nearest(str(value), valid))


def _check_words(value: object, where: str) -> None:
    if not isinstance(value, (list, tuple)) or not all(isinstance(word, str) for word in value):
        raise ConfigError(f"rules: {where} must be a list of labels, got {value!r}")


def _check_groups(groups: Mapping[str, list[str]]) -> None:
    for parent, members in groups.items():
        _check_words(members, f"groups: {parent}")
        if not members:
            raise ConfigError(f"rules: groups: {parent} is empty", hint="list its labels")
    twice = [x for x, n in Counter(m for ms in groups.values() for m in ms).items() if n > 1]
    if twice:
        raise ConfigError(
            f"rules: groups: {twice[0]!r} is listed twice", hint="a label has one group at most"
        )


def _check_known(names: Iterable[str], valid: Iterable[str], where: str) -> None:
    known = tuple(valid)
    if strange := sorted(set(names) - set(known)):
        raise ConfigError(
            f"rules: {where} names labels the model does not have: {', '.join(strange)}",
            hint=nearest(strange[0], known),
        )
