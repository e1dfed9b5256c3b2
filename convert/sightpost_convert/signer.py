"""The signature of a Bundle that was just sealed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sightpost_edge.bundle import Bundle
from sightpost_edge.commands.keys import load_secret_key
from sightpost_edge.errors import ConfigError, SignatureRefused
from sightpost_edge.manifest import Manifest, is_version, sign_file

from .target import Target


@dataclass(frozen=True, slots=True)
class Signer:
    """A key, and what the signature will say; both are checked before hours of work."""

    key: Any
    version: str
    expires: str
    target: str

    @classmethod
    def of(cls, key: Path | None, version: str, expires: str, target: Target) -> "Signer | None":
        """None without a key.

        Raises:
            ConfigError: the key cannot be used, or a word cannot be signed.
        """
        if key is None:
            if version or expires:
                raise ConfigError("--version and --expires are part of a signature: add --sign KEY")
            return None
        if version and not is_version(version):
            raise ConfigError(
                f"--version {version!r} is no dotted number: nothing can be older or newer than it",
                hint="for example 1.2; left out, it is the time of signing",
            )
        board = target.text if target.board else ""
        signer = cls(load_secret_key(key), version, expires, board)
        signer._manifest(b"?", ("?",), "?").to_comment()
        return signer

    def sign(self, bundle: Bundle) -> None:
        """Sign exactly what was sealed: the file may lie in a folder that others write to."""
        content, contract = bundle.path.read_bytes(), bundle.contract
        manifest = self._manifest(content, contract.labels, contract.name)
        if manifest.sha256 != bundle.digest:
            raise SignatureRefused(f"{bundle.path} was replaced before it could be signed")
        sign_file(bundle.path, self.key, manifest)

    def _manifest(self, content: bytes, labels: tuple[str, ...], name: str) -> Manifest:
        return Manifest.describe(
            content, labels, name=name, version=self.version or version_now(),
            expires=self.expires, target=self.target,
        )  # fmt: skip


def version_now() -> str:
    """The UTC time as a version, such as 2026.11.21.2105: a later model is a higher one."""
    return datetime.now(UTC).strftime("%Y.%m.%d.%H%M")
