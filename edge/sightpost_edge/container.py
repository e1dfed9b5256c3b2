"""The file around a model: a FlatBuffer with a zip of stored members behind it, read with care."""

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

from .contract import Contract
from .errors import BundleCorrupt, ContractMismatch, ModelError

MAX_BYTES = 512 * 1024 * 1024
CONTRACT_FILE = "contract.json"
LABELS_FILE = "labels.txt"


def read_file(path: Path) -> bytes:
    """The whole file, unless it is missing, empty or too large."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} is larger than {MAX_BYTES >> 20} MiB: no model for a device")
        if blob := path.read_bytes():
            return blob
        raise ModelError(f"{path} is empty (0 bytes)", hint="copy it again")
    except FileNotFoundError as exc:
        raise ModelError(
            f"no model file at {path}", hint="sightpost convert RUN --out model.tflite makes one"
        ) from exc
    except OSError as exc:
        raise ModelError(f"cannot read {path}: {exc.strerror}") from exc


def model_part(blob: bytes) -> bytes:
    """The FlatBuffer in front of the zip; the whole file when nothing is appended."""
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            return blob[: min(info.header_offset for info in archive.infolist())]
    except (zipfile.BadZipFile, ValueError):
        return blob


def read_members(blob: bytes) -> dict[str, bytes]:
    """The appended files by name; none where nothing is appended."""
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            infos = archive.infolist()
            if sum(info.file_size for info in infos) > len(blob):
                raise BundleCorrupt("its members unpack to more than the file holds")
            return {info.filename: archive.read(info) for info in infos}
    except zipfile.BadZipFile as exc:
        if b"PK\x03\x04" in blob:
            raise BundleCorrupt(
                f"the file is damaged or cut short ({exc})", hint="copy it again and compare sizes"
            ) from exc
        return {}
    except (ValueError, NotImplementedError, EOFError) as exc:
        raise BundleCorrupt(f"its appended files cannot be read ({exc})") from exc


def with_files(contract: Contract, model: bytes, files: dict[str, bytes]) -> Contract:
    """The contract with the digests of everything it travels with."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return replace(contract, files={"model": hashlib.sha256(model).hexdigest(), **digests})


def check_files(blob: bytes, files: dict[str, bytes], contract: Contract) -> None:
    """Refuse when a part differs from what the contract says was sealed."""
    parts = {**files, "model": model_part(blob)}
    for name, expected in contract.files.items():
        if name not in parts:
            raise BundleCorrupt(f"{name} is missing from the Bundle")
        if hashlib.sha256(parts[name]).hexdigest() != expected:
            raise BundleCorrupt(
                f"{name} differs from what was sealed", hint="copy the file again from the workshop"
            )
    if "model" not in contract.files or LABELS_FILE not in contract.files:
        raise BundleCorrupt("the contract does not say what its model and labels must be")
    if tuple(files[LABELS_FILE].decode().split("\n")) != contract.labels:
        raise ContractMismatch("labels.txt and contract.json name different labels")
