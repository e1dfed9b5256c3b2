"""``sightpost model`` for people: ways back that are ways, hints that can be pasted, refusals."""

import json
import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sightpost_edge import cli
from sightpost_edge.commands import model_hints
from sightpost_edge.contract import Contract
from sightpost_edge.errors import StoreBusy, UpdateRefused
from sightpost_edge.live import Live, write_live
from sightpost_edge.lock import held, is_held
from sightpost_edge.manifest import signature_of
from sightpost_edge.minikeys import new_keys
from sightpost_edge.models import Installed, ModelFolder, install, labels
from sightpost_edge.models.rehearsal import Rehearsal
from sightpost_edge.models.slot import RUNNING
from sightpost_edge.models.state import STATE
from sightpost_edge.models.trust import trust
from sightpost_edge.pixels import Geometry
from sightpost_edge.testing import TINY_LABELS

from ..model_rig import Workshop, prove, station, update


@pytest.fixture(autouse=True)
def unrehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are not opened in a child process, and this program is called as it mostly is."""
    monkeypatch.setattr(install, "rehearse", lambda path, signed_sha256: Rehearsal(1.5, 2))
    monkeypatch.setattr(model_hints, "_program", lambda store: "sightpost")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path / "workshop")
    made.folder.mkdir()
    return made


@pytest.fixture
def models(tmp_path: Path, workshop: Workshop) -> ModelFolder:
    return station(tmp_path / "s" / "models", workshop)


def call(models: ModelFolder, *words: object) -> Result:
    line = ["model", *map(str, words), "--store", str(models.path.parent)]
    return CliRunner().invoke(cli.app, line, catch_exceptions=False)


def installed(models: ModelFolder, workshop: Workshop, *versions: str) -> list[Installed]:
    return [(update(models, workshop.model(v)), prove(models))[1] for v in versions]


def state_of(models: ModelFolder, version: str) -> str:
    rows = call(models, "list").stdout.splitlines()
    row = next(r for r in rows if r.replace("->", "").split()[0] == version)
    return row.rpartition("  ")[2]


def test_no_way_back_to_what_another_key_signed(models: ModelFolder, workshop: Workshop) -> None:
    """At its next start the run would refuse it: the new one is kept, and that is noted."""
    (three,) = installed(models, workshop, "3")
    fresh = replace(workshop, key=new_keys())
    trust(models.key, fresh.key.public, replace=True)
    assert state_of(models, "3") == "current, not trusted"
    update(models, fresh.model("9"))
    nine = models.current()
    assert nine is not None
    assert not models.trusts(three)
    assert models.previous() is None
    assert state_of(models, "3") == "not trusted"
    models.trial_begun(nine)
    assert models.trial_ended(nine, failed="blind") == nine
    assert models.state().outcomes[-1].result == "kept"
    models.key.write_text("no key")
    assert models.previous() == three, "nothing opens then, whatever is said here"


def test_rolled_back_twice_is_not_back(models: ModelFolder, workshop: Workshop) -> None:
    """Only ``use`` brings the bad one back; then it is a way back again for the next."""
    one, two = installed(models, workshop, "1", "2")
    assert call(models, "rollback").exit_code == 0
    assert models.previous() is None
    again = call(models, "rollback")
    assert (again.exit_code, models.current()) == (4, one)
    assert f"sightpost model use --store {models.path.parent} VERSION" in again.stderr
    assert call(models, "use", "2").exit_code == 0
    assert models.state().outcomes[-1].why == "its owner chose it again"
    update(models, workshop.model("3"))
    assert models.previous() == two


def test_a_station_does_not_go_dark(models: ModelFolder, workshop: Workshop) -> None:
    """With the current one gone even a model that was rolled back by hand is better than none."""
    _, two = installed(models, workshop, "1", "2")
    call(models, "rollback")
    (models.path / "current").unlink()
    shutil.rmtree(models.path / "versions" / models.versions()[-1].id)
    assert models.previous() == two


def test_what_the_list_says_of_each(models: ModelFolder, workshop: Workshop) -> None:
    """Left by its owner, spared, cut off in its trial: each in words of its own."""
    installed(models, workshop, "1")
    update(models, workshop.model("2"))
    update(models, workshop.model("3"))
    assert state_of(models, "2") == "trial cut off"
    call(models, "use", "3", "--no-trial")
    assert models.state().outcomes[-1].why == "its owner spared it the trial"
    call(models, "use", "1")
    assert "3 left: 1 was chosen in its place" in call(models, "list").stdout
    refused = call(models, "install", workshop.folder / "3.tflite")
    assert (refused.exit_code, "was here and was left" in refused.stderr) == (4, True)


def test_labels_that_go_are_said(models: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules name labels: what they wait for may never come again."""
    now = contract("nothing", "ok", "scratch")
    monkeypatch.setattr(labels, "_current", lambda folder: now)
    said = labels.compare_labels(models, contract("nothing", "ok", "dent"), all_new=False)
    assert said == "labels: gone scratch; new dent"
    assert labels.compare_labels(models, now, all_new=False) == ""
    with pytest.raises(UpdateRefused, match=r"^labels: ") as caught:
        labels.compare_labels(models, contract("nothing", "daisy"), all_new=False)
    assert "--new-name" in caught.value.hint
    said = labels.compare_labels(models, contract("nothing", "daisy"), all_new=True)
    assert said == "labels: gone ok, scratch; new daisy"


def contract(*names: str) -> Contract:
    return Contract(names, Geometry(8, 8))


def test_a_model_of_other_labels_is_not_installed(
    models: ModelFolder, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the station is to do something else."""
    installed(models, workshop, "1")
    now = labels._current(models)
    assert now is not None
    assert now.labels == TINY_LABELS
    monkeypatch.setattr(labels, "_current", lambda folder: contract("daisy"))
    two = workshop.model("2")
    refused = call(models, "install", two, "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["refused"]) == (4, "labels")
    taken = call(models, "install", two, "--new-name")
    assert "labels: gone daisy; new " in taken.stderr


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("stick", r"there is no .*/stick"),
        ("1.tflite.minisig", r"1\.tflite\.minisig is a signature, no model"),
        ("garden.pub", r"garden\.pub is a key, no model"),
        ("http://127.0.0.1:9/m.tflite.minisig", r"is a signature, no model"),
    ],
)
def test_what_is_no_place(
    models: ModelFolder, workshop: Workshop, place: str, message: str
) -> None:
    where = place if "://" in place else workshop.folder / place
    refused = call(models, "install", where)
    assert refused.exit_code in (2, 4)
    first, hint = refused.stderr.splitlines()[:2]
    assert re.search(message, first)
    assert "lsblk" in hint or "give the model itself" in hint


def test_another_key(models: ModelFolder, workshop: Workshop) -> None:
    """In a folder the file that was found is named; the hint is a command for this store."""
    models_place = workshop.model("1", key=new_keys())
    refused = call(models, "install", workshop.folder)
    assert f"{signature_of(models_place)}: it was signed by key" in refused.stderr
    store = f"--store {models.path.parent}"
    assert f"sightpost model trust {store} OTHER.pub --replace" in refused.stderr


def test_a_secret_key_is_not_for_stations(models: ModelFolder, tmp_path: Path) -> None:
    secret = tmp_path / "garden.key"
    secret.write_text(new_keys().to_text(None, comment="secret"))
    refused = call(models, "trust", secret)
    assert refused.exit_code == 2
    assert "is the SECRET key: it must not lie on a station" in refused.stderr
    assert "give garden.pub" in refused.stderr


def test_a_day_that_cannot_be_checked_is_said(models: ModelFolder, workshop: Workshop) -> None:
    """A clock that is not synchronized refuses nothing, but not silently."""
    place = workshop.model("1", expires="2020-01-31")
    said = update(models, place, today=None).why
    assert said.startswith("expires: it is good until 2020-01-31; whether that is past was not")
    assert update(models, workshop.model("2"), today=None).why == ""


def test_a_broken_state_is_said_once(models: ModelFolder, caplog: pytest.LogCaptureFixture) -> None:
    """It is read twice a second."""
    models.path.mkdir(parents=True, exist_ok=True)
    (models.path / STATE).write_text("{")
    with caplog.at_level(logging.WARNING):
        models.state()
        models.state()
    (said,) = caplog.messages
    assert "writes the file anew" in said


def test_who_takes_it_over(models: ModelFolder, workshop: Workshop) -> None:
    """A run that follows the folder and lives; else the next one does."""
    assert not is_held(models.path / RUNNING)
    with held(models.path / RUNNING, wait_s=0, what="a run"):
        dead = call(models, "install", workshop.model("1"))
        assert "the next run with --model" in dead.stderr
        write_live(models.path.parent, Live())
        assert "takes it over by itself" in call(models, "install", workshop.model("2")).stderr
    assert "the next run with --model" in call(models, "install", workshop.model("3")).stderr


def test_a_refusal_as_json(models: ModelFolder, workshop: Workshop) -> None:
    """The field that does not hold, or the kind of failure; the exit code is the same."""
    installed(models, workshop, "2")
    refused = call(models, "install", workshop.model("1"), "--json")
    facts = json.loads(refused.stdout)
    assert (refused.exit_code, facts["refused"]) == (4, "version")
    assert facts["message"].startswith("version: 1 is older than 2")
    assert f"sightpost model use --store {models.path.parent} VERSION" in facts["hint"]
    unsigned = workshop.model("3")
    signature_of(unsigned).unlink()
    refused = call(models, "install", unsigned, "--json")
    assert json.loads(refused.stdout)["refused"] == "signature_refused"


def test_who_holds_a_lock_can_be_asked(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        held(lock, wait_s=0, what="?"),
        pytest.raises(StoreBusy) as caught,
        held(lock, wait_s=0, what="?"),
    ):
        pass
    assert f"fuser -v {lock} names" in caught.value.hint


def test_a_server_that_is_gone_is_no_number(models: ModelFolder) -> None:
    """Nobody knows what [Errno 111] is."""
    refused = call(models, "install", "http://127.0.0.1:9/m.tflite")
    assert (refused.exit_code, "Connection refused" in refused.stderr) == (15, True)
    assert "Errno" not in refused.stderr


def test_hints_are_written_as_they_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a blank is quoted; words of other commands are left alone."""
    assert model_hints.pasted("sightpost model use 2 gives", Path("/a b")) == (
        "sightpost model use --store '/a b' 2 gives"
    )
    assert model_hints.pasted("sightpost convert; model", Path("/a")) == "sightpost convert; model"
    assert model_hints.pasted("sightpost model list shows", None) == "sightpost model list shows"


def test_sudo_is_said_where_it_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "pi")
    assert model_hints.pasted("sightpost model list", "/s").startswith("sudo ")
    monkeypatch.delenv("SUDO_USER")
    assert not model_hints.pasted("sightpost model list", "/s").startswith("sudo ")


def test_sudo_is_said_where_the_store_is_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is not there yet, and its folder is closed to this user."""
    monkeypatch.undo()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    assert model_hints.pasted("sightpost model list", tmp_path / "gate").startswith("sudo ")
    (tmp_path / "gate").mkdir()
    assert not model_hints.pasted("sightpost model list", tmp_path / "gate").startswith("sudo ")
