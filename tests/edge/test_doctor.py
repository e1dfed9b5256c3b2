"""The doctor's machine checks: a fault is planted, and named with its level and its exact fix."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer

from sightpost_edge import __version__
from sightpost_edge.commands import doctor as command
from sightpost_edge.config import Site, build
from sightpost_edge.doctor import examine as examining
from sightpost_edge.doctor.examine import checks, examine
from sightpost_edge.doctor.finding import LEVELS, Finding, worst
from sightpost_edge.doctor.host import Host, Ran, run_limited, this_host
from sightpost_edge.doctor.mend import commands, mend, mendable
from sightpost_edge.doctor.python import NEWEST, OLDEST
from sightpost_edge.doctor.wheels import TINY_MODEL, TRY_MODEL
from sightpost_edge.errors import ConfigError

from ..conftest import REPOSITORY, Cli
from .doctor_rig import MadeUp, board, only

PIP = "sudo /opt/sightpost/bin/pip"
ANEW = (
    "sudo /usr/bin/python3 -m venv --clear --system-site-packages /opt/sightpost\n"
    f"{PIP} install --require-hashes -r station-trixie.txt"
)
OWN = f"/opt/sightpost-{__version__}"
BESIDE = (
    f"sudo /usr/bin/python3 -m venv --clear --system-site-packages {OWN}\n"
    f"sudo {OWN}/bin/pip install --require-hashes -r station-trixie.txt\n"
    f"sudo ln -sfT {Path(OWN).name} /opt/sightpost\n"
    "sudo ln -sfT /opt/sightpost/bin/sightpost /usr/local/bin/sightpost"
)
NUMPY_1 = f"{PIP} install 'numpy>=1.26,<2' 'opencv-python-headless>=4.11,<4.12'"
NUMPY_2 = f"{PIP} install --upgrade 'numpy>=2' opencv-python-headless"
HEADLESS = f"{PIP} install --force-reinstall --no-deps opencv-python-headless"
NEW_CARD = "Write Raspberry Pi OS (64-bit), Trixie or Bookworm, to a card with Raspberry Pi Imager"
RIBBON = "Switch off, put the ribbon in again at both ends; if it goes on, try another"
SIZE_CHANGED = Ran(1, "", "ValueError: numpy.dtype size changed, may indicate incompatibility")
TWO = {"ai-edge-litert": "2.3.0", "numpy": "2.5.5", "opencv-python-headless": "5.0.0"}
OLD = {"tflite-runtime": "2.14.0", "numpy": "2.2.4"}
PI_CAMERA = build(Site, {"source": "picamera://0"}, where="test")
CONFIG = Path("/etc/sightpost/garden.toml")
DIST = "usr/lib/python3/dist-packages"
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
WATCHDOG = "systemctl show -p RuntimeWatchdogUSec --value"
CMA = "MemTotal: 3884000 kB\nMemAvailable: 3000000 kB\nCmaTotal: {} kB\nCmaFree: {} kB\n"
LOOKS = "Picamera2.global_camera_info"
SEEN = json.dumps({"cameras": [{"Model": "imx708", "Num": 0}]})


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault: files and answers that differ from a healthy board, and what must be said of it."""

    check: str
    level: str
    says: str
    fix: str
    files: dict[str, str] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.check}: {self.says}"


def _camera(**changes: Any) -> dict[str, Any]:
    return {"site": PI_CAMERA, "config": CONFIG, **changes}


FAULTS = [
    Planted("python.version", "fault", "Python 3.14.1: 3.11 to 3.13",
            BESIDE.replace("/usr/bin/python3", "python3.13"),
            changes={"python": (3, 14, 1)}),
    Planted("python.version", "fault", "Python 3.9.2", NEW_CARD, changes={"python": (3, 9, 2)}),
    Planted("python.system", "fault", "bullseye is too old", NEW_CARD,
            {"etc/os-release": "VERSION_CODENAME=bullseye\n"}),
    Planted("python.system", "note", "Ubuntu 24.04", "",
            {"etc/os-release": 'PRETTY_NAME="Ubuntu 24.04"\nVERSION_CODENAME=noble\n'}),
    Planted("python.architecture", "fault", "32-bit system on a 64-bit kernel", NEW_CARD,
            changes={"bits": 32}),
    Planted("python.architecture", "fault", "armv7l, 32-bit system", NEW_CARD,
            changes={"bits": 32, "machine": "armv7l"}),
    Planted("python.architecture", "warning", "only tflite-runtime 2.14 is left", NEW_CARD,
            changes={"bits": 32, "machine": "armv7l", "python": (3, 11, 2)}),
    Planted("python.architecture", "fault", "a Pi Zero or Pi 1 cannot run this",
            "A Pi Zero 2 W is the smallest board that works",
            changes={"bits": 32, "machine": "armv6l"}),
    Planted("python.libc", "fault", "glibc 2.31, 2.34 is needed", NEW_CARD,
            changes={"libc": "2.31"}),
    Planted("python.libc", "fault", "no glibc", NEW_CARD, changes={"libc": ""}),
    Planted("python.environment", "note", "the system's own Python",
            BESIDE,
            changes={"prefix": "/usr"}),
    Planted("python.environment", "note", "PYTHONPATH is /home/pi/mine", "unset PYTHONPATH",
            changes={"environ": {"PYTHONPATH": "/home/pi/mine"}}),
    Planted("python.environment", "fault", "bin/python points to nothing",
            ANEW,
            {"opt/sightpost/bin/sightpost": ""}, {"station": "garden"}),
    Planted("python.environment", "note", "the service runs from /opt/sightpost",
            "sudo /opt/sightpost/bin/sightpost doctor garden",
            {"opt/sightpost/bin/python": ""}, {"station": "garden", "prefix": "/home/pi/venv"}),
    Planted("wheels.numpy", "fault", "libopenblas.so.0 is missing",
            "sudo apt install -y libopenblas0",
            changes={"programs": {"import numpy": Ran(
                1, "", "ImportError: libopenblas.so.0: cannot open shared object file")}}),
    Planted("wheels.numpy", "fault", "built for another processor",
            f"{PIP} install --force-reinstall numpy",
            changes={"programs": {"import numpy": Ran(-signal.SIGILL)}}),
    Planted("wheels.numpy", "fault", "it crashes (Segmentation fault)",
            f"{PIP} install --force-reinstall numpy",
            changes={"programs": {"import numpy": Ran(-signal.SIGSEGV)}}),
    Planted("wheels.numpy", "fault", "did not come back within 20 s",
            f"{PIP} install --force-reinstall numpy"),
    Planted("wheels.numpy", "fault", "numpy is not installed", f"{PIP} install numpy",
            changes={"programs": {"import numpy": Ran(
                1, "", "ModuleNotFoundError: No module named 'numpy'")}}),
    Planted("wheels.opencv", "fault", "libGL.so.1 is missing",
            f"{PIP} uninstall -y opencv-python\n{HEADLESS}",
            changes={"installed": {"opencv-python": "4.12.0"}, "programs": {"import cv2": Ran(
                1, "", "ImportError: libGL.so.1: cannot open shared object file")}}),
    Planted("wheels.opencv", "warning", "are both installed",
            f"{PIP} uninstall -y opencv-python\n{HEADLESS}",
            changes={"installed": {**TWO, "opencv-python": "5.0.0"},
                     "programs": {"import cv2": ""}}),
    Planted("wheels.opencv", "note", "opencv-contrib-python instead of",
            f"{PIP} uninstall -y opencv-contrib-python\n{HEADLESS}",
            changes={"installed": {"opencv-contrib-python": "4.10"},
                     "programs": {"import cv2": ""}}),
    Planted("wheels.opencv", "fault", "built for another numpy than 1.26.4", NUMPY_2,
            changes={"installed": {"numpy": "1.26.4"}, "programs": {"import cv2": Ran(
                1, "", "ImportError: numpy.core.multiarray failed to import")}}),
    Planted("wheels.opencv", "fault", "it wants GLIBC_2.38", HEADLESS,
            changes={"programs": {"import cv2": Ran(
                1, "", "ImportError: /lib/libc.so.6: version `GLIBC_2.38' not found")}}),
    Planted("wheels.runtime", "fault", "no TFLite runtime", f"{PIP} install ai-edge-litert"),
    Planted("wheels.runtime", "fault", "no TFLite runtime", f"{NUMPY_1} tflite-runtime",
            changes={"bits": 32}),
    Planted("wheels.runtime", "fault", "tflite-runtime 2.14.0 cannot work with numpy 2.2.4",
            NUMPY_1, changes={"installed": OLD, "programs": {TRY_MODEL: Ran(
                1, "", "AttributeError: _ARRAY_API not found\nSystemError: returned NULL")}}),
    Planted("wheels.runtime", "fault", "does not run a model: it wants GLIBC_2.34",
            f"{PIP} install --force-reinstall ai-edge-litert",
            changes={"installed": TWO, "programs": {TRY_MODEL: Ran(
                1, "", "ImportError: libc.so.6: version `GLIBC_2.34' not found")}}),
    Planted("wheels.abi", "fault", "apt's simplejpeg is built for numpy 1", NUMPY_1,
            changes={"installed": TWO, "modules": ["simplejpeg", "picamera2"],
                     "programs": {"import simplejpeg": SIZE_CHANGED, "import picamera2": ""}}),
    Planted("wheels.abi", "fault", "apt's simplejpeg is built for numpy 2", NUMPY_2,
            changes={"installed": {"numpy": "1.26.4"}, "modules": ["simplejpeg"],
                     "programs": {"import simplejpeg": SIZE_CHANGED}}),
    Planted("wheels.extras", "fault", "paho is not installed",
            f"{PIP} install 'paho-mqtt>=2.1,<3'",
            changes={"site": build(Site, {"mqtt": {"url": "mqtts://hub"}}, where="test")}),
    Planted("wheels.extras", "fault", "lgpio is not installed",
            "sudo apt install -y python3-lgpio", changes={
                "modules": ["gpiozero"],
                "site": build(Site, {"pins": [{"pin": 17, "labels": ["*"]}]}, where="test")}),
    Planted("wheels.extras", "fault", "cryptography is not installed",
            f"{PIP} install 'cryptography>=43'", {"etc/sightpost/garden.pub": "RW"},
            {"station": "garden"}),
    Planted("picamera.visible", "fault", "made for Python 3.11, this is 3.13",
            ANEW,
            {f"{DIST}/libcamera/_libcamera.cpython-311-aarch64-linux-gnu.so": ""},
            _camera(programs={LOOKS: json.dumps({"missing": "libcamera._libcamera"})})),
    Planted("picamera.visible", "fault", "libcamera is not installed",
            "sudo apt install -y python3-libcamera",
            changes=_camera(programs={LOOKS: json.dumps({"missing": "libcamera"})})),
    Planted("picamera.visible", "fault", "pykms is not installed",
            "sudo apt install -y python3-kms++",
            changes=_camera(programs={LOOKS: json.dumps({"missing": "pykms"})})),
    Planted("picamera.visible", "note", "picamera2 is not installed",
            "sudo apt install -y python3-picamera2",
            changes={"programs": {LOOKS: json.dumps({"missing": "picamera2"})}}),
    Planted("picamera.visible", "fault", "cannot be loaded: broken",
            "sudo apt install -y --reinstall python3-picamera2 python3-libcamera",
            changes=_camera(programs={LOOKS: json.dumps({"error": "broken"})})),
    Planted("picamera.visible", "fault", "crashed or took longer", "rpicam-hello --list-cameras",
            changes=_camera(programs={LOOKS: Ran(-signal.SIGSEGV)})),
    Planted("picamera.camera", "fault", "camera 0 is asked for, found: none",
            "Switch off, take the ribbon out at both ends, put it in again: contacts to the "
            "contacts", changes=_camera(programs={LOOKS: '{"cameras": []}'})),
    Planted("picamera.camera", "fault", "camera 0 is asked for, found: none",
            "sudo /bin/sh -c 'echo camera_auto_detect=1 >> /boot/firmware/config.txt'\n"
            "sudo reboot", {"boot/firmware/config.txt": "dtoverlay=vc4-kms-v3d\n"},
            _camera(programs={LOOKS: '{"cameras": []}'})),
    Planted("picamera.camera", "fault", "camera 0 is asked for, found: none",
            "sudo sed -i '/^start_x=1/d' /boot/firmware/config.txt\nsudo reboot",
            {"boot/firmware/config.txt": "camera_auto_detect=1\nstart_x=1\n"},
            _camera(programs={LOOKS: '{"cameras": []}'})),
    Planted("picamera.camera", "fault", "camera 2 is asked for, found: 0: imx708",
            'The first camera is source = "picamera://0" in /etc/sightpost/garden.toml',
            changes=_camera(site=build(Site, {"source": "picamera://2"}, where="test"),
                            programs={LOOKS: SEEN})),
    Planted("picamera.log", "warning", "frontend has timed out", RIBBON, changes={
        "station": "garden", "answers": {"dmesg": "[1.0] usb 1-1: new device", "journalctl -b -q":
        "ERROR V4L2 v4l2_videodevice.cpp: Camera frontend has timed out!\n"}}),
    Planted("picamera.log", "warning", "the sensor does not answer", RIBBON, changes={
        "answers": {"dmesg": "imx708 11-001a: failed to read chip id 708, with error -5\n"}}),
    Planted("picamera.log", "warning", "errors on the camera's control wires", RIBBON, changes={
        "answers": {"dmesg": Ran(1), "journalctl -k":
                    "imx219 10-0010: Error writing reg 0x0103: -121\n"}}),
    Planted("picamera.log", "warning", "(CMA) was used up (2 times", "grep Cma /proc/meminfo",
            changes={"answers": {"dmesg": "cma: cma_alloc: alloc failed, 20 pages\n" * 2}}),
    Planted("picamera.log", "note", "may not look at the kernel's log", "sudo sightpost doctor"),
    Planted("picamera.visible", "fault", "libcamera is not installed, and this environment sees "
            "nothing of apt's", "sudo apt install -y python3-libcamera\nsudo sed -i "
            "'s/^include-system-site-packages.*/include-system-site-packages = true/' "
            "{root}/venv/pyvenv.cfg", {"venv/pyvenv.cfg": "include-system-site-packages = false\n"},
            _camera(prefix="{root}/venv", programs={LOOKS: json.dumps({"missing": "libcamera"})})),
    Planted("picamera.memory", "fault", "9 of 512 MB of camera memory (CMA) are free",
            "sudo fuser -v /dev/dma_heap/* /dev/video* /dev/media*\nsudo reboot",
            {"proc/meminfo": CMA.format(524288, 9999)}, _camera()),
    Planted("picamera.memory", "warning", "60 of 64 MB",
            "sudo sed -i 's/^dtoverlay=vc4-kms-v3d.*/dtoverlay=vc4-kms-v3d,cma-256/' "
            "/boot/firmware/config.txt\nsudo reboot",
            {"proc/meminfo": CMA.format(65536, 62000)}, _camera()),
    Planted("board.supply", "fault", "too low now",
            "Use the board's own supply (Pi 5: 5.1 V 5 A, Pi 4: 5.1 V 3 A, else 5.1 V 2.5 A) and a "
            "short thick cable", {THROTTLED: "50005"}),
    Planted("board.supply", "warning", "too low since the start",
            "Use the board's own supply (Pi 5: 5.1 V 5 A, Pi 4: 5.1 V 3 A, else 5.1 V 2.5 A) and a "
            "short thick cable", {THROTTLED: "50000"}),
    Planted("board.heat", "fault", "slowed down now, 86 °C",
            "Give it a heat sink or a fan and shade; [rate] per_s = 2 in the config makes less "
            "heat", {"sys/class/thermal/thermal_zone0/temp": "86000"}),
    Planted("board.heat", "fault", "slowed down now, 48 °C",
            "Give it a heat sink or a fan and shade; [rate] per_s = 2 in the config makes less "
            "heat", {THROTTLED: "8"}),
    Planted("board.heat", "warning", "slowed down since the start",
            "Give it a heat sink or a fan and shade; [rate] per_s = 2 in the config makes less "
            "heat", {THROTTLED: "e0000"}),
    Planted("board.heat", "warning", "78 °C",
            "Give it a heat sink or a fan and shade; [rate] per_s = 2 in the config makes less "
            "heat", {"sys/class/thermal/thermal_zone0/temp": "78000"}),
    Planted("board.governor", "warning", "powersave",
            "sudo /bin/sh -c 'for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do "
            "echo ondemand > $f; done'", {GOVERNOR: "powersave\n"}),
    Planted("board.memory", "fault", "39 of 415 MB of memory are free",
            "ps -eo rss,pid,comm --sort=-rss | head -8",
            {"proc/meminfo": "MemTotal: 425000 kB\nMemAvailable: 40000 kB\n"}),
    Planted("board.watchdog", "warning", "the hardware watchdog is off",
            "sudo mkdir -p /etc/systemd/system.conf.d\n"
            "sudo /bin/sh -c 'printf \"[Manager]\\nRuntimeWatchdogSec=14s\\n\" > "
            "/etc/systemd/system.conf.d/sightpost-watchdog.conf'\n"
            "sudo systemctl daemon-reexec", changes={"answers": {WATCHDOG: "0\n"}}),
    Planted("board.watchdog", "warning", "RuntimeWatchdogSec is 60 s",
            "sudo mkdir -p /etc/systemd/system.conf.d\n"
            "sudo /bin/sh -c 'printf \"[Manager]\\nRuntimeWatchdogSec=14s\\n\" > "
            "/etc/systemd/system.conf.d/sightpost-watchdog.conf'\n"
            "sudo systemctl daemon-reexec", changes={"answers": {WATCHDOG: "1min\n"}}),
    Planted("config.file", "fault", "no config file",
            "sudo sightpost service install garden --config site.toml --model model.tflite",
            changes={"station": "garden", "config": Path("/nowhere/garden.toml"),
                     "trouble": "no config file at /nowhere/garden.toml"}),
    Planted("config.file", "note", "there are stations here: garden", "sightpost doctor garden",
            {"etc/sightpost/garden.toml": ""}),
]  # fmt: skip


def named(name: str) -> Callable[[Host], Any]:
    return dict(checks())[name]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_planted_fault_is_named_with_its_fix(fault: Planted, tmp_path: Path) -> None:
    """Check, level, a word of what, and the exact command; the reason is always given."""
    changes = dict(fault.changes)
    if "prefix" in changes:
        changes["prefix"] = changes["prefix"].format(root=tmp_path)
    host = board(tmp_path, fault.files, **changes)
    found = [one for one in named(fault.check)(host) if one.level != "ok"]
    one = only(found)
    assert (one.check, one.level) == (fault.check, fault.level)
    assert fault.says in one.what
    assert one.why
    assert one.fix == fault.fix.replace("{root}", str(tmp_path))


def test_healthy_board_has_nothing_to_complain_of(tmp_path: Path) -> None:
    """Each of these checks says one "ok" of a board that is well."""
    well = board(
        tmp_path, installed=TWO, modules=["ai_edge_litert", "picamera2", "simplejpeg"],
        site=PI_CAMERA, config=CONFIG, programs={"": "", LOOKS: SEEN},
        answers={"dmesg": "[0.0] Booting Linux\n", WATCHDOG: "14s\n"},
    )  # fmt: skip
    groups = {fault.check.partition(".")[0] for fault in FAULTS}
    for name, check in checks():
        if name.partition(".")[0] in groups:
            assert [(one.check, one.level) for one in check(well)] == [(name, "ok")]


def test_venv_without_system_packages_is_told_its_exact_mending(tmp_path: Path) -> None:
    """The command, run as printed, makes apt's packages visible in a real environment."""
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    host = board(
        tmp_path, {f"{DIST}/picamera2/__init__.py": ""}, site=PI_CAMERA, prefix=str(home), uid=0,
        programs={LOOKS: json.dumps({"missing": "picamera2"})},
    )  # fmt: skip
    one = only(named("picamera.visible")(host), "fault")
    assert "made without --system-site-packages" in one.why
    subprocess.run(one.fix, shell=True, check=True)
    assert "include-system-site-packages = true" in (home / "pyvenv.cfg").read_text()
    assert subprocess.run([home / "bin/python", "-c", ""], check=False).returncode == 0


def test_library_that_crashes_is_a_finding_and_not_the_doctors_end(tmp_path: Path) -> None:
    """In a real environment whose numpy kills the process and whose cv2 wants libGL."""
    planted = tmp_path / "planted"
    (planted / "numpy").mkdir(parents=True)
    (planted / "numpy/__init__.py").write_text("import os\nos.kill(os.getpid(), 11)\n")
    (planted / "cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file')\n"
    )
    host = Host(
        root=tmp_path, environ={**os.environ, "PYTHONPATH": str(planted)}, uid=1000,
        prefix="/opt/sightpost",
    )  # fmt: skip
    numpy, cv2 = (only(named(f"wheels.{name}")(host)) for name in ("numpy", "opencv"))
    assert "it crashes (Segmentation fault)" in numpy.what
    assert "libGL.so.1 is missing" in cv2.what
    assert cv2.fix == "sudo apt install -y libgl1"


def test_doctor_goes_on_where_numpy_kills_whoever_loads_it(tmp_path: Path) -> None:
    """Exit 13, numpy named as the cause, the checks that need it say so, the others have looked."""
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/__init__.py").write_text("import os\nos.kill(os.getpid(), 11)\n")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import typer\nfrom sightpost_edge.commands.doctor import doctor\n"
        "app = typer.Typer(pretty_exceptions_enable=False)\napp.command()(doctor)\n"
        "app(['--json'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False,
        env=environment, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 13, ran.stderr
    found = {one["check"]: one for one in json.loads(ran.stdout)["findings"]}
    assert "crashes" in found["wheels.numpy"]["what"]
    assert found["board.name"]["level"] == "ok"
    assert not [one for one in found.values() if "could not look" in one["what"]]


def test_tiny_model_is_one(tmp_path: Path) -> None:
    """What the runtime is tried with runs in a child of this environment."""
    ran = Host(root=tmp_path).child(TRY_MODEL, TINY_MODEL.decode())
    assert ran is not None
    assert ran.code == 0, ran.err


def test_versions_are_those_of_the_package() -> None:
    """The doctor and pip refuse the same Pythons."""
    wanted = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
        "requires-python"
    ]
    following = (NEWEST[0], NEWEST[1] + 1)
    assert wanted == f">={OLDEST[0]}.{OLDEST[1]},<{following[0]}.{following[1]}"


def test_check_that_raises_or_hangs_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had found before stays; the next check is asked; the whole takes no longer."""
    never = threading.Event()

    def check_odd(host: Host) -> Iterator[Finding]:
        yield Finding("test.odd", "ok", "this much")
        raise ZeroDivisionError("a strange machine")

    def check_stuck(host: Host) -> Iterator[Finding]:
        never.wait()
        yield Finding("test.stuck", "ok", "never said")

    def check_well(host: Host) -> Iterator[Finding]:
        yield Finding("test.well", "ok", "all is well")

    rows = [("test.odd", check_odd), ("test.stuck", check_stuck), ("test.well", check_well)]
    monkeypatch.setattr(examining, "checks", lambda: iter(rows))
    asked: list[str] = []
    found = examine(board(tmp_path), asked.append, longest_s=0.05)
    never.set()
    assert [(one.check, one.level) for one in found] == [
        ("test.odd", "ok"), ("test.odd", "warning"), ("test.stuck", "warning"), ("test.well", "ok"),
    ]  # fmt: skip
    assert "ZeroDivisionError: a strange machine" in found[1].what
    assert "nothing came back" in found[2].what
    assert asked == ["test.odd", "test.stuck", "test.well"]
    assert worst(found) == "warning"


def test_fixes_can_be_typed_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sudo would not find ``sightpost`` its whole path is given; root needs no sudo."""

    def check_sample(host: Host) -> Iterator[Finding]:
        yield Finding("test.sample", "fault", "x", fix="sudo sightpost model list\nsightpost why 1")

    monkeypatch.setattr(examining, "checks", lambda: iter([("test.sample", check_sample)]))
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    program = "/opt/sightpost/bin/sightpost"
    assert only(examine(board(tmp_path))).fix == f"sudo {program} model list\n{program} why 1"
    monkeypatch.setattr("shutil.which", lambda name, path: f"/usr/local/bin/{name}")
    assert only(examine(board(tmp_path))).fix == "sudo sightpost model list\nsightpost why 1"
    assert only(examine(board(tmp_path, uid=0))).fix == "sightpost model list\nsightpost why 1"


def test_children_die_with_the_doctor(tmp_path: Path) -> None:
    """A child that hangs in a camera's driver must not hold the camera when Ctrl-C was pressed."""
    mark = tmp_path / "pid"
    child = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    program = f"from sightpost_edge.doctor.host import Host; Host().child({child!r})"
    with subprocess.Popen([sys.executable, "-c", program]) as doctor:
        wait_for(lambda: mark.exists() and bool(mark.read_text()))
        doctor.kill()
    wait_for(lambda: is_gone(mark.read_text()))


def wait_for(done: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def is_gone(pid: str) -> bool:
    """Ended; whoever inherits it may not have asked how."""
    stat = Path(f"/proc/{pid.strip()}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_module_that_cannot_be_loaded_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that a whole group needs may be broken: the group is one warning."""
    monkeypatch.setattr(examining, "MODULES", ("no_such_group", "board"))
    found = examine(board(tmp_path))
    assert found[0].check == "no_such_group"
    assert found[0].level == "warning"
    assert len(found) > 5


def test_empty_machine_ends_nothing(tmp_path: Path) -> None:
    """No /proc, no /sys, no /etc, no program: every check has something to say of its own name."""
    host = MadeUp(
        root=tmp_path, environ={}, uid=1000, prefix="/opt/sightpost", store=tmp_path / "store"
    )
    found = examine(host)
    names = {name for name, _ in checks()}
    assert {one.check for one in found} == names
    assert not [one for one in found if "could not look" in one.what]
    assert all(one.level in LEVELS and one.what.isprintable() for one in found)


def test_commands_are_ended_with_all_they_started(tmp_path: Path) -> None:
    """A command that hangs costs its time-out, and its children do not live on."""
    began_s = time.monotonic()
    mark = tmp_path / "pid"
    words = ("/bin/sh", "-c", f"sleep 60 & echo $! > {mark}; wait")
    assert run_limited(words, os.environ, timeout_s=0.5) is None
    assert time.monotonic() - began_s < 5
    wait_for(lambda: is_gone(mark.read_text()))
    assert run_limited(("/no/such/program",), os.environ, timeout_s=1) is None


def test_only_what_needs_no_shell_is_mended() -> None:
    """Safe fixes without pipes, each once; notes of what is well are left alone."""
    usermod = Finding("a.b", "fault", "x", fix="sudo usermod -aG video sightpost", safe=True)
    found = [
        usermod,
        Finding("a.c", "fault", "x", fix="sudo usermod -aG video sightpost", safe=True),
        Finding("a.d", "fault", "x", fix="rm -rf / ; true", safe=True),
        Finding("a.e", "fault", "x", fix="sudo reboot"),
        Finding("a.f", "ok", "x", fix="true", safe=True),
    ]
    assert mendable(found) == [usermod]
    assert commands(usermod) == [["sudo", "usermod", "-aG", "video", "sightpost"]]


def test_mending_stops_at_the_first_failure() -> None:
    """The second line is not run where the first one failed, and which one failed is said."""
    ran: list[list[str]] = []

    def run(words: Sequence[str]) -> int:
        ran.append(list(words))
        return 1

    one = Finding("a.b", "fault", "x", fix="first 'a word'\nsecond", safe=True)
    assert mend(one, run) == "first 'a word' ended with 1"
    assert ran == [["first", "a word"]]
    assert mend(one) == "first is not there"


def test_config_that_cannot_be_read_is_the_first_thing_said(tmp_path: Path) -> None:
    """Unknown keys: a fault that names all, and the command that opens the file, with the hints
    that a run would give."""
    config = tmp_path / "site.toml"
    config.write_text("sauce = 'picamera://0'\n[rate]\npersecond = 3\n")
    host = this_host(config=config)
    one = only(named("config.file")(host), "fault")
    assert one.what.endswith("unknown keys 'sauce', 'persecond' in rate")
    assert one.fix.endswith(
        f"nano {config}  # 'sauce': did you mean 'source'?; 'persecond': did you mean 'per_s'?"
    )
    config.write_text("sorce = 'picamera://0'\n")
    one = only(named("config.file")(this_host(config=config)), "fault")
    assert one.fix.endswith(f"nano {config}  # did you mean 'source'?")


def test_password_in_a_config_that_all_can_read(tmp_path: Path) -> None:
    """Named without being shown; the fix is safe and mends it."""
    config = tmp_path / "site.toml"
    config.write_text("source = 'rtsp://me:sesame@10.0.0.9/1'\n")
    config.chmod(0o644)
    host = this_host(config=config)
    one = only(named("config.secrets")(host), "warning")
    assert one.safe
    assert "sesame" not in str([*named("config.file")(host), one])
    assert mend(one) == ""
    assert only(named("config.secrets")(host)).level == "ok"


def test_a_name_that_is_a_path() -> None:
    """Refused before any file is looked for by it."""
    with pytest.raises(ConfigError, match="cannot be a station's name"):
        this_host("../x")


def test_command_mends_and_prints(cli: Cli, tmp_path: Path) -> None:
    """For real, without a terminal: what is safe is done, the rest is printed; exit code 13."""
    config = tmp_path / "site.toml"
    config.write_text(f'source = "http://me:sesame@127.0.0.1:9/v"\nstore = "{tmp_path}/store"\n')
    config.chmod(0o604)
    ran = cli("doctor", "--config", config, "--fix")
    assert ran.returncode == 13, ran.stderr
    assert config.stat().st_mode & 0o777 == 0o600
    assert "FAULT    127.0.0.1:9: the device is there and offers no stream" in ran.stdout
    assert "Config                 2 ok" in ran.stdout
    assert f"chmod o-rwx {config}" in ran.stderr
    assert "sesame" not in ran.stdout + ran.stderr


def test_json_is_one_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Findings with their fixes, counts by level, the worst one; progress never goes there."""
    monkeypatch.setattr(
        command, "_host", lambda name, config: board(tmp_path, {GOVERNOR: "powersave"})
    )
    monkeypatch.setattr(examining, "MODULES", ("board",))
    command.doctor("", None, json=True, fix=False)
    said = json.loads(capsys.readouterr().out)
    found = {one["check"]: one for one in said["findings"]}
    assert found["board.governor"]["level"] == "warning"
    assert found["board.governor"]["fix"].startswith("sudo /bin/sh -c")
    assert said["summary"] == {"ok": 4, "note": 1, "warning": 1, "fault": 0, "worst": "warning"}


def test_page_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Groups, what is well only counted, else mark, reason and fix; a sum at the end."""
    made = board(tmp_path, {THROTTLED: "1"}, answers={WATCHDOG: "14s"})
    monkeypatch.setattr(command, "_host", lambda name, config: made)
    monkeypatch.setattr(examining, "MODULES", ("board",))
    with pytest.raises(typer.Exit) as ended:
        command.doctor("", None, json=False, fix=False)
    assert ended.value.exit_code == command.FAULTY == 13
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "Board                  5 ok",
        "  FAULT    the voltage is too low now",
        "           why  the board slows down to half and more, cards and cameras fail at random",
    ]
    assert lines[3].startswith("           fix  Use the board's own supply")
    assert lines[-1] == "1 fault, 5 ok"
