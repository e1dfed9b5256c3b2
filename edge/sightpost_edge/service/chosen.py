"""Which model a station is to have: what is there, or a file that ``model install`` would take."""

import hashlib
import re
import shlex
from pathlib import Path

from ..container import contract_of, read_file
from ..contract import Contract
from ..errors import ConfigError, ModelError
from ..manifest import verify_file
from ..models import Installed, ModelFolder
from ..models.fetch import find_model
from ..models.install import check_trials
from ..models.labels import compare_labels
from ..models.offer import look
from ..models.versions import id_of

_COMMAND = re.compile(r"\bsightpost model ([a-z]+)\b")


def model_to_install(
    folder: ModelFolder, given: Path | None, named: str, *, key_given: bool
) -> Path | None:
    """The file to be installed; None where what is there is what was asked for, and can be used.

    Args:
        folder: of the station, with the key that is to be in force.
        given: the file or folder that was given.
        named: what the config names, for a station without any model.
        key_given: the key was given, too: then the current model itself has to be signed by it.

    Raises:
        ModelError: the next start would find no model; or ``model install`` would not take it.
        ConfigError: there is no model, and none was given.
    """
    if given is None:
        first = folder.current() or (folder.previous() if folder.versions() else None)
        if first is not None:
            _check_start(folder, first, alone=key_given)
            return None
        given = _first(folder, named)
    file = find_model(given, signed=folder.trusted() is not None) if given.is_dir() else given
    blob, current = read_file(file), folder.current()
    digest = hashlib.sha256(blob).hexdigest()
    if current is not None and not _fault(folder, current):
        if current.digest == digest:
            return None
        older = (v for v in folder.versions() if v.digest == digest and v.number < current.number)
        if any(v.signed and v.key_id == current.key_id for v in older):
            return None  # a newer one came in since: the same command still is for the config
    try:
        _judge(folder, file, blob)
    except ModelError as exc:
        exc.hint = _pasted(exc.hint, file, folder.path.parent)
        raise
    return file.absolute()


def contract_to_be(folder: ModelFolder, file: Path | None) -> Contract | None:
    """What the next start's model says of itself: ``file``, None: the current one.

    None where the current one cannot be read: the start then falls back on another one.

    Raises:
        ModelError: ``file`` cannot be read.
    """
    if file is not None:
        return contract_of(read_file(file), str(file))
    current = folder.current()
    if current is None or _fault(folder, current):
        return None
    return contract_of(read_file(current.path), str(current.path))


def _check_start(folder: ModelFolder, first: Installed, *, alone: bool) -> None:
    """A start must find a model: ``first``, or where not ``alone`` one that it falls back on."""
    if not (fault := _fault(folder, first)):
        return
    others = [] if alone else [one for one in folder.versions() if one.id != first.id]
    if any(not _fault(folder, one) for one in others):
        return
    key = folder.trusted()
    raise ModelError(
        f"the next start could not use model {first}: {fault}",
        hint="--model FILE.tflite installs one"
        if key is None
        else f"--model FILE.tflite, with its signature by key {key.name} beside it: "
        "sightpost keys sign FILE.tflite --key KEY writes that, also for the model in use",
    )


def _fault(folder: ModelFolder, one: Installed) -> str:
    """Why a start with the key that is to be in force would not open this version, or ""."""
    try:
        if (key := folder.trusted()) is None:
            folder.check(one)
        else:
            folder.verify(one, key).check_runtime()
    except ModelError as exc:
        return str(exc)
    return ""


def _first(folder: ModelFolder, named: str) -> Path:
    if not named or not Path(named).exists():
        raise ConfigError(
            f"no model is installed for {folder.path.parent.name} yet",
            hint="--model FILE.tflite, the Bundle that sightpost convert made",
        )
    return Path(named)


def _judge(folder: ModelFolder, file: Path, blob: bytes) -> None:
    """All that ``model install`` would refuse it for, but how it does here: that is not tried out
    with root's rights."""
    contract, digest = contract_of(blob, str(file)), hashlib.sha256(blob).hexdigest()
    if (key := folder.trusted()) is None:
        one = Installed(id_of("", digest), contract.name, "", digest, Path(), False)
    else:
        manifest = verify_file(file, blob, key)
        manifest.check_labels(contract.labels, where=f"{file}: ")
        offer = look(folder, str(file))
        one = Installed(offer.id, manifest.name, manifest.version, digest, Path(), True, key.name)
    compare_labels(folder, contract, all_new=False)
    there = folder.find(one.id)
    is_here = there is not None and not _fault(folder, there)
    if is_here or one.signed:
        check_trials(folder, one, is_here=is_here)


def _pasted(hint: str, file: Path, store: Path) -> str:
    """A hint of ``sightpost model``, as somebody has to write it who typed another command."""
    if hint.startswith("--"):  # an option that this one does not have
        hint = f"sightpost model install {shlex.quote(str(file))} {hint}"
    begin = f"sudo sightpost model {{}} --store {shlex.quote(str(store))}"
    return _COMMAND.sub(lambda found: begin.format(found[1]), hint)
