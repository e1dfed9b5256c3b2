"""The signature of a Bundle that is to be sealed; ``sightpost keys sign`` makes the same."""

from pathlib import Path

from sightpost_edge.commands.signer import Signer
from sightpost_edge.errors import ConfigError

from .target import Target


def signer_for(key: Path | None, version: str, expires: str, target: Target) -> Signer | None:
    """What signs for the target's board, or for any where that is a host; None without a key.

    Raises:
        ConfigError: the key cannot be used, or a word cannot be signed.
    """
    if key is None:
        if version or expires:
            raise ConfigError("--version and --expires are part of a signature: add --sign KEY")
        return None
    return Signer.of(key, version, expires, target.text if target.board else "")
