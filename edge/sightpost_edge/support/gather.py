"""What goes into the archive: one function for each file, each guarded, each scrubbed."""

import dataclasses
import json
import os
import platform
import re
import sqlite3
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__, clock
from ..control import CONTROL, Control
from ..doctor.card import kernel_log
from ..doctor.examine import examine
from ..doctor.host import RUN_FOLDER, Host
from ..doctor.service import unit_of, uplink_of
from ..live import LIVE
from ..lives import LIVES
from ..localtime import DAY_MS
from ..machine import this_machine
from ..polled import read_ordinary
from .readme import readme
from .scrub import Scrubber
from .secrets import scrubber_of, shown_config

DAYS = 30
LOG_LINES = 2000
MOST_HEALTH = 5000
_MOST_BYTES = 262_144
_CUT = 200_000
"""Of a command's output the host keeps so many characters: the first line of those is half one."""
_KERNEL = re.compile(
    r"mmc|camera|unicam|csi|imx\d|ov\d{4}|bcm2835|voltage|throttl|thermal|I/O error|EXT4|"
    r"out of memory|oom|watchdog|usb \d|uvcvideo|cma", re.IGNORECASE
)  # fmt: skip
_PACKAGES = (
    "python3", "python3-picamera2", "python3-libcamera", "python3-simplejpeg", "python3-numpy",
    "python3-lgpio", "linux-image-rpi-v8", "linux-image-rpi-2712", "rpicam-apps", "systemd",
)  # fmt: skip

_OURS = (
    "sightpost", "sightpost-edge", "numpy", "opencv-python-headless", "opencv-python",
    "opencv-contrib-python", "opencv-contrib-python-headless", "ai-edge-litert", "tflite-runtime",
    "typer", "cryptography", "paho-mqtt", "picamera2", "simplejpeg", "gpiozero", "lgpio",
)  # fmt: skip
"""What a run uses, and what is known to stand in its place: listed before all others."""

Part = Callable[[Host], Any]
"""Gives a text, or what becomes JSON; "" or None where there is nothing to say."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """The files by their names, ready to be written, what was removed from them, by kind, and the
    kinds of which something is ``left`` in them after all: then nothing may be written."""

    files: dict[str, bytes]
    removed: dict[str, int]
    left: tuple[str, ...] = ()


def gather(
    host: Host, on_part: Callable[[str], None] = lambda name: None,
    on_check: Callable[[str], None] = lambda name: None,
) -> Gathered:  # fmt: skip
    """Look at everything; what cannot be had is said in its place."""
    scrub = scrubber_of(host)
    parts: dict[str, Part] = {
        "doctor.json": lambda host: _doctor(host, on_check),
        "config.json": lambda host: shown_config(host, scrub.removed),
        **PARTS,
    }
    texts: dict[str, str] = {}
    for name, part in parts.items():
        on_part(name)
        if found := _had(part, host):
            texts[name] = _without_secrets(found, scrub)
    texts = {"README.txt": _without_secrets(readme(host, texts), scrub), **texts}
    files = {name: f"{text.rstrip()}\n".encode() for name, text in texts.items()}
    left = scrub.left_in("\n".join(texts.values()))
    return Gathered(files, dict(sorted(scrub.removed.items())), tuple(left))


def _had(part: Part, host: Host) -> Any:
    try:
        return part(host)
    except Exception as exc:  # noqa: BLE001 - a report of a broken machine must not break
        return f"could not be had: {type(exc).__name__}: {exc}"


def _without_secrets(found: Any, scrub: Scrubber) -> str:
    """Looked through before and after it becomes JSON, which writes some letters otherwise."""
    if isinstance(found, str):
        return scrub(found)
    return scrub(json.dumps(_walked(found, scrub), indent=1, ensure_ascii=False, default=str))


def _walked(found: Any, scrub: Scrubber) -> Any:
    if isinstance(found, str):
        return scrub(found)
    if isinstance(found, Mapping):
        return {scrub(str(key)): _walked(value, scrub) for key, value in found.items()}
    return [_walked(one, scrub) for one in found] if isinstance(found, list) else found


def _doctor(host: Host, on_check: Callable[[str], None]) -> Any:
    return {"findings": [dataclasses.asdict(one) for one in examine(host, on_check)]}


def _versions(host: Host) -> Any:
    found = {str(one.metadata["Name"]): one.version for one in metadata.distributions()}
    names = sorted(found, key=lambda name: (_normal(name) not in _OURS, name.lower()))
    packages = host.run("dpkg-query", "-W", "-f", "${Package} ${Version}\n", *_PACKAGES)
    return {
        "sightpost": __version__,
        "python": platform.python_version(),
        "prefix": host.prefix,
        "sqlite": sqlite3.sqlite_version,
        "kernel": platform.release(),
        "libc": host.libc,
        "packages": packages.out.splitlines() if packages else [],
        "distributions": {name: found[name] for name in names},
    }  # fmt: skip


def _machine(host: Host) -> Any:
    facts = dataclasses.asdict(this_machine(host.root))
    disks = [x for x in host.read("/proc/self/mounts").splitlines() if x.startswith("/dev/")]
    memory = host.read("/proc/meminfo").splitlines()[:5]
    return {**facts, "mounts": disks, "uptime": host.read("/proc/uptime"), "memory": memory}


def _units(host: Host) -> str:
    """As systemd has them, drop-ins included; nothing of their environment."""
    if not host.station:
        return ""
    said = []
    for unit in (unit_of(host), uplink_of(host)):
        for words in (("systemctl", "status", "-n", "0", "--no-pager", unit),
                      ("systemctl", "show", unit), ("systemctl", "cat", unit)):  # fmt: skip
            ran = host.run(*words)
            lines = ran.out.splitlines() if ran else ["systemd does not answer"]
            kept = (x for x in lines if not re.match(r"\s*(Environment|PassEnv|SetCred)\w*=.", x))
            said.append("\n".join([f"$ {' '.join(words)}", *kept, ""]))
    return "\n".join(said)


def _journal(unit_of_host: Callable[[Host], str]) -> Part:
    def read(host: Host) -> str:
        if not host.station:
            return ""
        words = ("journalctl", "-u", unit_of_host(host), "-n", str(LOG_LINES), "--no-pager", "-q",
                 "-o", "short-iso")  # fmt: skip
        ran = host.run(*words, timeout_s=30.0)
        if ran is None or ran.code:
            return "the log may not be read; repeat with sudo"
        return ran.out.partition("\n")[2] if len(ran.out) >= _CUT else ran.out or "it is empty"

    return read


def _health(host: Host) -> Any:
    from ..store import read_health

    since = clock.iso(clock.to_ms(clock.now()) - DAYS * DAY_MS)
    rows = [dataclasses.asdict(one) for one in read_health(host.store, last=MOST_HEALTH)]
    return [row for row in rows if row["at"] >= since]


def _events(host: Host) -> Any:
    """How many of what, day by day; no event by itself, and no picture."""
    from ..store.counts import count_by, count_doubtful
    from ..store.outbox import read_counters
    from ..store.queries import EventFilter

    wanted = EventFilter(since_ms=clock.to_ms(clock.now()) - DAYS * DAY_MS)
    days = count_by(host.store, "day", wanted, each_label=True)
    return {
        "days": [{"day": one.name, "label": one.label, "events": one.events} for one in days],
        "untrusted times": count_doubtful(host.store, wanted),
        "dropped": read_counters(host.store),
    }  # fmt: skip


def _store(host: Host) -> str:
    """What lies in its folder: names of our own files with sizes, of pictures only how many."""
    said = []
    for path in sorted(host.store.iterdir()):
        facts = path.lstat()
        what = stat.filemode(facts.st_mode)
        if path.is_dir():
            said.append(f"{what} {facts.st_uid:>6} {_number_of(path):>8} files  {path.name}/")
        elif _is_ours(path.name):
            said.append(f"{what} {facts.st_uid:>6} {facts.st_size:>12}  {path.name}")
    return "\n".join(said)


def _states(host: Host) -> Any:
    """The small files by which the parts of a station talk to each other."""
    places = {
        LIVES: host.store / LIVES, CONTROL: host.store / CONTROL,
        "uplink/mqtt.json": host.store / "uplink" / "mqtt.json",
        "models/state.json": host.store / "models" / "state.json",
    }  # fmt: skip
    found = _those_there(host, places)
    return {**found, CONTROL: _asked(found[CONTROL])} if CONTROL in found else found


def _asked(found: Any) -> Any:
    """What a run reads of ``control.json``. Scripts of other people write it, too, and nobody knows
    what is in the rest, which is only counted; numbers and true or false hold no secret.
    """
    if not isinstance(found, Mapping):
        return "it is no JSON object"
    names = ("v", *(one.name for one in dataclasses.fields(Control)))
    kept = {
        name: found[name]
        for name in names
        if name in found and isinstance(found[name], (int, float, type(None)))
    }
    others = len(found) - len(kept)
    return {**kept, "fields left out": others} if others else kept


def _live(host: Host) -> Any:
    """What a run said last of itself, where it says so: in RAM for a service, else in its store."""
    places = {LIVE: host.store / LIVE}
    if host.station:
        places[f"run/{LIVE}"] = host.path(RUN_FOLDER / host.station / LIVE)
    return _those_there(host, places)


def _those_there(host: Host, places: Mapping[str, Path]) -> dict[str, Any]:
    """Not through a folder that is a link, either."""
    ours = {
        name: at
        for name, at in places.items()
        if at.parent == host.store or not at.parent.is_symlink()
    }
    return {name: found for name, at in ours.items() if (found := _small(at)) is not None}


def _models(host: Host) -> Any:
    """Which versions of the model are there and which is in use; never the models."""
    folder = host.store / "models"
    if not folder.is_dir():
        return ""
    current = os.readlink(folder / "current") if (folder / "current").is_symlink() else ""
    files = [path for path in sorted(folder.glob("versions/*/*")) if path.is_file()]
    return {
        "current": current,
        "files": {str(path.relative_to(folder)): path.stat().st_size for path in files},
    }  # fmt: skip


def _kernel(host: Host) -> str:
    lines = kernel_log(host)
    if lines is None:
        return "the kernel's log may not be read; repeat with sudo"
    return "\n".join([line for line in lines[1:] if _KERNEL.search(line)][-LOG_LINES:])


PARTS: dict[str, Part] = {
    "versions.json": _versions,
    "machine.json": _machine,
    "units.txt": _units,
    "journal.txt": _journal(unit_of),
    "journal-uplink.txt": _journal(uplink_of),
    "health.json": _health,
    "events.json": _events,
    "store.txt": _store,
    "states.json": _states,
    LIVE: _live,
    "models.json": _models,
    "kernel.txt": _kernel,
}


def _small(path: Path) -> Any:
    """The JSON in a file, as text where it is none; None where there is no file, or a link, for
    root is not to put into a report what a service may not read.
    """
    try:
        text = read_ordinary(path, _MOST_BYTES, follow=False).decode("utf-8", "replace")
    except OSError:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _normal(name: str) -> str:
    """As indexes compare names."""
    return name.lower().replace("_", "-")


def _is_ours(name: str) -> bool:
    return name.startswith(("events.db", "store.lock", "ballast")) or name.endswith(".json")


def _number_of(folder: Path) -> int:
    try:
        return sum(1 for _ in os.scandir(folder))
    except OSError:
        return -1
