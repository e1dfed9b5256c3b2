"""The doctor on the service: each fault is planted and must be named with its fix."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightpost_edge.config import Site
from sightpost_edge.doctor import sandbox, unit
from sightpost_edge.lives import End, Life, Lives
from sightpost_edge.uplink.settings import MqttSettings

from .doctor_rig import MadeUp, only, plant

UNITS = Path(__file__).parent.parent.parent / "systemd"
SHIPPED = (UNITS / "sightpost@.service").read_text()
SHIPPED_UPLINK = (UNITS / "sightpost-uplink@.service").read_text()
FILE = "/etc/systemd/system/sightpost@.service"
GOOD = {
    "LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active",
    "SubState": "running", "Result": "success", "ExecMainStatus": "0", "NRestarts": "0",
    "WatchdogUSec": "30s", "DropInPaths": "", "FragmentPath": FILE, "MainPID": "321",
    "User": "sightpost", "DynamicUser": "no", "NeedDaemonReload": "no", "ProtectHome": "yes",
    "ExecStart": "{ path=/opt/sightpost/bin/sightpost ; argv[]=/opt/sightpost/bin/sightpost run }",
}  # fmt: skip
PASSWD = f"root:x:0:0::/root:/bin/sh\nsightpost:x:{os.geteuid()}:990::/:/bin/false\n"


def host(root: Path, files: dict[str, str] | None = None, /, **changes: str) -> MadeUp:
    """A healthy service called gate, but for ``changes`` of what systemctl shows."""
    planted = {
        "etc/passwd": PASSWD, FILE: SHIPPED, "opt/sightpost/bin/sightpost": "",
        "opt/sightpost/bin/python": "", "etc/sightpost/gate.toml": "", **(files or {}),
    }  # fmt: skip
    shown = "\n".join(f"{key}={value}" for key, value in {**GOOD, **changes}.items())
    return MadeUp(
        root=plant(root, planted), station="gate", store=root / "store", environ={}, uid=1000,
        config=Path("/etc/sightpost/gate.toml"),
        answers={"systemctl show sightpost@gate.service": shown},
    )  # fmt: skip


def answering(here: MadeUp, **more: Any) -> MadeUp:
    named = {key.replace("_", " "): value for key, value in more.items()}
    return replace(here, answers={**here.answers, **named})


def test_a_healthy_service_has_no_findings(tmp_path: Path) -> None:
    """Every check says ok."""
    here = answering(host(tmp_path), journalctl="sightpost: watching picamera://0\n")
    assert {only(check(here)).level for check in unit.CHECKS} == {"ok"}


def test_a_store_that_was_moved_by_a_link(tmp_path: Path) -> None:
    """systemd 257 does not start it (code 238); mounted at the same place it does."""
    here = host(tmp_path)
    link = here.path("/var/lib/sightpost/gate")
    link.parent.mkdir(parents=True)
    link.symlink_to("/mnt/ssd/gate")
    found = only(sandbox.check_state(here))
    assert (found.level, "code 238" in found.why) == ("fault", True)
    assert found.fix.splitlines()[:3] == [
        "sudo rm /var/lib/sightpost/gate", "sudo mkdir /var/lib/sightpost/gate",
        "sudo sed -i '$a /mnt/ssd/gate /var/lib/sightpost/gate none bind,nofail 0 0' /etc/fstab",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "level", "what", "fix", "safe"),
    [
        ({"LoadState": "not-found"}, "fault", "is not installed",
         "sudo sightpost service install gate", False),
        ({"UnitFileState": "disabled"}, "fault", "does not start with the machine",
         "sudo systemctl enable sightpost@gate.service", True),
        ({"NeedDaemonReload": "yes"}, "warning", "was changed and not read again",
         "sudo systemctl daemon-reload", True),
    ],
)  # fmt: skip
def test_installed(
    tmp_path: Path, changes: dict[str, str], level: str, what: str, fix: str, safe: bool
) -> None:
    """Missing, switched off, changed and not read again."""
    found = only(unit.check_installed(host(tmp_path, **changes)), level)
    assert what in found.what
    assert (found.fix, found.safe) == (fix, safe)


def test_a_station_that_was_never_there(tmp_path: Path) -> None:
    """Its installation needs the config and the model that are not there."""
    here = host(tmp_path, LoadState="not-found")
    (tmp_path / "etc/sightpost/gate.toml").unlink()
    assert only(unit.check_installed(here), "fault").fix == (
        "sudo sightpost service install gate --config site.toml --model model.tflite"
    )


def test_an_outdated_unit(tmp_path: Path) -> None:
    """Another text is another release's; another program's path is not."""
    other = {FILE: SHIPPED.replace("/opt/sightpost/bin/", "/srv/venv/bin/")}
    assert only(unit.check_installed(host(tmp_path, other))).level == "ok"
    old = {FILE: SHIPPED.replace("WatchdogSec=30s\n", "")}
    found = only(unit.check_installed(host(tmp_path, old)), "warning")
    assert found.what == f"{FILE} is not that of this release"
    assert found.fix == "sudo sightpost service install gate"


@pytest.mark.parametrize(
    ("changes", "level", "what"),
    [
        ({"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "5"}, "fault",
         "exit code 5: the camera failed"),
        ({"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "203"}, "fault",
         "not to be seen from the sandbox"),
        ({"ActiveState": "failed", "Result": "start-limit-hit"}, "fault", "has given up"),
        ({"ActiveState": "activating", "SubState": "auto-restart", "Result": "watchdog"}, "fault",
         "nothing moved on any more"),
        ({"ActiveState": "activating", "SubState": "start"}, "note", "is starting"),
        ({"ActiveState": "inactive", "Result": "oom-kill"}, "fault", "ran out of memory"),
        ({"ActiveState": "inactive"}, "warning", "is stopped"),
        ({"Result": "signal"}, "ok", "before that: it was killed"),
    ],
)  # fmt: skip
def test_active(tmp_path: Path, changes: dict[str, str], level: str, what: str) -> None:
    """What systemd's words and numbers mean, and the log that says more."""
    found = only(unit.check_active(host(tmp_path, **changes)), level)
    assert what in found.what
    stopped = what == "is stopped"
    assert level == "ok" or found.fix.startswith(
        "sudo systemctl start" if stopped else "sudo journalctl -u sightpost@gate.service -n 50"
    )


def test_the_sender(tmp_path: Path) -> None:
    """Not installed though the config names a broker; or installed and dead."""
    site = Site(name="gate", mqtt=MqttSettings(url="mqtts://broker.example"))
    here = replace(host(tmp_path), site=site)
    shown = {"systemctl show sightpost-uplink@gate.service": "LoadState=not-found\n"}
    missing = replace(here, answers=shown, made={})
    assert only(unit.check_uplink(missing), "warning").fix == "sudo sightpost service install gate"
    dead = "LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainStatus=243\n"
    shown = {"systemctl show sightpost-uplink@gate.service": dead}
    found = only(unit.check_uplink(replace(here, answers=shown, made={})), "fault")
    assert "a credential could not be handed over" in found.what
    assert found.fix.startswith("sudo systemctl enable --now sightpost-uplink@gate.service")
    assert only(unit.check_uplink(host(tmp_path)), "ok").what == "no sender is needed"


def test_an_outdated_sender(tmp_path: Path) -> None:
    """It is another unit, and may be older than the camera's."""
    file, site = "/etc/systemd/system/u@.service", Site(mqtt=MqttSettings(url="mqtts://b.example"))
    shown = f"LoadState=loaded\nActiveState=active\nFragmentPath={file}\n"
    here = host(tmp_path, {file: "[Service]\nExecStart=/opt/sightpost/bin/sightpost uplink\n"})
    here = replace(here, site=site, answers={"systemctl show sightpost-uplink@gate": shown})
    found = only(unit.check_uplink(here), "warning")
    assert found.what == f"{file} is not that of this release"
    own = SHIPPED_UPLINK.replace("/opt/sightpost/bin/", "/srv/venv/bin/")
    plant(tmp_path, {file: own})
    assert only(unit.check_uplink(replace(here, made={}))).level == "ok"


def test_bad_ends(tmp_path: Path) -> None:
    """The run's own count with its reasons, else systemd's."""
    here = host(tmp_path, NRestarts="4")
    assert "started it again 4 times" in only(unit.check_restarts(here), "note").what
    here.store.mkdir()
    life = Life(here.store)
    ends = tuple(End(1_760_000_000_000, "camera lost") for _ in range(3))
    life._keep(Lives(bad=3, ends=(*ends, End(1_760_000_000_000, "killed"))))
    found = only(unit.check_restarts(here), "fault")
    assert "3 times in a row" in found.what
    assert "camera lost (3x), killed (1x)" in found.what
    assert found.fix == "sudo journalctl -u sightpost@gate.service -n 200"


@pytest.mark.parametrize(
    ("line", "level", "fix"),
    [
        ("OSError: [Errno 13] Permission denied: '/dev/video0'", "fault", "sudo usermod -aG video"),
        ("Failed to acquire camera: Device or resource busy", "fault", "sudo fuser -v /dev/video*"),
        ("xCreatePipe: Can't set permissions (436) for //.lgd-nfy0", "fault",
         "sudo sightpost service install gate"),
        ("ImportError: libGL.so.1: cannot open shared object file", "fault", "pip uninstall -y"),
        ("ValueError: numpy.dtype size changed, may indicate binary", "fault", "sightpost doctor"),
        ("RuntimeError: Cannot allocate memory", "warning", "[camera] width"),
        ("sightpost: no space left while writing /var", "fault", "df -h /var/lib/sightpost/gate"),
        ("sqlite3: database disk image is malformed", "warning", "storage.quarantine"),
        ("sightpost@gate.service: Watchdog timeout (limit 30s)!", "warning", "journalctl"),
        ("sightpost@gate.service: Failed with result 'oom-kill'.", "fault", "[clips]"),
        ("Traceback (most recent call last):", "warning", "sudo sightpost support gate"),
    ],
)  # fmt: skip
def test_lines_that_others_have_met(tmp_path: Path, line: str, level: str, fix: str) -> None:
    """Each is counted and comes with what helped others."""
    log = f"2026-11-21 host sightpost[1]: fine\n2026-11-21 host sightpost[1]: {line}\n{line}\n"
    found = only(unit.check_log(answering(host(tmp_path), journalctl=log)), level)
    assert found.what.startswith("2x in the last day: ")
    assert fix in found.fix


def test_a_log_that_may_not_be_read(tmp_path: Path) -> None:
    """Said, with the way to read it."""
    assert only(unit.check_log(host(tmp_path)), "note").fix == "sudo sightpost doctor gate"


def test_no_watchdog(tmp_path: Path) -> None:
    """A unit of an older release, or one whose owner took it out."""
    for value in ("0", "infinity"):
        found = only(unit.check_watchdog(host(tmp_path, WatchdogUSec=value)), "warning")
        assert found.fix == "sudo sightpost service install gate"


@pytest.mark.parametrize(
    "line",
    ["User=root", "ProtectSystem=no", "CapabilityBoundingSet=CAP_SYS_ADMIN", "SystemCallFilter=",
     "NoNewPrivileges=false", "Restart=no", "WatchdogSec=0", "DevicePolicy=auto"],
)  # fmt: skip
def test_drop_ins_that_weaken(tmp_path: Path, line: str) -> None:
    """Named with the file and the line; what only adds a device or a credential is fine."""
    own, other = (f"/etc/systemd/system/sightpost@gate.service.d/{n}.conf" for n in ("own", "a"))
    files = {own: f"[Service]\n# why\n{line}\n",
             other: "[Service]\nDeviceAllow=char-gpiochip rw\nLoadCredential=mqtt-password:/x\n"
             "RestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX\n"}  # fmt: skip
    found = only(unit.check_dropins(host(tmp_path, files, DropInPaths=f"{other} {own}")), "warning")
    assert found.what == f"{own} weakens the unit: {line}"
    assert found.fix == "sudo systemctl edit sightpost@gate.service"
    assert only(unit.check_dropins(host(tmp_path, files, DropInPaths=other))).level == "ok"


@pytest.mark.parametrize(
    ("changes", "passwd", "level", "what"),
    [
        ({}, "root:x:0:0::/:/bin/sh\n", "fault", "the user sightpost does not exist"),
        ({"User": "root"}, PASSWD, "warning", "runs as root"),
        ({"DynamicUser": "yes"}, "", "ok", "runs as sightpost"),
    ],
)
def test_the_user(
    tmp_path: Path, changes: dict[str, str], passwd: str, level: str, what: str
) -> None:
    """Gone, or far too mighty."""
    found = only(sandbox.check_user(host(tmp_path, {"etc/passwd": passwd}, **changes)), level)
    assert what in found.what
    assert level == "ok" or found.fix == "sudo sightpost service install gate"


def test_what_lies_in_a_home_folder(tmp_path: Path) -> None:
    """By hand it works: the sandbox hides /home, through links as well."""
    model = "/home/pi/garden.tflite"
    here = replace(host(tmp_path, {model: "x"}), site=Site(model=model))
    found = only(sandbox.check_program(here), "fault")
    assert "lies in /home, which the service cannot see" in found.what
    assert found.fix.startswith(f"sudo install -m 644 {model} /etc/sightpost/\n")
    (tmp_path / "home/pi/venv/bin").mkdir(parents=True)
    plant(tmp_path, {"home/pi/venv/bin/python": ""})
    (tmp_path / "opt/sightpost/bin/python").unlink()
    (tmp_path / "opt/sightpost/bin/python").symlink_to(tmp_path / "home/pi/venv/bin/python")
    found = only(sandbox.check_program(replace(here, site=None, made={})), "fault")
    assert "python3 -m venv --clear --system-site-packages /opt/sightpost" in found.fix


def test_a_program_that_others_may_not_read(tmp_path: Path) -> None:
    """Made by a root whose umask is 077."""
    here = host(tmp_path, {"etc/passwd": "sightpost:x:4242:990::/:/bin/false\n"})
    for folder in (tmp_path / "opt/sightpost/bin", tmp_path / "opt/sightpost", tmp_path / "opt"):
        folder.chmod(0o755)
    for file in ("sightpost", "python"):
        (tmp_path / "opt/sightpost/bin" / file).chmod(0o755)
    tmp_path.chmod(0o755)
    assert only(sandbox.check_program(here)).level == "ok"
    (tmp_path / "opt/sightpost").chmod(0o700)
    found = only(sandbox.check_program(here), "fault")
    assert found.what == "/opt/sightpost may be read by its owner only"
    assert found.fix == "sudo chmod 755 /opt/sightpost"


def test_a_program_that_is_gone(tmp_path: Path) -> None:
    """After an upgrade of the system, say."""
    here = host(tmp_path, ExecStart="{ path=/opt/none/bin/sightpost ; argv[]=x }")
    assert only(sandbox.check_program(here), "fault").what == "/opt/none/bin/sightpost is not there"


def test_another_run_holds_the_store(tmp_path: Path) -> None:
    """Found by its lock; the service's own is none."""
    here = host(tmp_path, {"store/store.lock": "", "proc/77/cmdline": "sightpost\0run\0"})
    inode = (here.store / "store.lock").stat().st_ino
    locks = (
        "1: POSIX  ADVISORY  READ 1 00:1a:{0} 0 EOF\n"
        "2: FLOCK  ADVISORY  WRITE {1} 08:02:{0} 0 EOF\n"
    )
    plant(tmp_path, {"proc/locks": locks.format(inode, 77)})
    found = only(sandbox.check_others(here), "fault")
    assert found.what.startswith("process 77 (sightpost run) holds")
    assert found.fix == "sudo kill 77\nsudo systemctl restart sightpost@gate.service"
    plant(tmp_path, {"proc/locks": locks.format(inode, GOOD["MainPID"])})
    assert only(sandbox.check_others(here)).level == "ok"


def test_variables_of_this_shell(tmp_path: Path) -> None:
    """A run started here behaves otherwise than the service."""
    here = replace(host(tmp_path), environ={"GPIOZERO_PIN_FACTORY": "lgpio", "HOME": "/root"})
    found = only(sandbox.check_environment(here), "note")
    assert found.what == "GPIOZERO_PIN_FACTORY set in this shell only"
    assert 'Environment="GPIOZERO_PIN_FACTORY=lgpio"' in found.fix


def test_every_check_says_something_on_an_empty_machine(tmp_path: Path) -> None:
    """Without systemd, or without a station's name, nothing raises."""
    for station in ("", "gate"):
        for check in unit.CHECKS:
            here = MadeUp(root=tmp_path, store=tmp_path / "none", environ={}, station=station)
            assert [one.level in ("ok", "note") for one in check(here)] == [True], check
