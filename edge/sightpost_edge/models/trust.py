"""Which key's models a station takes: one public key, where the service itself cannot write."""

import os
from pathlib import Path

from ..durable import make_folder, unreadable, writing
from ..errors import ConfigError
from ..minikeys import PublicKey
from ..polled import read_ordinary

STATE_ROOT = Path("/var/lib/sightpost")
CONFIG_ROOT = Path("/etc/sightpost")
TRUSTED = "trusted.pub"
MAX_BYTES = 4096
_ANEW = "sightpost model trust KEY --replace writes it anew"


def trusted_key_path(
    models: Path, *, state_root: Path = STATE_ROOT, config_root: Path = CONFIG_ROOT
) -> Path:
    """Where the trusted key of the model folder ``models`` lies.

    Of a service, whose store is ``/var/lib/sightpost/NAME``, it is ``/etc/sightpost/NAME.pub``:
    root's, so that a camera's process that was taken over cannot trust another key. Of any other
    folder it is ``trusted.pub`` in it.
    """
    store = Path(os.path.realpath(models.parent))
    if store.parent == Path(os.path.realpath(state_root)):
        return config_root / f"{store.name}.pub"
    return models / TRUSTED


def read_trusted(path: Path) -> PublicKey | None:
    """The key in ``path``; None where there is no such file.

    Raises:
        ConfigError: it cannot be read or is no key, which is not the same as trusting none.
        StoreError: its disk fails.
    """
    try:
        content = read_ordinary(path, MAX_BYTES, follow=True)
    except FileNotFoundError:
        return None
    except OSError as exc:
        error = unreadable(path, exc)
        error.hint = error.hint or _ANEW
        raise error from exc
    try:
        return PublicKey.from_text(content.decode())
    except (UnicodeDecodeError, ConfigError) as exc:
        raise ConfigError(
            f"the trusted key {path} cannot be used ({exc})",
            hint=_ANEW,
        ) from exc


def trust(path: Path, key: PublicKey, *, replace: bool = False) -> bool:
    """Trust ``key`` from now on, durably; False where it was trusted already.

    Raises:
        ConfigError: another key is trusted, and it is not to be replaced.
        DiskFull, StoreError: see ``errors.writing_to``.
    """
    if not replace and (known := read_trusted(path)) is not None:
        if known == key:
            return False
        raise ConfigError(
            f"key {known.name} is trusted here, not {key.name}",
            hint="--replace trusts the new one instead; sign the model in use with it first",
        )
    make_folder(path.parent)
    with writing(path) as file:
        file.write(key.to_text().encode())
        os.fchmod(file.fileno(), 0o644)
    return True
