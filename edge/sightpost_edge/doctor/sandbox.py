"""What the service's user and sandbox may see, against what works by hand; part of ``unit``."""

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..service.places import STATES, mounted_line
from ..store.database import DATABASE
from .finding import Finding
from .host import SERVICE_USER, Host
from .python import made_anew
from .service import is_installed, program_of, shown, unit_of
from .unseen import is_shut, skipped

_HIDDEN = ("/home", "/root", "/run/user")
"""What ``ProtectHome=yes`` takes out of the service's sight."""
_SHELL_ONLY = re.compile(
    r"LD_LIBRARY_PATH|LD_PRELOAD|LIBCAMERA_\w+|GPIOZERO_PIN_FACTORY|LG_WD|"
    r"OPENCV_(?!IO_MAX_IMAGE_PIXELS)\w+"  # that one this program sets for itself
)


def check_user(host: Host) -> Iterator[Finding]:
    """Who runs the service; its groups are ``cameras.check_access``'s."""
    name, found = "unit.user", shown(host, unit_of(host))
    user = found.get("User") or SERVICE_USER
    if not is_installed(found):
        yield Finding(name, "ok", "there is no service that needs a user")
    elif user == "root":
        yield Finding(
            name, "warning", "the service runs as root",
            "what reads pictures from a network should not be able to change the system",
            host.sudo(f"sightpost service install {host.station}"),
        )  # fmt: skip
    elif found.get("DynamicUser") != "yes" and user not in _names(host, "/etc/passwd"):
        yield Finding(
            name, "fault", f"the user {user} does not exist", "the service ends with code 217",
            host.sudo(f"sightpost service install {host.station}"),
        )  # fmt: skip
    else:
        yield Finding(name, "ok", f"the service runs as {user}")


def check_program(host: Host) -> Iterator[Finding]:
    """The sandbox hides home folders: what lies there the service cannot see."""
    name, found = "unit.program", shown(host, unit_of(host))
    program = program_of(found)
    if program is None:
        yield Finding(name, "ok", "there is no service to start")
        return
    needed = [program, program.with_name("python")]
    if host.site and host.site.model.startswith("/"):
        needed.append(Path(host.site.model))
    for path in needed:
        if bad := _unusable(host, found, path):
            yield bad
            return
    yield Finding(name, "ok", f"{program} can be seen and started by the service")


def check_state(host: Host) -> Iterator[Finding]:
    """systemd starts no service whose own folder is a link, as of a store moved to an SSD."""
    name, state = "unit.state", Path(STATES) / host.station
    if not host.station or not host.path(state).is_symlink():
        yield Finding(name, "ok", "no link stands in the way of the service's own folder")
        return
    leads = host.shown(Path(os.path.realpath(host.path(state))))
    line = shlex.quote(f"$a {mounted_line(leads, state)}")
    steps = (
        f"rm {state}", f"mkdir {state}", f"sed -i {line} /etc/fstab", f"mount {state}",
        f"systemctl restart {unit_of(host)}",
    )  # fmt: skip
    yield Finding(
        name, "fault", f"{state} is a link (to {leads})",
        "systemd starts no service with such a one (code 238); a mount is as good as a folder",
        "\n".join(host.sudo(step) for step in steps),
    )  # fmt: skip


def check_others(host: Host) -> Iterator[Finding]:
    """Another run, started by hand or left over, that holds the store."""
    name, holder = "unit.others", _holder(host, host.store / "store.lock")
    if is_shut(host.store):
        yield skipped(name)
        return
    if not holder:
        yield Finding(name, "ok", "nobody holds the store" if host.store.exists() else "no store")
        return
    found = shown(host, unit_of(host))
    if not host.station or holder == found.get("MainPID"):
        yield Finding(name, "ok", f"the store is held by the run, process {holder}")
        return
    words = host.read(f"/proc/{holder}/cmdline").replace("\0", " ").strip()[:80]
    yield Finding(
        name, "fault", f"process {holder} ({words}) holds {host.shown(host.store / DATABASE)}, "
        "and it is not the service", "the service ends with code 7 until that one is gone",
        f"{host.sudo(f'kill {holder}')}\n{host.sudo(f'systemctl restart {unit_of(host)}')}",
    )  # fmt: skip


def check_environment(host: Host) -> Iterator[Finding]:
    """What is set in this shell does not exist in a service."""
    named = sorted(key for key in host.environ if _SHELL_ONLY.fullmatch(key))
    if not named or not host.station:
        yield Finding("unit.environment", "ok", "nothing in this shell changes what a run does")
        return
    lines = ["[Service]", *(_setting(key, host.environ[key]) for key in named)]
    yield Finding(
        "unit.environment", "note", f"{', '.join(named)} set in this shell only",
        "a run started here behaves otherwise than the service",
        host.sudo(f"systemctl edit {unit_of(host)}") + f"\nprintf '%s\\n' {shlex.join(lines)}",
    )  # fmt: skip


def _setting(key: str, value: str) -> str:
    """A line of a unit file, whatever the value holds."""
    for mark, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%")):
        value = value.replace(mark, written)
    return f'Environment="{key}={value}"'


def _unusable(host: Host, found: Mapping[str, str], path: Path) -> Finding | None:
    """Why the service cannot use a file."""
    name, place = "unit.program", host.path(path)
    if _is_gone(place):
        return Finding(
            name, "fault", f"{path} is not there", "the service ends with code 203 or 4",
            host.sudo(f"ls -l {shlex.quote(str(path))}") if path.suffix == ".tflite"
            else "Install it anew: README.md, 'On the Pi'.",
        )  # fmt: skip
    real = Path(host.shown(place.resolve()))
    hidden = found.get("ProtectHome", "no") not in ("no", "")
    if hidden and (cover := next((h for h in _HIDDEN if real.is_relative_to(h)), None)):
        fix = (
            host.sudo(f"install -m 644 {shlex.quote(str(real))} /etc/sightpost/")
            + f'\nWrite model = "/etc/sightpost/{real.name}" into {host.config}'
            if path.suffix == ".tflite"
            else f"{host.sudo('apt install -y python3-venv')}\n{made_anew(host)}"
        )  # fmt: skip
        return Finding(
            name, "fault", f"{path} lies in {cover}, which the service cannot see",
            "it works by hand and not as a service: the sandbox hides home folders", fix,
        )  # fmt: skip
    closed = next((p for p in reversed((real, *real.parents)) if not _is_open(host, p)), None)
    if closed is not None:
        mode = "755" if host.path(closed).is_dir() else "a+rX"
        return Finding(
            name, "fault", f"{closed} may be read by its owner only",
            f"the service, user {found.get('User') or SERVICE_USER}, needs it",
            host.sudo(f"chmod {mode} {shlex.quote(str(closed))}"),
        )  # fmt: skip
    return None


def _is_gone(path: Path) -> bool:
    """For certain, or a link that leads to nothing."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _is_open(host: Host, path: Path) -> bool:
    """To everybody; what belongs to the service's own user is its business."""
    try:
        found = host.path(path).stat()
    except OSError:
        return True
    if str(found.st_uid) == _names(host, "/etc/passwd").get(SERVICE_USER):
        return True
    return bool(found.st_mode & (0o001 if host.path(path).is_dir() else 0o004))


def _names(host: Host, file: str) -> dict[str, str]:
    """Names with their numbers of /etc/passwd or /etc/group."""
    lines = (line.split(":") for line in host.read(file).splitlines())
    return {words[0]: words[2] for words in lines if len(words) > 2}


def _holder(host: Host, path: Path) -> str:
    """The process that holds a file's lock, "" where none does: /proc/locks names its inode."""
    try:
        inode = path.stat().st_ino
    except OSError:
        return ""
    for line in host.read("/proc/locks").splitlines():
        words = line.split()
        if "FLOCK" in words and any(word.endswith(f":{inode}") for word in words):
            return words[words.index("FLOCK") + 3]
    return ""


CHECKS: tuple[Callable[[Host], Iterator[Finding]], ...] = (
    check_user, check_program, check_state, check_others, check_environment,
)  # fmt: skip
