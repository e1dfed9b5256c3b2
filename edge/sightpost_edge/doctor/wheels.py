"""Whether the libraries are there, fit each other and can be loaded: each is tried in a child."""

import re
import signal
from collections.abc import Iterator
from dataclasses import replace

from .finding import Finding
from .host import Host, Ran

OPENCVS = (
    "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless",
    "opencv-python-headless",
)  # fmt: skip
"""All of them write the same folder, cv2; the last one is ours."""
APT_LIBRARIES = {
    "libGL.so.1": "libgl1", "libgthread-2.0.so.0": "libglib2.0-0", "libSM.so.6": "libsm6",
    "libXext.so.6": "libxext6", "libXrender.so.1": "libxrender1", "libgomp.so.1": "libgomp1",
    "libopenblas.so.0": "libopenblas0", "libatlas.so.3": "libatlas3-base",
    "libstdc++.so.6": "libstdc++6", "libusb-1.0.so.0": "libusb-1.0-0",
}  # fmt: skip
_OLD_SET = "install 'numpy>=1.26,<2' 'opencv-python-headless>=4.11,<4.12'"
"""Newer OpenCVs want numpy 2; the lock device-bookworm.txt is made of the same."""
_NEW_SET = "install --upgrade 'numpy>=2' opencv-python-headless"
_CLASH = re.compile(
    r"numpy\.dtype size changed|_ARRAY_API not found|compiled using NumPy 1|"
    r"numpy\.core\.multiarray failed to import|module compiled against ABI version"
)
_MISSING_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object")
_LIBC = re.compile(r"version `?(GLIBC_[\d.]+)'? not found")
_MISSING_MODULE = re.compile(r"No module named '([\w.]+)'")

TRY_MODEL = (
    "import base64, sys, zlib; import numpy as np; "
    "from sightpost_edge.interpreter import Network; "
    "network = Network(zlib.decompress(base64.b85decode(sys.argv[1]))); "
    "scores = network.scores(np.zeros((16, 16, 3), np.uint8), mean=127.5, std=127.5); "
    "assert abs(scores.sum() - 1) < 0.01, scores"
)
TINY_MODEL = (
    b"c-n1Jy-ve05WbjDQZ*_WI#7rZ14D-nNJy+OF)=VOBLWJ+Qhy{`36K~V7<mvz9-$Ay1M~qpFd)L`^Eq{+I{D=D>AS"
    b"n{&W?!a>ipvPx-82M?04V;pbh>h1O|o!9LRYeT(iftx=zG@xZ<6it>206g&zR{pn%1n^-cBYg~Z=scAIu!C8!!fM"
    b"O*x-i2;6qU(q+r^hjEuPvFMOu`4-Rk|VWJnyK`s_}JhY4YuD-1NK-gn>8&hPm5_K5!-NQ=+DKtSt_wj4#QiMW6$L"
    b"X`LnsgN}E0Vn#|fV`f-?J{{mj+&iWD?K}*E-Y~18-{FqN{&OkKvYn;Kj(9;^{(&O-~^NeThbH2fe#df?~olVH&#N"
    b"0XYoMU-QO8BOir(72gDDLKEW6aFAtC(cjzjAf5=e(+;I40)zMH1t*n>*3NtjHxU5P#y;JF4yhb45>GTdTW(-IR9|"
    b"^ZhOJ_pHD750dCmtp"
)
"""``testing.tiny_model()``, zlib and base85: making it needs more libraries than a device has."""


def check_numpy(host: Host) -> Iterator[Finding]:
    """numpy loads."""
    yield _loads(host, "numpy", "numpy", "numpy", "install --force-reinstall numpy")


def check_opencv(host: Host) -> Iterator[Finding]:
    """OpenCV loads, and there is one of it."""
    installed = {name: v for name in OPENCVS if (v := host.version(name))}
    others = " ".join(name for name in installed if name != OPENCVS[-1])
    headless = "install --force-reinstall --no-deps opencv-python-headless"
    again = "\n".join(host.pip(words) for words in (f"uninstall -y {others}", headless))
    finding = _loads(host, "opencv", "cv2", OPENCVS[-1], headless)
    if finding.level != "ok":
        yield replace(finding, fix=again) if others else finding
    elif len(installed) > 1:
        yield Finding(
            "wheels.opencv", "warning", f"{' and '.join(installed)} are both installed",
            why="they write the same folder: removing or upgrading one breaks the other",
            fix=again,
        )  # fmt: skip
    elif others:
        yield Finding(
            "wheels.opencv", "note", f"{others} instead of {OPENCVS[-1]}",
            why="it wants the libraries of a desktop (libGL.so.1), which the next card may lack",
            fix=again,
        )  # fmt: skip
    else:
        yield finding


def check_runtime(host: Host) -> Iterator[Finding]:
    """A TFLite runtime is there, fits numpy, and runs a tiny model."""
    name = "wheels.runtime"
    names = ("ai-edge-litert", "tflite-runtime")
    shown = ", ".join(f"{n} {v}" for n in names if (v := host.version(n)))
    if not shown and not (host.module("ai_edge_litert") or host.module("tflite_runtime")):
        yield Finding(
            name, "fault", "no TFLite runtime is installed",
            why="nothing can be classified",
            fix=host.pip("install ai-edge-litert")
            if host.bits == 64
            else host.pip(f"{_OLD_SET} tflite-runtime"),
        )  # fmt: skip
        return
    ran = host.child(TRY_MODEL, TINY_MODEL.decode())
    if ran is not None and ran.code == 0:
        yield Finding(name, "ok", f"{shown or 'a TFLite runtime'} runs a model")
    elif _old_runtime_new_numpy(host):
        yield Finding(
            name, "fault", f"{shown} cannot work with numpy {host.version('numpy')}",
            why="it was built for numpy 1 and fails when a model is opened (_ARRAY_API not found)",
            fix=host.pip(_OLD_SET),
        )  # fmt: skip
    else:
        cause, fix = _cause(host, ran, "install --force-reinstall ai-edge-litert")
        yield Finding(
            name, "fault", f"{shown or 'the TFLite runtime'} does not run a model: {cause}",
            why="nothing can be classified", fix=fix,
        )  # fmt: skip


def _old_runtime_new_numpy(host: Host) -> bool:
    """LiteRT, where there is one, is taken first."""
    has_old = bool(host.version("tflite-runtime")) and not host.module("ai_edge_litert")
    return has_old and _major(host.version("numpy")) >= 2


def check_abi(host: Host) -> Iterator[Finding]:
    """What apt has compiled for its own numpy, seen from an environment with another."""
    numpy = host.version("numpy")
    seen = [name for name in ("simplejpeg", "picamera2") if host.module(name)]
    if not seen:
        yield Finding("wheels.abi", "ok", f"numpy {numpy}: nothing of apt's depends on it here")
        return
    clashes = [name for name in seen if _clashes(host.child(f"import {name}"))]
    if not clashes:
        yield Finding("wheels.abi", "ok", f"numpy {numpy} and apt's {', '.join(seen)} fit")
        return
    wanted = "1" if _major(numpy) >= 2 else "2"
    yield Finding(
        "wheels.abi", "fault",
        f"apt's {clashes[0]} is built for numpy {wanted}, this environment has {numpy}",
        why="picamera2 cannot be loaded (numpy.dtype size changed): no Raspberry Pi camera",
        fix=host.pip(_OLD_SET if wanted == "1" else _NEW_SET),
    )  # fmt: skip


def check_extras(host: Host) -> Iterator[Finding]:
    """What this station's config asks for beyond the base install."""
    missing = [(module, why, fix) for module, why, fix in _wanted(host) if not host.module(module)]
    for module, why, fix in missing:
        yield Finding("wheels.extras", "fault", f"{module} is not installed", why=why, fix=fix)
    if not missing:
        wanted = ", ".join(module for module, _, _ in _wanted(host))
        yield Finding("wheels.extras", "ok", f"found: {wanted}" if wanted else "none is needed")


def _wanted(host: Host) -> Iterator[tuple[str, str, str]]:
    """Module, why it is needed, and how it is had."""
    site = host.site
    if site is not None and site.mqtt.url:
        yield ("paho", "the config has [mqtt]: nothing can be sent without",
               host.pip("install 'paho-mqtt>=2.1,<3'"))  # fmt: skip
    if site is not None and site.pins:
        why = "the config has [[pins]]: the station ends at its start without"
        yield "gpiozero", why, host.pip("install 'gpiozero>=2.0.1'")
        yield "lgpio", why, host.sudo("apt install -y python3-lgpio")
    if host.station and host.exists(f"etc/sightpost/{host.station}.pub"):
        yield ("cryptography", "a key is trusted here: a signed model cannot be opened without",
               host.pip("install 'cryptography>=43'"))  # fmt: skip


def _loads(host: Host, check: str, module: str, package: str, again: str) -> Finding:
    ran = host.child(f"import {module}")
    if ran is not None and ran.code == 0:
        return Finding(f"wheels.{check}", "ok", f"{package} {host.version(package)}".rstrip())
    cause, fix = _cause(host, ran, again or f"install {package}")
    return Finding(
        f"wheels.{check}", "fault", f"{module} cannot be loaded: {cause}",
        why="nothing works without", fix=fix,
    )  # fmt: skip


def _cause(host: Host, ran: Ran | None, again: str) -> tuple[str, str]:
    """Why a child that loaded a library ended badly, in words, and the command that mends it."""
    if ran is None:
        return "it did not come back within 20 s", host.pip(again)
    if ran.code == -signal.SIGILL:
        return "it is built for another processor (illegal instruction)", host.pip(again)
    if ran.code < 0:
        return f"it crashes ({signal.strsignal(-ran.code)})", host.pip(again)
    last = (ran.err.strip().splitlines() or [f"exit code {ran.code}"])[-1]
    return _said(host, ran.err, again) or (last[:200], host.pip(again))


def _said(host: Host, err: str, again: str) -> tuple[str, str] | None:
    if found := _MISSING_LIBRARY.search(err):
        package = APT_LIBRARIES.get(found[1])
        fix = host.sudo(f"apt install -y {package}") if package else f"apt-file search {found[1]}"
        return f"{found[1]} is missing", fix
    if found := _LIBC.search(err):
        return f"it wants {found[1]}, this system is older", host.pip(again)
    if _CLASH.search(err):
        fits = _OLD_SET if _major(host.version("numpy")) >= 2 else _NEW_SET
        return f"it is built for another numpy than {host.version('numpy')}", host.pip(fits)
    if found := _MISSING_MODULE.search(err):
        whole = again.replace("--force-reinstall ", "").replace("--no-deps ", "")
        return f"{found[1]} is not installed", host.pip(whole)
    return None


def _clashes(ran: Ran | None) -> bool:
    return ran is not None and ran.code != 0 and bool(_CLASH.search(ran.err))


def _major(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0


CHECKS = (check_numpy, check_opencv, check_runtime, check_abi, check_extras)
