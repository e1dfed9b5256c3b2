"""What a scene does on the booted machine: as root, with Debian's Python and nothing else.

``test_*.py`` outside reads the facts, which lie in a file from the moment they are known.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

JOB = Path("/job")
FACTS = JOB / "facts.json"
BOOTS = Path("/root/boots")
PROGRAM = "/opt/sightpost/bin/sightpost"
NAME = "line"
UNIT = f"sightpost@{NAME}.service"
UPLINK = f"sightpost-uplink@{NAME}.service"
STORE = Path("/var/lib/sightpost") / NAME
LIVE = Path("/run/sightpost") / NAME / "live.json"
UNITS = Path("/etc/systemd/system")
READY_S = 90.0
SCENES: dict[str, Callable[[], None]] = {}


class Late(Exception):
    """Something did not come in time."""


def scene(play: Callable[[], None]) -> Callable[[], None]:
    """One boot; it is begun by its name."""
    SCENES[play.__name__] = play
    return play


def fact(**known: Any) -> None:
    """Write down what was found."""
    FACTS.write_text(json.dumps({**facts(), **known}, indent=1))
    print(now_s(), known, flush=True)


def facts() -> dict[str, Any]:
    """What is known by now, also from before a reboot."""
    return json.loads(FACTS.read_text()) if FACTS.exists() else {}


def now_s() -> float:
    """The clock that systemd and the journal stamp with."""
    return time.monotonic()


def ran(*words: str, timeout_s: float = 120.0) -> "subprocess.CompletedProcess[str]":
    """A command's end; what it said is in the output."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=timeout_s,
    )  # fmt: skip
    print(now_s(), words, done.returncode, done.stdout[-3000:], done.stderr[-3000:], flush=True)
    return done


def sightpost(*words: str, timeout_s: float = 120.0) -> "subprocess.CompletedProcess[str]":
    return ran(PROGRAM, *words, timeout_s=timeout_s)


def systemctl(*words: str) -> str:
    done = ran("systemctl", *words)
    done.check_returncode()
    return done.stdout


def shown(unit: str = UNIT) -> dict[str, str]:
    """All properties of a unit, those of systemd itself for ""."""
    words = ["systemctl", "show", *filter(None, [unit])]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def main_pid(unit: str = UNIT) -> int:
    return int(shown(unit)["MainPID"])


def restarts(unit: str = UNIT) -> int:
    return int(shown(unit)["NRestarts"])


def wait_for(what: str, look: Callable[[], T], limit_s: float, every_s: float = 0.2) -> T:
    """What ``look`` gives as soon as that is something; ``Late`` after ``limit_s``."""
    until_s = now_s() + limit_s
    while not (found := look()):
        if now_s() > until_s:
            raise Late(f"{what}: not within {limit_s:g} s")
        time.sleep(every_s)
    return found


def ready_since_s(unit: str = UNIT) -> float:
    """When the unit became active, 0 where it is not."""
    properties = shown(unit)
    if properties["ActiveState"] != "active":
        return 0.0
    return int(properties["ActiveEnterTimestampMonotonic"]) / 1e6


def ready_after(moment_s: float, unit: str = UNIT, limit_s: float = READY_S) -> float:
    """Seconds from ``moment_s`` to the next READY, by systemd's own stamp."""
    ready_s = wait_for(f"{unit} ready", lambda: _later(ready_since_s(unit), moment_s), limit_s)
    return ready_s - moment_s


def _later(stamp_s: float, moment_s: float) -> float:
    return stamp_s if stamp_s > moment_s else 0.0


def said(unit: str = UNIT, since_s: float = 0.0) -> list[tuple[float, str]]:
    """(monotonic seconds, text) of what the journal has of a unit: its own words and systemd's."""
    words = ["journalctl", "--output=json", "--no-pager", f"--unit={unit}"]
    subprocess.run(["journalctl", "--sync"], check=False)
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = [(int(line["__MONOTONIC_TIMESTAMP"]) / 1e6, str(line.get("MESSAGE"))) for line in lines]
    return [line for line in found if line[0] >= since_s]


def first_said(text: str, since_s: float, unit: str = UNIT) -> float:
    """When the journal first had this text since then, 0 where it has not."""
    return next((when for when, line in said(unit, since_s) if text in line), 0.0)


def live(key: str) -> Any:
    """A field of what the run tells in RAM, None where there is no file."""
    try:
        return json.loads(LIVE.read_text())[key]
    except (OSError, ValueError):
        return None


def events() -> int:
    """How many are kept, by the program's own count."""
    done = sightpost("events", "--store", str(STORE), "--json")
    return len(done.stdout.splitlines())


def lives() -> dict[str, Any]:
    """What is kept of how runs ended."""
    return dict(json.loads((STORE / "lives.json").read_text()))


def stayed_up(seconds: float) -> list[str]:
    """What the unit told of itself for so long."""
    told: list[str] = []
    until_s = now_s() + seconds
    while now_s() < until_s:
        text = shown()["StatusText"]
        if not told or told[-1] != text:
            told.append(text)
        time.sleep(1)
    return told


def ended(since_s: float) -> float:
    """When systemd saw the main process end as it should not."""
    return wait_for("its end", lambda: first_said("Failed with result", since_s), 90.0, every_s=1.0)


def kill(unit: str = UNIT) -> float:
    """``kill -9`` of the main process; when."""
    os.kill(main_pid(unit), signal.SIGKILL)
    return now_s()


def boots() -> int:
    """How often this machine has been booted before; counts."""
    before = int(BOOTS.read_text()) if BOOTS.exists() else 0
    BOOTS.write_text(str(before + 1))
    return before


def reboot(*words: str) -> NoReturn:
    """The scene goes on in the next boot."""
    systemctl("reboot", *words)
    time.sleep(60)
    raise Late("no reboot within a minute")


def write_unit(name: str, text: str, *, enabled: bool = False) -> None:
    path = UNITS / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    systemctl("daemon-reload")
    if enabled:
        systemctl("enable", name)


class Camera:
    """A network camera as a service of its own: it freezes, and what is connected stays so."""

    unit = "camera.service"
    uri = "http://127.0.0.1:8080/stream.mjpg"

    def __init__(self, *, on: bool = True) -> None:
        program = "/usr/bin/python3 /job/inside/camera.py"
        write_unit(
            self.unit,
            f"[Service]\nExecStart={program}\nRestart=no\n[Install]\nWantedBy=multi-user.target\n",
            enabled=on,
        )
        if on:
            self.start()

    def start(self) -> None:
        systemctl("start", self.unit)

    def freeze(self) -> float:
        os.kill(main_pid(self.unit), signal.SIGSTOP)
        return now_s()

    def thaw(self) -> float:
        os.kill(main_pid(self.unit), signal.SIGCONT)
        return now_s()


def install(*words: str, name: str = NAME, threshold: float = 0.6, more: str = "") -> int:
    """``sightpost service install`` with a config as somebody would write it; its exit code."""
    path = Path(f"/root/{name}.toml")
    rules = f"[rules]\nthreshold = {threshold}\n"
    path.write_text(f'name = "{name}"\nsource = "{Camera.uri}"\n{rules}{more}\n')
    files = ["--config", str(path), "--model", "/job/tiny.tflite"]
    return sightpost("service", "install", name, *files, *words).returncode


def installed(*words: str, threshold: float = 0.6, more: str = "") -> float:
    """A camera, and a service that watches it; when that was ready, by systemd's clock."""
    Camera()
    code = install(*words, threshold=threshold, more=more)
    if code:
        raise SystemExit(f"service install ended with {code}")
    ready_after(0.0)
    return ready_since_s()
