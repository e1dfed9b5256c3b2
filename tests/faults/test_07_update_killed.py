"""kill -9 before every step of an update: the old model or the new one, whole; then it finishes."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sightpost_edge.errors import DiskFull, SightpostError
from sightpost_edge.models import ModelFolder, install

from ..edge.test_models import damage_model
from ..model_rig import Workshop, prove, station, update
from .conftest import ReportFault
from .update_worker import act, rehearsed

WORKER = Path(__file__).parent / "update_worker.py"
KILLED = -9
MOST_STEPS = 300


@pytest.fixture(autouse=True)
def unrehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "rehearse", rehearsed)


@dataclass(frozen=True, slots=True)
class Scene:
    """A folder, what is done to it, and which versions may be current after a kill."""

    name: str
    models: ModelFolder
    action: str
    word: str
    before: str
    after: str


@dataclass(slots=True)
class Found:
    """What the kills of all scenes came to."""

    kills: int = 0
    slowest_s: float = 0.0
    wrong: list[str] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)


Worker = Callable[[Scene, Path, int, bool], int]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One process that has loaded everything, and forks for each job."""
    line = [sys.executable, str(WORKER)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(line, stdin=-1, stdout=-1, text=True, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def run(scene: Scene, folder: Path, step: int, full: bool) -> int:
            job = {"folder": str(folder), "action": scene.action, "word": scene.word,
                   "step": step, "full": full}  # fmt: skip
            print(json.dumps(job), file=stdin, flush=True)
            return int(stdout.readline())

        yield run
        stdin.close()


def scenes(place: Path) -> Iterator[Scene]:
    """All that ever changes a model folder, each from a folder of its own."""
    workshop = Workshop(place / "workshop")
    one, two, three = (workshop.model(version) for version in ("1", "2", "3"))

    def folder(name: str, *models: Path, unproven: bool = False) -> ModelFolder:
        made = station(place / name, workshop)
        for model in models:
            update(made, model)
            if not (unproven and model == models[-1]):
                prove(made)
        return made

    def ids(made: ModelFolder) -> tuple[str, str]:
        newest, older = made.versions()[:2]
        return newest.id, older.id

    yield Scene("first install", folder("first"), "install", str(one), "", "1")
    yield Scene("install", folder("next", one), "install", str(two), "1", "2")
    made = folder("fourth", one, two, three)
    yield Scene("install, one goes", made, "install", str(workshop.model("4")), "3", "4")
    made = folder("trial", one, two, unproven=True)
    yield Scene("install in a trial", made, "install", str(three), "2", "3")
    made = folder("mend", one)
    damage_model(made.versions()[0])
    yield Scene("install over damage", made, "install", str(one), "1", "1")
    made = folder("use", one, two)
    yield Scene("use, rollback", made, "switch", ids(made)[1], "2", "1")
    made = folder("begun", one, two, unproven=True)
    yield Scene("trial begins", made, "begun", ids(made)[0], "2", "2")
    made = folder("passed", one, two, unproven=True)
    made.trial_begun(made.versions()[0])
    yield Scene("trial is passed", made, "confirmed", ids(made)[0], "2", "2")
    made = folder("lost", one, two, unproven=True)
    made.trial_begun(made.versions()[0])
    yield Scene("trial is lost", made, "blind", ids(made)[0], "2", "1")


def version(models: ModelFolder) -> str:
    found = models.current()
    return found.version if found else ""


def wrong_now(scene: Scene, models: ModelFolder) -> Iterator[str]:
    """After a kill: old or new, and it opens by its signature."""
    now = models.current()
    if version(models) not in (scene.before, scene.after):
        yield f"{scene.name}: {version(models)!r} is current"
    if now is not None and scene.name != "install over damage":
        try:
            models.open(now)
        except SightpostError as exc:
            yield f"{scene.name}: {exc}"
    fresh = now is not None and scene.action == "install" and now.version == scene.after
    if fresh and scene.before != scene.after and models.state().trial is None:
        yield f"{scene.name}: it is current without a trial"


def wrong_in_the_end(scene: Scene, models: ModelFolder) -> Iterator[str]:
    """After the same was done once more: the new one, nothing half done, the way back open."""
    now, state = models.current(), models.state()
    if now is None or now.version != scene.after:
        yield f"{scene.name}: {version(models)!r} is current in the end"
        return
    models.open(now)
    back = models.previous()
    if scene.action == "blind":
        if back is not None:
            yield f"{scene.name}: the way back leads to what failed"
    elif scene.before not in ("", scene.after) and scene.name != "install in a trial":
        if back is None or back.version != scene.before:
            yield f"{scene.name}: the way back leads to {back}"
    elif back is not None:
        models.open(back)
    if scene.action == "confirmed" and (state.trial or now.id not in state.proven):
        yield f"{scene.name}: it is not proven"
    if scene.action == "blind" and state.outcomes[-1].result != "rolled back":
        yield f"{scene.name}: the roll-back was not noted"
    if scene.action == "install":
        yield from (f"{scene.name}: {left} was left" for left in leftovers(models))


def leftovers(models: ModelFolder) -> Iterator[str]:
    usual = {"current", "versions", "state.json", "incoming", "lock", "trusted.pub"}
    yield from {path.name for path in models.path.iterdir()} - usual
    yield from {path.name for path in (models.path / "incoming").iterdir()} - {"lock"}
    there = {path.name for path in (models.path / "versions").iterdir()}
    yield from there - {one.id for one in models.versions()}
    if len(there) > 3:
        yield "a fourth version"


def again(scene: Scene, models: ModelFolder) -> None:
    """The operator, or the run that starts, does it once more."""
    act(models, scene.action, scene.word)


def kill_everywhere(scene: Scene, worker: Worker, found: Found, *, full: bool = False) -> None:
    """At the first step, at the second, and so on until there is none left."""
    folder = scene.models.path.with_name(f"{scene.models.path.name}-killed")
    for step in range(1, MOST_STEPS):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(scene.models.path, folder, symlinks=True)
        models, code = ModelFolder(folder), worker(scene, folder, step, full)
        if code == 0:
            return
        found.kills += 1
        if code != (DiskFull.exit_code if full else KILLED):
            found.wrong.append(f"{scene.name}, step {step}: exit code {code}")
        problems = list(wrong_now(scene, models))
        began_s = time.perf_counter()
        again(scene, models)
        found.slowest_s = max(found.slowest_s, time.perf_counter() - began_s)
        problems += wrong_in_the_end(scene, models)
        found.wrong += [f"step {step}: {problem}" for problem in problems]
    pytest.fail(f"{scene.name} never ended")


QUICK = ("install", "trial is lost")


def all_kills(place: Path, worker: Worker, *names: str, full: bool = False) -> Found:
    """Of the scenes with these names, or of all."""
    found = Found()
    for scene in scenes(place):
        if not names or scene.name in names:
            before = found.kills
            kill_everywhere(scene, worker, found, full=full)
            found.steps[scene.name] = found.kills - before
    return found


def test_killed_at_every_step(place: Path, worker: Worker, report_fault: ReportFault) -> None:
    """An install and a roll-back, killed before each of their steps in turn."""
    found = all_kills(place, worker, *QUICK)
    note = f"until the new model was in place; {found.steps['install']} steps of an install"
    report_fault("7 update killed", found.kills, len(found.wrong), found.slowest_s, note)
    assert not found.wrong
    assert found.steps["install"] >= 25, "the steps were not seen"
    assert found.steps["trial is lost"] >= 5


@pytest.mark.slow
def test_whatever_changes_a_folder_killed_at_every_step(
    place: Path, worker: Worker, report_fault: ReportFault
) -> None:
    """First installs, repairs, use, rollback, and what a run notes of trials."""
    found = all_kills(place, worker)
    note = f"{len(found.steps)} things that change a model folder, at each of their steps"
    report_fault("7 update killed, all steps", found.kills, len(found.wrong), found.slowest_s, note)
    assert not found.wrong
    assert min(found.steps.values()) >= 3


@pytest.mark.slow
def test_a_disk_that_is_full_from_any_step_on(
    place: Path, worker: Worker, report_fault: ReportFault
) -> None:
    """It is said, with its own exit code; what was current goes on; with room again it is done."""
    found = all_kills(place, worker, full=True)
    report_fault("7 update, disk full", found.kills, len(found.wrong), found.slowest_s)
    assert not found.wrong
