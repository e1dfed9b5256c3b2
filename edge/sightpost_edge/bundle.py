"""One file that any TFLite runtime loads and that proves itself before a device trusts it.

Layout: the FlatBuffer, then a zip with stored members: ``labels.txt`` (standard TFLite Metadata,
read by MediaPipe and Android), ``contract.json``, ``golden/*.jpg``. ``unzip -l`` lists them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .container import (
    CONTRACT_FILE,
    check_files,
    model_part,
    read_contract,
    read_file,
    read_members,
    wrong_fields,
)
from .contract import Contract
from .errors import ContractMismatch, NotABundle, SignatureRefused
from .golden import GoldenResult, recompute_all
from .interpreter import Network
from .novelty import Novelty
from .pixels import Geometry
from .tflite_header import check_header, is_tflite
from .trial import try_once
from .tune import tuned_network


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
    novelty: Novelty | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        labels: Sequence[str] | None = None,
        threads: int = 1,
        signed_sha256: str = "",
        every_golden: bool = False,
    ) -> "Bundle":
        """Open and verify, or refuse with a named reason.

        Size, container, contract and digests are checked first; then the model is tried in a
        child process (``trial``), and only then is it opened here.

        Args:
            path: a Bundle, or any .tflite image classifier when ``labels`` are given.
            labels: names in output order, only for a file that carries none.
            threads: of the interpreter; 0: as many as pay on this machine (``tune``).
            signed_sha256: of the whole file, from a signature that holds: such a file needs no
                trial, and another one in its place is refused.
            every_golden: recompute all golden frames, not only as many as fit into a start.

        Raises:
            ModelError: missing, too large, not a model, or it failed its trial.
            NotABundle: a plain .tflite and no labels given.
            BundleCorrupt, ContractMismatch, GoldenMismatch: see ``errors``.
        """
        blob = read_file(path)
        if not is_tflite(blob):
            check_header(blob)
        digest = hashlib.sha256(blob).hexdigest()
        if signed_sha256 and digest != signed_sha256:
            raise SignatureRefused(f"{path} is not the file that was signed")
        files, model = read_members(blob), model_part(blob)
        trusted = bool(signed_sha256)
        if CONTRACT_FILE not in files:
            names = _names(path, labels or _standard_labels(files))
            return _plain(path, model, digest, names, threads, trusted)
        contract = read_contract(files)
        check_files(model, files, contract)
        _check_given(labels, contract)
        network = _network(model, threads, contract.delegate, trusted)
        _check_graph(network, contract)
        with wrong_fields():
            golden = recompute_all(contract, files, network, every=every_golden)
            novelty = Novelty.from_bundle(contract, files, features=network.features)
        return cls(path, digest, contract, network, True, golden, novelty)


def _network(model: bytes, threads: int, delegate: str, trusted: bool) -> Network:
    check_header(model)
    if not trusted:
        try_once(model, delegate=delegate)
    if threads:
        return Network(model, threads=threads, delegate=delegate)
    return tuned_network(lambda n: Network(model, threads=n, delegate=delegate))


def _plain(
    path: Path, model: bytes, digest: str, names: tuple[str, ...], threads: int, trusted: bool
) -> Bundle:
    network = _network(model, threads, "xnnpack", trusted)
    height, width = network.input_shape
    contract = Contract(labels=names, geometry=Geometry(width, height), name=path.stem)
    _check_graph(network, contract)
    return Bundle(path, digest, contract, network, False)


def _standard_labels(files: dict[str, bytes]) -> list[str] | None:
    """Labels of a model from elsewhere that carries the standard metadata's label file."""
    for name, content in files.items():
        if name.endswith(".txt"):
            return content.decode("utf-8", "replace").splitlines()
    return None


def _names(path: Path, labels: Sequence[str] | None) -> tuple[str, ...]:
    if labels is None:
        raise NotABundle(
            f"{path} is a plain .tflite: it carries neither labels nor a contract",
            hint="give its labels, one per line, with --labels FILE; if it was a Bundle, it "
            "was cut short: copy it again and compare sizes",
        )
    return tuple(label for label in labels if label.strip())


def _check_given(labels: Sequence[str] | None, contract: Contract) -> None:
    if labels is not None and tuple(labels) != contract.labels:
        raise ContractMismatch(
            "the labels given differ from the labels sealed in the Bundle",
            hint="leave --labels out: a Bundle carries its own",
        )


def _check_graph(network: Network, contract: Contract) -> None:
    if min(network.input_shape) < 1:
        raise ContractMismatch(f"the model takes pictures of {network.input_shape} pixels")
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
