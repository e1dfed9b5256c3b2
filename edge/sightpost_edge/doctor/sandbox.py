"""What the service's user and sandbox may see, against what works by hand; part of ``unit``."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..store.database import DATABASE
from .finding import Finding
from .host import SERVICE_USER, Host
from .service import is_installed, program_of, shown, unit_of

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


def check_others(host: Host) -> Iterator[Finding]:
    """Another run, started by hand or left over, that holds the store."""
    name, holder = "unit.others", _holder(host, host.store / "store.lock")
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
    lines = "\\n".join(f"Environment={key}={host.environ[key]}" for key in named)
    yield Finding(
        "unit.environment", "note", f"{', '.join(named)} set in this shell only",
        "a run started here behaves otherwise than the service",
        host.sudo(f"systemctl edit {unit_of(host)}") + f"\nprintf '[Service]\\n{lines}\\n'",
    )  # fmt: skip


def _unusable(host: Host, found: Mapping[str, str], path: Path) -> Finding | None:
    """Why the service cannot use a file."""
    name, place = "unit.program", host.path(path)
    if not host.exists(str(path)):
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
            else host.sudo("apt install python3-venv\npython3 -m venv --clear "
                           "--system-site-packages /opt/sightpost")
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
    check_user, check_program, check_others, check_environment,
)  # fmt: skip
