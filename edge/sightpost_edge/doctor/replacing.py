"""The commands that put another model in the place of one that is not good."""

import os
import shlex

from .finding import as_fix
from .host import Host
from .opened import Opened, place
from .service import is_absent


def command(host: Host, words: str) -> str:
    """``sightpost model`` for the models looked at here, which are another user's in a service."""
    path = place(host)
    store = path.parent if path is not None and path.name == "models" else host.store
    typed = f"sightpost model {words} --store {shlex.quote(str(store.absolute()))}"
    return host.sudo(typed) if host.station else typed


def replaced(host: Host, found: Opened) -> str:
    """How a file that cannot be used is replaced by one that can."""
    path = place(host)
    if path is not None and os.path.isdir(path):
        return _in_folder(host, found)
    if path is not None and found.error == "ModelError" and is_absent(path):
        if host.station or path.name == "models":
            return command(host, "install FILE")
        return f"Copy the model to {path}, or correct model in {host.config or 'the config'}"
    if not found.hint:
        return f"sightpost inspect {shlex.quote(str(path))}"
    return (
        f"{as_fix(found.hint)} (it is {path})"
        if found.error == "BundleCorrupt"
        else as_fix(found.hint)
    )


def _in_folder(host: Host, found: Opened) -> str:
    if found.error in ("MissingExtra", "LibraryError"):
        return as_fix(found.hint)  # no model would open
    if found.back:
        return command(host, "rollback")
    if "model trust" in found.hint:
        return command(host, "trust KEY --replace")
    return found.hint if found.hint.startswith("update") else command(host, "install FILE")


def converted(host: Host, words: str) -> str:
    """Made anew where models are made, and brought here: a station's own ``convert`` cannot."""
    path = place(host)
    bring = f"Then copy it to {path}"
    if path is not None and os.path.isdir(path):
        bring = command(host, "install FILE")
    return f"In the workshop: sightpost convert {words}\n{bring}"
