"""Cameras that are absent, held, forbidden, unreachable, dark, and models that err, are named."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_edge.config import Site, build
from sightpost_edge.doctor import cameras, model, opened, picamera, picture
from sightpost_edge.doctor.finding import Finding, as_fix
from sightpost_edge.doctor.holders import holders
from sightpost_edge.doctor.host import Host, Ran
from sightpost_edge.doctor.opened import Opened
from sightpost_edge.doctor.picture import FRAMES, Seen
from sightpost_edge.errors import LibraryError, MissingExtra, SightpostError
from sightpost_edge.live import Live, write_live
from sightpost_edge.minikeys import new_keys
from sightpost_edge.models.install import install_unsigned
from sightpost_edge.models.state import Outcome, State, write_state
from sightpost_edge.models.trust import trust
from sightpost_edge.records import Frame, Pixels
from sightpost_edge.store.database import lock
from sightpost_edge.testing import TINY_LABELS, frame, tiny_bundle, tiny_model

from ..model_rig import Workshop, prove, update
from ..model_rig import station as model_folder
from .doctor_rig import MadeUp, board, only

CONFIG = Path("/etc/sightpost/garden.toml")
CABLE = "Look at the camera's cable and power, then: sightpost doctor again"
IN_WORKSHOP = "In the workshop: sightpost convert {}\nThen copy it to m.tflite"
FOREIGN = IN_WORKSHOP.format("MODEL.tflite --labels LABELS.txt --photos PHOTOS --out model.tflite")
WEBCAM = {
    "sys/class/video4linux/video0/name": "HD Webcam",
    "sys/class/video4linux/video0/index": "0",
    "sys/class/video4linux/video1/name": "HD Webcam",
    "sys/class/video4linux/video1/index": "1",
    "sys/class/video4linux/video10/name": "bcm2835-codec-decode",
    "sys/class/video4linux/video10/index": "0",
    "dev/video0": "",
}


def site(source: str, **more: Any) -> Site:
    return build(Site, {"source": source, **more}, where="test")


def station(root: Path, source: str, files: dict[str, str] | None = None, **more: Any) -> MadeUp:
    """A board with a USB camera and a config."""
    changes = {"site": site(source), "config": CONFIG, **more}
    return board(root, {**WEBCAM, **(files or {})}, **changes)


def bad(findings: Iterator[Finding]) -> Finding:
    return only([one for one in findings if one.level != "ok"])


def scene(seed: int = 0) -> Pixels:
    """Something with edges everywhere, (240, 320, 3) uint8."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    large = cv2.resize(blocks, (320, 240), interpolation=cv2.INTER_NEAREST)
    return np.asarray(
        np.clip(large.astype(int) + rng.integers(-2, 3, large.shape), 0, 255), np.uint8
    )


def three(*pixels: Pixels) -> list[Frame]:
    return [frame(pixels[i % len(pixels)], index=i, elapsed_s=i * 0.7) for i in range(FRAMES)]


def test_only_cameras_are_listed(tmp_path: Path) -> None:
    """Neither a camera's second device, which gives data, nor the Pi's many codecs."""
    one = only(cameras.check_devices(station(tmp_path, "picamera://0")))
    assert (one.level, one.what) == ("ok", "found: /dev/video0 (HD Webcam)")


@pytest.mark.parametrize("source", ["2", "/dev/video2", "v4l2:///dev/video2"])
def test_camera_that_is_unplugged(source: str, tmp_path: Path) -> None:
    """The configured device is gone: a fault that names the ones that are there."""
    one = bad(cameras.check_devices(station(tmp_path, source)))
    assert (one.check, one.level) == ("cameras.devices", "fault")
    assert one.what == "no camera at /dev/video2; found: /dev/video0 (HD Webcam)"
    assert one.fix == f"ls -l /dev/v4l/by-id/ && sudo nano {CONFIG}"
    (tmp_path / "sys/class/video4linux/video0/name").unlink()
    none = bad(cameras.check_devices(board(tmp_path / "none", site=site(source), config=CONFIG)))
    assert (none.what, none.fix) == ("no camera at /dev/video2; no camera is plugged in", "lsusb")


def test_number_that_may_change(tmp_path: Path) -> None:
    """A camera with a lasting name is better called by it."""
    host = station(tmp_path, "0")
    (tmp_path / "dev/v4l/by-id").mkdir(parents=True)
    (tmp_path / "dev/v4l/by-id/usb-HD-index0").symlink_to("../../video0")
    one = bad(cameras.check_devices(host))
    assert one.level == "note"
    assert one.fix == f'Set source = "/dev/v4l/by-id/usb-HD-index0" in {CONFIG}'


def hold(root: Path, file: str, *, pid: int, name: str, cgroup: str) -> None:
    """A process below ``root``/proc that has ``file`` open."""
    (root / f"proc/{pid}/fd").mkdir(parents=True)
    (root / f"proc/{pid}/fd/7").symlink_to(file)
    (root / f"proc/{pid}/comm").write_text(f"{name}\n")
    (root / f"proc/{pid}/cgroup").write_text(f"0::{cgroup}\n")


@pytest.mark.parametrize(
    ("cgroup", "fix"),
    [
        ("/system.slice/motion.service", "sudo systemctl stop motion.service"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", "sudo kill 4711"),
        ("/user.slice/user-1000.slice/session-3.scope", "sudo kill 4711"),
    ],
)
def test_camera_that_somebody_holds(cgroup: str, fix: str, tmp_path: Path) -> None:
    """Which process, and how it is made to let go: a service is stopped, a program ended."""
    host = station(tmp_path, "0")
    hold(tmp_path, "/dev/video0", pid=4711, name="motion", cgroup=cgroup)
    one = bad(cameras.check_busy(host))
    assert (one.check, one.level) == ("cameras.busy", "fault")
    assert one.what == "/dev/video0 is held by motion (process 4711)"
    assert one.fix == fix


def test_camera_that_the_station_holds_itself(tmp_path: Path) -> None:
    """Its own run is no fault; another camera that somebody holds is a note."""
    host = station(tmp_path, "0", {"dev/video2": "", "sys/class/video4linux/video2/name": "Other"},
                   station="garden")  # fmt: skip
    hold(tmp_path, "/dev/video0", pid=12, name="sightpost",
         cgroup="/system.slice/system-sightpost.slice/sightpost@garden.service")  # fmt: skip
    hold(tmp_path, "/dev/video2", pid=13, name="cheese", cgroup="/user.slice")
    other, ours = cameras.check_busy(host)
    assert (other.level, ours.level) == ("note", "ok")
    assert "this station's run (12)" in ours.what


def test_picamera_left_busy_by_a_crashed_program(tmp_path: Path) -> None:
    """The Pi's camera is held through its media device."""
    host = station(tmp_path, "picamera://0", {"dev/media0": ""})
    hold(tmp_path, "/dev/media0", pid=99, name="python3", cgroup="/user.slice/session-1.scope")
    one = bad(cameras.check_busy(host))
    assert (one.level, one.fix) == ("fault", "sudo kill 99")


def test_other_users_programs_are_said_to_be_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without root nobody can tell who holds a camera."""

    def forbidden(_path: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    host = station(tmp_path, "0", {"proc/1/comm": "init"})
    monkeypatch.setattr("sightpost_edge.doctor.holders._open_files", forbidden)
    one = bad(cameras.check_busy(host))
    assert (one.level, one.fix) == ("note", f"sudo sightpost doctor --config {CONFIG}")


def test_real_holder_is_found(tmp_path: Path) -> None:
    """By the machine's own /proc: a child of this test holds a file."""
    held = tmp_path / "video0"
    held.touch()
    program = f"held = open({str(held)!r}); print(flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        found, _ = holders(Host(), [str(held)])
        child.stdin.close()
    assert [one.pid for one in found] == [child.pid]


PASSWD = "root:x:0:0::/root:/bin/sh\npi:x:1000:1000::/:/bin/sh\nsightpost:x:995:995::/:/bin/false\n"
GROUP = "video:x:44:pi\nrender:x:105:pi\ngpio:x:993:pi\npi:x:1000:\nsightpost:x:995:\n"


def test_service_user_without_the_groups(tmp_path: Path) -> None:
    """Works by hand and not as a service: the service's user is in no group of the camera."""
    pins = [{"pin": 17, "labels": ["*"]}]
    host = station(
        tmp_path, "picamera://0", {"etc/passwd": PASSWD, "etc/group": GROUP}, station="garden",
        site=site("picamera://0", pins=pins),
    )  # fmt: skip
    one = bad(cameras.check_access(host))
    assert (one.check, one.level, one.safe) == ("cameras.access", "fault", True)
    assert one.what == "sightpost is not in the groups video, render, gpio"
    assert one.fix == "sudo usermod -aG video,render,gpio sightpost"


def test_user_without_the_group_or_not_logged_in_since(tmp_path: Path) -> None:
    """Whoever asks: not in the group, or in it and the session does not know yet."""
    missing = station(tmp_path, "0", {"etc/group": "video:x:44:\npi:x:1000:\n"})
    one = bad(cameras.check_access(missing))
    assert (one.level, one.fix) == ("fault", "sudo usermod -aG video pi")
    late = station(tmp_path / "late", "0", groups=(1000,))
    two = bad(cameras.check_access(late))
    assert (two.level, two.fix) == ("warning", "Log out and in again")
    assert only(cameras.check_access(station(tmp_path / "well", "0"))).level == "ok"


def test_network_camera_that_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed port, an unknown name, silence: each is told apart, without the password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = station(tmp_path, f"rtsp://me:sesame@127.0.0.1:{port}/1")
    one = bad(cameras.check_stream(host))
    assert (one.check, one.level) == ("cameras.stream", "fault")
    assert "offers no stream at this port" in one.what
    assert "sesame" not in str(one)
    assert one.fix.startswith(f"Check host and port of source in {CONFIG}, and in the camera's")
    assert only(cameras.check_picture(host)).what.endswith("cameras.stream says why")
    assert host.asked == []

    def fails(error: OSError) -> Any:
        def connect(*_: Any, **__: Any) -> None:
            raise error

        return connect

    for error, said, fix in (
        (socket.gaierror("unknown"), "gardencam:554: no such name", "getent hosts gardencam"),
        (TimeoutError(), "no answer within 3 s", "ping -c 3 gardencam"),
        (OSError(113, "No route to host"), "cannot be reached", "ip -br address; ip route"),
    ):
        monkeypatch.setattr(socket, "create_connection", fails(error))
        found = bad(cameras.check_stream(station(tmp_path / "named", "rtsp://gardencam/1")))
        assert said in found.what
        assert found.fix == fix


@pytest.mark.parametrize(
    ("frames", "fault"),
    [
        (three(scene(1), scene(2), scene(3)), ""),
        (three(scene(1)), "frozen"),
        (three(np.zeros((240, 320, 3), np.uint8)), "black"),
        (three(np.full((240, 320, 3), 255, np.uint8)), "white"),
        (three(np.asarray(cv2.GaussianBlur(scene(4), (0, 0), 9), np.uint8)), "blurred"),
    ],
    ids=["sharp", "frozen", "black", "white", "blurred"],
)
def test_what_pictures_show(frames: list[Frame], fault: str) -> None:
    """Three frames are enough for what needs no memory of this camera."""
    assert picture._seen(frames, camera=True).fault == fault
    assert picture._seen(frames, camera=False).fault == ""


@pytest.mark.parametrize(
    ("seen", "level", "fix"),
    [
        (Seen(3, 640, 480, "black", "dark"), "fault",
         "Take the cap off the lens; at night switch the camera's light on"),
        (Seen(3, 640, 480, "blurred", "soft"), "warning",
         'Clean the lens and focus it; on a Camera Module 3: autofocus = "continuous"'),
        (Seen(3, 640, 480, "frozen", "same"), "fault", CABLE),
        (Seen(failure="no camera", hint="plug it in"), "fault", "Plug it in"),
        (Seen(failure="it ended before the first picture"), "fault", CABLE),
    ],
    ids=lambda value: value.fault or "none" if isinstance(value, Seen) else "",
)  # fmt: skip
def test_what_a_test_frame_leads_to(seen: Seen, level: str, fix: str, tmp_path: Path) -> None:
    """Level and remedy for each thing that a picture shows, or that there was none."""
    host = station(tmp_path, "0", programs={"picture import answer": json.dumps(asdict(seen))})
    one = bad(cameras.check_picture(host))
    assert (one.check, one.level, one.fix) == ("cameras.picture", level, fix)


def test_camera_whose_library_crashes(tmp_path: Path) -> None:
    """A child that hangs, crashes or fails: a fault that says which, and the doctor goes on."""
    for ran, said in (
        (None, "took longer than 30 s"),
        (Ran(-11), "crashed (Segmentation fault)"),
        (Ran(1, "", "Traceback\nOSError: no"), "failed (OSError: no)"),
    ):
        host = station(tmp_path, "0", programs={"picture import answer": ran})
        one = bad(cameras.check_picture(host))
        assert (one.level, one.what) == ("fault", f"no picture: opening it {said}")


def test_run_that_holds_the_camera_is_believed(tmp_path: Path) -> None:
    """No frame is taken: its live file says what it sees, in /run for a service."""
    host = station(tmp_path, "0", station="garden")
    run = tmp_path / "run/sightpost/garden"
    run.mkdir(parents=True)
    write_live(run, Live(fps=9.5))
    one = only(cameras.check_picture(host))
    assert (one.level, one.what) == ("ok", "the run sees well, 9.5 pictures per second")
    write_live(run, Live(fault="covered", detail="no detail left"))
    one = bad(cameras.check_picture(host))
    assert (one.level, one.what) == ("fault", "the run sees: covered (no detail left)")
    assert host.asked == []


def test_run_that_was_killed_is_not_believed(tmp_path: Path) -> None:
    """Its live file is fresh still, its lock is free: the camera is looked at, and that is said."""
    seen = {"picture import answer": json.dumps(asdict(Seen(3, 640, 480)))}
    host = station(tmp_path, "0", station="garden", programs=seen)
    run = tmp_path / "run/sightpost/garden"
    run.mkdir(parents=True)
    write_live(run, Live(fps=9.5))
    host.store.mkdir(parents=True)
    held = lock(host.store)
    assert "the run sees well" in only(cameras.check_picture(host)).what
    os.close(held)
    note, picture_seen = cameras.check_picture(host)
    assert (note.level, note.what) == (
        "note", "a run ended without saying so, within the last minute"
    )  # fmt: skip
    assert note.fix == "sudo journalctl -u sightpost@garden -n 50"
    assert picture_seen.what == "3 pictures of 640 x 480, well lit and sharp"
    os.close(lock(host.store))  # nobody was kept from the store by the look at it


def test_camera_that_is_absent_is_said_once(tmp_path: Path) -> None:
    """The picture that cannot be taken for it is no second fault."""
    host = station(tmp_path, "2")
    assert bad(cameras.check_devices(host)).level == "fault"
    assert only(cameras.check_picture(host)).what.endswith("cameras.devices says why")


@pytest.mark.parametrize("said", [{"missing": "picamera2"}, {"error": "odd"}, {"cameras": []}])
def test_pi_camera_that_is_not_to_be_had_is_said_once(said: dict[str, Any], tmp_path: Path) -> None:
    """No library, a broken one, no camera: one fault, and no picture is tried."""
    look = {"Picamera2.global_camera_info": json.dumps(said)}
    host = station(tmp_path, "picamera://0", programs=look)
    wrong = [one for check in picamera.CHECKS for one in check(host) if one.level == "fault"]
    assert only(cameras.check_picture(host), "ok").what.endswith(f"{only(wrong).check} says why")


def test_no_picture_is_taken_where_a_run_may_hold_the_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another user's store nobody knows whether a run is there: a second program would take the
    camera from it, or call it broken."""
    monkeypatch.setattr(cameras, "is_shut", lambda _store: True)
    host = station(tmp_path, "0", station="garden")
    one = only(cameras.check_picture(host))
    assert (one.level, one.fix) == ("note", "sudo sightpost doctor garden")
    assert not host.asked


@contextmanager
def stream(jpeg: bytes) -> Iterator[str]:
    """A network camera that repeats one picture for ever."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
            self.end_headers()
            head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                while True:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                    time.sleep(0.05)
            except OSError:
                return

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_frozen_network_camera_is_seen(tmp_path: Path) -> None:
    """For real: child, stream, three frames, and the judgement."""
    with stream(cv2.imencode(".jpg", scene())[1].tobytes()) as url:
        host = Host(root=tmp_path, site=site(url), store=tmp_path)
        assert only(cameras.check_stream(host)).level == "ok"
        one = bad(cameras.check_picture(host))
    assert (one.level, one.fix) == ("fault", CABLE)
    assert "3 pictures of 320 x 240, frozen" in one.what


def with_model(tmp_path: Path, found: Opened, **changes: Any) -> MadeUp:
    """A board whose model opened as ``found``, whatever lies there."""
    given = {"site": site("0", model="m.tflite"), "config": CONFIG, **changes}
    answers = {"opened import answer": json.dumps(asdict(found))}
    return board(tmp_path, programs=answers, **given)


GOOD = Opened(
    "m.tflite", verified=True, labels=3, kind="int8", golden=6, has_novelty=True, median_ms=20.0
)
TABLE = [
    {"kind": "float32", "accuracy": 0.94, "timings": [{"threads": 1, "median_ms": 60.0}]},
    {"kind": "int8", "accuracy": 0.93, "timings": [{"threads": 1, "median_ms": 20.0}]},
]


def converted(
    accuracy: float, on: str = "Raspberry Pi 4 Model B Rev 1.4, 4 cores"
) -> dict[str, Any]:
    return {"chosen": "int8", "accuracy": accuracy, "measured_on": on, "table": TABLE}


MODEL_FAULTS = [
    (Opened("m", "ModelError", "no file at m"), "file", "fault",
     f"Copy the model to m.tflite, or correct model in {CONFIG}"),
    (Opened("m", "ModelError", "odd", "sightpost convert RUN makes one"), "file", "fault",
     f"Copy the model to m.tflite, or correct model in {CONFIG}"),
    (Opened("m", "BundleCorrupt", "cut", "copy it again"), "file", "fault",
     "Copy it again (it is m.tflite)"),
    (Opened("m", "BundleCorrupt", "cut"), "file", "fault", "sightpost inspect m.tflite"),
    (replace(GOOD, verified=False), "file", "warning", FOREIGN),
    (replace(GOOD, verified=False), "labels", "warning", FOREIGN),
    (Opened("m", "GoldenMismatch", "scores off by 0.4"), "golden", "fault",
     "sudo /opt/sightpost/bin/pip install --force-reinstall -r station-trixie.txt"),
    (replace(GOOD, golden=0), "golden", "warning", FOREIGN),
    (replace(GOOD, conversion=converted(0.30)), "quantization", "fault",
     IN_WORKSHOP.format("RUN --max-drop 0.01 --out model.tflite")),
    (replace(GOOD, conversion=converted(0.89)), "quantization", "warning",
     IN_WORKSHOP.format("RUN --max-drop 0.01 --out model.tflite")),
    (replace(GOOD, has_novelty=False), "novelty", "note",
     IN_WORKSHOP.format("RUN --out model.tflite")),
    (replace(GOOD, id="2-ab", instead=True), "file", "warning",
     "sightpost model rollback --store {store}"),
    (Opened("m", "SignatureRefused", "another key"), "signature", "fault",
     "sightpost inspect m.tflite"),
    (Opened("m", "SignatureRefused", "its key", refusal="other key", key="5E"), "signature",
     "fault", "sightpost model install FILE --store {store}  # signed by 5E"),
    (Opened("m", "SignatureRefused", "none", refusal="unsigned", key="5E", back="1-a"),
     "signature", "fault", "sightpost model install FILE --store {store}  # signed by 5E"),
    (Opened("m", "SignatureRefused", "sha256", refusal="altered", key="5E", back="1-a"),
     "signature", "fault", "sightpost model rollback --store {store}"),
    (Opened("m", "SignatureRefused", "sha256", refusal="altered", key="5E"), "signature",
     "fault", "sightpost model install FILE --store {store}  # signed by 5E"),
    (replace(GOOD, id="3-ab", key="5E", expires="2026-01-31", expired=True), "signature",
     "warning", "sightpost model install URL --store {store}"),
    (replace(GOOD, median_ms=41.0, conversion=converted(0.93)), "speed", "warning",
     "vcgencmd get_throttled; vcgencmd measure_temp; top -b -n 1 | head -15"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "check", "level", "fix"), MODEL_FAULTS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_model_fault_is_named_with_its_fix(
    found: Opened, check: str, level: str, fix: str, tmp_path: Path
) -> None:
    """Opened in a child, then looked at from every side."""
    host = with_model(tmp_path, found)
    one = bad(getattr(model, f"check_{check}")(host))
    assert (one.check, one.level) == (f"model.{check}", level)
    assert one.fix == fix.format(store=host.store)
    assert one.why


@pytest.mark.parametrize(
    ("planted", "refusal", "back"),
    [("unsigned", "unsigned", False), ("other key", "other key", False),
     ("altered", "altered", True), ("altered alone", "altered", False)],
)  # fmt: skip
def test_why_a_model_of_a_folder_is_refused(
    planted: str, refusal: str, back: bool, tmp_path: Path
) -> None:
    """Told by its signature; back only to a version that can be used."""
    workshop = Workshop(tmp_path / "workshop")
    if planted == "unsigned":
        folder = model_folder(tmp_path / "models")
        install_unsigned(folder, str(tiny_bundle(tmp_path / "m.tflite")))
    else:
        folder = model_folder(tmp_path / "models", workshop)
        for version in ("1", "2") if planted == "altered" else ("1",):
            update(folder, workshop.model(version))
            prove(folder)
    current = folder.current()
    assert current is not None
    if refusal == "altered":
        current.path.chmod(0o644)
        current.path.write_bytes(current.path.read_bytes() + b"x")
    else:
        trust(folder.key, new_keys().public, replace=True)
    found = Opened(**opened.answer({"model": str(folder.path), "labels": "", "threads": 1}))
    assert (found.error, found.refusal) == ("SignatureRefused", refusal)
    assert (found.model, bool(found.back)) == (str(current.path), back)
    one = bad(model.check_signature(with_model(tmp_path, found)))
    assert str(current.path) in one.what
    assert ("only models by the trusted key" in one.why) == (refusal != "altered")


def test_current_model_that_is_gone(tmp_path: Path) -> None:
    """A run takes the one before it: a warning that names it, and all else is looked at."""
    workshop = Workshop(tmp_path / "workshop")
    folder = model_folder(tmp_path / "models", workshop)
    for version in ("1", "2"):
        update(folder, workshop.model(version))
        prove(folder)
    (folder.path / "current").unlink()
    found = Opened(**opened.answer({"model": str(folder.path), "labels": "", "threads": 1}))
    assert (found.error, found.instead) == ("", True)
    one = bad(model.check_file(with_model(tmp_path, found)))
    assert (one.level, one.what) == ("warning", f"the current model in {folder.path} is gone")
    assert found.id in one.why


@pytest.mark.parametrize("kind", [MissingExtra, LibraryError])
def test_without_a_runtime_no_model_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[SightpostError]
) -> None:
    """The station cannot start, whatever else is installed: a fault, and no roll-back."""
    workshop = Workshop(tmp_path / "workshop")
    folder = model_folder(tmp_path / "models", workshop)
    for version in ("1", "2"):
        update(folder, workshop.model(version))
        prove(folder)

    def fail(*given: object) -> None:
        raise kind("no TFLite runtime", hint="pip install ai-edge-litert")

    monkeypatch.setattr(opened, "_bundle", fail)
    found = Opened(**opened.answer({"model": str(folder.path), "labels": "", "threads": 1}))
    one = bad(model.check_file(with_model(tmp_path, found)))
    assert (one.level, one.why) == ("fault", "the station cannot start")
    assert "install ai-edge-litert" in one.fix


def test_damaged_model_with_another_one_beside_it(tmp_path: Path) -> None:
    """A run goes on with that: the station starts."""
    found = Opened("m", "BundleCorrupt", "cut", back="1-a")
    assert bad(model.check_file(with_model(tmp_path, found))).why == "a run goes on with 1-a"


def test_trusted_key_that_is_no_key(tmp_path: Path) -> None:
    """No other model mends it: the key has to be written anew."""
    folder = model_folder(tmp_path / "models")
    install_unsigned(folder, str(tiny_bundle(tmp_path / "m.tflite")))
    folder.key.write_bytes(b"")
    found = Opened(**opened.answer({"model": str(folder.path), "labels": "", "threads": 1}))
    host = with_model(tmp_path, found, site=site("0", model=str(folder.path)))
    one = bad(model.check_file(host))
    assert one.fix == f"sightpost model trust KEY --replace --store {tmp_path}"


@pytest.mark.parametrize(("root", "error"), [(False, "shut"), (True, "ModelError")])
def test_model_that_may_not_be_read(
    root: bool, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By this user: a note. Root reads it with its owner's rights: then that is what is wrong."""

    def forbidden(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(tmp_path / "m.tflite"))

    monkeypatch.setattr(opened, "_bundle", forbidden)
    monkeypatch.setattr("sightpost_edge.models.owner.become_owner", lambda _folder: None)
    monkeypatch.setattr(opened.os, "geteuid", lambda: 0 if root else 1000)
    found = Opened(**opened.answer({"model": str(tmp_path), "labels": "", "threads": 1}))
    assert found.error == error
    one = bad(model.check_file(with_model(tmp_path, found)))
    assert (one.level, str(tmp_path) in one.what) == ("fault" if root else "note", True)


def test_model_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    """Installing a model makes it; nobody copies a file there."""
    found = Opened("m", "ModelError", "no model file at st/models")
    host = with_model(tmp_path, found, site=site("0", model=str(tmp_path / "st/models")))
    one = bad(model.check_file(host))
    assert one.fix == f"sightpost model install FILE --store {tmp_path}/st"


def test_model_that_is_nowhere_newer(tmp_path: Path) -> None:
    """Kept for want of another: no older one is in use then."""
    folder = board(tmp_path, station="garden").store / "models"
    folder.mkdir(parents=True)
    outcome = Outcome("unsigned-ab", "", 1_763_000_000_000, "kept", "no signature")
    write_state(folder, State(outcomes=(outcome,)))
    one = bad(model.check_trial(board(tmp_path, station="garden")))
    assert one.why == "there was no other model to go back to"


def test_hint_that_is_a_command_stays_one() -> None:
    """What is pasted must be found: no capital letter before it."""
    for command in ("sightpost model list shows them", "sudo fuser -v /dev/video0"):
        assert as_fix(command) == command
    assert as_fix("copy it again") == "Copy it again"
    assert as_fix("") == ""


def test_model_that_failed_its_trial(tmp_path: Path) -> None:
    """Rolled back: the station works with an older one, and that is said; so is a trial now."""
    host = board(tmp_path, station="garden")
    folder = host.store / "models"
    folder.mkdir(parents=True)
    outcome = Outcome("3-ab", "3", 1_763_000_000_000, "rolled back", "all blank")
    write_state(folder, State(outcomes=(outcome,)))
    one = bad(model.check_trial(host))
    assert (one.check, one.level) == ("model.trial", "warning")
    assert one.what == "3-ab: rolled back on 2025-11-13 (all blank)"
    assert one.fix == f"sudo sightpost model list --store {host.store}"
    write_state(folder, State(outcomes=(replace(outcome, result="confirmed"),)))
    assert only(model.check_trial(host)).level == "ok"


def test_model_folder_of_a_service_without_a_model(tmp_path: Path) -> None:
    """The child asks the folder as a run would, and says how to see what there is."""
    folder = board(tmp_path, station="garden").store / "models"
    folder.mkdir(parents=True)
    host = Host(root=tmp_path, station="garden", store=folder.parent, environ={})
    one = bad(model.check_file(host))
    assert one.level == "fault"
    assert "no current model" in one.what


def test_model_that_is_well(tmp_path: Path) -> None:
    """Nothing to complain of, and the child is asked once for all checks."""
    host = with_model(tmp_path, replace(GOOD, conversion=converted(0.93), median_ms=24.0))
    found = [one for check in model.CHECKS for one in check(host)]
    assert {one.level for one in found} == {"ok"}
    assert len(host.asked) == 1


def test_model_too_slow_for_the_rate(tmp_path: Path) -> None:
    """Without a figure for this board the wanted rate counts; another board's is ignored."""
    slow = replace(GOOD, median_ms=150.0, conversion=converted(0.93, on="Raspberry Pi 5"))
    wanted = site("0", model="m.tflite", rate={"per_s": 10.0})
    one = bad(model.check_speed(with_model(tmp_path, slow, site=wanted)))
    assert one.what == "150.0 ms with 1 thread: too slow for 10 frames per second"
    assert "--max-latency-ms 100" in one.fix


def test_real_models_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sealed one, one whose golden scores are not its own, and a plain .tflite."""
    monkeypatch.setattr(opened, "TIMED_S", 0.0)
    good = tiny_bundle(tmp_path / "good.tflite")
    question = {"model": str(good), "labels": "", "threads": 1}
    found = Opened(**opened.answer(question))
    assert (found.error, found.verified, found.labels, found.golden) == ("", True, 3, 2)
    assert found.median_ms > 0
    plain, labels = tmp_path / "plain.tflite", tmp_path / "labels.txt"
    plain.write_bytes(tiny_model())
    labels.write_text("\n".join(TINY_LABELS))
    assert Opened(**opened.answer({**question, "model": str(plain)})).error == "NotABundle"
    found = Opened(**opened.answer({**question, "model": str(plain), "labels": str(labels)}))
    assert (found.error, found.verified, found.golden) == ("", False, 0)


def test_golden_mismatch_of_a_real_bundle(tmp_path: Path) -> None:
    """In the child, as the doctor asks: the class of the error is what the checks go by."""
    path = tiny_bundle(tmp_path / "other.tflite", golden_tolerance=-1.0)
    host = Host(root=tmp_path, site=site("0", model=str(path)), store=tmp_path)
    one = bad(model.check_golden(host))
    assert (one.level, one.check) == ("fault", "model.golden")
    assert only(model.check_file(host)).level == "ok"
