"""A station's models on disk: what is current, on trial, proven; whose are taken; the command."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from sightpost_edge import cli
from sightpost_edge.errors import (
    BundleCorrupt,
    ConfigError,
    DiskFull,
    ModelError,
    SignatureRefused,
    StoreBusy,
    UpdateRefused,
)
from sightpost_edge.lock import held
from sightpost_edge.manifest import Manifest, sign_file, signature_of
from sightpost_edge.minikeys import new_keys
from sightpost_edge.models import Installed, ModelFolder, fetch, folder, install
from sightpost_edge.models.first_use import trust_first_use
from sightpost_edge.models.incoming import KEPT_S, sweep
from sightpost_edge.models.install import install_unsigned
from sightpost_edge.models.owner import become_owner
from sightpost_edge.models.rehearsal import Rehearsal
from sightpost_edge.models.state import (
    MAX_OUTCOMES,
    MAX_REFUSED,
    MOST_WHY,
    STATE,
    Outcome,
    State,
    read_state,
    write_state,
)
from sightpost_edge.models.target import fit_target
from sightpost_edge.models.trust import trust
from sightpost_edge.testing import TINY_LABELS, tiny_bundle

from ..model_rig import A_PI, Workshop, prove, station, update


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "workshop")


@pytest.fixture
def models(tmp_path: Path, workshop: Workshop) -> ModelFolder:
    """Trusts the workshop, holds nothing."""
    return station(tmp_path / "store" / "models", workshop)


@pytest.fixture
def unrehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are not opened in a child process: half a second each."""
    monkeypatch.setattr(install, "rehearse", lambda path, signed_sha256: Rehearsal(1.5, 2))


KEYS = st.sampled_from(
    ["v", "highest", "previous", "trial", "outcomes", "name", "proven", "id", "since_ms", "begun",
     "boot_id", "version", "at_ms", "result", "why", "digest", "key_id", "signed", "number"]
)  # fmt: skip
quick = pytest.mark.usefixtures("unrehearsed")


def installed(models: ModelFolder, workshop: Workshop, *versions: str) -> list[Installed]:
    """Each proved itself before the next one came."""
    found = []
    for version in versions:
        update(models, workshop.model(version))
        found.append(prove(models))
    return found


def current(models: ModelFolder) -> str:
    found = models.current()
    return found.version if found else ""


def results(models: ModelFolder) -> list[str]:
    return [outcome.result for outcome in models.state().outcomes]


def test_a_first_model_comes_in(models: ModelFolder, workshop: Workshop) -> None:
    """Verified, really rehearsed in a child, current, on trial, and it opens."""
    told: list[tuple[int, int]] = []
    place = workshop.model("3")
    result = update(models, place)
    one = models.current()
    assert one is not None
    assert result.one == one
    assert result.changed
    assert result.rehearsal is not None
    assert result.rehearsal.golden == 1
    assert (one.name, one.version, one.signed) == ("tiny", "3", True)
    assert one.id == f"3-{one.digest[:8]}"
    assert os.readlink(models.path / "current") == f"versions/{one.id}"
    trial = models.state().trial
    assert trial is not None
    assert (trial.id, trial.begun) == (one.id, False)
    assert models.state().highest == {workshop.key.public.name: {"tiny": "3"}}
    assert models.open(one).digest == one.digest
    assert models.previous() is None
    assert [path.name for path in (models.path / "incoming").iterdir()] == ["lock"]
    assert oct(one.path.stat().st_mode & 0o777) == "0o440"
    assert told == []


@quick
def test_installing_again_changes_nothing(models: ModelFolder, workshop: Workshop) -> None:
    """The same file, from another place too."""
    place = workshop.model("3")
    first = update(models, place)
    stick = workshop.folder / "stick"
    stick.mkdir()
    for file in (place, signature_of(place)):
        shutil.copy(file, stick)
    before = {path: path.stat().st_mtime_ns for path in models.path.rglob("*")}
    again = update(models, stick)
    assert (again.one, again.changed) == (first.one, False)
    kept = {p: t for p, t in before.items() if p.name in ("model.tflite", "current", STATE)}
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())


@quick
def test_a_trial_is_passed_or_lost(models: ModelFolder, workshop: Workshop) -> None:
    """Passed: it stays. Lost: the one before is current again, and the reason is kept."""
    one, two = installed(models, workshop, "1", "2")
    assert current(models) == "2"
    assert models.state().trial is None
    assert models.previous() == one
    update(models, workshop.model("3"))
    three = models.current()
    assert three is not None
    models.trial_begun(three)
    trial = models.state().trial
    assert trial is not None
    assert trial.begun
    assert trial.boot_id
    assert models.trial_ended(three, failed="blind") == two
    assert current(models) == "2"
    assert models.state().trial is None
    last = models.state().outcomes[-1]
    assert (last.version, last.result, last.why) == ("3", "rolled back", "blind")
    assert results(models) == ["confirmed", "confirmed", "rolled back"]


@quick
def test_what_was_rolled_back_does_not_come_back_by_itself(
    models: ModelFolder, workshop: Workshop
) -> None:
    """A timer that installs the same file every hour would else try it every hour."""
    installed(models, workshop, "1")
    place = workshop.model("2")
    update(models, place)
    two = models.current()
    assert two is not None
    models.trial_ended(two, failed="too slow")
    with pytest.raises(
        UpdateRefused, match=r"trial: tiny 2 .* was rolled back: too slow"
    ) as caught:
        update(models, place)
    assert "sightpost model use 2" in caught.value.hint
    models.switch(two, why="by hand")
    assert models.state().trial is not None


@quick
def test_a_stop_in_the_middle_of_a_trial_is_no_crash(
    models: ModelFolder, workshop: Workshop
) -> None:
    """The next run begins the trial again, and does not take it for lost."""
    update(models, workshop.model("1"))
    one = models.current()
    assert one is not None
    models.trial_begun(one)
    models.trial_paused(one)
    trial = models.state().trial
    assert trial is not None
    assert not trial.begun


@quick
def test_a_first_model_that_fails_stays(models: ModelFolder, workshop: Workshop) -> None:
    """There is nothing to go back to: a power cut in its trial must not end the station."""
    update(models, workshop.model("1"))
    one = models.current()
    assert one is not None
    models.trial_begun(one)
    assert models.trial_ended(one, failed="the power was cut") == one
    assert models.state().trial is None
    assert results(models) == ["kept"]


@quick
def test_the_way_back_leads_past_what_was_never_proven(
    models: ModelFolder, workshop: Workshop
) -> None:
    """3 came while 2 was on trial: back is 1."""
    one, *_ = installed(models, workshop, "1")
    update(models, workshop.model("2"))
    update(models, workshop.model("3"))
    assert models.previous() == one
    three = models.current()
    assert three is not None
    assert models.trial_ended(three, failed="blank") == one


@quick
def test_going_back_by_hand_needs_no_trial(models: ModelFolder, workshop: Workshop) -> None:
    """Else the old one would be compared with the bad one, and lose."""
    one, two = installed(models, workshop, "1", "2")
    models.switch(one, why="by hand")
    assert models.state().trial is None
    assert models.state().outcomes[-1].result == "left"
    assert models.previous() == two
    models.switch(two, why="by hand")
    update(models, workshop.model("3"))
    three = models.current()
    assert three is not None
    models.trial_begun(three)
    models.switch(two, why="it was rolled back by hand")
    assert models.state().outcomes[-1].why == "it was rolled back by hand"
    assert models.previous() == one
    assert models.trial_ended(three, failed="late news") == two, "of a version no longer current"
    assert current(models) == "2"


@quick
def test_an_owner_may_spare_a_model_its_trial(models: ModelFolder, workshop: Workshop) -> None:
    """A larger one is slower on purpose; also where it is current already."""
    installed(models, workshop, "1")
    update(models, workshop.model("2"))
    two = models.current()
    assert two is not None
    assert models.state().trial is not None
    models.switch(two, why="chosen", proven=True)
    assert models.state().trial is None
    assert models.trial_ended(two, failed="slow") == two
    assert current(models) == "2"


@quick
def test_what_was_left_by_hand_does_not_come_back_by_itself(
    models: ModelFolder, workshop: Workshop
) -> None:
    """Though it had been proven: whoever went back had a reason that no trial sees."""
    one, two = installed(models, workshop, "1", "2")
    models.switch(one, why="it takes dogs for foxes")
    with pytest.raises(UpdateRefused, match="was left: it takes dogs for foxes"):
        update(models, workshop.folder / "2.tflite")
    models.switch(two, why="after all")
    assert current(models) == "2"
    update(models, workshop.model("3"))
    assert current(models) == "3"


@quick
def test_three_versions_are_kept(models: ModelFolder, workshop: Workshop) -> None:
    """The current and the previous one always, whatever their age."""
    first, *_ = installed(models, workshop, "1", "2", "3", "4", "5")
    assert [one.version for one in models.versions()] == ["5", "4", "3"]
    three = models.versions()[-1]
    models.switch(three, why="by hand")
    update(models, workshop.model("6"))
    assert [one.version for one in models.versions()] == ["6", "5", "3"]
    assert models.previous() == three
    assert first.id not in os.listdir(models.path / "versions")


@quick
@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"highest": 1}', b'{"trial": {"id": 1}}', b'{"proven": 7}',
               b'{"outcomes": [{}]}', b'{"highest": {"k": []}}', b"[" * 70_000]
)  # fmt: skip
def test_a_damaged_state_lets_nothing_older_in(
    models: ModelFolder, workshop: Workshop, damage: bytes
) -> None:
    """What lies on disk counts; the current model is on trial once more, that is all."""
    installed(models, workshop, "1", "2")
    (models.path / STATE).write_bytes(damage)
    assert current(models) == "2"
    assert models.state().trial is not None
    with pytest.raises(UpdateRefused, match="version: 1 is older than 2"):
        update(models, workshop.model("1", variant=1))
    update(models, workshop.model("3"))
    assert current(models) == "3"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(found=st.dictionaries(KEYS, JSON, max_size=6))
@settings(max_examples=60, deadline=None)
def test_no_state_breaks_its_reader(tmp_path_factory: Any, found: dict[str, Any]) -> None:
    """Whatever stands in the two small files: a folder without models, never an exception."""
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    home = path / "versions" / "1-01234567"
    home.mkdir(parents=True, exist_ok=True)
    (path / STATE).write_text(json.dumps(found))
    (home / "about.json").write_text(json.dumps(found))
    models = station(path)
    assert isinstance(models.state(), State)
    assert all(one.id == "1-01234567" for one in models.versions())
    assert isinstance(models.highest("k", "tiny"), str)


@quick
@pytest.mark.parametrize("wrong", ["../../etc", "versions", "versions/..", "versions/1-00000000",
                                   "/etc/passwd", "versions/3.part"])  # fmt: skip
def test_current_is_one_of_the_versions_or_nothing(
    models: ModelFolder, workshop: Workshop, wrong: str
) -> None:
    installed(models, workshop, "1")
    (models.path / "current").unlink()
    (models.path / "current").symlink_to(wrong)
    assert models.current() is None
    update(models, workshop.model("2"))
    assert current(models) == "2"


def damage_model(one: Installed) -> None:
    one.path.chmod(0o640)
    changed = bytearray(one.path.read_bytes())
    changed[1000] ^= 1
    one.path.write_bytes(changed)


def drop_about(one: Installed) -> None:
    (one.path.parent / "about.json").unlink()


def drop_signature(one: Installed) -> None:
    signature_of(one.path).unlink()


@quick
@pytest.mark.parametrize("damage", [damage_model, drop_about, drop_signature])
def test_a_damaged_version_is_mended_by_installing_it_again(
    models: ModelFolder, workshop: Workshop, damage: Callable[[Installed], None]
) -> None:
    """It is refused when it is opened; the same file from the workshop makes it whole."""
    (one,) = installed(models, workshop, "1")
    damage(one)
    if found := models.current():
        with pytest.raises(SignatureRefused):
            models.open(found)
    update(models, workshop.folder / "1.tflite")
    mended = models.current()
    assert mended is not None
    assert models.open(mended).digest == one.digest
    assert models.state().trial is None, "it was proven before"


@quick
def test_what_may_be_opened(models: ModelFolder, workshop: Workshop, tmp_path: Path) -> None:
    """Only what the trusted key signed; without a key whatever passes its trial."""
    (one,) = installed(models, workshop, "1")
    other = station(models.path)
    other.key = tmp_path / "other.pub"
    trust(other.key, new_keys().public)
    with pytest.raises(SignatureRefused, match="signed by key"):
        other.open(one)
    with pytest.raises(SignatureRefused):
        other.check(one)
    other.key.write_text("no key")
    with pytest.raises(ConfigError, match="cannot be used"):
        other.open(one)
    other.key.unlink()
    assert other.open(one).digest == one.digest
    damage_model(one)
    with pytest.raises(BundleCorrupt, match="not what was installed"):
        other.check(one)


@quick
def test_another_key_begins_anew(models: ModelFolder, workshop: Workshop) -> None:
    """Whose key was stolen and used to sign version 999,999,999 is not locked out for ever."""
    installed(models, workshop, "1", "999999999")
    with pytest.raises(UpdateRefused, match="older than 999999999"):
        update(models, workshop.model("2"))
    fresh = replace(workshop, key=new_keys())
    with pytest.raises(ConfigError, match="is trusted here"):
        trust(models.key, fresh.key.public)
    assert trust(models.key, fresh.key.public, replace=True)
    update(models, fresh.model("2"))
    assert current(models) == "2"
    highest = models.state().highest
    assert highest[workshop.key.public.name] == {"tiny": "999999999"}
    assert highest[fresh.key.public.name] == {"tiny": "2"}


@quick
def test_a_model_signed_anew_stays_where_it_is(models: ModelFolder, workshop: Workshop) -> None:
    """The same bytes with the new key's signature: nothing is to be proven again."""
    (one,) = installed(models, workshop, "1")
    fresh = replace(workshop, key=new_keys())
    trust(models.key, fresh.key.public, replace=True)
    update(models, fresh.model("1"))
    again = models.current()
    assert again is not None
    assert (again.id, again.key_id) == (one.id, fresh.key.public.name)
    assert models.state().trial is None
    assert models.open(again).digest == one.digest


@quick
def test_a_model_signed_anew_as_another_version_is_proven(
    models: ModelFolder, workshop: Workshop
) -> None:
    """``keys sign`` names the minute as the version; what failed a trial proves nothing."""
    one, two = installed(models, workshop, "1", "2")
    models.switch(one, why="by hand", left="rolled back")
    for version, file, on_trial in (("5", one, False), ("6", two, True)):
        again = workshop.folder / f"{file.version}.tflite"
        manifest = Manifest.describe(again.read_bytes(), TINY_LABELS, name="tiny", version=version)
        sign_file(again, workshop.key, manifest)
        update(models, again)
        assert current(models) == version
        assert (models.state().trial is not None) is on_trial


@quick
def test_a_model_that_does_not_work_here_is_noted(
    models: ModelFolder, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who made it see nothing of this; the fetched file is not fetched again."""
    installed(models, workshop, "1")

    def fail(path: Path, signed_sha256: str) -> Rehearsal:
        raise ModelError("killed by SIGSEGV")

    monkeypatch.setattr(install, "rehearse", fail)
    with pytest.raises(ModelError, match="SIGSEGV"):
        update(models, workshop.model("2"))
    assert current(models) == "1"
    last = models.state().outcomes[-1]
    assert (last.version, last.result, last.why) == ("2", "refused", "killed by SIGSEGV")


@quick
def test_one_installer_at_a_time(models: ModelFolder, workshop: Workshop) -> None:
    """A second one is refused at once; the run, which only notes a trial, need not wait for it."""
    (one,) = installed(models, workshop, "1")
    place = workshop.model("2")
    with held(models.path / "incoming" / "lock", wait_s=0, what="?"):
        models.trial_begun(one)
        with pytest.raises(StoreBusy, match="another model is being installed"):
            update(models, place)
    assert current(models) == "1"


@quick
def test_a_lock_is_waited_for_and_then_given_up(
    models: ModelFolder, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = installed(models, workshop, "1")
    monkeypatch.setattr(folder, "LOCK_WAIT_S", 0.05)
    with held(models.path / "lock", wait_s=0, what="?"), pytest.raises(StoreBusy, match="lock"):
        models.switch(one, why="by hand")


@quick
def test_outcomes_are_counted_out(models: ModelFolder, workshop: Workshop) -> None:
    (one,) = installed(models, workshop, "1")
    for number in range(MAX_REFUSED + 5):
        models.refused(replace(one, id=f"{number}-00000000", version=str(number)), "no" * 9999)
    kept = read_state(models.path).outcomes
    assert [outcome.version for outcome in kept] == ["1", *map(str, range(5, MAX_REFUSED + 5))]
    assert {len(outcome.why) for outcome in kept} == {0, MOST_WHY}


def slow_second(models: ModelFolder, workshop: Workshop) -> Installed:
    """Version 2, which is there and was rolled back to 1."""
    installed(models, workshop, "1")
    update(models, workshop.model("2"))
    two = models.current()
    assert two is not None
    models.trial_ended(two, failed="it is slow")
    return two


@quick
def test_no_flood_of_refusals_washes_a_roll_back_away(
    models: ModelFolder, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer that meets what does not work here, every hour: 2 stays out, whatever else came."""
    two = slow_second(models, workshop)

    def fail(path: Path, signed_sha256: str) -> Rehearsal:
        raise ModelError("golden frames differ")

    with monkeypatch.context() as patch:
        patch.setattr(install, "rehearse", fail)
        bad = workshop.model("3")
        for _ in range(MAX_OUTCOMES + 5):
            with pytest.raises(ModelError, match="golden"):
                update(models, bad)
    assert results(models) == ["confirmed", "rolled back", "refused"]
    assert models.state().ended(two.id) == "rolled back"
    with pytest.raises(UpdateRefused, match="was rolled back: it is slow"):
        update(models, workshop.folder / "2.tflite")
    models.switch(two, why="by hand")
    models.trial_ended(two, failed="it is still slow")
    assert results(models) == ["confirmed", "refused", "rolled back"]
    assert models.state().outcomes[-1].why == "it is still slow"


def test_what_is_on_disk_is_remembered_longest() -> None:
    """Of the rest what was rolled back goes last, and a refusal undoes no trial."""

    def outcome(id_: int, result: Any, why: str = "") -> Outcome:
        return Outcome(f"{id_}-00000000", str(id_), id_, result, why)

    state = State().noted(outcome(1, "rolled back")).noted(outcome(2, "rolled back"))
    for number in range(3, 3 + 2 * MAX_OUTCOMES):
        state = state.noted(outcome(number, "confirmed"), {"1-00000000", "3-00000000"})
    last = 2 + 2 * MAX_OUTCOMES
    kept = [1, 2, 3, *range(last - MAX_OUTCOMES + 4, last + 1)]
    assert [int(one.version) for one in state.outcomes] == kept
    for number in range(100, 100 + 2 * MAX_OUTCOMES):
        state = state.noted(outcome(number, "rolled back"), {"1-00000000", "3-00000000"})
    assert len(state.outcomes) == MAX_OUTCOMES
    assert state.ended("1-00000000") == "rolled back"
    assert state.ended("2-00000000") is None
    assert state.ended("3-00000000") == "confirmed"
    state = state.noted(outcome(1, "refused"))
    assert state.ended("1-00000000") == "rolled back"
    assert state.noted(outcome(7, "refused")).ended("7-00000000") == "refused"


def test_the_largest_state_is_read_again(tmp_path: Path) -> None:
    """Its reader takes 64 KiB: words from elsewhere, four bytes for each character, are cut."""
    state = State(name="\ud800")
    for number in range(MAX_OUTCOMES + MAX_REFUSED):
        one = f"{number:0200}-00000000"
        result: Any = "refused" if number < MAX_REFUSED else "rolled back"
        state = state.noted(Outcome(one, one[:200], 2**60, result, "\U0001f98a" * 9000))
    tmp_path.mkdir(exist_ok=True)
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert len(state.outcomes) == MAX_OUTCOMES + MAX_REFUSED


@quick
@pytest.mark.parametrize("harm", ["damaged", "another key"])
def test_what_was_rolled_back_does_not_come_in_over_its_own_ruin(
    models: ModelFolder, workshop: Workshop, harm: str
) -> None:
    """Its copy here damaged, or signed by the old key: that makes no new model of it."""
    two = slow_second(models, workshop)
    fresh = workshop
    if harm == "damaged":
        two.path.chmod(0o640)
        two.path.write_bytes(two.path.read_bytes()[:-1])
    else:
        fresh = replace(workshop, key=new_keys())
        trust(models.key, fresh.key.public, replace=True)
    with pytest.raises(UpdateRefused, match="was rolled back: it is slow"):
        update(models, fresh.model("2"))
    assert current(models) == "1"
    assert update(models, fresh.model("2.1", file="again.tflite")).changed


def leftovers(models: ModelFolder) -> list[str]:
    return sorted(path.name for path in (models.path / "incoming").iterdir())


@quick
def test_a_copy_that_failed_is_not_left(
    models: ModelFolder, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody goes on with a copy from a file: neither a torn one stays nor one that was refused."""
    place = workshop.model("1")

    def full(file: Any, content: bytes, into: Path, **_: bool) -> None:
        file.write(content[:1000])
        raise DiskFull("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "write_all", full)
        with pytest.raises(DiskFull):
            update(models, place)
    assert leftovers(models) == ["lock"]
    with monkeypatch.context() as patch:
        patch.setattr(install, "compare_labels", lambda *_, **__: place.with_suffix("").stat())
        with pytest.raises(FileNotFoundError):
            update(models, place)
    assert leftovers(models) == ["lock"]


@quick
def test_a_run_clears_up_what_nobody_comes_back_for(
    models: ModelFolder, workshop: Workshop
) -> None:
    """What a kill left of a copy or a version, at once; of a download, after a week."""
    (one,) = installed(models, workshop, "1")
    incoming, now_s = models.path / "incoming", 1e9
    torn = models.path / "versions" / "2-00000000.part"

    def litter() -> None:
        for name in ("a.tflite", "b.tflite", "b.tflite.from", "c.tflite.from"):
            (incoming / name).write_bytes(b"x" * 100)
            os.utime(incoming / name, (now_s, now_s))
        torn.mkdir(exist_ok=True)

    litter()
    with held(incoming / "lock", wait_s=0, what="?"):
        sweep(models, now_s=lambda: now_s + 2 * KEPT_S)
    assert len(leftovers(models)) == 5
    sweep(models, now_s=lambda: now_s + KEPT_S - 1)
    assert leftovers(models) == ["b.tflite", "b.tflite.from", "lock"]
    assert not torn.exists()
    litter()
    sweep(models, now_s=lambda: now_s + KEPT_S)
    assert leftovers(models) == ["lock"]
    assert models.current() == one
    sweep(ModelFolder(models.path / "none"))
    assert not (models.path / "none").exists()


PI4 = "Raspberry Pi 4 Model B Rev 1.4"


@pytest.mark.parametrize(
    ("target", "board", "architecture", "verdict"),
    [
        ("", "", "x86_64", "yes"),
        ("pi4", PI4, "aarch64", "yes"),
        ("pi4", "Raspberry Pi 400 Rev 1.0", "aarch64", "yes"),
        ("pi4", "Raspberry Pi Compute Module 4 Rev 1.1", "aarch64", "yes"),
        ("pi4", "Raspberry Pi 5 Model B Rev 1.0", "aarch64", "no"),
        ("pi5", PI4, "aarch64", "no"),
        ("pi-zero2", "Raspberry Pi Zero 2 W Rev 1.0", "armv7l", "yes"),
        ("pi-zero2", "Raspberry Pi Zero W Rev 1.1", "armv6l", "no"),
        ("pi4", "", "aarch64", "unknown"),
        ("pi4", "", "x86_64", "no"),
        ("raspberry-pi-4", PI4, "aarch64", "yes"),
        ("raspberry-pi-40", PI4, "aarch64", "no"),
        ("pi6", PI4, "aarch64", "no"),
        ("garden", PI4, "aarch64", "yes"),
        ("pi@garden.local", "", "x86_64", "yes"),
        ("ssh://pi@garden:2222/~/sightpost", "", "x86_64", "yes"),
        ("pi@orchard.local", PI4, "aarch64", "no"),
        ("-", PI4, "aarch64", "no"),
    ],
)
def test_which_board_a_model_is_for(
    target: str, board: str, architecture: str, verdict: str
) -> None:
    """A board by its device tree, other words by the host's name; see the table in ``target``."""
    here = replace(A_PI, board=board, architecture=architecture)
    fit = fit_target(target, here)
    assert fit.verdict == verdict
    assert bool(fit.why) == (verdict != "yes")


@quick
def test_a_board_that_cannot_be_seen_is_said(models: ModelFolder, workshop: Workshop) -> None:
    """In a container on a Pi there is no device tree."""
    blind = replace(A_PI, board="")
    assert "cannot be seen" in update(models, workshop.model("1", target="pi4"), machine=blind).why


def test_unsigned_only_while_no_key_is_trusted(
    tmp_path: Path, models: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From this machine only, after a rehearsal; a plain .tflite is no Bundle."""
    file, free = tiny_bundle(tmp_path / "m.tflite"), station(tmp_path / "free")
    result = install_unsigned(free, str(file))
    assert result.one.id == f"unsigned-{result.one.digest[:8]}"
    assert result.changed
    assert free.open(result.one).digest == result.one.digest
    assert not install_unsigned(free, str(file)).changed
    with pytest.raises(ConfigError, match="this machine only"):
        install_unsigned(free, "http://127.0.0.1:1/m.tflite")
    plain = tmp_path / "plain.tflite"
    plain.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(ModelError):
        install_unsigned(free, str(plain))
    with pytest.raises(UpdateRefused, match="unsigned: key"):
        install_unsigned(models, str(file))
    trust(free.key, new_keys().public)
    with pytest.raises(SignatureRefused):
        free.open(result.one)


@quick
def test_trust_on_first_use(tmp_path: Path, workshop: Workshop) -> None:
    """The one .pub beside the model, if it signed that; never in place of another key."""
    models, place = station(tmp_path / "models"), workshop.model("1")
    with pytest.raises(ModelError, match="0 public keys lie beside"):
        trust_first_use(models, str(place))
    (workshop.folder / "any.pub").write_text(new_keys().public.to_text())
    with pytest.raises(SignatureRefused, match="signed by key"):
        trust_first_use(models, str(workshop.folder))
    assert models.trusted() is None
    Path(f"{place}.pub").write_text(workshop.key.public.to_text())
    assert trust_first_use(models, str(workshop.folder)) == workshop.key.public
    assert models.trusted() == workshop.key.public
    Path(f"{place}.pub").write_text(new_keys().public.to_text())
    assert trust_first_use(models, str(place)) is None
    assert models.trusted() == workshop.key.public


def call(*words: object) -> Result:
    return CliRunner().invoke(cli.app, [str(w) for w in words], catch_exceptions=False)


@quick
def test_the_command_from_key_to_rollback(tmp_path: Path, workshop: Workshop) -> None:
    """trust, install, list, use, rollback: what each says, for people and as JSON."""
    store, pub = ("--store", tmp_path / "s"), workshop.folder / "w.pub"
    one, key = workshop.model("1"), workshop.key.public.name
    pub.write_text(workshop.key.public.to_text())
    refused = call("model", "install", one, *store)
    assert refused.exit_code == 4
    assert "key: no key is trusted here" in refused.stderr
    assert call("model", "trust", *store).stdout == "trusted     none\n"
    assert call("model", "list", *store).stdout == ""
    assert call("model", "rollback", *store).exit_code == 4
    assert call("model", "trust", pub, *store).stdout.startswith(f"trusted     {key}\n")
    first = call("model", "install", one, *store)
    assert first.stdout.startswith("tiny 1 (")
    assert first.stdout.endswith(") is current, on trial\n")
    assert "tried out here: 1.5 ms for a picture, 2 golden frames agreed" in first.stderr
    assert f"the next run with --model {tmp_path / 's' / 'models'} starts with it" in first.stderr
    again = call("model", "install", one, *store, "--json")
    assert json.loads(again.stdout)["changed"] is False
    assert "starts with it" not in again.stderr
    models = ModelFolder(tmp_path / "s" / "models")
    prove(models)
    call("model", "install", workshop.model("2"), *store)
    rows = call("model", "list", *store).stdout.splitlines()
    assert rows[0].split() == ["version", "name", "sha256", "signed", "by", "state"]
    assert rows[1].split()[:3] == ["->", "2", "tiny"]
    assert rows[1].endswith("current, on trial")
    assert rows[2].split()[0] == "1"
    assert rows[2].endswith("previous")
    assert rows[3].endswith("Z  1 confirmed")
    back = json.loads(call("model", "rollback", *store, "--json").stdout)
    assert (back["version"], back["current"], back["on_trial"]) == ("1", True, False)
    again = call("model", "rollback", *store)
    assert (again.exit_code, "no other model" in again.stderr) == (4, True), "2 was rolled back"
    assert call("model", "use", "2", *store).stdout.endswith("is current, on trial\n")
    facts = json.loads(call("model", "list", *store, "--json").stdout)
    assert facts["trusted"]["key_id"] == key
    assert facts["highest"] == {key: {"tiny": "2"}}
    missing = call("model", "use", "7", *store)
    assert (missing.exit_code, "there are: 2, 1" in missing.stderr) == (4, True)


@quick
def test_the_command_says_what_a_new_key_means(tmp_path: Path, workshop: Workshop) -> None:
    """A station whose model the new key did not sign would find none at its next start."""
    models = station(tmp_path / "s" / "models", workshop)
    update(models, workshop.model("1"))
    other = new_keys().public
    words = ("model", "trust", other.to_string(), "--store", tmp_path / "s")
    refused = call(*words)
    assert refused.exit_code == 2
    assert "--replace" in refused.stderr
    assert f"install one signed by {other.name} now" in call(*words, "--replace").stderr


@quick
def test_the_command_takes_an_unsigned_file_or_a_first_key(
    tmp_path: Path, workshop: Workshop
) -> None:
    plain = tiny_bundle(tmp_path / "m.tflite")
    said = call("model", "install", plain, "--unsigned", "--store", tmp_path / "s")
    assert said.stdout.startswith("tiny unsigned (")
    one = workshop.model("1")
    Path(f"{one}.pub").write_text(workshop.key.public.to_text())
    said = call("model", "install", workshop.folder, "--trust-first-use", "--store", tmp_path / "s")
    assert said.exit_code == 0, said.stderr
    assert f"key {workshop.key.public.name} is trusted from now on" in said.stderr
    models = ModelFolder(tmp_path / "s" / "models")
    assert current(models) == "1"
    assert [one.signed for one in models.versions()] == [True, False]


SERVICE = 54321
"""A user that no machine has."""


def python_of_all() -> list[str]:
    """A Python that other users can run, with the packages of this one."""
    own = [path for path in sys.path if path and not path.startswith(sys.base_prefix)]
    paths = os.pathsep.join(own)
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        line = ["env", f"PYTHONPATH={paths}", python]
        try:
            done = subprocess.run([*line, "-c", "import numpy"], user=SERVICE, check=False,
                                  capture_output=True)  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return line
    pytest.skip("no Python here that another user can run")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts for others")
def test_root_puts_its_rights_down(workshop: Workshop) -> None:
    """In a service's folder all that is made is the service's, though its model lay in a folder
    that only root can read; and a link that the service laid leads root nowhere."""
    python, key = python_of_all(), workshop.key.public.to_string()
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        store, victim = Path(name) / "store", Path(name) / "victim"
        store.mkdir()
        os.chown(store, SERVICE, SERVICE)
        victim.write_text("root's")

        def run(*words: object) -> "subprocess.CompletedProcess[str]":
            line = [*python, "-c", "from sightpost_edge.cli import main; main()", "model"]
            line += [*map(str, words), "--store", str(store)]
            return subprocess.run(line, capture_output=True, text=True, check=False)

        assert run("trust", key).returncode == 0
        place = workshop.model("1")
        workshop.folder.chmod(0o700)
        said = run("install", workshop.model("1", file="by-other.tflite", key=new_keys()))
        other = workshop.folder / "by-other.tflite.minisig"
        assert f"sightpost: {other}: it was signed by key" in said.stderr, "not that of the copy"
        said = run("install", place)
        assert said.returncode == 0, said.stderr
        assert {path.lstat().st_uid for path in (store, *store.rglob("*"))} == {SERVICE}
        (store / "models" / "lock").unlink()
        (store / "models" / "lock").symlink_to(victim)
        assert run("install", workshop.model("2")).returncode == 7
        assert (victim.read_text(), victim.stat().st_uid) == ("root's", 0)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts for others")
@pytest.mark.parametrize("planted", ["a link to a folder of root's", "a link to /", "pipes"])
def test_what_a_service_planted_holds_and_leads_root_nowhere(
    workshop: Workshop, planted: str
) -> None:
    """In place of its model folder, or of all that is read there; the stick is root's alone."""
    python = python_of_all()
    place = workshop.model("1")
    Path(f"{place}.pub").write_text(workshop.key.public.to_text())
    workshop.folder.chmod(0o700)
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        store, roots = Path(name) / "store", Path(name) / "roots"
        roots.mkdir()
        roots.chmod(0o755)
        models = store / "models"
        store.mkdir()
        if planted == "pipes":
            models.mkdir()
            os.mkfifo(models / STATE)
        else:
            models.symlink_to("/" if planted == "a link to /" else roots)
        for path in (store, *store.rglob("*")):
            os.chown(path, SERVICE, SERVICE, follow_symlinks=False)
        line = [*python, "-c", "from sightpost_edge.cli import main; main()", "model", "install"]
        line += [str(place), "--store", str(store), "--trust-first-use"]
        said = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
        assert said.returncode == (0 if planted == "pipes" else 7), said.stderr
        assert list(roots.iterdir()) == []
        assert not Path("/trusted.pub").exists()
        assert {path.lstat().st_uid for path in (store, *store.rglob("*"))} == {SERVICE}


def test_who_is_not_root_stays_who_they_are(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "setuid", lambda uid: pytest.fail("rights were changed"))
    become_owner(tmp_path)
