"""The station's model, opened and timed in a child: what the checks of ``model`` talk about."""

import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .host import CRASHED, STATE_FOLDER, Host
from .unseen import is_shut

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..minikeys import PublicKey
    from ..models.folder import Installed, ModelFolder

SHUT = "shut"
"""In place of an error's class: this user may not look."""
CHILD_S = 40.0
"""A trial may take 10 s, golden frames on a Zero 2 two more, imports five."""
TIMED_S, LEAST_RUNS = 0.7, 5


@dataclass(frozen=True, slots=True)
class Opened:
    """What came of opening the model; ``error`` is the class of what was raised, "" for nothing.

    ``model`` is the file, or the model folder. ``worst_off`` is the share of its tolerance that the
    worst golden frame used up. ``conversion`` is the contract's. ``expires`` is the last day of the
    signature, "" for ever; ``key`` the trusted key's name, "" where none is trusted.
    ``refusal``: "unsigned", "other key" or "altered". ``back`` is where a roll-back leads, "" where
    there is no other version that can be used. ``instead``: what ``current`` names is gone, and a
    run takes this one.
    """

    model: str = ""
    error: str = ""
    message: str = ""
    hint: str = ""
    id: str = ""
    verified: bool = False
    labels: int = 0
    kind: str = ""
    golden: int = 0
    worst_off: float = 0.0
    has_novelty: bool = False
    conversion: dict[str, Any] = field(default_factory=dict)
    median_ms: float = 0.0
    threads: int = 1
    key: str = ""
    expires: str = ""
    expired: bool = False
    signed: bool = False
    refusal: str = ""
    back: str = ""
    instead: bool = False


def opened(host: Host) -> Opened | None:
    """The model of this station; None where no station, or none with a model, was named."""
    return host.once("model", lambda: _opened(host))


def place(host: Host) -> Path | None:
    """The model folder of a service, else what the config names."""
    own = host.path(STATE_FOLDER / host.station / "models")
    if host.station and (is_shut(own) or os.path.islink(own / "current")):
        return own
    if host.site is not None and host.site.model:
        return Path(host.site.model)
    return own if host.station and os.path.isdir(own) else None


def _opened(host: Host) -> Opened | None:
    path = place(host)
    if path is None:
        return None
    if hidden := next((one for one in (path, path / "current") if is_shut(one)), None):
        return Opened(str(hidden), SHUT)
    labels = host.site.labels if host.site else ""
    threads = host.site.threads if host.site else 0
    question = {"model": str(path), "labels": labels, "threads": threads}
    said = host.ask("opened", question, timeout_s=CHILD_S)
    if CRASHED in said:
        return Opened(str(path), "ModelError", f"opening {path} {said[CRASHED]}")
    return Opened(**said)


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """The child: open it as a run would, time it, and tell."""
    from ..errors import ModelError, SightpostError, StoreError
    from ..models.owner import become_owner

    path, root = Path(question["model"]), os.geteuid() == 0
    try:
        become_owner(path)  # what a service may have put there is not run with root's rights
        bundle, more = _bundle(path, question)
        return asdict(_described(bundle, more))
    except PermissionError as exc:
        if not root:
            return asdict(Opened(str(exc.filename or path), SHUT))
        message = f"{exc.filename or path} may not be read by the owner of {path}"
        return asdict(Opened(str(path), "ModelError", message))
    except SightpostError as exc:
        if not root and isinstance(exc.__cause__, PermissionError):
            return asdict(Opened(str(exc.__cause__.filename or path), SHUT))
        failed = Opened(str(path), type(exc).__name__, str(exc), exc.hint)
        falls_back = isinstance(exc, (ModelError, StoreError)) and path.is_dir()
        return asdict(replace(failed, **_around(path)) if falls_back else failed)


def _around(path: Path) -> dict[str, Any]:
    """Of a model folder whose current version is refused: its file, why by its signature, and the
    version that a roll-back leads to, where that can be used.
    """
    from ..errors import SightpostError
    from ..models.folder import ModelFolder

    folder, found = ModelFolder(path), dict[str, Any]()
    try:
        one, back, key = folder.current(), folder.previous(), folder.trusted()
        if one is not None:
            found |= {"model": str(one.path), "id": one.id}
        if key is not None:
            found["key"] = key.name
            if one is not None:
                found["refusal"] = _refusal(folder, one, key)
        if back is not None:
            folder.check(back)
            found["back"] = back.id
    except SightpostError:
        pass
    return found


def _refusal(folder: "ModelFolder", one: "Installed", key: "PublicKey") -> str:
    """ "" where the signature is good: then something else was wrong."""
    from ..errors import SightpostError

    if not one.signed:
        return "unsigned"
    if one.key_id != key.name:
        return "other key"
    try:
        folder.verify(one, key)
    except SightpostError:
        return "altered"
    return ""


def _bundle(path: Path, question: Mapping[str, Any]) -> "tuple[Bundle, dict[str, Any]]":
    from ..bundle import Bundle
    from ..commands.common import read_labels

    if path.is_dir():
        return _current(path, question["threads"])
    names = read_labels(Path(question["labels"])) if question["labels"] else None
    bundle = Bundle.open(path, labels=names, threads=question["threads"], every_golden=True)
    return bundle, {"model": str(path)}


def _current(path: Path, threads: int) -> "tuple[Bundle, dict[str, Any]]":
    from ..clock import now
    from ..errors import ModelError
    from ..models.folder import ModelFolder

    folder = ModelFolder(path)
    current = folder.current()
    one = current or folder.previous()  # as a run does
    if one is None:
        raise ModelError(
            f"{path} has no current model that is whole", hint="sightpost model list shows them"
        )
    more: dict[str, Any] = {"model": str(path), "id": one.id, "signed": one.signed,
                            "instead": current is None}  # fmt: skip
    key = folder.trusted()
    if key is not None:
        manifest = folder.verify(one, key)
        more |= {"key": key.name, "expires": manifest.expires,
                 "expired": manifest.expired(now().date())}  # fmt: skip
    return folder.open(one, threads=threads), more


def _described(bundle: "Bundle", more: Mapping[str, Any]) -> Opened:
    from ..golden import score_tolerance

    contract = bundle.contract
    pairs = zip(contract.golden, bundle.golden, strict=False)
    used = [result.scores_off / score_tolerance(golden, contract) for golden, result in pairs]
    return Opened(
        verified=bundle.verified, labels=len(contract.labels), kind=contract.kind,
        golden=len(bundle.golden), worst_off=max(used, default=0.0),
        has_novelty=bundle.novelty is not None, conversion=dict(contract.conversion),
        median_ms=_median_ms(bundle), threads=bundle.network.threads, **more,
    )  # fmt: skip


def _median_ms(bundle: "Bundle") -> float:
    import numpy as np

    pixels = np.zeros((*bundle.network.input_shape, 3), np.uint8)
    contract = bundle.contract
    taken_ms: list[float] = []
    end_s = time.perf_counter() + TIMED_S
    while len(taken_ms) < LEAST_RUNS or time.perf_counter() < end_s:
        began_s = time.perf_counter()
        bundle.network.outputs(pixels, mean=contract.mean, std=contract.std)
        taken_ms.append((time.perf_counter() - began_s) * 1000)
    return statistics.median(taken_ms)
