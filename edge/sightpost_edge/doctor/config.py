"""Whether the station's config can be read: everything else is looked at as it says."""

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from ..masking import without_password
from .finding import Finding
from .host import CONFIG_FOLDER, Host
from .service import installing
from .unseen import unseen


def check_file(host: Host) -> Iterator[Finding]:
    """It is there, it is TOML, and every key is known."""
    if host.config is None:
        yield _none_named(host)
    elif not host.native:
        yield Finding(
            "config.file", "note", f"{host.config} is not read",
            why="numpy or OpenCV cannot be loaded; neither camera, model nor broker is looked at",
        )  # fmt: skip
    elif (host.site is None or host.trouble) and _is_hidden(host.config):
        why = "neither camera, model nor broker is looked at"
        yield unseen(host, "config.file", f"the config {host.config}", why)
    elif host.site is None or host.trouble:
        yield Finding(
            "config.file", "fault", host.trouble or f"{host.config} cannot be read",
            why="the station does not start; what can be read of it is looked at"
            if host.site else "the station does not start, and what it uses cannot be looked at",
            fix=_mend(host, host.config),
        )  # fmt: skip
    else:
        source = without_password(host.site.source) or "no source"
        yield Finding("config.file", "ok", f"{host.config}: {source}, store {host.store}")


def _none_named(host: Host) -> Finding:
    stations = [path.stem for path in host.glob(f"{CONFIG_FOLDER}/*.toml")]
    if not stations:
        return Finding("config.file", "ok", "no station was named: only the machine is looked at")
    return Finding(
        "config.file", "note", f"there are stations here: {', '.join(stations)}",
        why="without a name neither camera, model nor broker is looked at",
        fix=f"sightpost doctor {shlex.quote(stations[0])}",
    )  # fmt: skip


def _is_hidden(path: Path) -> bool:
    try:
        return path.exists() and not os.access(path, os.R_OK)
    except OSError:  # the folder is hidden as well
        return True


def _mend(host: Host, path: Path) -> str:
    try:
        path.stat()
    except FileNotFoundError:
        if host.station:
            return installing(host)
        return f"ls {_quoted(path.parent)}"
    except OSError:
        return f"ls -l {_quoted(path)}"
    return host.sudo(f"nano {_quoted(path)}") + (f"  # {host.hint}" if host.hint else "")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def check_secrets(host: Host) -> Iterator[Finding]:
    """A camera's password in the config is nobody else's business."""
    source = host.site.source if host.site else ""
    if host.config is None or without_password(source) == source:
        yield Finding("config.secrets", "ok", "the config holds no password")
        return
    try:
        mode = host.config.stat().st_mode
    except OSError:
        return
    if mode & stat.S_IROTH:
        yield Finding(
            "config.secrets", "warning", f"everybody can read {host.config}: it has a password",
            why="any program on this machine can look through the camera",
            fix=host.sudo(f"chmod o-rwx {_quoted(host.config)}"), safe=True,
        )  # fmt: skip
    else:
        yield Finding("config.secrets", "ok", f"{host.config} is not for everybody to read")


CHECKS = (check_file, check_secrets)
