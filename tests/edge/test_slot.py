"""A station's model is replaced while its camera stays open, and put back where it is no good."""

import hashlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

import sightpost_edge
from sightpost_edge.bundle import Bundle
from sightpost_edge.config import Site
from sightpost_edge.errors import (
    ConfigError,
    DiskFull,
    LibraryError,
    ModelError,
    StoreBusy,
    StoreError,
)
from sightpost_edge.models.folder import Installed, ModelFolder
from sightpost_edge.models.opening import UNCLEAN
from sightpost_edge.models.probation import OnProbation, Verdict
from sightpost_edge.models.slot import Slot
from sightpost_edge.models.versions import id_of
from sightpost_edge.sinks.gpio import PinSettings
from sightpost_edge.sources.settings import CameraSettings
from sightpost_edge.station import Station
from sightpost_edge.store import StoredEvent, read_events, read_health
from sightpost_edge.testing import tiny_bundle

from .test_sources import write_clip

GOLDEN = (("red",), ("green",), ("blue",), ("red", "green"))
"""Each makes another file of the same model."""


def install(folder: ModelFolder, version: int, **changes: object) -> Installed:
    """As ``sightpost model install FILE --unsigned`` does, without its checks."""
    folder.path.mkdir(parents=True, exist_ok=True)
    file = tiny_bundle(folder.path / "new.tflite", golden=GOLDEN[version - 1], **changes)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    one = Installed(id_of(str(version), digest), "tiny", str(version), digest, Path(), False)
    with folder.changing():
        return folder.adopt(file, one)


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    made = ModelFolder(tmp_path / "models")
    first = install(made, 1)
    made.trial_ended(first)
    return made


class Scene:
    """A station that runs for as long as the test says; red, green and blue, 15 a second."""

    def __init__(self, folder: ModelFolder, store: Path, **more: object) -> None:
        clip = write_clip(store.parent / "clip.avi", frames_each=8, fps=15)
        self.site = Site(
            model=str(folder.path), source=str(clip), store=str(store), snapshots=False,
            camera=CameraSettings(realtime=True, loop=True), rules={"switch_s": 0.2},
            **more,  # type: ignore[arg-type]
        )  # fmt: skip
        self.told: list[StoredEvent] = []
        self.frames: list[tuple[int, str]] = []
        """Index of each picture, and the digest of the model that saw it."""

    def run(self, look: Callable[[Station], bool], timeout_s: float = 20.0) -> Station:
        """Until ``look`` says that it is enough."""
        end_s = time.monotonic() + timeout_s

        def on_frame() -> None:
            self.frames.append((station.source.pictures, station.bundle.digest))
            if look(station) or time.monotonic() > end_s:
                station.source.close()

        with ExitStack() as held:
            slot = Slot.open(Path(self.site.model))
            station = Station(self.site, slot, held, on_event=self.told.append)
            station.watch(on_frame, lambda: None)
        return station


def test_a_new_model_takes_over_within_two_seconds(folder: ModelFolder, tmp_path: Path) -> None:
    """One picture at most is left out; every event names the model that saw it, none two."""
    scene, installed_s, first_s = Scene(folder, tmp_path / "store"), 0.0, 0.0
    old = folder.current()
    new: Installed | None = None
    assert old is not None

    def look(station: Station) -> bool:
        nonlocal new, installed_s, first_s
        if station.tally.frames == 30:
            new, installed_s = install(folder, 2), time.monotonic()
        if new is not None and station.bundle.digest == new.digest and not first_s:
            first_s = time.monotonic()
        return bool(first_s) and time.monotonic() > first_s + 2.5

    scene.run(look)
    assert new is not None
    assert 0 < first_s - installed_s < 2.0
    numbers = [number for number, _ in scene.frames]
    assert max(b - a for a, b in pairwise(numbers)) <= 2
    assert [digest for _, digest in scene.frames] == sorted(
        (digest for _, digest in scene.frames), key=[old.digest, new.digest].index
    )
    assert {event.model_digest for event in read_events(tmp_path / "store")} == {
        old.digest, new.digest,
    }  # fmt: skip
    cut = [event for event in scene.told if event.reason == "model changed"]
    assert len(cut) <= 1
    assert [row.detail for row in read_health(tmp_path / "store") if row.ok] == [
        f"model {new} has taken over"
    ]


def test_a_model_that_fails_its_trial_is_put_back(folder: ModelFolder, tmp_path: Path) -> None:
    """At once, without the camera noticing; it is told to whoever watches over the station."""
    scene = Scene(folder, tmp_path / "store")
    old = folder.current()
    assert old is not None
    judged: list[str] = []

    def look(station: Station) -> bool:
        if station.tally.frames == 10:
            install(folder, 2)
        classifier = station.models.classifier
        if isinstance(classifier, OnProbation) and not judged:
            judged.append(station.bundle.digest)
            classifier._end(Verdict(False, "it is slow"))
        return bool(judged) and station.bundle.digest == old.digest

    station = scene.run(look)
    assert judged != [old.digest]
    assert station.bundle.digest == old.digest
    assert folder.current() == old
    assert folder.state().outcomes[-1].why == "it is slow"
    rows = [row for row in read_health(tmp_path / "store") if row.fault == "model"]
    assert [row.ok for row in rows] == [True, False, True]
    assert "rolled back" in rows[1].detail


def test_a_model_that_does_not_fit_the_pins_is_left(folder: ModelFolder, tmp_path: Path) -> None:
    """The station's own rules and pins are a reason, too; it goes on with what it had."""
    pytest.importorskip("gpiozero")
    scene = Scene(folder, tmp_path / "store")
    old = folder.current()
    assert old is not None

    def look(station: Station) -> bool:
        if station.tally.frames == 10:
            object.__setattr__(station.site, "pins", [PinSettings(17, ["fox"])])
            install(folder, 2)
        return folder.current() == old and station.tally.frames > 12

    station = scene.run(look)
    assert station.bundle.digest == old.digest
    assert "fox" in folder.state().outcomes[-1].why


def test_a_run_that_died_in_a_trial_costs_the_model_the_trial(
    folder: ModelFolder, tmp_path: Path
) -> None:
    """The next start puts the old one back, and whoever watches over the station hears of it."""
    old = folder.current()
    new = install(folder, 2)
    folder.trial_begun(new)
    station = Scene(folder, tmp_path / "store").run(lambda station: True)
    assert old is not None
    assert station.bundle.digest == old.digest
    assert folder.state().outcomes[-1].why == UNCLEAN
    rows = [row for row in read_health(tmp_path / "store") if row.fault == "model"]
    assert [(row.ok, row.detail) for row in rows] == [
        (ok, f"model {new} is rolled back to {old}: {UNCLEAN}") for ok in (False, True)
    ]
    assert not station.models.on_trial


def test_a_run_that_was_stopped_goes_on_with_the_trial(folder: ModelFolder) -> None:
    new = install(folder, 2)
    for _ in range(3):
        slot = Slot.open(folder.path)
        assert slot.on_trial
        assert slot.bundle.digest == new.digest
        slot.close()


def no_disk(*given: object, **named: object) -> None:
    raise DiskFull("no space left")


def test_a_model_that_the_rules_refuse_gives_way_at_a_start(folder: ModelFolder) -> None:
    """A station that would end there was dark until somebody came."""
    old, new = folder.current(), install(folder, 2)
    assert old is not None
    slot = Slot.open(folder.path)

    def rules_for(bundle: Bundle) -> str:
        if bundle.digest == new.digest:
            raise ConfigError("groups: no label 'fox'")
        return "rules"

    assert slot.fitting(rules_for) == "rules"
    assert slot.bundle.digest == old.digest
    slot.close()
    assert folder.current() == old
    assert "fox" in folder.state().outcomes[-1].why


def test_a_model_that_kills_while_it_is_opened_is_met_once(folder: ModelFolder) -> None:
    old = folder.current()
    install(folder, 2)
    program = (
        "import os, sys; from pathlib import Path; sys.path[:0] = sys.argv[2:]\n"
        "from sightpost_edge.models import folder, slot\n"
        "folder.ModelFolder.open = lambda *given, **named: os._exit(9)\n"
        "slot.Slot.open(Path(sys.argv[1]))"
    )
    package = Path(sightpost_edge.__file__).parent.parent
    ended = subprocess.run(
        [sys.executable, "-c", program, str(folder.path), str(package)], check=False
    )
    assert ended.returncode == 9
    assert old is not None
    slot = Slot.open(folder.path)
    assert slot.bundle.digest == old.digest
    slot.close()


def test_going_back_needs_no_disk(folder: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that takes no note keeps nobody at a bad model, now or after a start."""
    old = folder.current()
    assert old is not None
    install(folder, 2)
    monkeypatch.setattr(ModelFolder, "trial_ended", no_disk)
    slot = Slot.open(folder.path)
    slot.begin()
    assert isinstance(slot.classifier, OnProbation)
    slot.classifier._end(Verdict(False, "it is slow"))
    assert slot.changes()
    slot.change(lambda bundle: None)
    assert slot.bundle.digest == old.digest
    for _ in range(3):
        slot._looked_s = 0.0
        slot.tick()
        assert not slot.changes()
    slot._held.close()  # killed: nothing is written any more
    again = Slot.open(folder.path)
    assert again.bundle.digest == old.digest
    again.close()


def settle(slot: Slot, fits: Callable[[Bundle], object] = lambda bundle: None) -> None:
    """What the loop does between two pictures, until a new model was taken over, or refused."""
    slot._looked_s = 0.0
    slot.tick()
    if slot._coming is not None:
        slot._coming.wait(10)
        slot.change(fits)


def test_a_model_that_no_picture_came_for_is_still_on_trial(folder: ModelFolder) -> None:
    """Loaded at night, stopped before the morning: that is no unclean end."""
    slot = Slot.open(folder.path)
    new = install(folder, 2)
    slot._looked_s = 0.0
    slot.tick()
    assert slot._coming is not None
    slot.close()
    again = Slot.open(folder.path)
    assert (again.bundle.digest, again.on_trial) == (new.digest, True)
    again.close()


def test_a_note_that_the_disk_did_not_take_is_written_later(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A passed trial is not a roll-back at the next start because the disk was full that minute."""
    new = install(folder, 2)
    slot = Slot.open(folder.path)
    slot.begin()
    assert isinstance(slot.classifier, OnProbation)
    slot.classifier._end(Verdict(True, "50 looks"))
    written, tried = ModelFolder.trial_ended, threading.Event()

    def full_at_first(*given: object, **named: object) -> object:
        if not tried.is_set():
            tried.set()
            raise DiskFull("no space left")
        return written(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ModelFolder, "trial_ended", full_at_first)
    slot.tick()
    assert tried.wait(10)
    slot.close()
    assert folder.state().ended(new.id) == "confirmed"


def test_a_model_that_could_not_be_put_back_on_disk_is_not_taken_again(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It killed the run before; that the disk still names it is no reason to open it."""
    old = folder.current()
    folder.trial_begun(install(folder, 2))
    monkeypatch.setattr(ModelFolder, "trial_ended", no_disk)
    slot = Slot.open(folder.path)
    for _ in range(2):
        settle(slot)
    assert old is not None
    assert slot.bundle.digest == old.digest
    slot.close()


def test_a_machine_short_of_memory_is_not_the_models_fault(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on with what it has; the next start tries the new one again."""
    slot = Slot.open(folder.path)
    old, new = slot.bundle.digest, install(folder, 2)

    def fail(self: ModelFolder, one: Installed, *, threads: int = 1) -> Bundle:
        raise LibraryError("the model could not be tried in a process of its own (no memory)")

    with monkeypatch.context() as patch:
        patch.setattr(ModelFolder, "open", fail)
        settle(slot)
        slot.close()
    assert slot.bundle.digest == old
    again = Slot.open(folder.path)
    assert (again.bundle.digest, again.on_trial) == (new.digest, True)
    again.close()


def test_a_card_that_cannot_be_read_is_not_the_models_fault(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before goes on for now; the trial is not lost."""
    old, new, opened = folder.current(), install(folder, 2), ModelFolder.open

    def fail(self: ModelFolder, one: Installed, *, threads: int = 1) -> Bundle:
        if one.id == new.id:
            raise StoreError("cannot read it: Input/output error")
        return opened(self, one, threads=threads)

    assert old is not None
    with monkeypatch.context() as patch:
        patch.setattr(ModelFolder, "open", fail)
        slot = Slot.open(folder.path)
        slot.close()
    assert slot.bundle.digest == old.digest
    again = Slot.open(folder.path)
    assert (again.bundle.digest, again.on_trial) == (new.digest, True)
    again.close()


def test_a_model_installed_while_a_run_starts_is_taken(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening the first one takes seconds on a small board."""
    opened, new = ModelFolder.open, list[Installed]()

    def slow(self: ModelFolder, one: Installed, *, threads: int = 1) -> Bundle:
        if not new:
            new.append(install(folder, 2))
        return opened(self, one, threads=threads)

    monkeypatch.setattr(ModelFolder, "open", slow)
    slot = Slot.open(folder.path)
    assert slot.bundle.digest != new[0].digest
    settle(slot)
    assert slot.bundle.digest == new[0].digest
    slot.close()


def test_a_run_starts_without_what_a_trial_is_compared_with(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No memory for another child: the new model runs, and is judged by itself."""
    new, opened = install(folder, 2), ModelFolder.open

    def short(self: ModelFolder, one: Installed, *, threads: int = 1) -> Bundle:
        if one.id != new.id:
            raise LibraryError("the model could not be tried in a process of its own (no memory)")
        return opened(self, one, threads=threads)

    monkeypatch.setattr(ModelFolder, "open", short)
    slot = Slot.open(folder.path)
    assert (slot.bundle.digest, slot.on_trial) == (new.digest, True)
    slot.close()


def test_a_newer_model_on_disk_is_no_passed_trial(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``current`` moves between two looks at the disk: the trial is that of another version."""
    slot = Slot.open(folder.path)
    new = install(folder, 2)
    settle(slot)
    current = ModelFolder.current

    def moved(self: ModelFolder) -> Installed | None:
        seen = current(self)
        monkeypatch.undo()
        install(folder, 3)
        return seen

    monkeypatch.setattr(ModelFolder, "current", moved)
    slot._looked_s = 0.0
    slot.tick()
    assert (slot.bundle.digest, slot.on_trial) == (new.digest, True)
    slot.close()


def test_a_proven_model_that_the_rules_refuse_does_not_stay_current(folder: ModelFolder) -> None:
    """Its owner chose it; the run goes on with what it has, and so does the next start."""
    one = folder.current()
    two = install(folder, 2)
    folder.trial_ended(two)
    slot = Slot.open(folder.path)
    assert one is not None

    def fits(bundle: Bundle) -> None:
        if bundle.digest == one.digest:
            raise ConfigError("the rules name a badger")

    folder.switch(one, why="by hand")
    settle(slot, fits)
    slot.close()
    assert slot.bundle.digest == two.digest
    assert folder.current() == two
    assert folder.state().trial is None
    assert folder.state().outcomes[-1].why == "the rules name a badger"


def test_a_trial_that_its_owner_spares_the_model_is_over_in_the_run_too(
    folder: ModelFolder,
) -> None:
    """``model use --no-trial`` in the middle of it."""
    slot = Slot.open(folder.path)
    new = install(folder, 2)
    settle(slot)
    assert slot.on_trial
    folder.switch(new, why="by hand", proven=True)
    settle(slot)
    assert (slot.on_trial, slot.bundle.digest) == (False, new.digest)
    slot.close()


def test_one_run_follows_a_folder(folder: ModelFolder) -> None:
    """A second one is no proof that the first has died in its trial."""
    new = install(folder, 2)
    slot = Slot.open(folder.path)
    slot.begin()
    with pytest.raises(StoreBusy, match="another run"):
        Slot.open(folder.path)
    trial = folder.state().trial
    assert trial is not None
    assert (trial.id, trial.begun) == (new.id, True)
    slot.close()
    Slot.open(folder.path).close()


@pytest.mark.parametrize("damage", [b"", b"TFL3 no more", None])
def test_a_damaged_model_is_no_reason_to_go_dark(
    folder: ModelFolder, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The one before it goes on, and that is said."""
    old = folder.current()
    new = install(folder, 2)
    folder.trial_ended(new)
    if damage is None:
        shutil.rmtree(new.path.parent)
    else:
        new.path.chmod(0o600)
        new.path.write_bytes(damage)
    assert old is not None
    assert Slot.open(folder.path).bundle.digest == old.digest
    assert caplog.records


def test_no_model_is_installed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model is installed"):
        Slot.open(tmp_path)


def test_a_file_stays_what_it_is(tmp_path: Path) -> None:
    slot = Slot(Bundle.open(tiny_bundle(tmp_path / "tiny.tflite")))
    slot.tick()
    assert not slot.changes()
    assert slot.name == ""
