"""Root puts its rights down before it works in a service's folder.

What is made then belongs to the service; and a service that was taken over cannot lay links there
that root would write through, nor have a model read with root's rights.
"""

import contextlib
import os
import pwd
import stat
import sys
from pathlib import Path

from ..errors import ConfigError, ModelError
from ..minisign import SUFFIX as SIGNATURE

MOST_LINKS = 40
"""As many as Linux itself follows in one path."""


def owner_of(folder: Path) -> int:
    """The first user on the way to ``folder``, from the top, who is not root: from there on
    whatever lies below may be exchanged at any moment, whoever it belongs to just now.

    0 where root alone decides what the path leads to, links of root's own included.

    Raises:
        ConfigError: it cannot be looked at.
    """
    at, left, links = Path("/"), list(reversed(folder.absolute().parts[1:])), 0
    while left and links <= MOST_LINKS:
        if (name := left.pop()) == "..":
            at = at.parent
            continue
        try:
            found = (at / name).lstat()
            target = os.readlink(at / name) if stat.S_ISLNK(found.st_mode) else ""
        except (FileNotFoundError, NotADirectoryError):  # root would make it
            return 0
        except OSError as exc:
            raise ConfigError(f"cannot look at {at / name}: {exc.strerror}") from exc
        if found.st_uid:
            return found.st_uid
        if target:
            links += 1
            left += reversed(Path(target).parts)
        at = at if target else at / name
    return 0


def acts_for_another(folder: Path) -> bool:
    """Whether this is root and somebody else decides what ``folder`` is."""
    return os.geteuid() == 0 and owner_of(folder) != 0


def become_owner(folder: Path) -> None:
    """For the rest of this process be the folder's owner, where this is root; else nothing.

    Raises:
        ConfigError: that user cannot read this program.
    """
    if os.geteuid() != 0 or not (uid := owner_of(folder)):
        return
    _load_what_is_used_later()
    try:
        user = pwd.getpwuid(uid)
        os.initgroups(user.pw_name, user.pw_gid)
        gid = user.pw_gid
    except KeyError:
        os.setgroups([])
        gid = uid
    os.setgid(gid)
    os.setuid(uid)
    if not os.access(sys.executable, os.X_OK) or not os.access(__file__, os.R_OK):
        raise ConfigError(
            f"the owner of {folder} (user {uid}) cannot read this program ({sys.prefix})",
            hint="use the installation that the service itself runs, such as /opt/sightpost/bin",
        )


def copy_for_owner(place: str, into: Path, folder: Path, *, signed: bool) -> Path:
    """Copy a model of this machine, with its signature and the key beside it if there is one, into
    a folder of root's, and give that to the owner of ``folder``; gives the copy's path.

    Nothing is judged here: root opens no file in ``folder``, not even to learn whom it trusts.

    Raises:
        SignatureRefused: ``signed``, and there is no signature.
        ModelError: it cannot be read.
    """
    from .fetch import fetch_model, fetch_signature, find_model
    from .first_use import SUFFIX, fetch_key
    from .media import reading

    source = Path(place)
    with reading(source):
        if source.is_dir():
            source = find_model(source, signed=signed)
        size = source.stat().st_size
    copy = into / source.name
    if signed:
        Path(f"{copy}{SIGNATURE}").write_bytes(fetch_signature(str(source)))
        with contextlib.suppress(ModelError):
            Path(f"{copy}{SUFFIX}").write_bytes(fetch_key(str(source)))
    fetch_model(str(source), size, copy)
    uid = owner_of(folder)
    for path in (*into.iterdir(), into):
        os.chown(path, uid, -1, follow_symlinks=False)
    return copy


def _load_what_is_used_later() -> None:
    """Where this program lies in a home folder, its owner alone can load parts of it."""
    from .. import bundle, trial_child  # noqa: F401

    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: F401
    except ImportError:
        return
