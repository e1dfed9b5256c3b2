"""One file that any TFLite runtime loads and that proves itself before a device trusts it.

Layout: the FlatBuffer, then a zip with stored members: ``labels.txt`` (standard TFLite Metadata,
read by MediaPipe and Android), ``contract.json``, ``golden/*.jpg``. ``unzip -l`` lists them.
"""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from .contract import Contract, Golden
from .errors import BundleCorrupt, ContractMismatch, GoldenMismatch, ModelError, NotABundle
from .interpreter import Network
from .pixels import Geometry, decode, fit
from .records import Pixels

MAX_BYTES = 512 * 1024 * 1024
CONTRACT_FILE = "contract.json"
LABELS_FILE = "labels.txt"
THUMBNAIL_TOLERANCE = 0.5
"""Grey levels, mean absolute: squashing costs 32-37, swapped channels 18-49, rounding 0.02."""


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """How one golden frame came out here: pixels equal or how far off, scores how far off."""

    label: str
    pixels_equal: bool
    pixels_off: float
    scores_off: float


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model file that was opened and checked.

    ``digest`` is the SHA-256 of the whole file; ``verified`` is False for a plain .tflite that ran
    on given labels only; ``golden`` holds what the golden frames gave on this machine.
    """

    path: Path
    digest: str
    contract: Contract
    network: Network = field(repr=False)
    verified: bool
    golden: tuple[GoldenResult, ...] = ()

    @classmethod
    def open(cls, path: Path, *, labels: Sequence[str] | None = None, threads: int = 1) -> "Bundle":
        """Open and verify, or refuse with a named reason.

        Args:
            path: a Bundle, or any .tflite image classifier when ``labels`` are given.
            labels: names in output order, only for a file that carries none.
            threads: of the interpreter.

        Raises:
            ModelError: missing, too large, not a model.
            NotABundle: a plain .tflite and no labels given.
            BundleCorrupt, ContractMismatch, GoldenMismatch: see ``errors``.
        """
        blob = _read(path)
        digest = hashlib.sha256(blob).hexdigest()
        files = _members(blob)
        if CONTRACT_FILE not in files:
            names = labels or _standard_labels(files)
            return _plain(path, blob, digest, names, threads)
        contract = Contract.from_json(files[CONTRACT_FILE].decode())
        _check_files(blob, files, contract)
        if labels is not None and tuple(labels) != contract.labels:
            raise ContractMismatch(
                "the labels given differ from the labels sealed in the Bundle",
                hint="leave --labels out: a Bundle carries its own",
            )
        network = Network(blob, threads=threads)
        _check_graph(network, contract)
        golden = tuple(_recompute(g, files, contract, network) for g in contract.golden)
        return cls(path, digest, contract, network, True, golden)


def model_part(blob: bytes) -> bytes:
    """The FlatBuffer in front of the zip; the whole file when nothing is appended."""
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            return blob[: min(info.header_offset for info in archive.infolist())]
    except (zipfile.BadZipFile, ValueError):
        return blob


def thumbnail(pixels: Pixels) -> tuple[float, ...]:
    """8 x 8 block means of fitted pixels, 192 figures, rounded to a hundredth of a level."""
    small = cv2.resize(pixels.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA)
    return tuple(round(float(v), 2) for v in small.reshape(-1))


def seal_golden(member: str, jpeg: bytes, contract: Contract, network: Network) -> Golden:
    """Write down what this machine makes of one frame; the device must agree later."""
    pixels = fit(decode(jpeg), contract.geometry)
    scores = network.scores(pixels, mean=contract.mean, std=contract.std)
    return Golden(
        member=member,
        label=contract.labels[int(scores.argmax())],
        pixels_sha256=hashlib.sha256(pixels.tobytes()).hexdigest(),
        thumbnail=thumbnail(pixels),
        scores=tuple(round(float(s), 6) for s in scores),
    )


def _read(path: Path) -> bytes:
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


def _members(blob: bytes) -> dict[str, bytes]:
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


def _standard_labels(files: dict[str, bytes]) -> list[str] | None:
    """Labels of a model from elsewhere that carries the standard metadata's label file."""
    for name, content in files.items():
        if name.endswith(".txt"):
            return content.decode("utf-8", "replace").splitlines()
    return None


def _plain(
    path: Path, blob: bytes, digest: str, labels: Sequence[str] | None, threads: int
) -> Bundle:
    network = Network(blob, threads=threads)
    if labels is None:
        raise NotABundle(
            f"{path} is a plain .tflite: it carries neither labels nor a contract",
            hint="give its labels, one per line, with --labels FILE; convert makes Bundles",
        )
    height, width = network.input_shape
    names = tuple(label for label in labels if label.strip())
    contract = Contract(labels=names, geometry=Geometry(width, height), name=path.stem)
    _check_graph(network, contract)
    return Bundle(path, digest, contract, network, False)


def _check_files(blob: bytes, files: dict[str, bytes], contract: Contract) -> None:
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


def _check_graph(network: Network, contract: Contract) -> None:
    if len(contract.labels) != network.classes:
        raise ContractMismatch(
            f"{len(contract.labels)} labels, but the model has {network.classes} outputs",
            hint="a 1001-output ImageNet model counts 'background' first; check the label file",
        )
    expected = (contract.geometry.height, contract.geometry.width)
    if network.input_shape != expected:
        raise ContractMismatch(
            f"the contract says {expected} input pixels, the model takes {network.input_shape}"
        )


def _recompute(
    golden: Golden, files: dict[str, bytes], contract: Contract, network: Network
) -> GoldenResult:
    if golden.member not in files:
        raise BundleCorrupt(f"{golden.member} is missing from the Bundle")
    pixels = fit(decode(files[golden.member]), contract.geometry)
    equal = hashlib.sha256(pixels.tobytes()).hexdigest() == golden.pixels_sha256
    off = float(np.abs(np.subtract(thumbnail(pixels), golden.thumbnail)).mean())
    scores = network.scores(pixels, mean=contract.mean, std=contract.std)
    scores_off = float(np.abs(scores - np.asarray(golden.scores, np.float32)).max())
    result = GoldenResult(golden.label, equal, 0.0 if equal else off, scores_off)
    # Written so that NaN fails: a comparison with NaN is False.
    if not (result.pixels_off <= THUMBNAIL_TOLERANCE and scores_off <= contract.golden_tolerance):
        raise GoldenMismatch(
            f"golden frame {golden.member} ({golden.label}): pixels off by "
            f"{result.pixels_off:.2f} levels, scores by {scores_off:.3f} "
            f"(allowed {THUMBNAIL_TOLERANCE} and {contract.golden_tolerance})",
            hint="this device computes something else than the workshop: compare library versions "
            "with the device lock, then convert again",
        )
    return result


def with_files(contract: Contract, model: bytes, files: dict[str, bytes]) -> Contract:
    """The contract with the digests of everything it travels with."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return replace(contract, files={"model": hashlib.sha256(model).hexdigest(), **digests})
