"""Every file that a station keeps, damaged as cards and power cuts do: it serves or says why."""

import hashlib
import json
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from sightpost_edge.models.folder import ModelFolder
from sightpost_edge.models.versions import Installed, id_of
from sightpost_edge.testing import tiny_bundle

from ..conftest import command
from ..edge.test_sources import write_clip
from .conftest import SOAK_MINUTES, ReportFault

BACK_S = 30.0
FINAL = frozenset({2, 4})
"""A person must look: systemd does not start it again (2), or with waits of a minute (4)."""
SERVES = frozenset[int]()
SITE = """
model = "{folder}/{model}"
source = "{folder}/clip.avi"
store = "{folder}/store"
log = "{folder}/log.jsonl"
[camera]
loop = true
realtime = true
[rules]
switch_s = 0.2
smoothing_s = 0.0
[mqtt]
url = "mqtt://127.0.0.1:1"
"""

Damage = Callable[[Path], object]


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def nothing_but_zeros(path: Path) -> None:
    """A size without its bytes: the file system knew more than the card."""
    path.write_bytes(bytes(path.stat().st_size))


def noise(path: Path) -> None:
    path.write_bytes(random.Random(path.name).randbytes(path.stat().st_size or 100))


def a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "lost+found").write_text("not ours")


def a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def says(text: str) -> Damage:
    return lambda path: path.write_text(text)


def other_types(path: Path) -> None:
    """All values are of another type, and far too large."""
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = {}
    odd = {key: "x" if isinstance(value, (int, float)) else 1e300 for key, value in found.items()}
    path.write_text(json.dumps(odd))


TORN: dict[str, Damage] = {
    "empty": says(""), "zeros": nothing_but_zeros, "noise": noise, "half": half,
    "gone": Path.unlink,
}  # fmt: skip
JSON: dict[str, Damage] = {
    **TORN, "null": says("null"), "a list": says("[]"), "no keys": says("{}"),
    "nested": says("[" * 60_000), "other types": other_types, "a folder": a_folder,
    "a link to itself": a_link,
}  # fmt: skip
CONFIG: dict[str, Damage] = {
    **TORN, "a folder": a_folder, "a link to itself": a_link, "null": says("null"),
    "UTF-16": lambda path: path.write_text(path.read_text(), "utf-16"),
    "twice": lambda path: path.write_text(path.read_text() * 2),
}  # fmt: skip
MODEL: dict[str, Damage] = {**TORN, "a byte": a_byte, "a link to itself": a_link}


@dataclass(frozen=True, slots=True)
class Case:
    """``codes``: what it may end with instead of serving; it runs a plain file where ``plain``."""

    name: str
    damage: Damage
    codes: frozenset[int] = SERVES
    plain: bool = False

    @property
    def sends(self) -> bool:
        """Whether it is about sending; the others do without a process for it."""
        return "uplink" in self.name


def cases() -> Iterator[Case]:
    for what, damage in CONFIG.items():
        yield Case(f"config: {what}", on("site.toml", damage), FINAL)
    for what, damage in MODEL.items():
        yield Case(f"model file: {what}", on("tiny.tflite", damage), FINAL, plain=True)
        yield Case(f"current model: {what}", on_current("model.tflite", damage))
        yield Case(f"all models: {what}", on_all("model.tflite", damage), FINAL)
    for what, damage in JSON.items():
        yield Case(f"models/state.json: {what}", on("store/models/state.json", damage))
        yield Case(f"about.json of the current model: {what}", on_current("about.json", damage))
        for name in ("control.json", "live.json", "lives.json", "uplink/mqtt.json"):
            yield Case(f"{name}: {what}", on(f"store/{name}", damage))
    for what in ("gone", "a folder", "a link to itself"):
        yield Case(f"models/current: {what}", on("store/models/current", JSON[what]))
    for what in ("empty", "noise", "gone"):
        yield Case(f"models/current: a file, {what}", on("store/models/current", replaced(what)))
    for name in ("log.jsonl", "store/sequence", "store/ballast", "store/events.db"):
        for what, damage in TORN.items():
            yield Case(f"{name}: {what}", on(name, damage))
    for name in ("snapshots", "clips", "uplink"):
        yield Case(f"{name}: an empty file", on(f"store/{name}", a_file))


def on(name: str, damage: Damage) -> Damage:
    return lambda folder: damage(folder / name)


def on_current(name: str, damage: Damage) -> Damage:
    return lambda folder: damage(unlocked((folder / "store/models/current").resolve() / name))


def on_all(name: str, damage: Damage) -> Damage:
    return lambda folder: [
        damage(unlocked(path)) for path in (folder / "store/models/versions").glob(f"*/{name}")
    ]


def unlocked(path: Path) -> Path:
    path.chmod(0o640)
    return path


def replaced(what: str) -> Damage:
    def damage(path: Path) -> None:
        path.unlink()
        path.touch()
        TORN[what](path)

    return damage


def a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.touch()


def install(models: Path, file: Path) -> None:
    """As an installation of an unsigned model ends, once it has passed its trial."""
    folder, digest = ModelFolder(models), hashlib.sha256(file.read_bytes()).hexdigest()
    copy = file.with_suffix(".part")
    shutil.copy(file, copy)
    with folder.changing():
        made = folder.adopt(copy, Installed(id_of("", digest), "tiny", "", digest, copy, False))
    folder.trial_begun(made)
    folder.trial_ended(made)


class Gate:
    """Where a service reports to; nobody reads it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(0.1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._drain)
        self._thread.start()

    def _drain(self) -> None:
        while not self._ended.is_set():
            try:
                self._socket.recv(4096)
            except TimeoutError:
                continue

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()


@dataclass(frozen=True, slots=True)
class Started:
    """How a start went: the exit code, None where it served; seconds until then."""

    code: int | None
    took_s: float
    seqs: tuple[int, ...]
    said: str


def start(folder: Path, gate: Gate, *more: str) -> Started:
    """As a service, until it has served or ended."""
    line = command("run", "--config", folder / "site.toml", "--json", *more)
    environment = {"NOTIFY_SOCKET": gate.path, "HOME": str(folder), "PATH": "/usr/bin"}
    began_s, seqs = time.monotonic(), list[int]()
    with (folder / "errors.txt").open("w") as errors:
        process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
    assert process.stdout is not None
    late = threading.Timer(BACK_S + 5, process.kill)
    late.start()
    with process:
        first = process.stdout.readline()
        took_s, code = time.monotonic() - began_s, None
        if first:
            process.terminate()
            seqs = [json.loads(text)["seq"] for text in (first, *process.stdout)]
            process.wait()
        else:
            code = process.wait()
    late.cancel()
    return Started(code, took_s, tuple(seqs), (folder / "errors.txt").read_text())


def copied(sound: Path, folder: Path) -> Path:
    shutil.copytree(sound, folder, symlinks=True)
    site = folder / "site.toml"
    site.write_text(site.read_text().replace(str(sound), str(folder)))
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Gate, int]]:
    """A station that has run, with everything it keeps, the service's gate, its last number."""
    folder = tmp_path_factory.mktemp("sound")
    gate = Gate(tmp_path_factory.mktemp("gate") / "notify")
    write_clip(folder / "clip.avi", frames_each=8, fps=15)
    for name, golden in (("older", ("red",)), ("tiny", ("red", "green"))):
        install(folder / "store/models", tiny_bundle(folder / f"{name}.tflite", golden=golden))
    (folder / "site.toml").write_text(SITE.format(folder=folder, model="store/models"))
    found = start(folder, gate)
    assert found.code is None, found.said
    for name in ("control.json", "live.json", "lives.json", "uplink/mqtt.json"):
        path = folder / "store" / name
        path.exists() or path.write_text(EXAMPLES[name])  # type: ignore[func-returns-value]
    yield folder, gate, max(found.seqs)
    gate.close()


EXAMPLES = {
    "control.json": '{"v": 1, "armed": true, "threshold": 0.6}',
    "live.json": '{"v": 1, "armed": true}',
    "lives.json": '{"v": 1, "bad": 1, "ends": [{"at_ms": 1, "why": "x"}], "living": ""}',
    "uplink/mqtt.json": '{"v": 1, "store": "abc", "acked": 1, "set_aside": 0}',
}


def wrong(case: Case, found: Started, last: int) -> str:
    """What promise is broken, "" where none is."""
    if "Traceback" in found.said:
        return "a traceback"
    if found.took_s > BACK_S:
        return f"took {found.took_s:.0f} s"
    if found.code is None:
        return "" if min(found.seqs) > last else "a number was used twice"
    if found.code not in case.codes:
        return f"exit code {found.code}"
    return "" if "sightpost:" in found.said else "nothing is said"


def tried(case: Case, sound: tuple[Path, Gate, int], folder: Path) -> tuple[str, float]:
    """What went wrong with a copy of the station, and how long its start took."""
    template, gate, last = sound
    copied(template, folder)
    if case.plain:
        (folder / "site.toml").write_text(SITE.format(folder=folder, model="tiny.tflite"))
    case.damage(folder)
    found = start(folder, gate, *(() if case.sends else ("--no-uplink",)))
    fault = wrong(case, found, last)
    shutil.rmtree(folder)
    served_s = found.took_s if found.code is None else 0.0
    return (f"{case.name}: {fault}\n{found.said[-600:]}" if fault else ""), served_s


@pytest.mark.slow
def test_whatever_is_damaged_it_serves_or_says_why_not(
    sound: tuple[Path, Gate, int], tmp_path: Path, report_fault: ReportFault
) -> None:
    """An event within 30 s; where a person must look an exit code that ends it and a reason; never
    a traceback, never a number twice."""
    every = list(cases()) if SOAK_MINUTES else list(cases())[::2]
    with ThreadPoolExecutor(2) as pool:
        found = list(
            pool.map(
                lambda numbered: tried(numbered[1], sound, tmp_path / str(numbered[0])),
                enumerate(every),
            )
        )
    faults = [fault for fault, _ in found if fault]
    slowest_s = max(took_s for _, took_s in found)
    note = "" if SOAK_MINUTES else "every second case; all in make soak"
    report_fault("13 every file", len(every), len(faults), slowest_s, note)
    assert not faults, "\n".join(faults)
