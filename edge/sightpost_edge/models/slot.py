"""The model a run works with: opened at its start, replaced while the camera stays open, on trial.

Whoever installs moves a link; the run sees it, opens the new model in a thread while the old one
goes on, and changes between two pictures. Until the trial is passed the old one stays at hand, and
going back to it needs no disk.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from ..bundle import Bundle
from ..classifier import BundleClassifier, Classifier
from ..errors import ConfigError, ModelError, SightpostError
from ..lock import held
from .folder import SPARED, Installed, ModelFolder
from .incoming import sweep
from .notes import CLOSE_S, Notes
from .opening import Loading, Opened, best_effort, is_on_trial, open_wanted
from .probation import OnProbation, Verdict
from .report import Report

T = TypeVar("T")

LOOK_S = 0.5
"""So often it is asked which model is wanted: a readlink. The first Prediction of a new one comes
within two seconds."""
RUNNING, RUNNING_S = "running", 1.0
"""Held by the run that follows a folder, and for a moment by whoever asks if there is one."""

log = logging.getLogger("sightpost")


class Slot:
    """Holds ``bundle`` and ``classifier``; called from the thread of the loop only.

    Args:
        bundle: opened already.
        folder: where other versions come from; None: this file it is, to the end.
        one: which version ``bundle`` is.
        old: what it is compared with where it is on trial from the start.
        report: what became of the models on the way here; it goes on with what becomes of them.
    """

    def __init__(
        self,
        bundle: Bundle,
        folder: ModelFolder | None = None,
        one: Installed | None = None,
        *,
        old: Opened | None = None,
        report: Report | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bundle, self.report = bundle, report or Report()
        self._folder, self._one, self._clock_s = folder, one, clock_s
        self._looked_s = clock_s()
        self._old: Opened | None = None
        self._coming: Loading | None = None
        self._refused = ""
        self._notes, self._held = Notes(), ExitStack()
        self.classifier: Classifier = BundleClassifier(bundle)
        if folder is not None and one is not None and is_on_trial(folder, one):
            self._begin_trial(old)

    @classmethod
    def open(cls, path: Path, *, threads: int = 0) -> "Slot":
        """What a model folder's ``current`` names, or another version that can be used.

        Raises:
            ModelError: there is none.
            StoreBusy: another run follows this folder; its trial is not this one's.
        """
        folder, report = ModelFolder(path), Report()
        with ExitStack() as keeps:
            if path.is_dir():
                what = f"another run uses the models in {path}"
                keeps.enter_context(held(path / RUNNING, wait_s=RUNNING_S, what=what))
            sweep(folder)
            asked = folder.current()  # not later: a new one may be installed meanwhile
            opened, old = open_wanted(folder, threads, report.tell)
            slot = cls(opened.bundle, folder, opened.one, old=old, report=report)
            if asked is not None and not slot._is_here(asked):
                slot._refused = asked.id  # it gave way, whether or not the disk took note of that
            slot._held.push(keeps.pop_all())
            slot._held.callback(slot._pause)  # before the lock is let go
        return slot

    @property
    def name(self) -> str:
        """The version's name and number; "" for a file of its own."""
        return str(self._one) if self._one is not None else ""

    @property
    def on_trial(self) -> bool:
        """Whether the model is not confirmed yet."""
        return isinstance(self.classifier, OnProbation)

    def fitting(self, rules_for: Callable[[Bundle], T]) -> T:
        """What ``rules_for`` makes of the Bundle; one on trial that it refuses gives way.

        Raises:
            SightpostError: as ``rules_for`` does, where there is no other model.
        """
        try:
            return rules_for(self.bundle)
        except SightpostError as exc:
            if not self._gives_way(str(exc)):
                raise
        return rules_for(self.bundle)

    def begin(self) -> None:
        """The first picture is the model's: who starts after a crash knows what it crashed with.

        Not sooner: a camera that is missing is not the model's fault.
        """
        if self.on_trial and self._folder is not None and self._one is not None:
            with best_effort():
                self._folder.trial_begun(self._one)

    def tick(self) -> None:
        """See which model is wanted and how a trial goes; never waits for a disk."""
        if self._folder is None:
            return
        verdict = self._verdict
        if verdict is not None and verdict.passed:
            self._confirm(verdict.why)
        if self._clock_s() - self._looked_s < LOOK_S or self._coming is not None:
            return
        self._looked_s = self._clock_s()
        wanted = self._folder.current()
        if wanted is None or self._is_here(wanted):
            self._refused = ""
            if wanted is not None and self.on_trial and wanted.id in self._folder.state().proven:
                self._confirmed(SPARED)
        elif wanted.id != self._refused:
            self._coming = Loading(self._folder, wanted, self.bundle.network.threads)

    def changes(self) -> bool:
        """Whether ``change`` has something to do."""
        verdict = self._verdict
        failed = verdict is not None and not verdict.passed
        return failed or (self._coming is not None and self._coming.done)

    def change(self, fits: Callable[[Bundle], object]) -> None:
        """Take the other model, between two pictures; the one that failed its trial goes.

        Args:
            fits: raises a SightpostError where the station's rules or pins do not go with a Bundle.
        """
        verdict = self._verdict
        if verdict is not None and not verdict.passed:
            if not self._gives_way(verdict.why):
                self._stays(verdict.why)
        elif self._coming is not None and self._coming.done:
            coming, self._coming = self._coming, None
            self._take(coming, fits)

    def failed(self, exc: Exception) -> bool:
        """The model raised: whether it was on trial and another one takes over."""
        return self.on_trial and self._gives_way(str(exc))

    def close(self) -> None:
        """The run ends as it should: a trial goes on with the next one."""
        self._notes.close()
        self._held.close()  # each of it once, however often this is called

    def _pause(self) -> None:
        """Also that of one which was opened and no picture came for, or whose end was not noted."""
        if self._coming is not None:
            self._coming.wait(CLOSE_S)
        for one in (self._one, self._coming.one if self._coming is not None else None):
            if self._folder is not None and one is not None:
                with best_effort():
                    self._folder.trial_paused(one)

    def _is_here(self, wanted: Installed) -> bool:
        return self._one is not None and wanted.id == self._one.id

    @property
    def _verdict(self) -> Verdict | None:
        """How the trial ended; None while there is none, or it goes on."""
        return self.classifier.verdict if isinstance(self.classifier, OnProbation) else None

    def _begin_trial(self, old: Opened | None) -> None:
        self._old = old
        reference = None if old is None else BundleClassifier(old.bundle)
        self.classifier = OnProbation(BundleClassifier(self.bundle), reference)
        log.info("model %s is on trial", self._one)

    def _confirm(self, why: str) -> None:
        self._end_trial()
        self._confirmed(why)

    def _confirmed(self, why: str) -> None:
        self.classifier, self._old = BundleClassifier(self.bundle), None
        self.report.tell(True, f"model {self._one} has passed its trial ({why})")

    def _stays(self, why: str) -> None:
        self._end_trial(why)
        self.classifier = BundleClassifier(self.bundle)
        self.report.tell(False, f"model {self._one}: {why}; it stays, there is no other one")

    def _gives_way(self, why: str) -> bool:
        """Put the old model back, at once and whatever the disk says; False where there is none."""
        old, gone = self._old, self._one
        if old is None or gone is None:
            return False
        self._end_trial(why)
        self.bundle, self._one, self._old = old.bundle, old.one, None
        self.classifier = BundleClassifier(self.bundle)
        self._refused = gone.id  # until the disk knows as well
        self.report.tell(False, f"model {gone} is rolled back to {old.one}: {why}")
        return True

    def _end_trial(self, failed: str = "") -> None:
        folder, one = self._folder, self._one
        if folder is not None and one is not None:
            self._notes.put(lambda: folder.trial_ended(one, failed=failed))

    def _take(self, coming: Loading, fits: Callable[[Bundle], object]) -> None:
        """What cannot be used is left, and not tried again before another one was wanted."""
        folder, one, here = self._folder, coming.one, self._one
        assert folder is not None
        try:
            opened = coming.result()
            fits(opened.bundle)
        except (ModelError, ConfigError) as exc:
            self._refused, why = one.id, str(exc)
            self._notes.put(lambda: folder.trial_ended(one, failed=why, instead=here))
            self.report.tell(False, f"model {one} is not taken: {why}")
            return
        except SightpostError as exc:  # the machine's fault, not the model's
            self._refused = one.id
            self._notes.put(lambda: folder.trial_paused(one))
            self.report.tell(False, f"model {one} is tried again at the next start: {exc}")
            return
        # One that was on trial itself is no measure for the next.
        mine = Opened(here, self.bundle) if here is not None else None
        before = self._old if self.on_trial and self._old is not None else mine
        if before is not None and not folder.trusts(before.one):
            before = None  # the next start would refuse it
        self.bundle, self._one = opened.bundle, one
        self.classifier, self._old = BundleClassifier(opened.bundle), None
        if coming.on_trial:
            self._begin_trial(before)
        self.report.tell(True, f"model {one} has taken over")
