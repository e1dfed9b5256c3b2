"""Which key's models a station takes: one public key, where the service itself cannot write."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..durable import make_folder, unreadable, writing
from ..errors import ConfigError, StoreError
from ..minikeys import PublicKey
from ..polled import read_ordinary

STATE_ROOT = Path("/var/lib/sightpost")
CONFIG_ROOT = Path("/etc/sightpost")
MODELS = "models"
"""The model folder's name in a store."""
TRUSTED = "trusted.pub"
MAX_BYTES = 4096
_ANEW = "sightpost model trust KEY --replace writes it anew"


def trusted_key_path(
    models: Path, *, state_root: Path = STATE_ROOT, config_root: Path = CONFIG_ROOT
) -> Path:
    """Where the trusted key of the model folder ``models`` lies, by whatever way that is reached.

    Of a service, whose store is ``/var/lib/sightpost/NAME``, it is ``/etc/sightpost/NAME.pub``:
    root's, so that a camera's process that was taken over cannot trust another key. Of any other
    folder it is ``trusted.pub`` in it.
    """
    real = Path(os.path.realpath(models))
    given = real if models.name in ("", "..") else models.absolute()  # "." has no name
    stores = (given.parent, Path(os.path.realpath(given.parent)), real.parent)
    for store in stores:  # the name that its unit has counts before what that leads to
        if store.name != ".." and _is_same(store.parent, state_root):
            return config_root / f"{store.name}.pub"
    keys = [config_root / f"{name}.pub" for name in _leading_to(given, stores, state_root)]
    return next(
        (key for key in keys if os.path.lexists(key)), keys[0] if keys else models / TRUSTED
    )


def _leading_to(models: Path, stores: tuple[Path, ...], state_root: Path) -> Iterator[str]:
    """The services whose store or model folder is elsewhere, and is this one."""
    try:
        names = sorted(os.listdir(state_root))
    except OSError:
        return
    for own in (state_root / name for name in names):
        linked = _is_placed_by_root(own / MODELS, state_root) and _is_same(own / MODELS, models)
        if linked or any(_is_same(own, store) for store in stores):
            yield own.name


def _is_placed_by_root(path: Path, state_root: Path) -> bool:
    """Not where a service that was taken over laid the link, to have its key count elsewhere."""
    try:
        found = path.lstat()
        return not stat.S_ISLNK(found.st_mode) or found.st_uid == state_root.stat().st_uid
    except OSError:
        return False


def _is_same(one: Path, other: Path) -> bool:
    """Whether both are one folder: by path where it is not there yet, or its disk is not mounted;
    by number where it is mounted in two places.
    """
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def read_trusted(path: Path) -> PublicKey | None:
    """The key in ``path``; None where there is no such file.

    Raises:
        ConfigError: it cannot be read or is no key, which is not the same as trusting none.
        StoreError: its disk fails, or is not there.
    """
    try:
        content = read_ordinary(path, MAX_BYTES, follow=True)
    except FileNotFoundError as exc:
        if not path.is_symlink():
            return None
        raise StoreError(
            f"the trusted key {path} leads to {os.readlink(path)}, and there is nothing",
            hint=f"mount what holds it; or {_ANEW}",
        ) from exc
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
