"""The Raspberry Pi's own camera: its library, its cable, its memory."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .finding import Finding
from .host import Host, last_object
from .python import made_anew
from .unseen import unseen

APT_PACKAGES = {
    "picamera2": "python3-picamera2", "libcamera": "python3-libcamera",
    "pykms": "python3-kms++", "simplejpeg": "python3-simplejpeg", "PIL": "python3-pil",
    "piexif": "python3-piexif", "av": "python3-av", "prctl": "python3-prctl",
}  # fmt: skip
DIST_PACKAGES = "usr/lib/python3/dist-packages"
BOOT_CONFIGS = ("boot/firmware/config.txt", "boot/config.txt")
LEAST_CMA_MB = 24
"""Three pictures of 1920 x 1080 in YUV420 with their buffers' reserve take 19 MB."""
SMALL_CMA_MB = 96

LOOK = (
    "import json\n"
    "try:\n"
    "    from picamera2 import Picamera2\n"
    "    said = {'cameras': Picamera2.global_camera_info()}\n"
    "except ModuleNotFoundError as exc:\n"
    "    said = {'missing': exc.name}\n"
    "except Exception as exc:\n"
    "    said = {'error': str(exc)}\n"
    "print('\\n' + json.dumps(said))\n"
)
"""libcamera writes to both outputs; the last line is ours."""

_RIBBON = "Switch off, put the ribbon in again at both ends; if it goes on, try another"
SYMPTOMS = (
    (re.compile(r"frontend has timed out"),
     "the camera's frontend has timed out: its pictures stop arriving",
     "a loose, worn or long ribbon, a motor beside it or a weak supply; the station opens the "
     "camera again each time", _RIBBON),
    (re.compile(r"failed to (read|find) (chip|sensor)|sensor not found"),
     "the sensor does not answer", "the ribbon is in the wrong way round, loose or broken",
     _RIBBON),
    (re.compile(r"(imx|ov)\d\w* [\w-]+: .*(-121|-110|-5\b|rror (reading|writing) reg)"),
     "errors on the camera's control wires", "the ribbon is loose, too long or near a motor",
     _RIBBON),
    (re.compile(r"cma_alloc: alloc failed|request \d+ buffers: Cannot allocate|dmaHeap alloc"),
     "the camera's memory (CMA) was used up", "the camera cannot be opened until it is freed",
     "grep Cma /proc/meminfo"),
)  # fmt: skip
"""What the kernel and libcamera say, what that means, and what it comes from; a line counts once.
picamera2#883 and #952, rpicam-apps#902 and #707, raspberrypi/linux#2966."""


def check_visible(host: Host) -> Iterator[Finding]:
    """picamera2 can be imported by this Python."""
    name = "picamera.visible"
    if not _needed(host):
        yield Finding(name, "ok", "no Raspberry Pi camera is asked for")
        return
    said = _look(host)
    if "missing" in said:
        yield _missing(host, str(said["missing"]))
    elif "error" in said:
        yield Finding(
            name, _bad(host), f"picamera2 cannot be loaded: {str(said['error'])[:200]}",
            why="no Raspberry Pi camera can be opened",
            fix=host.sudo("apt install -y --reinstall python3-picamera2 python3-libcamera"),
        )  # fmt: skip
    elif "cameras" not in said:
        yield Finding(
            name, _bad(host), "asking libcamera for cameras crashed or took longer than 20 s",
            why="no Raspberry Pi camera can be opened", fix="rpicam-hello --list-cameras",
        )  # fmt: skip
    else:
        yield Finding(name, "ok", f"picamera2 {host.version('picamera2')}".rstrip())


def _missing(host: Host, module: str) -> Finding:
    top = module.partition(".")[0]
    there = host.exists(f"{DIST_PACKAGES}/{top}") or host.exists(f"{DIST_PACKAGES}/{top}.py")
    settings = Path(host.prefix) / "pyvenv.cfg"
    if there and _is_closed(host, settings):
        return Finding(
            "picamera.visible", _bad(host), f"{top} is installed, but not for {host.prefix}",
            why="the environment was made without --system-site-packages: it sees nothing of apt's",
            fix=_open(host, settings),
        )  # fmt: skip
    if there:
        made_for = re.findall(r"cpython-3(\d+)", " ".join(
            path.name for path in host.glob(f"{DIST_PACKAGES}/{top}/*.cpython-3*")
        ))  # fmt: skip
        versions = " and ".join(sorted({f"3.{n}" for n in made_for}))
        return Finding(
            "picamera.visible", _bad(host),
            f"apt's {top} is made for Python {versions or 'of another version'}, this is "
            f"{host.python[0]}.{host.python[1]}",
            why="what apt has compiled loads only into apt's own Python",
            fix=made_anew(host, host.prefix),
        )  # fmt: skip
    package, opened = APT_PACKAGES.get(top, "python3-picamera2"), ""
    if _is_closed(host, settings):
        opened = f"\n{_open(host, settings)}"
    return Finding(
        "picamera.visible", _bad(host), f"{module} is not installed"
        + (", and this environment sees nothing of apt's" if opened else ""),
        why="no Raspberry Pi camera can be opened",
        fix=host.sudo(f"apt install -y {package}") + opened,
    )  # fmt: skip


def _open(host: Host, settings: Path) -> str:
    """Have an environment see what apt has installed."""
    edit = "s/^include-system-site-packages.*/include-system-site-packages = true/"
    return host.sudo(f"sed -i '{edit}' {shlex.quote(str(settings))}")


def _is_closed(host: Host, settings: Path) -> bool:
    text = settings.read_text() if settings.is_file() else ""
    return bool(re.search(r"include-system-site-packages\s*=\s*false", text))


def check_camera(host: Host) -> Iterator[Finding]:
    """libcamera sees the camera that is asked for."""
    name = "picamera.camera"
    cameras = _look(host).get("cameras") if _needed(host) else None
    if not isinstance(cameras, list):
        why = "picamera.visible says why" if _needed(host) else "none is asked for"
        yield Finding(name, "ok", f"not looked for: {why}")
        return
    models = [str(one.get("Model", "unknown")) for one in cameras]
    number = _number(host)
    if number is not None and number >= len(models):
        listed = ", ".join(f"{i}: {model}" for i, model in enumerate(models)) or "none"
        yield Finding(
            name, "fault", f"camera {number} is asked for, found: {listed}",
            why="the station cannot start", fix=_find_camera(host, models),
        )  # fmt: skip
    elif models:
        yield Finding(name, "ok", f"found: {', '.join(models)}")
    else:
        yield Finding(name, "ok", "no camera on the ribbon connectors")


def _find_camera(host: Host, models: list[str]) -> str:
    if models:
        return f'The first camera is source = "picamera://0" in {host.config}'
    place = next((path for path in BOOT_CONFIGS if host.exists(path)), "")
    text = host.read(place) if place else ""
    if re.search(r"^\s*start_x=1", text, re.MULTILINE):
        return host.sudo(f"sed -i '/^start_x=1/d' /{place}") + f"\n{host.sudo('reboot')}"
    chosen = re.search(r"^\s*(camera_auto_detect=1|dtoverlay=(imx|ov|arducam))", text, re.MULTILINE)
    if place and not chosen:
        line = f"/bin/sh -c 'echo camera_auto_detect=1 >> /{place}'"
        return f"{host.sudo(line)}\n{host.sudo('reboot')}"
    return "Switch off, take the ribbon out at both ends, put it in again: contacts to the contacts"


def check_log(host: Host) -> Iterator[Finding]:
    """What kernel and libcamera have complained about since the start."""
    name = "picamera.log"
    if not _needed(host):
        yield Finding(name, "ok", "no Raspberry Pi camera is asked for")
        return
    text = _kernel_log(host)
    unit = f"sightpost@{host.station}.service" if host.station else ""
    if unit and (ran := host.run("journalctl", "-b", "-q", "-o", "cat", "-n", "5000", "-u", unit)):
        text = f"{text or ''}\n{ran.out}"
    if text is None:
        yield unseen(host, name, "the kernel's log", why="a bad ribbon shows there first")
        return
    seen = Counter(_symptom(line) for line in text.splitlines())
    for number, (_, what, why, fix) in enumerate(SYMPTOMS):
        if seen[number]:
            yield Finding(
                name, "warning", f"{what} ({seen[number]} times since the start)",
                why=why, fix=fix,
            )  # fmt: skip
    if not any(number >= 0 for number in seen):
        yield Finding(name, "ok", "no complaint about a camera since the start")


def _symptom(line: str) -> int:
    return next((i for i, row in enumerate(SYMPTOMS) if row[0].search(line)), -1)


def _kernel_log(host: Host) -> str | None:
    for words in (("dmesg",), ("journalctl", "-k", "-b", "-q", "-o", "cat")):
        ran = host.run(*words)
        if ran is not None and ran.code == 0 and ran.out:
            return ran.out
    return None


def check_memory(host: Host) -> Iterator[Finding]:
    """The memory that only devices can use (CMA): pictures are there before anyone sees them."""
    name = "picamera.memory"
    found = dict(re.findall(r"^(Cma\w+):\s+(\d+) kB", host.read("proc/meminfo"), re.MULTILINE))
    total_mb, free_mb = (int(found.get(key, 0)) // 1024 for key in ("CmaTotal", "CmaFree"))
    shown = f"{free_mb} of {total_mb} MB of camera memory (CMA) are free"
    if not total_mb or not _needed(host):
        yield Finding(name, "ok", shown if total_mb else "no camera memory (CMA) is set aside")
    elif free_mb < LEAST_CMA_MB and host.live() is None:
        yield Finding(
            name, "fault", f"{shown}, and no station is running",
            why="the camera cannot be opened: something holds pictures, often a crashed program",
            fix=f"{host.sudo('fuser -v /dev/dma_heap/* /dev/video* /dev/media*')}\n"
            f"{host.sudo('reboot')}",
        )  # fmt: skip
    elif total_mb < SMALL_CMA_MB or free_mb < LEAST_CMA_MB:
        place = next((path for path in BOOT_CONFIGS if host.exists(path)), BOOT_CONFIGS[0])
        edit = "s/^dtoverlay=vc4-kms-v3d.*/dtoverlay=vc4-kms-v3d,cma-256/"
        edit = f"sed -i '{edit}' /{place}"
        yield Finding(
            name, "warning", shown,
            why="a larger picture or a second camera will not get its buffers",
            fix=f"{host.sudo(edit)}\n{host.sudo('reboot')}",
        )  # fmt: skip
    else:
        yield Finding(name, "ok", shown)


def absence(host: Host) -> str:
    """The check that has said already why the configured camera gives no picture, "" where none
    has, or it is no such camera."""
    number = _number(host)
    if number is None:
        return ""
    cameras = _look(host).get("cameras")
    if not isinstance(cameras, list):
        return "picamera.visible"
    return "picamera.camera" if number >= len(cameras) else ""


def _needed(host: Host) -> bool:
    """The config asks for it; without a config any Pi may have one."""
    if host.site is not None:
        return host.site.source.startswith("picamera:")
    return host.is_pi


def _number(host: Host) -> int | None:
    if host.site is None:
        return None
    found = re.match(r"picamera://(\d*)", host.site.source)
    return int(found[1] or 0) if found else None


def _bad(host: Host) -> Any:
    """A library that no config asks for is only worth a note."""
    return "fault" if host.site is not None else "note"


def _look(host: Host) -> dict[str, Any]:
    return host.once("picamera", lambda: _looked(host))


def _looked(host: Host) -> dict[str, Any]:
    ran = host.child(LOOK)
    return last_object(ran.out) if ran is not None and ran.code == 0 else {}


CHECKS = (check_visible, check_camera, check_log, check_memory)
