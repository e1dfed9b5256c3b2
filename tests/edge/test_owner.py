"""Root in a folder of the service's: who decides what a path leads to, and what is never opened."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sightpost_edge import cli
from sightpost_edge.doctor import opened
from sightpost_edge.doctor.host import Host
from sightpost_edge.durable import give_to_owner
from sightpost_edge.errors import ConfigError, SightpostError, SignatureRefused, StoreError
from sightpost_edge.manifest import signature_of, verify_file
from sightpost_edge.models import ModelFolder, install, offer
from sightpost_edge.models.owner import acts_for_another, become_owner, copy_for_owner, owner_of
from sightpost_edge.models.state import STATE, State, read_state
from sightpost_edge.polled import read_object
from sightpost_edge.support.gather import PARTS
from sightpost_edge.uplink.service import LOCK, only_one

from ..model_rig import Workshop

SERVICE, PERSON = 54321, 1000
Give = Callable[[dict[Path, int]], None]


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Give:
    """Says to whom paths belong; all others are root's, as this process is."""
    belongs: dict[Path, int] = {}
    real = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        found = real(path)
        return os.stat_result((*found[:4], belongs.get(path, 0), *found[5:10]))

    monkeypatch.setattr(Path, "lstat", lstat)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return belongs.update


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Users that this process became; it really stays who it is."""
    found: list[int] = []
    for name in ("setgid", "setgroups", "initgroups"):
        monkeypatch.setattr(os, name, lambda *_: None)
    monkeypatch.setattr(os, "setuid", found.append)
    return found


@pytest.fixture
def gate(tmp_path: Path, give: Give) -> Path:
    """The store of a service, in a folder of root's."""
    (tmp_path / "gate").mkdir()
    give({tmp_path / "gate": SERVICE})
    return tmp_path / "gate"


@pytest.mark.parametrize("target", ["/", "/etc", "../roots", "nowhere", "models"])
def test_a_link_that_the_service_laid_decides_nothing(
    gate: Path, target: str, became: list[int]
) -> None:
    """Wherever it leads at this moment, and where it may lead at the next."""
    (gate.parent / "roots").mkdir()
    (gate / "models").symlink_to(target)
    assert owner_of(gate / "models") == SERVICE
    become_owner(gate / "models")
    assert became == [SERVICE]


@pytest.mark.parametrize("inside", ["", "models", "models/versions", "not/there/yet"])
def test_what_lies_in_the_services_folder_is_the_services(gate: Path, inside: str) -> None:
    """Though root made it: the service may put something else in its place."""
    (gate / "models" / "versions").mkdir(parents=True)
    assert owner_of(gate / inside) == SERVICE
    assert acts_for_another(gate / inside)


def test_the_first_stranger_from_the_top_decides(gate: Path, give: Give) -> None:
    give({gate.parent: PERSON})
    assert owner_of(gate / "models") == PERSON


def test_links_of_roots_own_are_followed(gate: Path, tmp_path: Path, give: Give) -> None:
    """/var/lib/sightpost on a larger disk, absolute or relative, also where that is a person's."""
    (tmp_path / "disk" / "roots").mkdir(parents=True)
    (tmp_path / "absolute").symlink_to(tmp_path)
    (tmp_path / "disk" / "relative").symlink_to("../absolute/disk/../gate")
    (tmp_path / "to-disk").symlink_to(tmp_path / "disk" / "roots")
    assert owner_of(tmp_path / "disk" / "relative" / "models") == SERVICE
    assert owner_of(tmp_path / "absolute" / "disk" / ".." / "gate") == SERVICE
    assert owner_of(tmp_path / "to-disk" / "store") == 0
    give({tmp_path / "disk": PERSON})
    assert owner_of(tmp_path / "to-disk" / "store") == PERSON


@pytest.mark.parametrize("place", ["roots", "roots/new/models", "file/models", "endless/models"])
def test_where_root_alone_decides_it_stays_root(
    tmp_path: Path, give: Give, place: str, became: list[int]
) -> None:
    (tmp_path / "roots").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "endless").symlink_to("endless")
    assert owner_of(tmp_path / place) == 0
    become_owner(tmp_path / place)
    assert became == []


def test_what_cannot_be_looked_at_is_not_taken_for_roots(
    gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system of a user's program is closed to root."""

    def closed(path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", closed)
    with pytest.raises(ConfigError, match="cannot look at /"):
        become_owner(gate)


@pytest.mark.parametrize("what", ["web", "file", "folder", "unsigned"])
def test_nothing_of_the_folder_is_opened_before_rights_are_down(
    gate: Path, tmp_path: Path, what: str, became: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its state nor the key that it trusts, wherever the model comes from."""
    place = Workshop(tmp_path / "workshop").model("1")
    places = {"web": "https://example.org/1.tflite", "folder": place.parent}
    seen: list[tuple[list[int], str]] = []

    def look(folder: ModelFolder, place: str, **_: Any) -> None:
        seen.append((list(became), place))
        raise ConfigError("seen enough")

    monkeypatch.setattr(os, "chown", lambda path, *_, **__: None)
    monkeypatch.setattr(offer, "look", look)
    monkeypatch.setattr(install, "install_unsigned", look)
    monkeypatch.setattr(ModelFolder, "trusted", lambda self: pytest.fail("root asked the folder"))
    words = ["model", "install", str(places.get(what, place)), "--store", str(gate)]
    said = CliRunner().invoke(cli.app, [*words, *(["--unsigned"] * (what == "unsigned"))])
    assert len(seen) == 1, said.output
    users, looked_at = seen[0]
    assert users == [SERVICE]
    if what == "web":
        assert looked_at == places["web"]
    else:
        assert Path(looked_at).name == "1.tflite"
        assert Path(looked_at).parent != place.parent


def test_a_copy_is_whole_and_the_owners(
    gate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model, signature and the key beside it; the folder itself is given away last."""
    given: list[tuple[Path, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, uid, *_, **__: given.append((path, uid)))
    workshop, into = Workshop(tmp_path / "workshop"), tmp_path / "copy"
    into.mkdir()
    place = workshop.model("1")
    Path(f"{place}.pub").write_text(workshop.key.public.to_text())
    copy = copy_for_owner(str(place.parent), into, gate, signed=True)
    assert copy == into / "1.tflite"
    assert copy.read_bytes() == place.read_bytes()
    assert signature_of(copy).read_bytes() == signature_of(place).read_bytes()
    assert Path(f"{copy}.pub").read_bytes() == Path(f"{place}.pub").read_bytes()
    assert {path for path, _ in given} == {into, *into.iterdir()}
    assert (given[-1][0], {uid for _, uid in given}) == (into, {SERVICE})


def test_a_pipe_or_a_link_is_no_state(tmp_path: Path) -> None:
    """A pipe would hold a timer's installation for ever, a link show root's files."""
    (tmp_path / "secret").write_text('{"v": 1, "name": "root\'s"}')
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / STATE)
    for name, why in ((STATE, "no ordinary file"), ("link", "symbolic"), (".", "directory")):
        with pytest.raises(OSError, match=why):
            read_object(tmp_path / name)
    assert read_state(tmp_path) == State()


def test_a_pipe_in_place_of_key_or_signature_is_refused(tmp_path: Path) -> None:
    workshop, models = Workshop(tmp_path / "workshop"), ModelFolder(tmp_path / "models")
    models.path.mkdir()
    os.mkfifo(models.key)
    with pytest.raises(SightpostError, match="ordinary file"):
        models.trusted()
    place = workshop.model("1")
    signature_of(place).unlink()
    os.mkfifo(signature_of(place))
    with pytest.raises(SignatureRefused, match="ordinary file"):
        verify_file(place, place.read_bytes(), workshop.key.public)


def test_a_link_in_the_store_gives_nothing_of_roots_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``sudo sightpost uplink --once`` hands over what it wrote, never what a link leads to."""
    given: list[Path] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "lchown", lambda path, *_: given.append(path))
    monkeypatch.setattr(os, "chown", lambda *_: pytest.fail("a link was followed"))
    (tmp_path / "uplink").symlink_to("/etc")
    give_to_owner(tmp_path, tmp_path / "uplink")
    assert given == [tmp_path / "uplink"]


def test_a_bug_report_holds_no_files_of_roots(tmp_path: Path) -> None:
    """What a service laid a link to; nor does a pipe hold it up."""
    store, secret = tmp_path / "store", tmp_path / "secret"
    secret.mkdir()
    for name in ("shadow", "mqtt.json"):
        (secret / name).write_text('{"root": "secret"}')
    store.mkdir()
    (store / "lives.json").symlink_to(secret / "shadow")
    (store / "uplink").symlink_to(secret)
    os.mkfifo(store / "live.json")
    (store / "control.json").write_text('{"armed": true}')
    assert PARTS["states.json"](Host(store=store)) == {"control.json": {"armed": True}}


def test_the_doctor_opens_a_model_as_its_owner(gate: Path, became: list[int]) -> None:
    """An unsigned one is whatever the service put there."""
    (gate / "models").mkdir()
    said = opened.answer({"model": str(gate / "models"), "labels": "", "threads": 1})
    assert became == [SERVICE]
    assert "no current model" in said["message"]


def test_events_are_marked_by_the_stores_owner(gate: Path, became: list[int]) -> None:
    """Root would make the lock and the database wherever links in the store lead to."""
    said = CliRunner().invoke(cli.app, ["events", "mark", "1", "--store", str(gate)])
    assert said.exit_code == 7, said.output
    assert became == [SERVICE]
    assert list(gate.iterdir()) == []


def test_the_uplinks_lock_is_not_made_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "uplink").mkdir()
    (tmp_path / "uplink" / LOCK).symlink_to(tmp_path / "nologin")
    with pytest.raises(StoreError), only_one(tmp_path):
        pass
    assert not (tmp_path / "nologin").exists()
