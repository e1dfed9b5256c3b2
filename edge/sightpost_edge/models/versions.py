"""The versions of a model on disk: a folder each, which is whole or not there at all.

versions/3-2eaa9312/model.tflite, model.tflite.minisig, about.json
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..durable import make_folder, sync_folder, write_file
from ..errors import writing_to
from ..manifest import signature_of
from ..polled import DAMAGED, read_object

VERSIONS = "versions"
MODEL = "model.tflite"
ABOUT = "about.json"
PART = ".part"
"""What is being made or taken away; whoever comes next removes it."""
UNSIGNED = "unsigned"

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z.]{0,200}-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Installed:
    """One version on disk.

    ``digest`` is the SHA-256 of the file at ``path``, ``key_id`` that of the key that signed it,
    and ``number`` says in which order the versions came; ``version`` is empty where unsigned.
    """

    id: str
    name: str
    version: str
    digest: str
    path: Path
    signed: bool
    key_id: str = ""
    number: int = 0

    def __str__(self) -> str:
        return f"{self.name} {self.version or UNSIGNED} ({self.digest[:8]})"


def id_of(version: str, digest: str) -> str:
    """The name of a version's folder; ``version`` is empty where it is unsigned."""
    return f"{version or UNSIGNED}-{digest[:8]}"


def is_id(text: str) -> bool:
    """Whether a version's folder may be called so."""
    return _ID.fullmatch(text) is not None


def read_version(folder: Path) -> Installed | None:
    """The version in one folder; None where there is none, or where it is damaged."""
    try:
        return _parsed(folder, read_object(folder / ABOUT)) if is_id(folder.name) else None
    except (OSError, *DAMAGED):
        return None


def read_versions(models: Path) -> list[Installed]:
    """All of them, newest first."""
    try:
        names = os.listdir(models / VERSIONS)
    except OSError:
        return []
    found = (read_version(models / VERSIONS / name) for name in names)
    return sorted((one for one in found if one), key=lambda one: (-one.number, one.id))


def put(models: Path, file: Path, one: Installed, signature: bytes) -> Installed:
    """Move ``file`` into a folder of its own, which appears whole, with what is known about it.

    Where that version is there already, damaged or signed anew, its files are replaced one by one:
    each is the same in every copy of a version, so that a kill in between leaves no mixture.

    Raises:
        DiskFull, StoreError: see ``errors.writing_to``.
    """
    shelf = models / VERSIONS
    home, part = shelf / one.id, shelf / f"{one.id}{PART}"
    made = replace(one, path=home / MODEL, number=_number(models, one.id))
    with writing_to(shelf):
        make_folder(shelf)
        into = home if home.is_dir() else part
        into.mkdir(mode=0o750, exist_ok=True)
        try:
            _fill(into, file, made, signature)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        if into != home:
            os.rename(part, home)
            sync_folder(shelf)
    return made


def _fill(into: Path, file: Path, one: Installed, signature: bytes) -> None:
    """The model last: where the disk is full it stays where it came in."""
    if signature:
        write_file(signature_of(into / MODEL), signature)
    write_file(into / ABOUT, _about(one))
    file.chmod(0o440)
    _sync(file)
    os.replace(file, into / MODEL)
    for path in into.iterdir():
        path.chmod(0o440)
    sync_folder(into)


def drop(models: Path, one: str) -> None:
    """Take a version away: at once to all who list, then from the disk."""
    home = models / VERSIONS / one
    part = home.with_name(f"{one}{PART}")
    with writing_to(home):
        shutil.rmtree(part, ignore_errors=True)
        os.rename(home, part)
        shutil.rmtree(part, ignore_errors=True)


def remove_parts(models: Path) -> None:
    """Remove what a kill left of ``put`` and ``drop``."""
    for part in _parts(models):
        shutil.rmtree(part, ignore_errors=True)


def _parts(models: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from [p for p in (models / VERSIONS).iterdir() if p.name.endswith(PART)]


def _number(models: Path, one: str) -> int:
    """That which it has already, else one more than all others have."""
    there = {version.id: version.number for version in read_versions(models)}
    return there.get(one) or 1 + max(there.values(), default=0)


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _about(one: Installed) -> bytes:
    facts = {k: v for k, v in asdict(one).items() if k not in ("id", "path")}
    return json.dumps({"v": 1, **facts}, indent=1).encode()


def _parsed(folder: Path, raw: Mapping[str, Any]) -> Installed:
    texts = [raw[key] for key in ("name", "version", "digest", "key_id")]
    signed, number = raw["signed"], raw["number"]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is something else")
    if not isinstance(signed, bool) or type(number) is not int:
        raise TypeError("signed or number is something else")
    name, version, digest, key_id = texts
    if id_of(version, digest) != folder.name:
        raise ValueError("it belongs to another version")
    return Installed(folder.name, name, version, digest, folder / MODEL, signed, key_id, number)
