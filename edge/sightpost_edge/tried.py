"""Remembers which models passed their trial, so that a device pays for it once per model."""

import hashlib
import os
import platform
import stat
import sys
from importlib.metadata import version
from pathlib import Path

from .interpreter import interpreter_class

RULES = "1"
"""Goes up with every change of the trial that must make it try all models again."""
FOLDER = "tried-models"
MAX_ENTRIES = 256

_here: set[str] = set()
"""Models that passed in this very process: no disk needed."""


def passed_before(model: bytes, delegate: str = "xnnpack") -> bool:
    """Whether this model passed its trial with this runtime before, by this user's own record."""
    name = _name(model, delegate)
    if name in _here:
        return True
    folder = _folder()
    if folder is None or not _is_ours(folder, stat.S_IFDIR):
        return False
    if noted := _is_ours(folder / name, stat.S_IFREG):
        _here.add(name)
    return noted


def remember(model: bytes, delegate: str = "xnnpack") -> None:
    """Note that this model was run here without harm; a disk that cannot be written is no error.

    After a power cut the note may be gone: then the model is tried again.
    """
    name = _name(model, delegate)
    _here.add(name)
    if (folder := _folder()) is None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours(folder, stat.S_IFDIR):
            return
        os.close(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        _forget_oldest(folder)
    except OSError:
        return


def _folder() -> Path | None:
    """``$STATE_DIRECTORY`` under systemd, ``$XDG_STATE_HOME/sightpost``, or the user's home."""
    if state := os.environ.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0]) / FOLDER
    home = Path(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"))
    return home / "sightpost" / FOLDER if home.is_absolute() else None


def _name(model: bytes, delegate: str) -> str:
    """A digest of the model and of everything that the result of its trial hangs on."""
    about = f"{RULES}\n{_runtime()}\n{platform.machine()}\n{delegate}\n".encode()
    return hashlib.sha256(about + hashlib.sha256(model).digest()).hexdigest()


def _runtime() -> str:
    package = interpreter_class().__module__.partition(".")[0]
    stated = getattr(sys.modules[package], "__version__", None)
    return f"{package} {stated or version(package.replace('_', '-'))}"


def _is_ours(path: Path, kind: int) -> bool:
    """Of that kind itself, owned by this user, and no other user may change it."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return (
        stat.S_IFMT(found.st_mode) == kind
        and found.st_uid == os.geteuid()
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _forget_oldest(folder: Path) -> None:
    entries = sorted(folder.iterdir(), key=lambda entry: entry.stat().st_mtime_ns)
    for entry in entries[:-MAX_ENTRIES]:
        entry.unlink(missing_ok=True)
