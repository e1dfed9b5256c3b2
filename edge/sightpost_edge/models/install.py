"""A model comes in: fetched, verified, rehearsed, and only then current.

result = install(folder, look(folder, place), place)

Killed anywhere it leaves the old model or the new one current, whole; the next one clears up.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..container import contract_of, read_file
from ..errors import ConfigError, ModelError, SignatureRefused, UpdateRefused
from ..minisign import verify
from . import web
from .download import Lost
from .fetch import Progress, discard, fetch_model, find_model, shown
from .folder import Installed, ModelFolder
from .incoming import arriving
from .labels import compare_labels
from .offer import NOTHING_MORE, Allowed, Here, Offer, check
from .rehearsal import Rehearsal, rehearse
from .state import NOT_AGAIN
from .versions import id_of

LOST = "connection lost"

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What is current now; ``changed`` False: it was already.

    ``rehearsal`` is how it did here, None where it was on disk; ``why`` is more to tell, or "", and
    ``labels`` how its labels differ from those before.
    """

    one: Installed
    changed: bool
    rehearsal: Rehearsal | None = None
    why: str = ""
    labels: str = ""


def install(
    folder: ModelFolder,
    offer: Offer,
    place: str,
    *,
    allowed: Allowed = NOTHING_MORE,
    here: Here | None = None,
    progress: Progress = lambda done, size: None,
    on_step: Step = lambda what: None,
) -> Result:
    """Make the offered model current; it has to prove itself in the run that takes it over.

    Args:
        folder: of the station.
        offer: from ``offer.look``.
        place: where the model lies: a web address, a file, a folder.
        allowed: as for ``look``; all is judged once more when the model is there.
        here: this station.
        progress: is told bytes that came, and bytes in all.
        on_step: is told what is being done, a few words at a time.

    Raises:
        SignatureRefused: the content is not what was signed.
        UpdateRefused: it failed here before, or something newer came in meanwhile.
        ModelError: it does not work here, or could not be fetched.
        StoreBusy, DiskFull, StoreError: the folder cannot be used.
    """
    manifest, here = offer.manifest, here or Here()
    one = Installed(
        offer.id, manifest.name, manifest.version, manifest.sha256, Path(), True, offer.key.name
    )
    with arriving(folder, manifest.sha256) as file:
        why = check(folder, offer, allowed=allowed, here=here)
        if (there := _whole(folder, offer)) is not None:
            return _again(folder, there, why)
        check_trials(folder, one, is_here=False)
        on_step("fetching")
        _fetch(offer, place, file, progress, lambda why: on_step(f"{LOST} ({why}), trying again"))
        contract = contract_of(read_file(file))
        labels = compare_labels(folder, contract, all_new=allowed.new_name)
        on_step("trying it out")
        tried = _rehearse(folder, file, one)
        with folder.changing():
            check(folder, offer, allowed=allowed, here=here)
            return Result(folder.adopt(file, one, offer.signature), True, tried, why, labels)


def install_unsigned(
    folder: ModelFolder,
    place: str,
    *,
    allowed: Allowed = NOTHING_MORE,
    progress: Progress = lambda done, size: None,
    on_step: Step = lambda what: None,
) -> Result:
    """Make a model current that nobody signed, from a file or folder of this machine only.

    Raises:
        UpdateRefused: a key is trusted here.
        ModelError, StoreBusy, DiskFull, StoreError: as for ``install``.
    """
    if (key := folder.trusted()) is not None:
        raise UpdateRefused(
            f"unsigned: key {key.name} is trusted here, and only what it signed is installed",
            hint="sightpost keys sign MODEL --key KEY signs it",
        )
    if web.is_web(place):
        raise ConfigError(
            "unsigned models come from a file or a folder of this machine only",
            hint="download it, look at it with sightpost inspect, and give the file",
        )
    path = find_model(Path(place), signed=False) if Path(place).is_dir() else Path(place)
    blob = read_file(path)
    digest = hashlib.sha256(blob).hexdigest()
    contract = contract_of(blob)
    one = Installed(id_of("", digest), contract.name, "", digest, Path(), False)
    with arriving(folder, digest) as file:
        there = folder.find(one.id)
        if there is not None and _is_file(there.path, digest):
            return _again(folder, there, "")
        labels = compare_labels(folder, contract, all_new=allowed.new_name)
        on_step("copying")
        fetch_model(str(path), len(blob), file, progress)
        if not _is_file(file, digest):
            discard(file)
            raise ModelError(f"{path} changed while it was copied", hint="try again")
        on_step("trying it out")
        tried = _rehearse(folder, file, one)
        with folder.changing():
            return Result(folder.adopt(file, one), True, tried, labels=labels)


def _whole(folder: ModelFolder, offer: Offer) -> Installed | None:
    """The offered version, where it is on disk already, undamaged and signed by this key."""
    there = folder.find(offer.id)
    if there is None or there.digest != offer.manifest.sha256:
        return None
    try:
        folder.verify(there, offer.key)
    except ModelError:
        return None
    return there


def _again(folder: ModelFolder, there: Installed, why: str) -> Result:
    """What is on disk already: finish what a kill interrupted, but try nothing twice."""
    with folder.changing():
        current = folder.current()
        if current is not None and current.id == there.id:
            return Result(there, False, None, why)
        check_trials(folder, there, is_here=True)
        folder.take(there)
    return Result(there, True, None, why)


def check_trials(folder: ModelFolder, one: Installed, *, is_here: bool) -> None:
    """What went, or was sent away, does not come in again by itself.

    Args:
        folder: of the station.
        one: what is to come in.
        is_here: it is on disk, whole: the owner may give it another trial.

    Raises:
        UpdateRefused: it was here, and was rolled back or left.
    """
    last, current = folder.state().last_of(one.id), folder.current()
    if current is not None and current.id == one.id:
        return
    if last is not None and last.result in NOT_AGAIN:
        raise UpdateRefused(
            f"trial: {one} was here and was {last.result}: {last.why}",
            hint=f"sightpost model use {one.version or one.id} gives it another trial"
            if is_here
            else "signed again with a higher version it is tried again",
        )


def _fetch(offer: Offer, place: str, file: Path, progress: Progress, lost: Lost) -> None:
    """Have the signed content in ``file``; a download that went on from a bad one begins anew."""
    resumed = file.exists()
    fetch_model(place, offer.manifest.size, file, progress, lost=lost)
    try:
        _check_content(offer, read_file(file), place)
    except ModelError:
        discard(file)
        if not resumed:
            raise
        _fetch(offer, place, file, progress, lost)


def _check_content(offer: Offer, blob: bytes, place: str) -> None:
    manifest = offer.manifest
    try:
        manifest.check_content(blob)
        verify(blob, offer.signature, offer.key)
        manifest.check_labels(contract_of(blob).labels)
    except SignatureRefused as exc:
        raise SignatureRefused(f"{exc}: {shown(place)}", hint=exc.hint) from exc


def _rehearse(folder: ModelFolder, file: Path, one: Installed) -> Rehearsal:
    """A model that does not work here is noted, for those who made it and see nothing of this."""
    try:
        return rehearse(file, signed_sha256=one.digest if one.signed else "")
    except ModelError as exc:
        if one.signed:
            folder.refused(one, str(exc))
        raise


def _is_file(path: Path, digest: str) -> bool:
    try:
        return hashlib.sha256(read_file(path)).hexdigest() == digest
    except ModelError:
        return False
