"""How a station is doing: what systemd, the run itself and the store say, in one record."""

import os
import shutil
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import clock
from ..live import Live, read_live
from ..lives import Lives, read_lives
from ..models import ModelFolder
from ..store.rows import StoredEvent
from ..uplink.state import StoreWatch
from .machine import Machine
from .places import Places

_ASKED = "ActiveState,SubState,ActiveEnterTimestamp,NRestarts,Result,StatusText,UnitFileState"


@dataclass(frozen=True, slots=True)
class Unit:
    """What systemd says of a unit. ``since``: when it got READY, UTC, "" where it is not active;
    ``restarts`` since somebody started it; ``result`` of its last end, such as "watchdog"."""

    name: str
    state: str = "inactive"
    detail: str = "dead"
    since: str = ""
    restarts: int = 0
    result: str = ""
    says: str = ""
    enabled: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """A station at one moment; ``live`` None: nothing runs, or ``hidden`` says that its folders
    cannot be looked into by this user."""

    name: str
    camera: Unit
    uplink: Unit
    reboots: bool = False
    hidden: bool = False
    live: Live | None = None
    bad_ends: int = 0
    last_bad: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    last_event: dict[str, Any] | None = None
    events_today: int = 0
    events: int = 0
    waiting: int = 0
    disk: dict[str, int] = field(default_factory=dict)

    @property
    def is_active(self) -> bool:
        """Whether the camera is watched now."""
        return self.camera.state == "active"


def look(machine: Machine, places: Places) -> Standing:
    """How it is doing now; what cannot be found out is left out."""
    store = machine.path(places.state)
    standing = Standing(
        places.name,
        _unit(machine, places.camera),
        _unit(machine, places.uplink),
        reboots=_unit(machine, places.reboot).enabled,
    )
    if not os.access(store, os.R_OK | os.X_OK):
        return replace(standing, hidden=_is_there(machine, places))
    facts = StoreWatch(store)(clock.now())
    lives = read_lives(store)
    return replace(
        standing,
        live=_live(machine.path(places.runtime)),
        bad_ends=lives.bad,
        last_bad=_last_bad(lives),
        model=_model(store, machine.path(places.key)),
        last_event=_event(facts.last),
        events_today=facts.today,
        events=facts.total,
        waiting=facts.undelivered,
        disk=_disk(store),
    )


def as_facts(standing: Standing) -> dict[str, Any]:
    """All of it, for JSON."""
    facts = asdict(standing)
    if standing.live is not None:
        facts["live"].pop("clocks")
    return facts


def _unit(machine: Machine, name: str) -> Unit:
    words = ["systemctl", "show", "--timestamp=unix", f"--property={_ASKED}", name]
    rows = (line.partition("=") for line in machine.ask(*words).out.splitlines())
    said = {key: value for key, _, value in rows}
    since = said.get("ActiveEnterTimestamp", "").removeprefix("@")
    state = said.get("ActiveState", "unknown")
    return Unit(
        name,
        state,
        said.get("SubState", ""),
        _time(int(since)) if since.isdecimal() and state == "active" else "",
        int(said.get("NRestarts") or 0),
        said.get("Result", ""),
        said.get("StatusText", ""),
        said.get("UnitFileState") == "enabled",
    )


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _is_there(machine: Machine, places: Places) -> bool:
    """Whether somebody else may see more; a folder that cannot be looked into is one, too."""
    try:
        return machine.path(places.state).exists()
    except OSError:
        return True


def _live(runtime: Path) -> Live | None:
    live = read_live(runtime)
    return live if live is not None and live.is_fresh(clock.read()) else None


def _last_bad(lives: Lives) -> dict[str, Any] | None:
    if not lives.ends:
        return None
    end = lives.ends[-1]
    return {"time": clock.iso(end.at_ms), "why": end.why}


def _model(store: Path, key: Path) -> dict[str, Any] | None:
    folder = ModelFolder(store / "models", key=key)
    one = folder.current()
    if one is None:
        return None
    return {
        "id": one.id, "name": one.name, "version": one.version, "signed": one.signed,
        "on_trial": folder.state().trial is not None,
    }  # fmt: skip


def _event(event: StoredEvent | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {
        "seq": event.seq, "label": event.label, "score": event.score, "time": event.started_at
    }  # fmt: skip


def _disk(store: Path) -> dict[str, int]:
    space = shutil.disk_usage(store)
    return {"bytes": space.total, "free_bytes": space.free}
