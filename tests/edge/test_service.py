"""``sightpost service``: what it puts on a machine, what it refuses, what it leaves."""

import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from sightpost_edge.commands import service as command
from sightpost_edge.doctor.host import Ran
from sightpost_edge.errors import (
    ConfigError,
    MissingExtra,
    ModelError,
    ServiceError,
    SightpostError,
)
from sightpost_edge.minikeys import new_keys
from sightpost_edge.models import install as models_install
from sightpost_edge.service.machine import Machine
from sightpost_edge.service.places import Places, need_station
from sightpost_edge.service.plan import carry_out, data, install_steps, uninstall_steps
from sightpost_edge.service.standing import as_facts, look
from sightpost_edge.service.units import TEMPLATES, unit
from sightpost_edge.service.wish import Wish, consider, without_password

from ..conftest import Cli
from ..model_rig import Workshop
from .service_rig import MadeUp, made_up, tree

GATE = Places("gate")
UNITS = "/etc/systemd/system"
SITE = 'name = "gate"\nsource = "v4l2:///dev/video0"\n'
MQTT = '[mqtt]\nurl = "mqtt://localhost"\nusername = "gate"\n'


@pytest.fixture(autouse=True)
def no_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are not tried out here; tests of their own do that."""
    monkeypatch.setattr(models_install, "rehearse", lambda *_, **__: None)


@pytest.fixture
def pi(tmp_path: Path) -> MadeUp:
    """A Raspberry Pi without any station."""
    return made_up(tmp_path / "pi")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    return path


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process is in Berlin."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def wish(config: Path, bundle_file: Path) -> Wish:
    return Wish(GATE, config, bundle_file)


def install(machine: MadeUp, wish: Wish, *, dry_run: bool = False) -> list[str]:
    """What the plan said it did."""
    said: list[str] = []
    steps = install_steps(machine, consider(machine, wish))
    carry_out(machine, wish.places.name, steps, said.append, dry_run=dry_run)
    return said


def uninstall(machine: MadeUp, places: Places = GATE, *, delete_data: bool = False) -> list[str]:
    said: list[str] = []
    steps = uninstall_steps(machine, places, delete_data=delete_data)
    carry_out(machine, places.name, steps, said.append)
    return said


def mode_of(machine: MadeUp, place: str) -> int:
    return stat.S_IMODE(machine.path(place).stat().st_mode)


def test_a_station_is_installed_in_order(pi: MadeUp, wish: Wish) -> None:
    """User, folders, model, config, units; nothing is started before all of it is there."""
    said = install(pi, wish)
    order = ["user sightpost", GATE.state, "model tiny.tflite", GATE.config,
             f"{UNITS}/sightpost@.service", "systemd is", GATE.camera]  # fmt: skip
    found = [next(i for i, line in enumerate(said) if line.startswith(word)) for word in order]
    assert found == sorted(found)
    assert pi.ran[0].startswith("useradd --system --user-group --no-create-home")
    assert pi.ran[1] == "usermod --append --groups video,render sightpost"
    assert pi.ran[-1] == f"systemctl restart {GATE.camera}"
    assert pi.enabled == pi.active == {GATE.camera}
    assert (pi.owner(GATE.state), mode_of(pi, GATE.state)) == ("sightpost:sightpost", 0o750)
    assert (pi.owner(GATE.config), mode_of(pi, GATE.config)) == ("root:sightpost", 0o640)
    assert (pi.path(GATE.models) / "current" / "model.tflite").is_file()


def test_once_more_there_is_nothing_to_do(pi: MadeUp, wish: Wish) -> None:
    """With the same words, and without any: what lies there counts."""
    install(pi, wish)
    before, ran = tree(pi), list(pi.ran)
    assert install(pi, wish) == []
    assert install(pi, Wish(GATE)) == []
    assert (tree(pi), pi.ran) == (before, ran)


def test_a_dry_run_writes_nothing_and_shows_everything(pi: MadeUp, wish: Wish) -> None:
    """Commands, modes and what the config adds to the units."""
    before = tree(pi)
    said = install(pi, wish, dry_run=True)
    assert (tree(pi), pi.ran) == (before, [])
    text = "\n".join(said)
    for word in ("useradd", "-m 0750 -o sightpost -g sightpost /var/lib/sightpost/gate",
                 "root:sightpost, mode 0640", "RestrictAddressFamilies=AF_UNIX AF_NETLINK",
                 "systemctl daemon-reload", f"systemctl restart {GATE.camera}"):  # fmt: skip
        assert word in text


def test_a_changed_config_is_counted_and_starts_the_station_anew(
    pi: MadeUp, wish: Wish, config: Path
) -> None:
    install(pi, wish)
    pi.ran.clear()
    config.write_text(SITE + "threads = 2\n")
    said = install(pi, wish)
    assert said[0] == f"{GATE.config} differs in 1 line"
    assert pi.ran[-1] == f"systemctl restart {GATE.camera}"


def test_what_was_changed_before_a_failure_starts_the_station_anew_later(
    pi: MadeUp, wish: Wish
) -> None:
    """Else a station would go on with the old units for ever."""
    install(pi, wish)
    pi.path(f"{UNITS}/sightpost@.service").write_text("[Service]\n")
    pi.answers["systemctl restart"] = Ran(1, "", "Job failed.")
    pi.answers["journalctl"] = Ran(0, "Started.\nsightpost: no camera\n  hint: plug it in\n")
    with pytest.raises(ServiceError, match=r"did not start: no camera$"):
        install(pi, wish)
    pi.answers.clear()
    assert f"{GATE.camera} is to be started again with what has changed" in install(pi, wish)
    assert install(pi, wish) == []


def test_a_config_that_does_not_start_gives_way_to_the_one_before(
    pi: MadeUp, wish: Wish, config: Path
) -> None:
    """With the drop-in and the password that belong to it: after code 2 systemd would leave the
    station off for good."""
    config.write_text('source = "rtsp://camera/1"\n')
    install(pi, wish)
    before = tree(pi)
    secret = config.with_name("password")
    secret.write_text("hunter2")
    secret.chmod(0o600)
    config.write_text(f'{SITE}{MQTT}password_file = "{secret}"\n')
    pi.answers[f"systemctl restart {GATE.camera}"] = Ran(1, "", "Job failed.")
    pi.answers["journalctl"] = Ran(0, "sightpost: no such camera\n")
    with pytest.raises(ServiceError, match=r"no such camera; .* put back, as") as caught:
        install(pi, replace(wish, model=None))
    assert {place: v for place, v in tree(pi).items() if "changed" not in place} == before
    put_back = (GATE.config, GATE.password, *map(GATE.drop_in, (GATE.camera, GATE.uplink)))
    assert all(place in str(caught.value) for place in put_back)
    assert pi.ran[-2:] == [
        "systemctl daemon-reload",
        f"systemctl restart --no-block {GATE.camera}",
    ]
    pi.answers.clear()
    assert f"{GATE.config} differs in 7 lines" in install(pi, wish)


def test_a_broken_config_is_not_put_back(pi: MadeUp, wish: Wish, config: Path) -> None:
    """It would end with code 2, for good; with the new one systemd goes on trying."""
    install(pi, wish)
    pi.path(GATE.config).write_text('sorce = "0"\n')
    pi.answers[f"systemctl restart {GATE.camera}"] = Ran(1, "", "Job failed.")
    pi.answers["journalctl"] = Ran(0, "sightpost: no camera\n  hint: plug it in\n")
    with pytest.raises(ServiceError, match=r"no camera$"):
        install(pi, replace(wish, model=None))
    assert pi.path(GATE.config).read_text() == config.read_text()


def test_a_new_stations_config_and_a_new_models_stay(
    pi: MadeUp, wish: Wish, config: Path, tmp_path: Path
) -> None:
    """There is none before it; and rules of before need not go with the labels of a new model."""
    pytest.importorskip("cryptography")
    pi.answers[f"systemctl restart {GATE.camera}"] = Ran(1, "", "Job failed.")
    for model in (wish.model, Workshop(tmp_path / "workshop").model("2")):
        config.write_text(f'{SITE}log = "{model.name if model else ""}.csv"\n')
        with pytest.raises(ServiceError, match="did not start: it said nothing") as caught:
            install(pi, replace(wish, model=model))
        assert "put back" not in str(caught.value)
        assert pi.path(GATE.config).read_bytes() == config.read_bytes()


@pytest.mark.parametrize("dry_run", [True, False])
def test_other_stations_that_get_another_program_are_named(
    pi: MadeUp, wish: Wish, dry_run: bool
) -> None:
    """The units are shared; they get it at their next restart, and are dark without it later."""
    for name in ("gate", "yard", "attic"):
        said = install(pi, replace(wish, places=Places(name)))
        assert not any("share" in line for line in said)
    pi.path("/srv/venv/bin").mkdir(parents=True)
    pi.path("/srv/venv/bin/sightpost").touch()
    other = replace(pi, prefix=Path("/srv/venv"))
    (line,) = [one for one in install(other, wish, dry_run=dry_run) if "share" in one]
    assert line.startswith(f"{UNITS}/sightpost@.service differs in")
    assert line.endswith(
        "attic, yard share it: from the next restart on /srv/venv/bin/sightpost is started there, "
        "too, not /opt/sightpost/bin/sightpost any more"
    )


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("sorce = 1", ConfigError, "source"),
        ("threads = [", ConfigError, "TOML"),
        ("", ConfigError, "no source"),
        ('source = "rtps://x"', ConfigError, "unknown source"),
        ('source = "clip.mp4"', ConfigError, "whole path"),
        ('source = "/home/pi/clip.mp4"', ConfigError, "hidden"),
        ('source = "/srv/clip.mp4"', ConfigError, "cannot be found"),
        ('source = "/tmp/my clip.mp4"', ConfigError,
         "sudo mkdir -p /etc/sightpost && sudo cp -r '/tmp/my clip.mp4' /etc/sightpost/, and "
         "/etc/sightpost/my clip.mp4 in the config"),
        ('source = "0"\nstore = "/mnt/usb"', ConfigError, "/var/lib/sightpost/gate"),
        ('source = "0"\nlog = "/var/log/p.csv"', ConfigError, "p.csv"),
        ('source = "0"\n[[pins]]\npin = 17\nlabels = ["*"]', MissingExtra, "lgpio"),
        ('source = "picamera://0"', MissingExtra, "python3-picamera2"),
        ('source = "0"\n[mqtt]\nurl = "mqtt://x"\nusername = "a"\npassword_file = "/none"',
         ConfigError, "/none"),
    ],
)  # fmt: skip
def test_a_config_that_cannot_work_is_refused_before_anything_is_changed(
    pi: MadeUp, wish: Wish, config: Path, monkeypatch: pytest.MonkeyPatch,
    text: str, error: type[SightpostError], words: str,
) -> None:  # fmt: skip
    for module in ("picamera2", "gpiozero", "lgpio"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "paho" or None)
    config.write_text(text)
    pi.path("/tmp").mkdir()
    pi.path("/tmp/my clip.mp4").touch()
    before = tree(pi)
    with pytest.raises(error) as caught:
        install(pi, wish)
    assert words in f"{caught.value} {caught.value.hint}"
    assert (tree(pi), pi.ran) == (before, [])


def test_a_model_that_cannot_work_is_refused_before_anything_is_changed(
    pi: MadeUp, wish: Wish, tmp_path: Path
) -> None:
    """None at all, no file, no Bundle, and one that the trusted key has not signed."""
    pytest.importorskip("cryptography")
    no_bundle = tmp_path / "plain.tflite"
    no_bundle.write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    key = tmp_path / "a.pub"
    key.write_text("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")
    before = tree(pi)
    wrong = [replace(wish, model=None), replace(wish, model=tmp_path / "none.tflite"),
             replace(wish, model=no_bundle), replace(wish, key=key)]  # fmt: skip
    for one in wrong:
        with pytest.raises((ConfigError, ModelError)):
            install(pi, one)
    assert (tree(pi), pi.ran) == (before, [])


def test_with_a_key_only_what_it_signed_is_installed(
    pi: MadeUp, wish: Wish, tmp_path: Path
) -> None:
    """The key is root's; from then on a model that it has not signed is refused."""
    pytest.importorskip("cryptography")
    workshop = Workshop(tmp_path / "workshop")
    key = tmp_path / "workshop.pub"
    key.write_text(workshop.key.public.to_text())
    said = install(pi, replace(wish, model=workshop.model("2"), key=key))
    assert said.index(f"{GATE.key} is to be written") < said.index(
        "model 2.tflite is to be installed"
    )
    assert (pi.owner(GATE.key), mode_of(pi, GATE.key)) == ("root:root", 0o644)
    before = tree(pi)
    other = tmp_path / "other.pub"
    other.write_text(new_keys().public.to_text())
    stranger = workshop.model("3", key=new_keys())
    wrong = [wish, replace(wish, model=workshop.model("1")), replace(wish, model=stranger),
             replace(wish, model=None, key=other)]  # fmt: skip
    for one in wrong:
        with pytest.raises((ConfigError, ModelError)):
            install(pi, one)
    assert tree(pi) == before
    assert install(pi, replace(wish, model=None)) == []
    assert install(pi, replace(wish, model=workshop.model("4"))) == [
        "model 4.tflite is to be installed"
    ]


@pytest.mark.parametrize("hidden", ["/home/pi/venv", "/root/venv", "/tmp/venv"])
def test_a_program_that_the_service_cannot_see_is_refused(
    pi: MadeUp, wish: Wish, hidden: str
) -> None:
    """With the lines that put it where it can be seen."""
    with pytest.raises(ServiceError, match="hidden") as caught:
        install(replace(pi, prefix=Path(hidden)), wish)
    for word in ("-m venv --clear --system-site-packages /opt/sightpost", "--require-hashes",
                 "service install gate --config", "--model"):  # fmt: skip
        assert word in caught.value.hint


def test_a_link_to_such_a_program_is_refused(pi: MadeUp, wish: Wish) -> None:
    """What counts is where it leads."""
    pi.path("/home/pi").mkdir(parents=True)
    pi.path("/opt/sightpost").rename(pi.path("/home/pi/sightpost"))
    os.symlink("../home/pi/sightpost", pi.path("/opt/sightpost"))
    with pytest.raises(ServiceError, match="leads to /home/pi/sightpost, which lies"):
        install(pi, wish)


def test_a_program_that_only_its_owner_can_read_is_refused(pi: MadeUp, wish: Wish) -> None:
    pi.path("/opt/sightpost").chmod(0o750)
    with pytest.raises(ServiceError, match=r"chmod o\+rX /opt/sightpost"):
        install(pi, wish)


def test_the_units_start_the_program_that_installs(pi: MadeUp, wish: Wish) -> None:
    """As /opt/sightpost where that is a link to it: a release is changed by moving the link, and
    what runs starts anew with the next installation."""
    install(pi, wish)
    text = pi.path(f"{UNITS}/sightpost@.service").read_text()
    assert "ExecStart=/opt/sightpost/bin/sightpost run" in text
    pi.path("/opt/sightpost").rename(pi.path("/opt/sightpost-2"))
    os.symlink("sightpost-2", pi.path("/opt/sightpost"))
    moved = replace(pi, prefix=Path("/opt/sightpost-2"))
    assert f"{GATE.camera} is to be started again with what has changed" in install(moved, wish)
    assert install(moved, wish) == []
    assert "=/opt/sightpost/bin" in pi.path(f"{UNITS}/sightpost@.service").read_text()
    pi.path("/srv/venv/bin").mkdir(parents=True)
    pi.path("/srv/venv/bin/sightpost").touch()
    assert install(replace(pi, prefix=Path("/srv/venv")), wish)
    text = pi.path(f"{UNITS}/sightpost@.service").read_text()
    assert "ExecStart=/srv/venv/bin/sightpost run" in text


def test_the_password_goes_to_root_and_out_of_the_config(
    pi: MadeUp, wish: Wish, config: Path, tmp_path: Path
) -> None:
    """systemd hands it to the uplink alone; neither plan nor config says it."""
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    config.write_text(f'{SITE}{MQTT}password_file = "{secret}"\n')
    said = install(pi, wish, dry_run=True) + install(pi, wish)
    assert "hunter2" not in "".join(said)
    assert pi.path(GATE.password).read_text() == "hunter2"
    assert (pi.owner(GATE.password), mode_of(pi, GATE.password)) == ("root:root", 0o600)
    assert "\npassword_file" not in pi.path(GATE.config).read_text()
    drop_in = pi.path(GATE.drop_in(GATE.uplink)).read_text()
    assert f"LoadCredential=mqtt-password:{GATE.password}" in drop_in
    assert "LoadCredential" not in pi.path(GATE.drop_in(GATE.camera)).read_text()
    assert GATE.uplink in pi.active
    secret.unlink()
    assert install(pi, wish) == []


def test_a_password_file_is_taken_out_by_its_line() -> None:
    """Everything else stays to the letter; what cannot be taken out so is refused."""
    text = f'{SITE}{MQTT}password_file = "/x" # mine\ntopic = "a"\n'
    changed = without_password(text)
    assert changed.replace("# password_file", "password_file").startswith(
        f'{SITE}{MQTT}password_file = "/x" # mine'
    )
    assert without_password(changed) == changed
    with pytest.raises(ConfigError, match="taken out"):
        without_password('mqtt = { url = "mqtt://x", username = "a", password_file = "/x" }')


def test_without_a_broker_there_is_no_uplink(pi: MadeUp, wish: Wish, config: Path) -> None:
    """Also where there was one before."""
    config.write_text(SITE + MQTT)
    install(pi, wish)
    assert pi.active == {GATE.camera, GATE.uplink}
    assert not pi.path(GATE.drop_in(GATE.uplink)).exists()
    config.write_text(SITE)
    install(pi, wish)
    assert pi.enabled == pi.active == {GATE.camera}


@pytest.mark.parametrize(
    ("source", "added", "not_added"),
    [
        ("0", "AF_UNIX AF_NETLINK", "network-online"),
        ("rtsp://camera/1", "After=network-online.target", "RestrictAddressFamilies"),
    ],
)
def test_only_a_camera_in_the_network_has_network(
    pi: MadeUp, wish: Wish, config: Path, source: str, added: str, not_added: str
) -> None:
    config.write_text(f'source = "{source}"\n')
    install(pi, wish)
    drop_in = pi.path(GATE.drop_in(GATE.camera)).read_text()
    assert added in drop_in
    assert not_added not in drop_in


def test_pins_open_the_gpio_lines(
    pi: MadeUp, wish: Wish, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their group where there is one; where only root has the lines, udev gives them over."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    config.write_text('source = "rtsp://x/1"\n[[pins]]\npin = 17\nlabels = ["*"]\n')
    pi.path("/dev/gpiochip0").touch()
    pi.path("/etc/group").write_text(pi.path("/etc/group").read_text() + "gpio:x:993:\n")
    install(pi, wish)
    assert "DeviceAllow=char-gpiochip rw" in pi.path(GATE.drop_in(GATE.camera)).read_text()
    assert "usermod --append --groups video,render,gpio sightpost" in pi.ran
    rule = pi.path("/etc/udev/rules.d/70-sightpost.rules").read_text()
    assert 'KERNEL=="gpiochip*", GROUP="sightpost"' in rule
    assert "dma_heap" not in rule
    assert install(pi, wish) == []


def test_raspberry_pi_os_needs_no_rule(
    pi: MadeUp, wish: Wish, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives the camera's memory to the group video."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    config.write_text('source = "picamera://0"\n')
    pi.path("/dev/dma_heap").mkdir()
    pi.path("/dev/dma_heap/linux,cma").touch()
    pi.owners["/dev/dma_heap"] = "root:video"
    install(pi, wish)
    assert not pi.path("/etc/udev/rules.d/70-sightpost.rules").exists()


def test_a_reboot_is_asked_for_only_where_it_was_allowed(pi: MadeUp, wish: Wish) -> None:
    """And stays so until it is taken back; an old wish is forgotten first."""
    install(pi, wish)
    assert GATE.reboot not in pi.enabled
    pi.path(GATE.runtime).mkdir()
    pi.path(f"{GATE.runtime}/reboot-wanted").touch()
    install(pi, replace(wish, reboot=True))
    assert not pi.path(f"{GATE.runtime}/reboot-wanted").exists()
    assert GATE.reboot in pi.active
    assert install(pi, wish) == []
    install(pi, replace(wish, reboot=False))
    assert GATE.reboot not in pi.enabled


def test_uninstalling_leaves_data_and_config(pi: MadeUp, wish: Wish) -> None:
    """Unit files and drop-ins go; a second time there is nothing to do."""
    install(pi, wish)
    uninstall(pi)
    assert pi.enabled == pi.active == set()
    assert list(pi.path(UNITS).iterdir()) == []
    assert pi.path(GATE.config).exists()
    assert (pi.path(GATE.models) / "current").exists()
    assert uninstall(pi) == []
    assert install(pi, Wish(GATE))
    assert pi.active == {GATE.camera}


def test_uninstalling_with_data_leaves_nothing(pi: MadeUp, wish: Wish) -> None:
    install(pi, wish)
    uninstall(pi, delete_data=True)
    assert not any(pi.path(place).exists() for place in data(GATE))
    assert "sightpost" not in pi.path("/etc/passwd").read_text()
    assert not pi.path("/etc/sightpost").exists()


@pytest.mark.parametrize("enabled", [True, False])
def test_what_runs_without_its_units_file_is_stopped(pi: MadeUp, wish: Wish, enabled: bool) -> None:
    """`systemctl disable --now` then stops nothing: it does not know the unit (systemd 257)."""
    install(pi, wish)
    for name in TEMPLATES:
        pi.path(f"{UNITS}/{name}").unlink()
    pi.enabled.clear()
    wants = pi.path(f"{UNITS}/multi-user.target.wants")
    wants.mkdir()
    if enabled:
        (wants / GATE.camera).touch()
    else:
        pi.answers["systemctl disable"] = Ran(1, "", "Unit does not exist")
    uninstall(pi)
    assert f"systemctl stop {GATE.camera}" in pi.ran
    assert pi.active == set()
    assert list(wants.iterdir()) == []
    assert uninstall(pi) == []


@pytest.mark.parametrize("others", [True, False])
def test_what_an_uninstallation_leaves_is_named(
    pi: MadeUp, wish: Wish, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    others: bool,
) -> None:  # fmt: skip
    """The user, too, where no other station needs it; and how much was done."""
    monkeypatch.setattr(command, "_machine", lambda *, dry_run: pi)
    install(pi, wish)
    if others:
        install(pi, replace(wish, places=Places("yard")))
    command.uninstall("gate", delete_data=False)
    last = capsys.readouterr().err.splitlines()[-2:]
    user = "" if others else ", the user sightpost"
    assert re.fullmatch(r"sightpost: \d+ steps done", last[0])
    assert last[1] == (
        f"sightpost: left: {GATE.state}, {GATE.config}{user}; --delete-data removes them"
    )
    command.uninstall("gate", delete_data=True)
    assert "left" not in capsys.readouterr().err


def test_another_station_keeps_what_it_needs(pi: MadeUp, wish: Wish) -> None:
    """Unit files and user go with the last one only."""
    yard = Places("yard")
    install(pi, wish)
    install(pi, replace(wish, places=yard))
    uninstall(pi, delete_data=True)
    assert pi.path(f"{UNITS}/sightpost@.service").exists()
    assert "sightpost" in pi.path("/etc/passwd").read_text()
    assert pi.path(yard.config).exists()
    assert not pi.path(GATE.state).exists()


@pytest.mark.parametrize("left", ["config", "drop-in", "enabled", "running", "uplink"])
def test_whatever_is_left_of_another_station_keeps_what_all_share(
    pi: MadeUp, wish: Wish, left: str
) -> None:
    """One that is disabled for the winter, or runs without being enabled, must start again."""
    yard = Places("yard")
    install(pi, wish)
    wants = pi.path(f"{UNITS}/multi-user.target.wants")
    wants.mkdir()
    (wants / GATE.camera).touch()
    signs = {"config": yard.config, "drop-in": yard.drop_in(yard.camera),
             "enabled": f"{UNITS}/paths.target.wants/{yard.reboot}"}  # fmt: skip
    if left in signs:
        pi.path(signs[left]).parent.mkdir(exist_ok=True)
        pi.path(signs[left]).touch()
    else:
        pi.active.add(yard.uplink if left == "uplink" else yard.camera)
    uninstall(pi)
    assert all(pi.path(f"{UNITS}/{name}").exists() for name in TEMPLATES)
    pi.active.clear()
    if left in signs:
        pi.path(signs[left]).unlink()
    pi.path(yard.drop_in(yard.camera)).parent.rmdir() if left == "drop-in" else None
    uninstall(pi)
    assert not any(pi.path(f"{UNITS}/{name}").exists() for name in TEMPLATES)


def test_a_name_that_systemd_would_change_is_refused(pi: MadeUp) -> None:
    for name in ("", "../x", "a b", "gate@", "-x", "a" * 33):
        with pytest.raises(ConfigError, match="station's name"):
            Places(name)
    with pytest.raises(ConfigError, match="no station gat") as caught:
        need_station(pi, "gat")
    assert "service install gat --config site.toml --model FILE.tflite" in caught.value.hint


def test_a_complaint_of_systemd_ends_the_installation(pi: MadeUp, wish: Wish) -> None:
    """Others' units may be as they are."""
    pi.answers["systemd-analyze"] = Ran(0, "", "other.service: bad\nsightpost@.service:3: bad\n")
    with pytest.raises(ServiceError, match=r"sightpost@\.service:3: bad"):
        install(pi, wish)
    assert pi.active == set()


@pytest.mark.usefixtures("berlin")
def test_status_tells_what_systemd_and_the_station_say(pi: MadeUp, wish: Wish) -> None:
    """For people in local time, for machines in UTC."""
    install(pi, wish)
    pi.answers["systemctl show"] = Ran(
        0,
        "ActiveState=active\nSubState=running\nActiveEnterTimestamp=@1763757000\nNRestarts=2\n"
        "Result=success\nStatusText=14.9 fps\nUnitFileState=enabled\n",
    )
    standing = look(pi, GATE)
    facts = as_facts(standing)
    assert json.loads(json.dumps(facts)) == facts
    assert standing.is_active
    assert facts["camera"]["since"] == "2025-11-21T20:30:00+00:00"
    assert (facts["camera"]["restarts"], facts["camera"]["says"]) == (2, "14.9 fps")
    assert facts["model"]["name"]
    assert facts["disk"]["free_bytes"] > 0
    text = "\n".join(command._lines(standing))
    assert "active (running) since 2025-11-21 21:30:00, 2 restarts\n  14.9 fps\n" in text
    assert "on trial" in text
    assert "no events yet" in text


def test_root_and_systemd_are_asked_for(
    pi: MadeUp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line to type has the program's whole path: sudo has another PATH."""
    monkeypatch.setattr(command, "_this", lambda *, dry_run: replace_root(pi, plans=dry_run))
    monkeypatch.setattr(sys, "argv", ["sightpost", "service", "install", "gate"])
    with pytest.raises(ServiceError, match="needs root") as caught:
        command._machine(dry_run=False)
    assert caught.value.hint == "sudo /opt/sightpost/bin/sightpost service install gate"
    command._machine(dry_run=True)
    said = capsys.readouterr().err
    assert said == (
        "sightpost: doing this needs root; what only root may read counts as not there\n"
    )
    pi.path("/run/systemd/system").rmdir()
    for refused in (lambda: command._machine(dry_run=False), command._running):
        with pytest.raises(ServiceError, match=r"systemd is not pid 1 here \(a container\?\)"):
            refused()
    command._machine(dry_run=True)
    assert capsys.readouterr().err.startswith("sightpost: systemd is not pid 1 here")


def test_a_dry_run_shows_every_step_anywhere(
    pi: MadeUp, wish: Wish, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No systemctl, no systemd, not root, a program in a home folder, no library for the camera:
    the plan is the one of a fresh machine, and what would be refused is said, with the code of
    the first."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("sightpost_edge.service.machine.run_limited", lambda *_, **__: None)
    pi.path("/run/systemd/system").rmdir()
    pi.path("/opt/sightpost").rename(pi.path("/opt/other"))
    pi.path("/home/pi").mkdir(parents=True)
    pi.path("/opt/other").rename(pi.path("/home/pi/venv"))
    home = replace(
        pi, prefix=Path("/home/pi/venv"), package=Path("/home/pi/venv/lib/sightpost_edge")
    )
    monkeypatch.setattr(command, "_this", lambda *, dry_run: replace_root(home, plans=dry_run))
    assert wish.config is not None
    wish.config.write_text('source = "picamera://0"\n')
    before = tree(pi)
    with pytest.raises(typer.Exit) as ended:
        command.install("gate", wish.config, wish.model, dry_run=True)
    assert ended.value.exit_code == 14
    assert tree(pi) == before
    said = capsys.readouterr().err
    for word in ("systemd is not pid 1 here", "needs root",
                 "this would be refused: a service cannot",
                 "this would be refused: the Pi's camera", "useradd", "model tiny.tflite is to be",
                 f"{GATE.config} is to be written", f"systemctl restart {GATE.camera}",
                 "steps would be done, nothing was"):  # fmt: skip
        assert word in said


def test_a_dry_run_takes_what_it_may_not_read_as_not_there(
    pi: MadeUp, wish: Wish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The config and the password are root's; only what is done must know them."""
    install(pi, wish)
    closed = pi.path(GATE.config)
    closed.unlink()
    closed.mkdir()  # not even root reads this
    with pytest.raises(ServiceError, match="cannot read"):
        install(pi, wish, dry_run=True)
    assert f"{GATE.config} is to be written" in install(replace(pi, plans=True), wish, dry_run=True)


@pytest.mark.parametrize(
    ("text", "words"), [(None, "cannot read"), ("threads = [", "TOML"), ("sorce = 1", "source")]
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_config_that_is_none_is_refused_before_the_machine(
    pi: MadeUp, config: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], text: str | None, words: str, dry_run: bool,
) -> None:  # fmt: skip
    """It is no fault of systemd."""
    monkeypatch.setattr(command, "_this", lambda *, dry_run: replace_root(pi, plans=dry_run))
    pi.path("/run/systemd/system").rmdir()
    config.unlink() if text is None else config.write_text(text)
    with pytest.raises(ConfigError) as caught:
        command.install("gate", config, dry_run=dry_run)
    assert words in f"{caught.value} {caught.value.hint}"
    assert "systemd" not in capsys.readouterr().err


def replace_root(pi: MadeUp, *, plans: bool) -> Machine:
    """The same machine as an ordinary user sees it."""

    class Plain(Machine):
        is_root = False

    return Plain(pi.root, pi.prefix, pi.base_prefix, pi.python, pi.package, plans)


def test_the_command_says_what_it_cannot_do_here(cli: Cli) -> None:
    """A container has no systemd; a wrong name is a wrong name everywhere."""
    if Path("/run/systemd/system").exists():
        pytest.skip("this machine has systemd")
    answer = cli("service", "status", "gate")
    assert answer.returncode == 14
    assert "sightpost run" in answer.stderr


def test_a_failed_command_is_told_by_its_message() -> None:
    """Not by the hint below it."""
    program = "import sys; sys.exit('sightpost: no such model\\n  hint: look there')"
    with pytest.raises(ServiceError, match=r"failed: no such model$"):
        Machine().run(sys.executable, "-c", program)
    with pytest.raises(ServiceError, match="cannot be run"):
        Machine().ask("no-such-program-anywhere")


def test_a_unit_of_a_wheel_comes_before_the_repositorys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editable installation has no wheel: it reads the repository's folder."""
    machine = Machine(tmp_path, package=Path("/lib/sightpost_edge"))
    read: Callable[[], str] = lambda: unit("sightpost@.service", machine, Path("/x"))  # noqa: E731
    with pytest.raises(ServiceError, match="missing"):
        read()
    for folder, text in (("systemd", "repository"), ("lib/sightpost_edge/units", "wheel")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "sightpost@.service").write_text(text)
        assert read().splitlines()[1:] == [text]
    assert "ExecStart=/x run" in unit("sightpost@.service", Machine(), Path("/x"))
