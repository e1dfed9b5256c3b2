"""What people ask of a running station: armed or not, and another threshold; asked by a file.

``sightpost uplink`` writes ``control.json`` when a command comes in; ``sightpost run`` looks at it
once a second and keeps to it, over restarts too. What is in force is told by ``live``.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .durable import give_to_owner, write_file
from .errors import ConfigError
from .polled import DAMAGED, Polled, read_object
from .rules import ClassRule, Rules

CONTROL = "control.json"
LOWEST, HIGHEST = 0.05, 1.0
"""Below 0.05 anything at all is an Event: surely a mistake."""
POLL_S = 1.0

log = logging.getLogger("sightpost")


@dataclass(frozen=True, slots=True)
class Control:
    """``armed``: whether Events are made. ``threshold``: of all labels; None: as the site says."""

    armed: bool = True
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not LOWEST <= self.threshold <= HIGHEST:
            raise ConfigError(
                f"control: threshold ({self.threshold}) must lie in [{LOWEST}, {HIGHEST:g}]"
            )

    def __str__(self) -> str:
        own = self.threshold is None
        bar = "the site's own threshold" if own else f"threshold {self.threshold:g}"
        return f"{'armed' if self.armed else 'disarmed'}, {bar}"

    def rules(self, base: Rules) -> Rules | None:
        """The rules to go by instead of ``base``, itself where nothing differs; None: disarmed.

        ``leave`` stays where it is, or as far below a lower threshold as it was in proportion:
        where both were equal every dip would end the Event.
        """
        if not self.armed:
            return None
        if self.threshold is None:
            return base
        share = min(1.0, base.leave / base.threshold)
        highest = self.threshold * share

        def below(rule: ClassRule) -> ClassRule:
            leave = None if rule.leave is None else min(rule.leave, highest)
            return replace(rule, threshold=None, leave=leave)

        return replace(
            base,
            threshold=self.threshold,
            leave=min(base.leave, highest),
            classes={name: below(rule) for name, rule in base.classes.items()},
        )


def read_control(folder: Path) -> Control:
    """What is asked for; the defaults where nothing is, or where the file is damaged (logged)."""
    try:
        return _parsed(read_object(folder / CONTROL))
    except FileNotFoundError:
        return Control()
    except (OSError, *DAMAGED) as exc:
        log.warning("%s cannot be read (%s); armed, with the site's threshold", CONTROL, exc)
        return Control()


def write_control(folder: Path, control: Control) -> None:
    """Ask for this; it survives a power cut.

    Raises:
        DiskFull, StoreError: see ``errors.writing_to``.
    """
    write_file(folder / CONTROL, json.dumps({"v": 1, **asdict(control)}).encode())
    give_to_owner(folder, folder / CONTROL)


class InForce:
    """The rules of the moment, for ``decide``: called at each Prediction, looks once a second."""

    def __init__(
        self, folder: Path, base: Rules, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._polled = Polled(folder / CONTROL, _parsed, Control())
        self._base, self._clock_s = base, clock_s
        self.control = self._polled()
        self._rules = self.control.rules(base)
        self._looked_s = clock_s()
        if self.control != Control():
            self._say()

    def __call__(self) -> Rules | None:
        """The same object until something changes; None while disarmed."""
        now_s = self._clock_s()
        if now_s - self._looked_s >= POLL_S:
            self._looked_s = now_s
            control = self._polled()
            if control != self.control:
                self.control = control
                self._rules = control.rules(self._base)
                self._say()
        return self._rules

    @property
    def threshold(self) -> float:
        """The general one, in force or, while disarmed, from the moment it is armed again."""
        asked = self.control.threshold
        return self._base.threshold if asked is None else asked

    def _say(self) -> None:
        log.info("%s", self.control)


def _parsed(found: Mapping[str, Any]) -> Control:
    """Keys that are missing have their defaults, those of a newer release are left alone."""
    armed, threshold = found.get("armed", True), found.get("threshold")
    if not isinstance(armed, bool):
        raise ValueError(f"armed is {armed!r}")  # noqa: TRY004
    if threshold is not None:
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
            raise ValueError(f"threshold is {threshold!r}")
        threshold = float(threshold)
    return Control(armed, threshold)
