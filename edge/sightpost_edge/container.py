"""The file around a model: a FlatBuffer with a zip of stored members behind it, read with care."""

import hashlib
import io
import math
import os
import re
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .contract import Contract
from .durable import unreadable
from .errors import (
    BundleCorrupt,
    ContractMismatch,
    ModelError,
    NotABundle,
    PhotoUnreadable,
    SightpostError,
    where_closed,
)
from .tflite_header import is_tflite, second_model

MAX_BYTES = 512 * 1024 * 1024
MAX_MEMBERS = 256
MAX_MEMBER_BYTES = 64 * 1024 * 1024
MAX_TEXT_BYTES = 8 * 1024 * 1024
"""Of contract.json and labels.txt; 1,000 classes with eight golden frames need 0.1 MiB."""
MAX_NAME = 200
MAX_SIDE_PX = 4096
CONTRACT_FILE = "contract.json"
LABELS_FILE = "labels.txt"

_END = struct.Struct("<4s4H2LH")
"""The end record of a zip: mark, disks, members, size and place of its directory, comment."""
_LOCAL_HEADER = re.compile(rb"PK\x03\x04[\x0a-\x3f]\x00..[\x00\x08]\x00", re.DOTALL)
_COPY_AGAIN = "copy it again and compare sizes"


def read_file(path: Path) -> bytes:
    """The whole file, unless it is missing, no ordinary file, empty or too large.

    Nothing but an ordinary file is opened: a named pipe would block, a device never end.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _no_file(path, found.st_mode)
        if found.st_size > MAX_BYTES:
            raise _too_large(path)
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            # Not MAX_BYTES: Python asks for all of that at once, more than a small board has.
            blob = file.read(found.st_size + 1)
    except FileNotFoundError as exc:
        raise ModelError(
            f"no model file at {path}",
            hint="is the path right? In the workshop: sightpost convert RUN --out model.tflite",
        ) from exc
    except OSError as exc:
        raise unreadable(path, exc, hint=where_closed(path, exc), theirs=ModelError) from exc
    if len(blob) > found.st_size:
        raise ModelError(
            f"{path} is larger than it was a moment ago", hint="wait until it is copied whole"
        )
    if not blob:
        raise ModelError(f"{path} is empty (0 bytes)", hint="copy it again")
    return blob


def _too_large(path: Path) -> ModelError:
    return ModelError(f"{path} is larger than {MAX_BYTES >> 20} MiB: no model for a device")


def _no_file(path: Path, mode: int) -> ModelError:
    kinds = {
        stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    }  # fmt: skip
    kind = kinds.get(stat.S_IFMT(mode), "no ordinary file")
    return ModelError(f"{path} is {kind}, not a model file", hint="give the .tflite file itself")


def model_part(blob: bytes) -> bytes:
    """The FlatBuffer in front of the zip; the whole file when nothing is appended.

    Raises:
        BundleCorrupt: something follows the zip, or it was cut short.
    """
    if not _check_end(blob):
        return blob
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            return blob[: min(info.header_offset for info in archive.infolist())]
    except (zipfile.BadZipFile, ValueError):
        return blob


def read_members(blob: bytes) -> dict[str, bytes]:
    """The appended files by name; none where nothing is appended.

    Raises:
        BundleCorrupt: damaged, cut short, followed by something else, written again by a zip
            program, or built to confuse or to exhaust its reader; the message says which.
    """
    if not _check_end(blob):
        return {}
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            infos = archive.infolist()
            for info in infos:
                _check_member(info)
            _check_places(blob, infos, archive.start_dir)
            return {info.filename: archive.read(info) for info in infos}
    except zipfile.BadZipFile as exc:
        raise BundleCorrupt(f"the file is damaged or cut short ({exc})", hint=_COPY_AGAIN) from exc
    except SightpostError:
        raise
    except (ValueError, NotImplementedError, EOFError, OSError, RuntimeError) as exc:
        raise BundleCorrupt(f"its appended files cannot be read ({exc})") from exc


def _check_end(blob: bytes) -> bool:
    """Whether a zip is appended; its directory's size is checked before anything reads it."""
    at = blob.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(blob):
        if _LOCAL_HEADER.search(blob):
            raise BundleCorrupt("the file is damaged or cut short", hint=_COPY_AGAIN)
        return False
    _, _, _, _, members, size, _, comment = _END.unpack_from(blob, at)
    directory = at - size
    if directory < 0 or (members and blob[directory : directory + 4] != b"PK\x01\x02"):
        if _LOCAL_HEADER.search(blob):
            raise BundleCorrupt("the file is damaged or cut short", hint=_COPY_AGAIN)
        return False
    if extra := len(blob) - (at + _END.size + comment):
        raise _not_the_end(blob[-extra:] if extra > 0 else b"", extra)
    if members > MAX_MEMBERS or blob[at - 20 : at - 16] == b"PK\x06\x07":
        raise BundleCorrupt(f"it holds more than {MAX_MEMBERS} appended files")
    if size > MAX_MEMBERS * (MAX_NAME + 1024):
        raise BundleCorrupt("the list of its appended files is too long")
    return bool(members)


def _not_the_end(rest: bytes, extra: int) -> BundleCorrupt:
    if extra < 0:
        return BundleCorrupt("the file is damaged or cut short", hint=_COPY_AGAIN)
    if is_tflite(rest):
        return BundleCorrupt(
            "these are two models one behind the other", hint="copy the one you want on its own"
        )
    return BundleCorrupt(f"{extra} bytes of something else follow its end", hint=_COPY_AGAIN)


def _check_member(info: zipfile.ZipInfo) -> None:
    """One member's name, storage and size; a Bundle's members are stored as they are."""
    name = info.orig_filename
    parts = name.split("/")
    if len(name) > MAX_NAME or not name.isprintable() or "\\" in name or ":" in name:
        raise BundleCorrupt(f"it holds a file with an impossible name ({name[:40]!r})")
    if any(part in ("", ".", "..") for part in parts[:-1]) or parts[-1] in (".", ".."):
        raise BundleCorrupt(f"it holds a file that leads outside ({name[:40]!r})")
    if info.flag_bits & 0x1:
        raise BundleCorrupt(f"{name} is encrypted: no Bundle is")
    if info.compress_type != zipfile.ZIP_STORED or not parts[-1]:
        raise BundleCorrupt(
            f"{name} is compressed or a folder: a zip program wrote this file again",
            hint="copy the original from the workshop; take files out with unzip, put none in",
        )
    limit = MAX_TEXT_BYTES if name in (CONTRACT_FILE, LABELS_FILE) else MAX_MEMBER_BYTES
    if info.file_size != info.compress_size or info.file_size > limit:
        raise BundleCorrupt(f"{name} states an impossible size ({info.file_size} bytes)")


def _check_places(blob: bytes, infos: list[zipfile.ZipInfo], directory: int) -> None:
    """Members lie one behind the other between model and directory, each name once."""
    names = [info.filename for info in infos]
    if len(set(names)) != len(names):
        raise BundleCorrupt("it holds two files of one name")
    ordered = sorted(infos, key=lambda info: info.header_offset)
    ends = [info.header_offset for info in ordered[1:]] + [directory]
    for info, end in zip(ordered, ends, strict=True):
        header = info.header_offset
        if header < 0 or blob[header : header + 4] != b"PK\x03\x04" or header + 30 > directory:
            raise BundleCorrupt(f"the file is damaged or cut short (no {info.filename})")
        name, extra = struct.unpack_from("<2H", blob, header + 26)
        if header + 30 + name + extra + info.compress_size > end:
            raise BundleCorrupt(f"{info.filename} overlaps what follows it")


def read_contract(files: dict[str, bytes]) -> Contract:
    """The contract among the members.

    Raises:
        BundleCorrupt: not UTF-8, not JSON, or with wrong fields.
        ContractMismatch: of a newer version, or golden frames and labels disagree.
    """
    try:
        text = files[CONTRACT_FILE].decode()
    except UnicodeDecodeError as exc:
        raise BundleCorrupt("contract.json is not UTF-8 text") from exc
    with wrong_fields():
        contract = Contract.from_json(text)
        _check_figures(contract)
        _check_labels(contract)
        _check_golden_labels(contract)
    return contract


def contract_of(blob: bytes, name: str = "this") -> Contract:
    """The contract of a whole file; nothing of it is run.

    Raises:
        NotABundle: a plain .tflite; ``name`` is what the message calls it.
        BundleCorrupt, ContractMismatch: see ``read_members`` and ``read_contract``.
    """
    files = read_members(blob)
    if CONTRACT_FILE not in files:
        raise NotABundle(
            f"{name} is a plain .tflite: it carries neither labels nor a contract",
            hint="sightpost convert makes a Bundle of it",
        )
    return read_contract(files)


@contextmanager
def wrong_fields() -> Iterator[None]:
    """Translate what Python says where a field of contract.json is of the wrong kind."""
    try:
        yield
    except PhotoUnreadable as exc:
        raise BundleCorrupt(f"a golden frame {exc}") from exc
    except SightpostError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
            MemoryError) as exc:  # fmt: skip
        raise BundleCorrupt(f"contract.json has a wrong field ({exc})") from exc
    except RuntimeError as exc:
        raise ModelError(f"the TFLite runtime fails on a golden frame ({exc})") from exc


def _check_figures(contract: Contract) -> None:
    """Figures that everything is computed with: finite, and of a size that makes sense."""
    geometry = contract.geometry
    sides = (geometry.width, geometry.height)
    if not all(isinstance(side, int) and 0 < side <= MAX_SIDE_PX for side in sides):
        raise BundleCorrupt(f"contract.json states an impossible input of {sides} pixels")
    figures = (contract.mean, contract.std, contract.threshold, contract.golden_tolerance)
    if not all(math.isfinite(figure) for figure in figures) or contract.std <= 0:
        raise BundleCorrupt("contract.json states a figure that cannot be computed with")
    if not 0 < geometry.crop_fraction <= 1:
        raise BundleCorrupt("contract.json states an impossible crop")
    if not all(isinstance(part, Mapping) for part in (contract.files, contract.novelty)):
        raise BundleCorrupt("contract.json has a wrong field (files, novelty)")


def _check_labels(contract: Contract) -> None:
    """A label is one line of labels.txt and reaches terminals: no line break, no escape sequence.

    Joiners and wide spaces, which ``str.isprintable`` refuses as well, are part of some scripts.
    """
    for label in contract.labels:
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in label):
            raise BundleCorrupt(
                f"the label {label[:40]!r} holds a line break or another control character",
                hint="rename it, train or convert again",
            )


def _check_golden_labels(contract: Contract) -> None:
    """Labels put into another order leave the golden scores as they are, but not their names."""
    for golden in contract.golden:
        if len(golden.scores) != len(contract.labels):
            raise ContractMismatch(f"{golden.member} has not one score for each label")
        top = max(golden.scores)
        # Two labels may be equal, and so may two scores; NaN is left to ``golden.recompute``.
        pairs = zip(contract.labels, golden.scores, strict=True)
        if all(score < top for label, score in pairs if label == golden.label):
            best = contract.labels[golden.scores.index(top)]
            raise ContractMismatch(
                f"golden frame {golden.member} was {golden.label!r} when it was sealed and would "
                f"be {best!r} now: the labels are in another order",
                hint="copy the file again from the workshop",
            )


def with_files(contract: Contract, model: bytes, files: dict[str, bytes]) -> Contract:
    """The contract with the digests of everything it travels with."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return replace(contract, files={"model": hashlib.sha256(model).hexdigest(), **digests})


def check_files(model: bytes, files: dict[str, bytes], contract: Contract) -> None:
    """Refuse when a part differs from what the contract says was sealed."""
    if "model" not in contract.files or LABELS_FILE not in contract.files:
        raise BundleCorrupt("the contract does not say what its model and labels must be")
    parts = {**files, "model": model}
    for name, expected in contract.files.items():
        if name not in parts:
            raise BundleCorrupt(f"{name} is missing from the Bundle")
        if hashlib.sha256(parts[name]).hexdigest() != expected:
            raise _differs(name, parts[name])
    if files[LABELS_FILE].decode("utf-8", "replace").split("\n") != list(contract.labels):
        raise ContractMismatch("labels.txt and contract.json name different labels")


def _differs(name: str, content: bytes) -> BundleCorrupt:
    why, hint = "", "copy the file again from the workshop"
    if name == "model":
        try:
            if (second := second_model(content)) is not None:
                why = f": two files one behind the other, the second begins at byte {second}"
        except ModelError as exc:
            why = f": {exc}"
        if b"TFLITE_METADATA" not in content:
            hint += "; it carries no TFLite Metadata, so perhaps a tool took that out"
    return BundleCorrupt(f"{name} differs from what was sealed{why}", hint=hint)
