"""Root puts its rights down before it works in a service's folder.

What is made then belongs to the service; and a service that was taken over cannot lay links there
that root would write through, nor have a model read with root's rights.
"""

import os
import pwd
import sys
from pathlib import Path

from ..errors import ConfigError


def owner_of(folder: Path) -> int:
    """The user who owns ``folder``, or the nearest one above it that exists."""
    for one in (folder, *folder.absolute().parents):
        try:
            return one.stat().st_uid
        except FileNotFoundError:
            continue
    return 0


def acts_for_another(folder: Path) -> bool:
    """Whether this is root and the folder somebody else's."""
    return os.geteuid() == 0 and owner_of(folder) != 0


def become_owner(folder: Path) -> None:
    """For the rest of this process be the folder's owner, where this is root; else nothing.

    Raises:
        ConfigError: that user cannot read this program.
    """
    if not acts_for_another(folder):
        return
    uid = owner_of(folder)
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


def hand_over(made: Path, folder: Path) -> None:
    """Give a folder of ours and the files in it to the owner of ``folder``."""
    for path in (*made.iterdir(), made):
        os.chown(path, owner_of(folder), -1, follow_symlinks=False)


def _load_what_is_used_later() -> None:
    """Where this program lies in a home folder, its owner alone can load parts of it."""
    from .. import bundle, trial_child  # noqa: F401

    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: F401
    except ImportError:
        return
