"""Every fix can be pasted as it is, whatever the folders are called."""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightpost_edge.config import Site, build
from sightpost_edge.doctor import (
    cameras,
    card,
    config,
    door,
    model,
    network,
    picamera,
    sandbox,
    storage,
    unit,
    wheels,
)  # fmt: skip
from sightpost_edge.doctor.examine import _exact
from sightpost_edge.doctor.finding import Finding
from sightpost_edge.doctor.host import Ran
from sightpost_edge.doctor.mend import commands, mend
from sightpost_edge.doctor.stored import Waiting
from sightpost_edge.lives import Life, Lives
from sightpost_edge.models.state import Outcome, State, write_state
from sightpost_edge.uplink.topics import Topics

from .doctor_rig import MadeUp, board, only, plant

BLANK = "two words"
"""In every path; as a word of its own, "words" begins what a shell would take for another file."""


def site(source: str = "", **more: Any) -> Site:
    return build(Site, {"source": source, **more}, where="test")


def blank(tmp_path: Path, text: str = "", **more: Any) -> MadeUp:
    """A board whose config, store and environment lie in folders with a blank."""
    folder = tmp_path / BLANK
    folder.mkdir(exist_ok=True)
    path = folder / "site.toml"
    if text:
        path.write_text(text)
        path.chmod(0o644)
    usual: dict[str, Any] = {
        "config": path, "store": folder / "store", "prefix": str(folder / "env"),
    }  # fmt: skip
    return board(folder / "root", **{**usual, **more})


def _missing_config(path: Path) -> Iterator[Finding]:
    yield from config.check_file(blank(path))


def _wrong_config(path: Path) -> Iterator[Finding]:
    yield from config.check_file(blank(path, "x =", trouble="no TOML"))


def _open_config(path: Path) -> Iterator[Finding]:
    yield from config.check_secrets(blank(path, "#", site=site("rtsp://me:word@cam/1")))


def _hidden_config(path: Path) -> Iterator[Finding]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "_is_hidden", lambda _path: True)
        yield from config.check_file(blank(path, "#", trouble="no permission"))


def _absent_camera(path: Path) -> Iterator[Finding]:
    other = {"sys/class/video4linux/video0/name": "HD", "sys/class/video4linux/video0/index": "0"}
    here = blank(path, "#", site=site("v4l2:///dev/video7"))
    plant(here.root, {**other, "dev/video0": ""})
    yield from cameras.check_devices(here)


def _messages_wait(path: Path) -> Iterator[Finding]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "waiting", lambda _store: Waiting(10**6, 0))
        yield from network.check_waiting(blank(path, "#", site=site(mqtt={"url": "mqtt://b"})))


def _unknown_station(path: Path) -> Iterator[Finding]:
    here = blank(path, "#", site=site(mqtt={"url": "mqtt://b"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MadeUp, "live", lambda _self: object())
        topics = Topics.of("sightpost", "gate")
        yield door._present(here, here.site.mqtt, topics, door.broker.Visit())  # type: ignore[union-attr]


def _open_password(path: Path) -> Iterator[Finding]:
    secret = path / "pass word two words"
    secret.write_text("x")
    secret.chmod(0o644)
    mqtt = {"url": "mqtt://b", "username": "me", "password_file": str(secret)}
    here = blank(path, "#", site=site(mqtt=mqtt))
    yield from network.check_password(replace(here, root=Path("/")))


def _closed_environment(path: Path) -> Iterator[Finding]:
    here = blank(path, "#", site=site("picamera://0"), programs={"picamera2": '{"missing": "x"}'})
    plant(here.root, {f"{picamera.DIST_PACKAGES}/x.py": ""})
    plant(Path(here.prefix), {"pyvenv.cfg": "include-system-site-packages = false"})
    yield from picamera.check_visible(here)


def _broken_library(path: Path) -> Iterator[Finding]:
    yield from wheels.check_numpy(blank(path, "#", programs={"import numpy": Ran(1, "", "no")}))


def _read_only(path: Path) -> Iterator[Finding]:
    here = blank(path, "#")
    place = here.shown(here.store).replace(" ", "\\040")
    plant(here.root, {"proc/self/mounts": f"/dev/sda1 {place} ext4 ro 0 0\n"})
    yield from storage.check_filesystem(here)


def _swap_file(path: Path) -> Iterator[Finding]:
    here = blank(path, "#")
    plant(here.root, {"proc/swaps": "Filename\n/two words file 1 2\n"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(card, "_swaps", lambda _host: ["/two words"])
        patch.setattr(card, "_on_card", lambda _host, _place: True)
        yield from card.check_swap(here)


def _shell(path: Path) -> Iterator[Finding]:
    here = blank(path, "#", station="gate", environ={"LD_PRELOAD": "/two words/it's 5 %.so"})
    yield from sandbox.check_environment(here)


def _own_program(path: Path) -> Iterator[Finding]:
    yield _exact(Finding("x.y", "note", "", fix="sudo sightpost doctor"), blank(path))


PLANTED = (
    _missing_config, _wrong_config, _open_config, _hidden_config, _absent_camera, _messages_wait,
    _unknown_station, _open_password, _closed_environment, _broken_library, _read_only, _swap_file,
    _shell, _own_program,
)  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_a_blank_in_a_path_splits_no_command(
    tmp_path: Path, planted: Callable[[Path], Iterator[Finding]]
) -> None:
    """A part of a path as a word of its own would be another file, and chmod takes it."""
    found = [one for one in planted(tmp_path) if one.level != "ok"]
    lines = [line for one in found for line in one.fix.splitlines()]
    named = [line for line in lines if "words" in line]
    assert named, (found, "the path is not in the fix")
    for line in named:
        words = shlex.split(line, comments=True)
        assert not [word for word in words if re.match(r"words\b", word)], line


def test_a_config_with_a_blank_is_shut_by_the_doctors_own_hand(tmp_path: Path) -> None:
    """``doctor --fix`` runs it as it stands."""
    text = 'source = "http://cam/x?user=a&pwd=secret"\n'
    here = blank(tmp_path, text, site=site("http://cam/x?user=a&pwd=secret"), uid=0)
    one = only(config.check_secrets(here), "warning")
    assert commands(one) == [["chmod", "o-rwx", str(here.config)]]
    assert mend(one) == ""
    assert only(config.check_secrets(here)).level == "ok"


def test_an_at_alone_is_no_password(tmp_path: Path) -> None:
    """In a path."""
    here = blank(tmp_path, "#", site=site("http://cam.lan/stream@2"))
    assert only(config.check_secrets(here)).level == "ok"


@pytest.mark.parametrize("result", ["confirmed", "rolled back", "left", "kept", "refused"])
def test_whatever_became_of_the_last_model_is_told(tmp_path: Path, result: Any) -> None:
    """``model use OLDER`` leaves a model: a person's choice, and nothing to worry about."""
    host = board(tmp_path, station="garden")
    folder = host.store / "models"
    folder.mkdir(parents=True)
    outcome = Outcome("3-ab", "3", 1_763_000_000_000, result, "1 was chosen in its place")
    write_state(folder, State(outcomes=(outcome,)))
    one = only(model.check_trial(host))
    assert one.level == ("ok" if result in ("confirmed", "left") else "warning")
    assert result == "confirmed" or "1 was chosen in its place" in one.what


def test_bad_ends_whose_times_are_forgotten(tmp_path: Path) -> None:
    """After a wish to be rebooted only their number is left."""
    here = replace(board(tmp_path), station="gate")
    here.store.mkdir(parents=True)
    Life(here.store)._keep(Lives(bad=5))
    one = only(unit.check_restarts(here), "fault")
    assert one.what == "the run ended badly 5 times in a row"


def test_a_password_that_is_taken_for_a_port_is_not_shown(tmp_path: Path) -> None:
    """Half of it would be printed as the camera's port, with a hint that leads astray."""
    here = replace(board(tmp_path), site=site("rtsp://127.0.0.1:1923#word@cam/s"))
    one = only(cameras.check_stream(here), "fault")
    assert "1923" not in f"{one.what} {one.fix}"
    assert "%23" in one.fix
