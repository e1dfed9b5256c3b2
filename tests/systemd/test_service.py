"""A camera's service under a real systemd that is pid 1: it starts, dies, hangs, rests, goes.

Nothing is faked but the camera, which is a program that serves pictures on loopback: the unit
files, ``sightpost service install``, the watchdog and the restarts are what a Pi has. Each scene of
``inside/`` is one boot. Cgroup limits (``MemoryMax=``) have no effect there and stay
untested, and no libcamera runs.
"""

from typing import Any

import pytest

from .conftest import Counted, Timed

Facts = dict[str, Any]
WATCHDOG_S = 30.0
AGAIN_S = 60.0
"""Classifying again, from the fault or, where that lasts, from its end."""
START_S = 30.0


def scene(name: str) -> pytest.MarkDecorator:
    """The boot whose facts a test gets."""
    return pytest.mark.parametrize("facts", [name], indirect=True)


@scene("lives")
def test_it_starts_by_itself_when_the_machine_boots(facts: Facts, timed: Timed) -> None:
    """Installed once, it is classifying after a reboot that nobody attends."""
    timed("service install, until READY", facts["installed_s"], AGAIN_S)
    timed("boot, until READY", facts["boot_s"], START_S)
    assert facts["restarts"] == 0
    assert facts["after_boot"] >= facts["before_boot"] > 0
    assert "fps" in facts["status"]
    assert facts["service_status"] == 0
    assert "line: active (running)" in facts["said"]


@scene("lives")
def test_the_doctor_finds_no_fault(facts: Facts) -> None:
    """Root asks it on the machine where the service runs; no check failed to look."""
    findings = facts["doctor"]["findings"]
    faults = [one for one in findings if one["level"] == "fault"]
    blind = [one for one in findings if "could not look" in one["what"]]
    assert len(findings) > 10
    assert not faults + blind


@scene("lives")
def test_it_survives_kill_9(facts: Facts, timed: Timed) -> None:
    """It is back, and no event is gone."""
    timed("kill -9, until READY", facts["kill_to_ready_s"], AGAIN_S)
    assert facts["restarts_after_kill"] == 1
    assert facts["after_kill"] >= facts["before_kill"] > 0


@scene("plug")
def test_it_survives_a_pulled_plug(facts: Facts, timed: Timed) -> None:
    """Nothing was stopped or closed; the machine boots, and the service is there with its events.

    What a card loses with its power is the matter of ``tests/faults``: here all writes stay.
    """
    timed("boot after a pulled plug, until READY", facts["boot_s"], START_S)
    assert facts["restarts"] == 0
    assert facts["after"] >= facts["before"] > 0


@scene("broken_config")
def test_a_broken_config_is_for_a_person(facts: Facts) -> None:
    """The unit fails at once and for good, and says which word is wrong."""
    assert facts["state"] == "failed"
    assert facts["restarts"] == 0
    assert any("treshold" in line for line in facts["said"])
    assert 0 < facts["mended_to_ready_s"] < AGAIN_S


@scene("lives")
def test_installing_again_changes_nothing(facts: Facts) -> None:
    """The unit is not even restarted."""
    assert facts["install_again"] == 0
    assert facts["same_process"]


@scene("lives")
def test_uninstalling_leaves_the_events(facts: Facts) -> None:
    """The unit is gone and disabled, the store is as it was, and all of it the service's."""
    assert facts["uninstall"] == 0
    assert facts["state_after"] == "inactive"
    assert facts["enabled_after"] != "enabled"
    assert facts["after_uninstall"] >= facts["before_uninstall"] > 0
    assert not facts["foreign"]


@scene("two")
def test_two_cameras_do_not_know_each_other(facts: Facts) -> None:
    """One is killed and uninstalled; the other goes on, and can be started again."""
    assert facts["installed"] == facts["uninstall"] == 0
    assert facts["same"]
    assert facts["restarts"] == 0
    assert facts["again"] == "active"


@scene("new_model")
def test_a_new_model_is_taken_without_a_restart(facts: Facts, timed: Timed) -> None:
    """Root installs it, the service can read it, tries it and keeps it."""
    assert facts["install"] == 0
    # The journal may have it before the command has ended.
    timed("new model installed, until it classifies", max(0.0, facts["taken_s"]), 2)
    timed("new model, until its trial is passed", facts["passed_s"], AGAIN_S)
    assert facts["same_process"]
    assert facts["restarts"] == 0


@scene("hung_loop")
def test_a_hung_loop_is_killed_by_the_watchdog(facts: Facts, timed: Timed) -> None:
    """It cannot hear SIGTERM: SIGKILL ends it, and all of it takes less than a minute."""
    timed("hung loop, until the watchdog", facts["to_watchdog_s"], WATCHDOG_S + 1)
    timed("hung loop, until SIGKILL", facts["to_end_s"], WATCHDOG_S + 12)
    timed("hung loop, until READY", facts["to_ready_s"], AGAIN_S)
    assert facts["restarts"] == 1
    assert facts["after"] >= facts["before"] > 0
    assert any("status=9/KILL" in line for line in facts["said"])


@scene("stopped")
def test_a_stopped_process_is_ended_by_the_watchdog(facts: Facts, timed: Timed) -> None:
    """SIGTERM comes with SIGCONT: it wakes, closes its store, and the next one starts."""
    timed("stopped process, until the watchdog", facts["to_watchdog_s"], WATCHDOG_S + 1)
    timed("stopped process, until READY", facts["to_ready_s"], AGAIN_S)
    assert facts["restarts"] == 1
    assert facts["after"] >= facts["before"] > 0


@scene("frozen_camera")
def test_a_frozen_camera_is_noticed_and_waited_for(facts: Facts, timed: Timed) -> None:
    """It keeps its connection and sends nothing: a fault; pictures again are no restart."""
    timed("frozen camera, until the fault", facts["freeze_to_fault_s"], WATCHDOG_S)
    timed("camera thawed, until good again", facts["thaw_to_pictures_s"], AGAIN_S)
    assert facts["fault"] == "stall"
    assert facts["restarts_after_short"] == 0


@scene("frozen_camera")
def test_a_camera_frozen_for_a_minute_costs_a_clean_process(facts: Facts, timed: Timed) -> None:
    """The process ends by itself or by the watchdog, and the next one gets its pictures."""
    timed("camera frozen for long, until the end", facts["freeze_to_end_s"], WATCHDOG_S + 12)
    timed("long frozen camera thawed, until READY", facts["thaw_to_ready_s"], AGAIN_S)
    assert facts["restarts"] >= 1
    assert facts["state_while_frozen"] in ("activating", "deactivating")


@scene("hung_disk")
def test_a_hung_disk_is_noticed(facts: Facts, timed: Timed) -> None:
    """No sync returns: the watchdog ends the process, and when the disk answers it goes on."""
    timed("hung disk, until the watchdog", facts["to_watchdog_s"], WATCHDOG_S + 5)
    timed("hung disk, until SIGKILL", facts["to_end_s"], WATCHDOG_S + 17)
    timed("hung disk answers again, until READY", facts["over_to_ready_s"], AGAIN_S)
    assert facts["restarts"] >= 1
    assert facts["after"] >= facts["before"] > 0


@scene("night")
def test_a_planned_night_is_no_hang(facts: Facts, counted: Counted) -> None:
    """40 s without pictures, twice, and the status says why."""
    counted("planned night of 40 s, twice: restarts", facts["restarts"], 0)
    assert facts["state"] == "active"
    assert any("resting" in text for text in facts["told"]), facts["told"]
    assert any("fps" in text for text in facts["told"][2:]), facts["told"]


@scene("missing_camera")
def test_a_missing_camera_is_waited_for(facts: Facts, timed: Timed) -> None:
    """The waits grow, systemd never gives up, and the camera is taken when it is there."""
    timed("missing camera plugged in, until READY", facts["plugged_to_ready_s"], 1.5 * AGAIN_S)
    assert facts["install"] != 0, "who installs it must hear of it"
    assert "failed" not in facts["states"], facts["states"]
    assert max(facts["waits"]) > 2 * facts["waits"][0]
    assert "no stream" in facts["lives"]["ends"][-1]["why"]


@scene("slow_start")
def test_a_start_may_take_longer_than_systemd_allows(facts: Facts, timed: Timed) -> None:
    """15 s here, and the wait after bad ends alone takes 40: systemd is told in time."""
    assert facts["start_to_ready_s"] > 40
    timed("start that waits 40 s of 15 s allowed, until READY", facts["start_to_ready_s"], AGAIN_S)
    assert facts["restarts"] == 0


@scene("uplink")
def test_the_uplink_is_no_business_of_the_camera(
    facts: Facts, timed: Timed, counted: Counted
) -> None:
    """A broker that is silent, then gone, a killed, then a hung uplink: the camera goes on."""
    timed("uplink killed, until it runs again", facts["uplink_back_s"], AGAIN_S)
    counted("broker gone, uplink killed and hung: restarts", facts["restarts"], 0)
    assert facts["same_process"]
    assert facts["after"] > facts["before"]
    assert facts["frames"][1] > facts["frames"][0]


@scene("uplink")
def test_the_broker_hears_the_password_that_systemd_hands_over(facts: Facts) -> None:
    """From a file that neither the camera nor the uplink can read."""
    assert facts["greeted"]


@scene("reboot")
def test_who_opted_in_gets_one_reboot(facts: Facts, timed: Timed) -> None:
    """After five bad ends within the hour; the sixth is no reason for another one."""
    assert facts["boots"] == 2
    timed("fifth kill -9, rebooted, until READY", facts["kill_to_ready_s"], 2 * AGAIN_S)
    timed("sixth kill -9, not rebooted, until READY", facts["ready_without_s"], 2 * AGAIN_S)
    assert facts["restarts"] == 0


UNITS = ("sightpost@", "sightpost-uplink@", "sightpost@root")
PRIVATE = {"/tmp", "/var/tmp", "/dev/mqueue"}
"""Of this unit alone, and in memory or gone with it."""
DEVICES = {"null", "zero", "full", "random", "urandom", "ptmx", "tty"}


@scene("sandbox")
@pytest.mark.parametrize("unit", UNITS)
def test_nothing_but_the_state_can_be_written(facts: Facts, unit: str) -> None:
    """A file was tried in every folder of the system; as root, where no ownership helps, too."""
    found = facts[unit]
    name = found["state"].rsplit("/", 1)[1]
    allowed = {found["state"], f"/run/sightpost/{name}", *PRIVATE}
    # systemd's own device folder: what root makes there is in memory, and can be no device.
    allowed |= {"/dev", "/dev/hugepages", "/dev/shm"} if unit.endswith("root") else set()
    assert set(found["folders"]) <= allowed
    # A knob of its own group, through which systemd warns it of a lack of memory.
    assert all(name.endswith("memory.pressure") for name in found["files"]), found["files"]


@scene("sandbox")
@pytest.mark.parametrize("unit", UNITS)
def test_nothing_privileged_can_be_done(facts: Facts, unit: str) -> None:
    """No capability, not even to be had; a filter on calls; none of the attempts succeeds."""
    found = facts[unit]
    assert {int(found[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert set(found["devices"]) <= DEVICES | {"stdin", "stdout", "stderr"}
    # Root may read what is root's own, capability or not.
    readable = {"a password file", "the broker's password"} if unit.endswith("root") else set()
    assert set(found["allowed"]) <= readable
    if not unit.endswith("root"):
        assert found["uid"] != 0
        assert found["seen"] == [found["uid"]], "it sees the processes of others"
