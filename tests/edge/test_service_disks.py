"""``sightpost service`` where a store has a disk of its own: mounted there, or behind a link."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sightpost_edge.commands import service as command
from sightpost_edge.errors import ServiceError
from sightpost_edge.models import install as models_install
from sightpost_edge.service.places import STATES, Places
from sightpost_edge.service.plan import carry_out, install_steps, uninstall_steps
from sightpost_edge.service.wish import Wish, consider

from .service_rig import MadeUp, made_up, tree

GATE = Places("gate")


@pytest.fixture
def pi(tmp_path: Path) -> MadeUp:
    return made_up(tmp_path / "pi")


@pytest.fixture
def wish(tmp_path: Path, bundle_file: Path, monkeypatch: pytest.MonkeyPatch) -> Wish:
    """Its model is not tried out here; tests of their own do that."""
    monkeypatch.setattr(models_install, "rehearse", lambda *_, **__: None)
    config = tmp_path / "site.toml"
    config.write_text('source = "v4l2:///dev/video0"\n')
    return Wish(GATE, config, bundle_file)


def install(pi: MadeUp, wish: Wish) -> list[str]:
    """What the plan said it did."""
    said: list[str] = []
    carry_out(pi, wish.places.name, install_steps(pi, consider(pi, wish)), said.append)
    return said


def uninstall(pi: MadeUp) -> list[str]:
    said: list[str] = []
    carry_out(pi, "gate", uninstall_steps(pi, GATE, delete_data=True), said.append)
    return said


def mount(pi: MadeUp, *places: str) -> None:
    """The kernel's list of mounts; names in it are real ones."""
    pi.path("/proc/self").mkdir(parents=True, exist_ok=True)
    rows = [f"/dev/sda{number} {place} ext4 rw 0 0\n" for number, place in enumerate(places)]
    pi.path("/proc/self/mounts").write_text("".join(rows))


@pytest.fixture
def busy(pi: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount point does not let itself be removed, as under Linux."""
    remove = os.rmdir

    def rmdir(path: str, *, dir_fd: int | None = None) -> None:
        listed = pi.path("/proc/self/mounts").read_text().split()[1::6]
        there = Path(os.path.realpath(f"/proc/self/fd/{dir_fd}")) if dir_fd else Path()
        if any((there / path).resolve() == pi.path(point).resolve() for point in listed):
            raise OSError(16, "Device or resource busy", path)
        remove(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", rmdir)


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("point", [GATE.state, f"{GATE.state}/snapshots", STATES])
def test_the_data_of_a_mounted_disk_goes_and_its_mount_point_stays(
    pi: MadeUp, wish: Wish, point: str
) -> None:
    """The kernel answers EBUSY to who removes that; a second time there is nothing to do."""
    mount(pi, "/", point)
    install(pi, wish)
    pi.path(f"{GATE.state}/snapshots/2026").mkdir(parents=True)
    pi.path(f"{GATE.state}/snapshots/2026/1.jpg").touch()
    pi.path(f"{GATE.state}/events.db").touch()
    said = uninstall(pi)
    if point != STATES:
        assert (
            f"{GATE.state} is to be emptied; a disk is mounted at {point}, and that folder stays"
        ) in said
    assert list(pi.path(point).rglob("*")) == []
    assert pi.path(point).is_dir()
    assert not pi.path(f"{GATE.state}/events.db").exists()
    assert "sightpost" not in pi.path("/etc/passwd").read_text()
    assert uninstall(pi) == []


@pytest.mark.usefixtures("busy")
def test_a_mount_point_that_stays_is_named(
    pi: MadeUp, wish: Wish, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no data that another --delete-data would remove."""
    monkeypatch.setattr(command, "_machine", lambda *, dry_run: pi)
    mount(pi, "/", GATE.state)
    install(pi, wish)
    command.uninstall("gate", delete_data=True)
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"sightpost: left: {GATE.state}, where a disk is mounted"
    command.uninstall("gate", delete_data=True)
    assert "nothing to do" in capsys.readouterr().err


def test_a_store_that_is_a_link_is_refused_before_anything_is_changed(
    pi: MadeUp, wish: Wish
) -> None:
    """systemd 257 would answer "Too many levels of symbolic links" to every start, code 238,
    whoever owns what; the hint has the mount that works."""
    pi.path("/mnt/ssd/gate").mkdir(parents=True)
    pi.path(STATES).mkdir(parents=True)
    os.symlink("../../../mnt/ssd/gate", pi.path(GATE.state))
    before = tree(pi)
    with pytest.raises(ServiceError, match=f"{GATE.state} is a link") as caught:
        install(pi, wish)
    assert f"gate {GATE.state} none bind,nofail 0 0" in caught.value.hint
    assert (tree(pi), pi.ran) == (before, [])


def test_a_link_above_the_store_is_as_good_as_a_folder(pi: MadeUp, wish: Wish) -> None:
    """Owner and mode are those of the folder behind it; what else lies there stays its owner's,
    for a link may lead to a whole disk."""
    behind = pi.path("/mnt/ssd")
    behind.mkdir(parents=True, mode=0o777)
    (behind / "photos").mkdir()
    pi.path("/var/lib").mkdir(parents=True)
    os.symlink("../../mnt/ssd", pi.path(STATES))
    pi.owners["/mnt/ssd"] = "pi:pi"
    pi.owners["/mnt/ssd/photos"] = "pi:pi"
    install(pi, wish)
    assert pi.owner("/mnt/ssd") == "root:root"
    assert behind.stat().st_mode & 0o7777 == 0o755
    assert f"chown -h root:root {behind.resolve()}" in pi.ran
    assert f"chown -hR sightpost:sightpost {behind.resolve()}/gate" in pi.ran
    assert install(pi, wish) == []
    (pi.path("/home/pi")).mkdir(parents=True)
    pi.path(STATES).unlink()
    os.symlink("../../home/pi", pi.path(STATES))
    with pytest.raises(ServiceError, match="leads to /home/pi, which lies below /home, hidden"):
        install(pi, replace(wish, places=Places("yard")))
