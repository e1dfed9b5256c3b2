"""What a run is doing now, told by a file: for the uplink, and for whoever looks at a station."""

import contextlib
import json
import logging
import math
import os
import time
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import clock
from .polled import DAMAGED, Polled, read_object

LIVE = "live.json"
USUAL_S = 30.0
"""So often it is written where nothing happens: 3,000 small writes a day, into RAM if can be."""
SOONEST_S = 1.0
STALE_S = 75.0
"""Two writes missed and some patience: nobody is running there."""
_PASSING = ("clocks", "fps", "frames", "skipped", "temperature_c", "waiting")
"""Figures that always differ; none of them alone is worth a write."""

log = logging.getLogger("sightpost")


@dataclass(frozen=True, slots=True)
class Live:
    """A running station at one moment.

    ``armed`` and ``threshold`` are in force, not asked for. ``events`` are those of this run,
    ``frames`` the Predictions made, ``skipped`` the frames dropped for newer ones; ``open`` is what
    the Event open in each region would be called now. ``fault`` is what ails the camera, "" where
    nothing does. ``heat_bits`` is the firmware's throttle word, ``pace`` how the heat slows it
    down ("" where it does not). ``waiting`` counts what is not on disk yet, ``disk_full`` says that
    nothing can be for now.
    """

    armed: bool = True
    threshold: float = 0.8
    run: int = 0
    model: str = ""
    fps: float = 0.0
    frames: int = 0
    skipped: int = 0
    events: int = 0
    open: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    detail: str = ""
    temperature_c: float | None = None
    heat_bits: int = 0
    pace: str = ""
    waiting: int = 0
    disk_full: bool = False
    clocks: clock.Reading = field(default_factory=clock.read)

    def is_fresh(self, now: clock.Reading) -> bool:
        """Whether the run that wrote this is probably there still."""
        passed_s = (now.monotonic_ns - self.clocks.monotonic_ns) / 1e9
        return now.boot_id == self.clocks.boot_id and passed_s <= STALE_S

    def gist(self) -> dict[str, Any]:
        """All but the figures that always differ: another one is news."""
        return {k: v for k, v in asdict(self).items() if k not in _PASSING}


def live_path(folder: Path) -> Path:
    """In ``$RUNTIME_DIRECTORY``, which systemd keeps in RAM, else in the store's folder."""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return (Path(runtime) if runtime else folder) / LIVE


def write_live(folder: Path, live: Live) -> None:
    """Replace the file in one step; not synced, for after a power cut nobody asks for it."""
    path = live_path(folder)
    beside = path.with_name(f".{LIVE}.{os.getpid()}")
    beside.write_text(json.dumps({"v": 1, **asdict(live)}))
    os.replace(beside, path)


def read_live(folder: Path) -> Live | None:
    """What a run wrote last, None where none did or the file is damaged; see ``is_fresh``."""
    return read_live_file(live_path(folder))


def read_live_file(path: Path) -> Live | None:
    """The same of a file whose place is known: a service's lies in /run/sightpost/NAME."""
    try:
        return _parsed(read_object(path))
    except (OSError, *DAMAGED):
        return None


def polled_live(folder: Path) -> Polled[Live | None]:
    """Gives at each call what the run wrote last, for the price of a stat."""
    return Polled(live_path(folder), _parsed, None)


class LiveFile:
    """Keeps the file up to date for a run: at once where something happened, else now and then.

    A disk that takes no more is no reason to stop looking: it is said once.
    """

    def __init__(self, folder: Path, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock_s = folder, clock_s
        self._written_s = -math.inf
        self._gist: dict[str, Any] = {}
        self._warned = False

    @property
    def due(self) -> bool:
        """Whether ``tell`` could write now; spares a caller the making of a ``Live``."""
        return self._clock_s() - self._written_s >= SOONEST_S

    def tell(self, live: Live) -> None:
        """Write it where it is news or the last one is old."""
        now_s, gist = self._clock_s(), live.gist()
        passed_s = now_s - self._written_s
        if passed_s < SOONEST_S or (gist == self._gist and passed_s < USUAL_S):
            return
        self._written_s = now_s
        try:
            write_live(self._folder, live)
            self._gist, self._warned = gist, False
        except OSError as exc:
            if not self._warned:
                log.warning("cannot write %s: %s", live_path(self._folder), exc.strerror)
                self._warned = True

    def close(self) -> None:
        """The run is over: nothing is told any more."""
        with contextlib.suppress(OSError):
            live_path(self._folder).unlink()


def _parsed(found: Mapping[str, Any]) -> Live:
    """A field that is missing has its default; keys of a newer release are left alone."""
    clocks = clock.Reading(**_fields(clock.Reading, found["clocks"]))
    rest = {key: value for key, value in found.items() if key != "clocks"}
    return Live(**_fields(Live, rest), clocks=clocks)


def _fields(cls: type, found: Mapping[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    values = {name: found[name] for name in hints if name in found}
    for name, value in values.items():
        if not _fits(hints[name], value):
            raise ValueError(f"{name} is {value!r}")
    return values


def _fits(hint: Any, value: Any) -> bool:
    """A truth is no figure, and neither are the infinities that Python's JSON lets through."""
    if arguments := typing.get_args(hint):
        if typing.get_origin(hint) is not dict:
            return any(_fits(one, value) for one in arguments)
        return isinstance(value, dict) and all(_fits(arguments[1], v) for v in value.values())
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if hint is int:  # beyond 64 bits nothing was counted, and sums with floats overflow
        return type(value) is int and -(2**63) <= value < 2**63
    return type(value) is hint
