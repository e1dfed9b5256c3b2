"""A model and its signature, from a web address, a file or a stick; never more than was signed."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ..container import MAX_BYTES
from ..errors import ConfigError, FetchFailed, ModelError, SignatureRefused, StoreError
from ..minisign import MAX_BYTES as MAX_SIGNATURE
from ..minisign import SUFFIX
from ..text import printable
from . import web
from .download import Download, Lost, Progress, quiet, silent
from .media import ended_early, opened_file, reading
from .unfinished import check_room, discard, opened_partial, write_all

__all__ = [
    "Progress",
    "check_place",
    "discard",
    "fetch_model",
    "fetch_signature",
    "find_model",
    "shown",
]

SIGNATURE_S = 60.0
CHUNK = 1024 * 1024
MOST_ENTRIES = 10_000
MOST_LISTED = 10
_NO_SIGNATURE = "sightpost keys sign MODEL --key KEY writes one beside the model; copy both"


def shown(place: str) -> str:
    """``place`` as it may be printed: without user, password and query.

    Raises:
        ConfigError: no address that models are fetched from.
    """
    return str(web.address(place)) if web.is_web(place) else printable(place)


def fetch_signature(place: str) -> bytes:
    """The ``.minisig`` beside the model at ``place``, 12 KiB at most.

    Args:
        place: the http(s) address of the .tflite, its path, or a folder that holds it.

    Raises:
        ConfigError: another kind of address.
        SignatureRefused: there is none, or what is there is too large to be one.
        ModelError: it cannot be had; FetchFailed where that may pass.
    """
    if web.is_web(place):
        return _signature_on_the_web(web.address(place))
    path = Path(f"{_model_at(place)}{SUFFIX}")
    with opened_file(path) as file, reading(path):
        return _sized(file.read(MAX_SIGNATURE + 1), str(path))


def check_place(place: str) -> None:
    """Say at once that nothing is there, or that something beside the model was given.

    Raises:
        ConfigError: a signature or a key, or another kind of address.
        ModelError: nothing is there.
    """
    path = web.address(place).path if web.is_web(place) else place
    what = {SUFFIX: "a signature", ".pub": "a key"}.get(Path(path).suffix.lower())
    if what is not None:
        model = shown(place)[: -len(SUFFIX)] if path.endswith(SUFFIX) else "MODEL.tflite"
        raise ConfigError(
            f"{shown(place)} is {what}, no model",
            hint=f"give the model itself ({model}): what belongs to it is looked for beside it",
        )
    if not web.is_web(place):
        with reading(Path(place)):
            Path(place).stat()


def fetch_model(
    place: str,
    size: int,
    into: Path,
    progress: Progress = quiet,
    *,
    lost: Lost = silent,
    clock_s: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Have exactly ``size`` bytes of the model at ``place`` in ``into``, synced to the disk.

    A download goes on where the last one with the same ``into`` and ``place`` stopped, unless the
    file there has changed meanwhile. What was fetched is not judged here: where its digest turns
    out wrong, ``discard`` it before the next try.

    Args:
        place: as for ``fetch_signature``.
        size: in bytes, as signed.
        into: a file that nobody else writes; ``into``.from lies beside it until it is discarded.
        progress: is told how many bytes there are, and ``size``.
        lost: is told why the connection broke, before each other try.
        clock_s, wait: for tests.

    Raises:
        ConfigError: another kind of address.
        ModelError: not there, or of another size.
        FetchFailed: too slow, or the connection failed again and again; the next try goes on.
        DiskFull, StoreError: ``into`` cannot be written.
    """
    if not 0 < size <= MAX_BYTES:
        raise ModelError(f"{size} bytes are no size for a model of a device")
    if web.is_web(place):
        Download(web.address(place), size, into, progress, clock_s, wait, lost).run()
    else:
        _copy(_model_at(place), size, into, progress)


def find_model(folder: Path, *, signed: bool = True) -> Path:
    """The one .tflite in ``folder`` that has its signature beside it.

    Links are passed over: what a stick shows lies on the stick.

    Args:
        folder: of a stick, for one; folders below are not searched.
        signed: False: the one .tflite, signature or not.

    Raises:
        ModelError: none, or several; the message lists them.
    """
    with reading(folder), os.scandir(folder) as entries:
        names = sorted(
            entry.name
            for entry in islice(entries, MOST_ENTRIES)
            if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False)
        )
    models = [name for name in names if name.lower().endswith(".tflite")]
    found = [name for name in models if not signed or f"{name}{SUFFIX}" in names]
    if len(found) == 1:
        return folder / found[0]
    if found:
        raise ModelError(
            f"{folder} holds {len(found)} models: {_listed(found)}", hint="name the one you mean"
        )
    if models:
        raise SignatureRefused(
            f"{folder} holds {_listed(models)}, but no {models[0]}{SUFFIX} beside it",
            hint=_NO_SIGNATURE,
        )
    there = f"it holds {_listed(names)}" if names else "it holds no file"
    raise ModelError(f"no .tflite in {folder}: {there}", hint="is the stick mounted there (lsblk)?")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(printable(name, most=80) for name in names[:MOST_LISTED]) + more


def _model_at(place: str) -> Path:
    if not place:
        raise ConfigError("no place is given to fetch the model from")
    path = Path(place)
    with reading(path):
        is_folder = path.is_dir()
    return find_model(path) if is_folder else path


def _signature_on_the_web(model: web.Address) -> bytes:
    where = model.beside(SUFFIX)
    content = b""
    try:
        with (
            web.asked(where, {}, missing=SignatureRefused) as answer,
            answer.within(SIGNATURE_S),
        ):
            while len(content) <= MAX_SIGNATURE:
                chunk = answer.read(MAX_SIGNATURE + 1 - len(content))
                if not chunk:
                    break
                content += chunk
    except web.Dropped as exc:
        raise FetchFailed(
            f"{where}: {exc}", hint="is there a network? Trying again may help"
        ) from exc
    return _sized(content, str(where))


def _sized(content: bytes, where: str) -> bytes:
    if len(content) > MAX_SIGNATURE:
        raise SignatureRefused(
            f"{where} is larger than {MAX_SIGNATURE >> 10} KiB: no signature file"
        )
    if not content:
        raise SignatureRefused(f"{where} is empty", hint="copy it again")
    return content


def _copy(path: Path, size: int, into: Path, progress: Progress) -> None:
    """From a file system: always from its start, for that costs nothing; so no part is kept."""
    with opened_file(path) as source:
        with reading(path):
            there = os.fstat(source.fileno()).st_size
        if there != size:
            raise SignatureRefused(
                f"size: {path} has {there} bytes, {size} were signed", hint="copy it again to there"
            )
        discard(into)
        check_room(into, size)
        try:
            _copy_bytes(source, path, size, into, progress)
        except BaseException:
            with suppress(StoreError):
                discard(into)
            raise


def _copy_bytes(source: BinaryIO, path: Path, size: int, into: Path, progress: Progress) -> None:
    with opened_partial(into) as target:
        done = 0
        while done < size:
            with reading(path):
                chunk = source.read(min(CHUNK, size - done))
            if not chunk:
                raise ended_early(path, done, size)
            write_all(target, chunk, into)
            done += len(chunk)
            progress(done, size)
        write_all(target, b"", into, sync=True)
