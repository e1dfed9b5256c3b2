"""What a model folder remembers: the highest versions, which one is on trial, how trials ended."""

import json
import logging
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from ..durable import write_file
from ..manifest import version_numbers
from ..polled import DAMAGED, read_object
from ..text import printable

STATE = "state.json"
MAX_OUTCOMES, MAX_REFUSED, MOST_WHY = 20, 10, 200
"""Trials, refusals, characters of each reason: the file stays well below what its reader takes."""
VERSION = 1

Result = Literal["confirmed", "rolled back", "left", "kept", "refused"]
"""``left``: its owner chose an older one. ``kept``: it failed its trial and nothing older was there
to go back to. ``refused``: its signature was good, and it did not work here."""
UNTOLD = "it failed its trial; the process was killed before it could say why"
NOT_AGAIN = ("rolled back", "left")
"""What does not come in by itself any more."""

log = logging.getLogger("sightpost")
_told: set[Path] = set()


@dataclass(frozen=True, slots=True)
class Trial:
    """The version ``id`` has to prove itself.

    ``begun`` is set before the first frame is classified with it: a run that starts and finds it
    set knows that the last one ended in the middle. ``since_ms`` is wall time.
    """

    id: str
    since_ms: int
    begun: bool = False
    boot_id: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended for one version; ``why`` is a sentence for people, empty where all was well."""

    id: str
    version: str
    at_ms: int
    result: Result
    why: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """The content of ``state.json``.

    ``highest`` is by key id and name: nothing lower is ever installed again. ``name`` is the one
    that the first signed model had. ``previous`` is where a roll-back leads, ``proven`` are the ids
    that passed a trial; the newest outcome is the last.
    """

    highest: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    previous: str = ""
    trial: Trial | None = None
    outcomes: tuple[Outcome, ...] = ()
    name: str = ""
    proven: tuple[str, ...] = ()

    def raised(self, key_id: str, name: str, version: str) -> "State":
        """With ``version`` as the highest of that key and name, unless a higher one is known."""
        known = self.highest.get(key_id, {})
        if name in known and version_numbers(known[name]) >= version_numbers(version):
            return self
        return replace(self, highest={**self.highest, key_id: {**known, name: version}})

    def noted(self, outcome: Outcome, there: Container[str] = ()) -> "State":
        """With one more outcome, in place of the same one of that version.

        What was refused may come again every hour for months: it pushes out only its like. Of the
        rest the oldest go, but not the last of a version that is ``there``, on the disk; and what
        was rolled back or left goes last.
        """
        outcome = replace(outcome, why=printable(outcome.why, most=MOST_WHY))
        same = (outcome.id, outcome.result)
        kept = [*(o for o in self.outcomes if (o.id, o.result) != same), outcome]
        refused = [o for o in kept if o.result == "refused"]
        gone = refused[:-MAX_REFUSED]
        last = {o.id: o for o in kept if o.result != "refused"}
        spare = [o for o in kept if o not in refused and (last[o.id] is not o or o.id not in there)]
        spare.sort(key=lambda o: last[o.id] is o and o.result in NOT_AGAIN)
        gone += spare[: max(0, len(kept) - len(refused) - MAX_OUTCOMES)]
        return replace(self, outcomes=tuple(o for o in kept if o not in gone))

    def open_end(self, current: str) -> Outcome | None:
        """That of a trial, where a kill came between going back to ``current`` and noting it."""
        trial = self.trial
        if trial is None or not trial.begun or trial.id == current:
            return None
        version = trial.id.rpartition("-")[0]
        return Outcome(trial.id, version, trial.since_ms, "rolled back", UNTOLD)

    def settled(self, current: str) -> "State":
        """With the trial of the ``current`` version, unless there is none or it is proven."""
        if not current or current in self.proven:
            return replace(self, trial=None)
        if self.trial is None or self.trial.id != current:
            return replace(self, trial=Trial(current, 0))
        return self

    def last_of(self, one: str) -> Outcome | None:
        """How it ended last for the version with this id; a refusal undoes no trial."""
        found = [o for o in reversed(self.outcomes) if o.id == one]
        return next((o for o in found if o.result != "refused"), found[0] if found else None)

    def ended(self, one: str) -> Result | None:
        """The result of that."""
        last = self.last_of(one)
        return last.result if last else None


def read_state(folder: Path) -> State:
    """What is remembered; nothing where there is no file, or where it is damaged (logged)."""
    try:
        return _parsed(read_object(folder / STATE))
    except FileNotFoundError:
        return State()
    except (OSError, *DAMAGED) as exc:
        _tell_once(folder / STATE, exc)
        return State()


def _tell_once(file: Path, exc: BaseException) -> None:
    """It is read twice a second."""
    if file in _told:
        return
    _told.add(file)
    log.warning(
        "%s cannot be read (%s): the versions on disk count, and the current model is on trial "
        "once more; the end of that, or the next change, writes the file anew",
        file, exc,
    )  # fmt: skip


def write_state(folder: Path, state: State) -> None:
    """Replace the file; it survives a power cut.

    Raises:
        DiskFull, StoreError: see ``errors.writing_to``.
    """
    plain = {"v": VERSION, **asdict(replace(state, highest={}))}
    plain["highest"] = {key: dict(names) for key, names in state.highest.items()}
    text = json.dumps(plain, indent=1, ensure_ascii=False)  # else 12 bytes for one of an emoji's
    write_file(folder / STATE, text.encode("utf-8", "surrogatepass"))


def _parsed(raw: Mapping[str, Any]) -> State:
    """Fields that are missing have their defaults, those of a newer release are left alone."""
    trial = raw.get("trial")
    return State(
        highest={
            str(key): {str(name): _text(version) for name, version in names.items()}
            for key, names in _mapping(raw.get("highest", {})).items()
        },
        previous=_text(raw.get("previous", "")),
        trial=None if trial is None else _trial(trial),
        outcomes=tuple(_outcome(one) for one in raw.get("outcomes", [])),
        name=_text(raw.get("name", "")),
        proven=tuple(_text(one) for one in raw.get("proven", [])),
    )


def _trial(raw: Mapping[str, Any]) -> Trial:
    begun = raw["begun"]
    if not isinstance(begun, bool):
        raise TypeError("begun is no truth value")
    return Trial(_text(raw["id"]), int(raw["since_ms"]), begun, _text(raw["boot_id"]))


def _outcome(raw: Mapping[str, Any]) -> Outcome:
    if raw["result"] not in get_args(Result):
        raise ValueError(f"{raw['result']!r} is no result")
    return Outcome(
        _text(raw["id"]), _text(raw["version"]), int(raw["at_ms"]), raw["result"], _text(raw["why"])
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(v, Mapping) for v in value.values()):
        raise TypeError("highest is no table of tables")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
