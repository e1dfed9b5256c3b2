"""A key and what its signature will say: of ``sightpost convert --sign`` and ``keys sign``."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, NotABundle, SignatureRefused, nearest
from ..manifest import Manifest, is_version, sign_file
from ..models.target import BOARDS
from .keys import load_secret_key

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..minikeys import SecretKey


@dataclass(frozen=True, slots=True)
class Signer:
    """``version`` "" is the time of signing, ``expires`` "" never, ``target`` "" any board."""

    key: "SecretKey"
    version: str
    expires: str
    target: str

    @classmethod
    def of(cls, key: Path, version: str, expires: str, target: str) -> "Signer":
        """Everything is checked before hours of work, and before a password is asked for.

        Raises:
            ConfigError: the key cannot be used, or a word cannot be signed.
            MissingExtra: ``cryptography`` is not installed.
        """
        if version and not is_version(version):
            raise ConfigError(
                f"--version {version!r} is no dotted number: nothing can be older or newer than it",
                hint="for example 1.2; left out, it is the time of signing",
            )
        if target and target not in BOARDS:
            raise ConfigError(f"no board {target!r} to sign for", hint=nearest(target, BOARDS))
        Manifest.describe(b"?", ("?",), name="?", version="?", expires=expires).to_comment()
        return cls(load_secret_key(key), version, expires, target)

    def sign(self, bundle: "Bundle") -> Manifest:
        """Sign exactly what was opened: the file may lie in a folder that others write to.

        Raises:
            SignatureRefused: the file is another one by now.
        """
        content, contract = bundle.path.read_bytes(), bundle.contract
        manifest = Manifest.describe(
            content, contract.labels, name=contract.name, version=self.version or version_now(),
            expires=self.expires, target=self.target,
        )  # fmt: skip
        if manifest.sha256 != bundle.digest:
            raise SignatureRefused(f"{bundle.path} was replaced before it could be signed")
        sign_file(bundle.path, self.key, manifest)
        return manifest


def open_sealed(model: Path) -> "Bundle":
    """The Bundle to be signed, verified with all its golden frames.

    Raises:
        NotABundle: a plain .tflite, which says neither its labels nor how its pictures are made.
        ModelError: see ``Bundle.open``.
    """
    from ..bundle import Bundle
    from ..container import CONTRACT_FILE, read_file, read_members
    from ..tflite_header import check_header, is_tflite

    blob = read_file(model)
    if not is_tflite(blob):
        check_header(blob)
    if CONTRACT_FILE not in read_members(blob):
        raise NotABundle(
            f"{model} is a plain .tflite: there is no contract in it that could be signed",
            hint=f"sightpost convert {model} --labels LABELS.txt --photos PHOTOS "
            "--out BUNDLE.tflite --sign KEY makes a Bundle of it, signed",
        )
    return Bundle.open(model, every_golden=True)


def version_now() -> str:
    """The UTC time as a version, such as 2026.11.21.2105: a later model is a higher one."""
    return datetime.now(UTC).strftime("%Y.%m.%d.%H%M")
