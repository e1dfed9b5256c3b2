"""One file that any TFLite runtime loads and that proves itself before a device trusts it.

Layout: the FlatBuffer, then a zip with stored members: ``labels.txt`` (standard TFLite Metadata,
read by MediaPipe and Android), ``contract.json``, ``golden/*.jpg``. ``unzip -l`` lists them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .container import CONTRACT_FILE, check_files, read_file, read_members
from .contract import Contract
from .errors import ContractMismatch, NotABundle
from .golden import GoldenResult, recompute
from .interpreter import Network
from .pixels import Geometry


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
        blob = read_file(path)
        digest = hashlib.sha256(blob).hexdigest()
        files = read_members(blob)
        if CONTRACT_FILE not in files:
            names = labels or _standard_labels(files)
            return _plain(path, blob, digest, names, threads)
        contract = Contract.from_json(files[CONTRACT_FILE].decode())
        check_files(blob, files, contract)
        if labels is not None and tuple(labels) != contract.labels:
            raise ContractMismatch(
                "the labels given differ from the labels sealed in the Bundle",
                hint="leave --labels out: a Bundle carries its own",
            )
        network = Network(blob, threads=threads)
        _check_graph(network, contract)
        golden = tuple(recompute(g, files, contract, network) for g in contract.golden)
        return cls(path, digest, contract, network, True, golden)


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
