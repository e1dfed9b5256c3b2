"""The life of a station: installed, booted, killed, resting, waiting, rebooted, taken away."""

import json
import time
from itertools import pairwise
from pathlib import Path

import machine
from machine import (
    NAME,
    STORE,
    UNIT,
    Camera,
    events,
    fact,
    first_said,
    install,
    installed,
    main_pid,
    now_s,
    ready_after,
    ready_since_s,
    restarts,
    said,
    scene,
    shown,
    sightpost,
    stayed_up,
    systemctl,
    wait_for,
    write_unit,
)


@scene
def lives() -> None:
    """Installed, booted, killed, installed again, uninstalled."""
    if machine.boots() == 0:
        began_s = now_s()
        installed()
        fact(installed_s=ready_since_s() - began_s)
        wait_for("an event", events, 30.0, every_s=2.0)
        fact(before_boot=events())
        machine.reboot()
    # From here on nobody has touched the unit.
    booted_s = int(shown("")["UserspaceTimestampMonotonic"]) / 1e6
    fact(boot_s=ready_after(0.0) - booted_s, after_boot=events(), restarts=restarts())
    time.sleep(7)
    asked = sightpost("service", "status", NAME)
    fact(status=shown()["StatusText"], service_status=asked.returncode, said=asked.stdout)
    fact(doctor=json.loads(sightpost("doctor", NAME, "--json").stdout))
    before, killed_s = events(), machine.kill()
    fact(kill_to_ready_s=ready_after(killed_s), restarts_after_kill=restarts())
    fact(before_kill=before, after_kill=events())
    pid = main_pid()
    fact(install_again=install(), same_process=main_pid() == pid)
    uninstall()


def uninstall() -> None:
    before = events()
    done = sightpost("service", "uninstall", NAME)
    unit = shown()
    fact(
        uninstall=done.returncode,
        state_after=unit["ActiveState"],
        enabled_after=unit.get("UnitFileState", ""),
        before_uninstall=before,
        after_uninstall=events(),
        # Root looked in many times: what lies there has to stay the service's.
        foreign=[str(path) for path in STORE.rglob("*") if path.lstat().st_uid == 0],
    )


@scene
def plug() -> None:
    """The machine goes down in the middle of it all: no unit is stopped, no file is closed."""
    if machine.boots() == 0:
        installed()
        wait_for("an event", events, 30.0, every_s=2.0)
        fact(before=events())
        machine.reboot("--force", "--force")
    booted_s = int(shown("")["UserspaceTimestampMonotonic"]) / 1e6
    fact(boot_s=ready_after(0.0) - booted_s, after=events(), restarts=restarts())


@scene
def broken_config() -> None:
    """A typing error that no restart mends, and its mending."""
    installed()
    config = Path("/etc/sightpost/line.toml")
    good = config.read_text()
    config.write_text(good.replace("threshold", "treshold"))
    machine.ran("systemctl", "restart", UNIT)
    time.sleep(8)
    fact(state=shown()["ActiveState"], restarts=restarts(), said=[line for _, line in said()])
    config.write_text(good)
    mended_s = now_s()
    systemctl("restart", UNIT)
    fact(mended_to_ready_s=ready_after(mended_s))


@scene
def night() -> None:
    """The camera rests by plan, for longer than the watchdog waits."""
    # What is never sure enough is no event, which would be seen to its end.
    installed(threshold=1.0, more="[rate]\nawake_s = 4.0\nasleep_s = 40.0")
    fact(told=stayed_up(95.0), restarts=restarts(), state=shown()["ActiveState"])


@scene
def missing_camera() -> None:
    """Nothing answers where the camera should be; minutes later it is there."""
    camera = Camera(on=False)
    began_s = now_s()
    fact(install=install())
    states: set[str] = set()

    def tried_again() -> bool:
        states.add(shown()["ActiveState"])
        return len(starts(began_s)) >= 7

    wait_for("seven starts", tried_again, 200.0, every_s=1.0)
    waits = [later - start for start, later in pairwise(starts(began_s))]
    fact(states=sorted(states), waits=waits, lives=machine.lives())
    camera.start()
    plugged_s = now_s()
    fact(plugged_to_ready_s=ready_after(plugged_s, limit_s=120.0))


def starts(since_s: float) -> list[float]:
    return [when for when, line in said(since_s=since_s) if line.startswith("Starting sightpost")]


@scene
def slow_start() -> None:
    """The wait after bad ends is longer than a start may take: systemd is asked for patience."""
    installed()
    systemctl("stop", UNIT)
    bad = {**machine.lives(), "bad": 7}
    (STORE / "lives.json").write_text(json.dumps(bad))
    write_unit(f"{UNIT}.d/impatient.conf", "[Service]\nTimeoutStartSec=15s\n")
    began_s = now_s()
    systemctl("start", UNIT)
    fact(start_to_ready_s=ready_after(began_s), restarts=restarts())


@scene
def two() -> None:
    """Two cameras on one machine; one dies and goes, the other does not notice."""
    installed()
    other = "sightpost@gate.service"
    fact(installed=install(name="gate"))
    since_s = wait_for("the other one", lambda: ready_since_s(other), 60.0)
    killed_s = machine.kill()
    ready_after(killed_s)
    fact(uninstall=sightpost("service", "uninstall", NAME).returncode)
    time.sleep(5)
    fact(same=ready_since_s(other) == since_s, restarts=restarts(other))
    systemctl("restart", other)
    fact(again=shown(other)["ActiveState"])


@scene
def new_model() -> None:
    """Root installs another model beside the running service, as an owner would."""
    installed()
    time.sleep(5)
    pid = main_pid()
    words = ["model", "install", "/job/other.tflite", "--store", str(STORE), "--unsigned"]
    done = sightpost(*words)
    installed_s = now_s()
    fact(install=done.returncode)
    taken_s = wait_for("the new model", lambda: first_said("has taken over", 0.0), 30.0)
    fact(taken_s=taken_s - installed_s)
    passed_s = wait_for("its trial", lambda: first_said("passed its trial", taken_s), 90.0)
    fact(passed_s=passed_s - taken_s, same_process=main_pid() == pid, restarts=restarts())


@scene
def reboot() -> None:
    """Five bad ends within the hour; who opted in gets a reboot, once."""
    boot = machine.boots()
    fact(boots=boot + 1)
    if boot == 0:
        installed("--reboot")
        for _ in range(5):
            fact(killed_at=time.time())
            ready_after(machine.kill())
        raise machine.Late("no reboot")
    if boot == 1:
        ready_after(0.0)
        ready_at = time.time() - now_s() + ready_since_s()
        fact(kill_to_ready_s=ready_at - machine.facts()["killed_at"], restarts=restarts())
        time.sleep(5)
        # What did not help is not tried again.
        fact(ready_without_s=ready_after(machine.kill(), limit_s=120.0))
        time.sleep(5)
