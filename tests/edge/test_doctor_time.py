"""The doctor on clocks: each fault is planted and must be named with its level and its fix."""

from pathlib import Path

import pytest

from sightpost_edge import clock
from sightpost_edge.doctor import time as checks

from .doctor_rig import MadeUp, only, plant
from .doctor_store import a_store

MARK = {"run/systemd/timesync/synchronized": ""}
RTC = {"dev/rtc0": ""}
DAY_MS = 86_400_000


def host(root: Path, files: dict[str, str] | None = None, **more: object) -> MadeUp:
    more.setdefault("environ", {})
    systemd = {"run/systemd/system/x": ""}
    return MadeUp(root=plant(root, {**systemd, **(files or {})}), store=root / "store", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now_ms", "says"),
    [(0, "1970-01-01: this release"), (clock.to_ms(clock.from_ms(4 * 10**12)), "2096")],
)
def test_a_clock_that_cannot_be_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now_ms: int, says: str
) -> None:
    """1970, or the end of the century: both make certificates invalid."""
    monkeypatch.setattr(checks, "_now_ms", lambda: now_ms)
    found = only(checks.check_wrong(host(tmp_path)), "fault")
    assert says in found.what
    assert "TLS" in found.why
    assert found.fix == "sudo timedatectl set-ntp true"


def test_a_clock_before_the_newest_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only events whose clock was set count: those of a board in 1970 prove nothing."""
    now_ms = clock.to_ms(clock.now())
    a_store(tmp_path / "store", wall_ms=now_ms + 3 * DAY_MS)
    here = host(tmp_path, answers={"systemctl is-active": "active\n"})
    found = only(checks.check_wrong(here), "fault")
    assert "the store has an event of" in found.what
    assert found.fix.startswith("sudo systemctl restart systemd-timesyncd")
    a_store(tmp_path / "other", wall_ms=now_ms + 3 * DAY_MS, quality="unsynchronized")
    here = MadeUp(root=tmp_path, store=tmp_path / "other")
    assert only(checks.check_wrong(here)).level == "ok"


def test_synchronized_by_whom(tmp_path: Path) -> None:
    """timesyncd's mark, or what timedatectl says of chrony."""
    said = "inactive\nactive\ninactive\ninactive\ninactive\ninactive\n"
    here = host(tmp_path, MARK, answers={"systemctl is-active": said})
    assert only(checks.check_synchronized(here), "ok").what.endswith("by chrony")
    here = MadeUp(
        root=tmp_path / "other", answers={"timedatectl show": "CanNTP=yes\nNTPSynchronized=yes\n"}
    )
    assert only(checks.check_synchronized(here)).level == "ok"


@pytest.mark.parametrize(
    ("answers", "what", "fix", "safe"),
    [
        ({"systemctl is-active": "active\n"}, "not synchronized yet by systemd-timesyncd",
         "sudo systemctl restart systemd-timesyncd\ntimedatectl timesync-status", False),
        ({"systemctl is-active": "inactive\nactive\n"}, "not synchronized yet by chrony",
         "chronyc sources\nsudo chronyc makestep", False),
        ({"timedatectl show": "CanNTP=yes\nNTPSynchronized=no\n"}, "no time service runs",
         "sudo timedatectl set-ntp true", True),
        ({}, "no time service is installed",
         "sudo apt install -y systemd-timesyncd\nsudo timedatectl set-ntp true", False),
    ],
)  # fmt: skip
def test_not_synchronized(
    tmp_path: Path, answers: dict[str, str], what: str, fix: str, safe: bool
) -> None:
    """Waiting for the network, switched off, or not there at all: three different fixes."""
    found = only(checks.check_synchronized(host(tmp_path, answers=answers)), "warning")
    assert (found.what.endswith(what), found.fix, found.safe) == (True, fix, safe)
    assert "starts in the past" in found.why
    with_chip = host(tmp_path, RTC, answers=answers)
    assert "starts in the past" not in only(checks.check_synchronized(with_chip)).why


def test_without_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container timedatectl does nothing: no fix names it."""
    monkeypatch.setattr(checks, "_now_ms", lambda: 0)
    here = MadeUp(root=tmp_path, store=tmp_path / "store", environ={})
    found = [one for check in checks.CHECKS for one in check(here) if one.level != "ok"]
    assert {one.check for one in found} >= {"time.wrong", "time.synchronized", "time.zone"}
    assert "timedatectl" not in " ".join(one.fix for one in found)
    zone = only([one for one in found if one.check == "time.zone"])
    assert zone.fix == "sudo apt install -y tzdata\nsudo dpkg-reconfigure tzdata"


def test_no_clock_chip(tmp_path: Path) -> None:
    """On a Pi the lines that make a cheap one work."""
    assert only(checks.check_rtc(host(tmp_path)), "note").fix.startswith("Fit an RTC")
    here = host(tmp_path, {"boot/firmware/config.txt": ""})
    assert "dtoverlay=i2c-rtc,ds3231" in only(checks.check_rtc(here), "note").fix
    assert only(checks.check_rtc(host(tmp_path, RTC))).level == "ok"


@pytest.mark.parametrize("by_driver", [True, False])
def test_a_pi_5_without_its_battery(tmp_path: Path, by_driver: bool) -> None:
    """Its chip is there in any case; only the voltage tells."""
    files = {**RTC, "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}
    place = "sys/devices/platform/soc@107c000000/soc@107c000000:rpi_rtc/rtc/rtc0/battery_voltage"
    if by_driver:
        files[place] = "12000\n"
    answers = {} if by_driver else {"vcgencmd pmic_read_adc BATT_V": "BATT_V volt(25)=0.01V"}
    found = only(checks.check_rtc(host(tmp_path, files, answers=answers)), "note")
    assert "no battery (0.0 V)" in found.what
    assert "rtc_bbat_vchg" in found.fix
    if by_driver:
        plant(tmp_path, {place: "3010000"})
        assert only(checks.check_rtc(host(tmp_path))).level == "ok"


@pytest.mark.parametrize("zone", ["", "Etc/UTC"])
def test_no_time_zone(tmp_path: Path, zone: str) -> None:
    """Worth a note only: stored times are UTC anyway."""
    found = only(checks.check_zone(host(tmp_path, {"etc/timezone": zone})), "note")
    assert found.fix == (
        "timedatectl list-timezones\nsudo timedatectl set-timezone AREA/CITY  # one of those"
    )


def test_a_time_zone(tmp_path: Path) -> None:
    """Named by a file, by a link as in newer systems, or by the environment."""
    here = host(tmp_path / "a", {"etc/timezone": "Europe/Rome"})
    assert "Rome" in only(checks.check_zone(here), "ok").what
    root = plant(tmp_path / "b", {"etc/hosts": ""})
    (root / "etc/localtime").symlink_to("/usr/share/zoneinfo/Asia/Tokyo")
    assert only(checks.check_zone(MadeUp(root=root, environ={})), "ok").what.endswith("Asia/Tokyo")
    assert only(checks.check_zone(MadeUp(root=root, environ={"TZ": "UTC"}))).level == "note"


@pytest.mark.parametrize("by", ["environ", "file"])
def test_a_time_zone_that_nobody_knows(tmp_path: Path, by: str) -> None:
    """glibc takes UTC for it without a word; a rule as POSIX writes it is a zone."""
    shell = {"TZ": "Nowhere/None"} if by == "environ" else {}
    files = {} if by == "environ" else {"etc/timezone": "Nowhere/None"}
    found = only(checks.check_zone(host(tmp_path, files, environ=shell)), "fault")
    assert found.what.startswith("nobody knows the time zone Nowhere/None")
    assert found.fix.startswith("unset TZ\n" if shell else "timedatectl list-timezones\n")
    for zone in ("CET-1CEST,M3.5.0,M10.5.0/3", ":Europe/Rome", "<-03>3"):
        assert only(checks.check_zone(host(tmp_path, environ={"TZ": zone}))).level == "ok", zone


def test_events_of_an_unset_clock(tmp_path: Path) -> None:
    """Counted; a warning where they are many."""
    a_store(tmp_path / "store", 3, quality="unsynchronized")
    found = only(checks.check_events(host(tmp_path)), "warning")
    assert found.what.startswith("3 of the newest 3 events")
    a_store(tmp_path / "store", 57)
    assert only(checks.check_events(host(tmp_path)), "note").what.startswith("3 of the newest 60")
    assert only(checks.check_events(MadeUp(store=tmp_path / "none"))).what == "no events yet"
