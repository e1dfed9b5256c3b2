"""What systemd says of a station's units, and what its words and numbers mean."""

import re
from collections.abc import Mapping
from pathlib import Path

from .host import CONFIG_FOLDER, STATE_FOLDER, Host

_ASKED = (
    "LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "ExecMainStatus",
    "ExecMainCode", "NRestarts", "WatchdogUSec", "DropInPaths", "FragmentPath", "MainPID", "User",
    "DynamicUser", "SupplementaryGroups", "NeedDaemonReload", "ExecStart", "ProtectHome",
)  # fmt: skip
ENDS = {
    1: "an error nobody has thought of, or a library that could not be loaded",
    2: "an option, a key of the config or an address is wrong",
    3: "photos cannot be used",
    4: "the model cannot be used",
    5: "the camera failed and could not be opened again",
    6: "an optional library is not installed",
    7: "the store cannot be used: its disk, its owner, or another run",
    11: "an output pin cannot be driven",
    12: "nothing could be sent",
    126: "the program may not be started",
    127: "the program was not found",
    200: "its working folder is missing",
    203: "the program cannot be started: not there, or not to be seen from the sandbox",
    216: "a group is missing on this system",
    217: "its user is missing on this system",
    226: "the sandbox could not be set up: a folder it names is missing",
    228: "the system call filter could not be set up",
    233: "its folder in /run could not be made",
    238: "its state folder could not be made",
    243: "a credential could not be handed over: its file is missing",
}
"""Ours, and those of systemd.exec(5)."""
RESULTS = {
    "watchdog": "nothing moved on any more, so the watchdog ended it",
    "timeout": "it took too long to start or to stop",
    "signal": "it was killed",
    "core-dump": "it crashed",
    "oom-kill": "the machine ran out of memory",
    "resources": "systemd could not start it: a file, user or credential is missing",
    "start-limit-hit": "it was started too often; systemd has given up",
    "protocol": "it never said that it is ready",
}


def unit_of(host: Host) -> str:
    """The camera's unit."""
    return f"sightpost@{host.station}.service"


def uplink_of(host: Host) -> str:
    """The sender's."""
    return f"sightpost-uplink@{host.station}.service"


def installing(host: Host) -> str:
    """The command that puts the station's service there, with what is not there yet."""
    words = f"sightpost service install {host.station}"
    config = host.path(CONFIG_FOLDER / f"{host.station}.toml")
    if is_absent(config):
        words += " --config site.toml"
    models = host.path(STATE_FOLDER / host.station / "models")
    if is_absent(models / "current") and is_absent(config):
        words += " --model model.tflite"
    return host.sudo(words)


def is_absent(path: Path) -> bool:
    """For certain: what may not be looked at may be there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def shown(host: Host, unit: str) -> Mapping[str, str]:
    """Its properties; nothing where there is no systemd, or no station was named."""
    if not host.station:
        return {}
    return host.once(f"systemctl show {unit}", lambda: _asked(host, unit))


def is_installed(properties: Mapping[str, str]) -> bool:
    """Whether systemd has found its file."""
    return properties.get("LoadState") in ("loaded", "bad-setting", "error")


def meaning(properties: Mapping[str, str]) -> str:
    """How the last one ended, in words; "" where it ended as it should."""
    result = properties.get("Result", "success")
    status = properties.get("ExecMainStatus", "0")
    if result == "exit-code" and status.isdecimal():
        return f"exit code {status}: {ENDS.get(int(status), 'see its log')}"
    return "" if result in ("success", "") else RESULTS.get(result, result)


def journal(host: Host, unit: str, *, lines: int, since: str = "") -> list[str]:
    """The last lines of a unit's log, oldest first; none where it may not be read."""
    words = ["journalctl", "-u", unit, "-n", str(lines), "--no-pager", "-q", "-o", "short-iso"]
    ran = host.run(*words, *(["--since", since] if since else []), timeout_s=20.0)
    return ran.out.splitlines() if ran is not None and ran.code == 0 else []


def program_of(properties: Mapping[str, str]) -> Path | None:
    """What ``ExecStart=`` starts."""
    found = re.search(r"path=(/[^ ;]+)", properties.get("ExecStart", ""))
    return Path(found[1]) if found else None


def _asked(host: Host, unit: str) -> Mapping[str, str]:
    ran = host.run("systemctl", "show", unit, f"--property={','.join(_ASKED)}")
    lines = ran.out.splitlines() if ran is not None and ran.code == 0 else []
    return dict(line.split("=", 1) for line in lines if "=" in line)
