"""What ``sightpost model`` shows: one model, all of them, whose are taken."""

import dataclasses
import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import clock
from ..text import printable
from .common import print_table
from .event_options import say
from .model_hints import pasted

if TYPE_CHECKING:
    from ..models import Installed, ModelFolder

TAKEN_OVER = "the station that is running takes it over by itself, within two seconds"
SHOWN_OUTCOMES = 3
RUNTIME_ROOT = Path("/run/sightpost")


def print_result(folder: "ModelFolder", one: "Installed", *, changed: bool, json: bool) -> None:
    """What is current now, and who has to do what about it: nobody."""
    facts = model_facts(folder, one)
    if json:
        print(jsonlib.dumps({**facts, "changed": changed}, indent=1, ensure_ascii=False))
    else:
        trial = ", on trial" if facts["on_trial"] else ""
        print(f"{printable(str(one))} {'is' if changed else 'was already'} current{trial}")
    if changed:
        say(
            TAKEN_OVER
            if _is_followed(folder)
            else f"the next run with --model {folder.path} starts with it"
        )


def _is_followed(folder: "ModelFolder") -> bool:
    """Whether a run follows these models, and is not stuck."""
    from ..live import LIVE, read_live, read_live_file
    from ..lock import is_held
    from ..models.slot import RUNNING

    store = folder.path.parent
    if not is_held(folder.path / RUNNING):
        return False
    lives = read_live_file(RUNTIME_ROOT / store.name / LIVE), read_live(store)
    now = clock.read()
    return any(live is not None and live.is_fresh(now) for live in lives)


def print_models(folder: "ModelFolder", *, json: bool) -> None:
    """All versions, newest first, and how the last trials ended."""
    models = [model_facts(folder, one) for one in folder.versions()]
    if json:
        print(jsonlib.dumps(_folder_facts(folder, models), indent=1, ensure_ascii=False))
        return
    if models:
        heading = ["", "version", "name", "sha256", "signed by", "state"]
        print_table([_cells(facts) for facts in models], heading)
    else:
        advice = "no model is installed here: sightpost model install PLACE"
        say(pasted(advice, folder.path.parent))
    for outcome in folder.state().outcomes[-SHOWN_OUTCOMES:]:
        why = f": {printable(outcome.why)}" if outcome.why else ""
        when = clock.iso(outcome.at_ms)[:16]
        print(f"{when}Z  {outcome.version or outcome.id} {outcome.result}{why}")


def print_trusted(folder: "ModelFolder", *, json: bool) -> None:
    """Whose models are taken."""
    facts = _trusted(folder)
    if json:
        print(jsonlib.dumps(facts, indent=1))
    elif not facts["key_id"]:
        print("trusted     none")
    else:
        print(f"trusted     {facts['key_id']}\npublic key  {facts['public_key']}")
        print(f"file        {facts['file']}")


def model_facts(folder: "ModelFolder", one: "Installed") -> dict[str, Any]:
    """One version and its part in the folder."""
    state, current, previous = folder.state(), folder.current(), folder.previous()
    last = state.last_of(one.id)
    return {
        "id": one.id,
        "name": one.name,
        "version": one.version,
        "sha256": one.digest,
        "signed_by": one.key_id,
        "current": current is not None and current.id == one.id,
        "previous": previous is not None and previous.id == one.id,
        "trusted": folder.trusts(one),
        "proven": one.id in state.proven,
        "on_trial": state.trial is not None and state.trial.id == one.id,
        "outcome": last.result if last else "",
        "why": last.why if last else "",
    }


def _folder_facts(folder: "ModelFolder", models: list[dict[str, Any]]) -> dict[str, Any]:
    state = folder.state()
    return {
        "folder": str(folder.path),
        "trusted": _trusted(folder),
        "models": models,
        "trial": dataclasses.asdict(state.trial) if state.trial else None,
        "outcomes": [dataclasses.asdict(outcome) for outcome in state.outcomes],
        "highest": {key: dict(names) for key, names in state.highest.items()},
    }


def _cells(facts: dict[str, Any]) -> list[str]:
    return [
        "->" if facts["current"] else "",
        facts["version"] or "unsigned",
        printable(facts["name"], most=40),
        facts["sha256"][:8],
        facts["signed_by"] or "nobody",
        _state(facts),
    ]


def _state(facts: dict[str, Any]) -> str:
    here = "current" if facts["current"] else "previous" if facts["previous"] else ""
    if not facts["trusted"]:
        return f"{here}, not trusted" if here else "not trusted"
    if facts["current"]:
        return "current, on trial" if facts["on_trial"] else "current"
    cut_off = "" if facts["proven"] else "trial cut off"
    return here or str(facts["outcome"]) or cut_off


def _trusted(folder: "ModelFolder") -> dict[str, str]:
    key = folder.trusted()
    return {
        "key_id": key.name if key else "",
        "public_key": key.to_string() if key else "",
        "file": str(folder.key),
    }
