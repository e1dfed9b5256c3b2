"""The model a run works with: opened at its start, replaced while the camera stays open, on trial.

Whoever installs moves a link; the run sees it, opens the new model in a thread while the old one
goes on, and changes between two pictures. Until the trial is passed the old one stays at hand.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..bundle import Bundle
from ..classifier import BundleClassifier, Classifier
from ..errors import ModelError, SightpostError, StoreError
from .folder import Installed, ModelFolder
from .probation import OnProbation

LOOK_S = 0.5
"""So often it is asked which model is wanted: a readlink. The first Prediction of a new one comes
within two seconds."""
UNCLEAN = "the run ended uncleanly during its trial"

log = logging.getLogger("sightpost")

Told = Callable[[bool, str], None]
"""Is told what becomes of a new model: whether that is good, and one sentence."""


class Slot:
    """Holds ``bundle`` and ``classifier``; called from the thread of the loop only.

    Args:
        bundle: opened already.
        folder: where other versions come from; None: this file it is, to the end.
        one: which version ``bundle`` is.
        old: what it is compared with where it is on trial from the start.
        tell: see ``Told``.
    """

    def __init__(
        self,
        bundle: Bundle,
        folder: ModelFolder | None = None,
        one: Installed | None = None,
        *,
        old: Bundle | None = None,
        tell: Told = lambda good, text: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bundle, self.tell = bundle, tell
        self._folder, self._one, self._clock_s = folder, one, clock_s
        self._looked_s = clock_s()
        self._old: Bundle | None = None
        self._coming: _Loading | None = None
        self._refused = ""
        self.classifier: Classifier = BundleClassifier(bundle)
        if self._is_pending():
            self._begin_trial(old)

    @classmethod
    def open(cls, path: Path, *, threads: int = 0) -> "Slot":
        """What a model folder's ``current`` names, or the newest version that can be used.

        Raises:
            ModelError: there is none.
        """
        folder = ModelFolder(path)
        one = _heal(folder)
        if one is None:
            raise ModelError(
                f"no model is installed in {path}",
                hint="sightpost model install FILE puts one there",
            )
        one, bundle = _open_best(folder, one, threads)
        return cls(bundle, folder, one, old=_reference(folder, one, threads))

    @property
    def name(self) -> str:
        """The version's name and number; "" for a file of its own."""
        return str(self._one) if self._one is not None else ""

    @property
    def on_trial(self) -> bool:
        """Whether the model is not confirmed yet."""
        return isinstance(self.classifier, OnProbation)

    def tick(self) -> None:
        """See which model is wanted and how a trial goes; nothing is opened in this thread."""
        if self._folder is None:
            return
        if isinstance(self.classifier, OnProbation):
            verdict = self.classifier.verdict
            if verdict is not None and verdict.passed:
                self._confirm(verdict.why)
        if self._clock_s() - self._looked_s < LOOK_S or self._coming is not None:
            return
        self._looked_s = self._clock_s()
        wanted = self._folder.current()
        if wanted is None or self._is_here(wanted):
            self._refused = ""
        elif wanted.id != self._refused:
            self._coming = _Loading(self._folder, wanted, self.bundle.network.threads)

    def changes(self) -> bool:
        """Whether ``change`` has something to do."""
        return self._has_failed() or (self._coming is not None and self._coming.done)

    def change(self, fits: Callable[[Bundle], object]) -> None:
        """Take the other model, between two pictures; the one that failed its trial goes.

        Args:
            fits: raises a SightpostError where the station's rules or pins do not go with a Bundle.
        """
        if self._has_failed():
            self._roll_back()
        elif self._coming is not None and self._coming.done:
            coming, self._coming = self._coming, None
            self._take(coming, fits)

    def failed(self, exc: Exception) -> bool:
        """The model raised while it was on trial: whether another one takes over."""
        if not self.on_trial or self._folder is None or self._one is None:
            return False
        back = self._end_trial(self._one, str(exc))
        if back is None:
            return False
        self._return_to(back, str(exc))
        return True

    def close(self) -> None:
        """The run ends as it should: a trial goes on with the next one."""
        if self.on_trial and self._folder is not None and self._one is not None:
            with _best_effort():
                self._folder.trial_paused(self._one)

    def _is_here(self, wanted: Installed) -> bool:
        return self._one is not None and wanted.id == self._one.id

    def _is_pending(self) -> bool:
        """Whether this version is to stand a trial."""
        if self._folder is None or self._one is None:
            return False
        trial = self._folder.state().trial
        return trial is not None and trial.id == self._one.id

    def begin(self) -> None:
        """The next picture is the model's: whoever starts after a crash knows what it crashed with.

        Not sooner: a camera that is missing is not the model's fault.
        """
        if self.on_trial and self._folder is not None and self._one is not None:
            with _best_effort():
                self._folder.trial_begun(self._one)

    def _begin_trial(self, old: Bundle | None) -> None:
        self._old = old
        reference = None if old is None else BundleClassifier(old)
        self.classifier = OnProbation(BundleClassifier(self.bundle), reference)
        log.info("model %s is on trial", self._one)

    def _confirm(self, why: str) -> None:
        assert self._folder is not None
        assert self._one is not None
        self._end_trial(self._one)
        self.classifier, self._old = BundleClassifier(self.bundle), None
        self.tell(True, f"model {self._one} has passed its trial ({why})")

    def _has_failed(self) -> bool:
        verdict = self.classifier.verdict if isinstance(self.classifier, OnProbation) else None
        return verdict is not None and not verdict.passed

    def _roll_back(self) -> None:
        assert isinstance(self.classifier, OnProbation)
        assert self._folder is not None
        assert self._one is not None
        verdict = self.classifier.verdict
        why = verdict.why if verdict is not None else ""
        back = self._end_trial(self._one, why)
        if back is not None:
            self._return_to(back, why)
            return
        self.classifier = BundleClassifier(self.bundle)
        self.tell(False, f"model {self._one}: {why}; it stays")

    def _end_trial(self, one: Installed, failed: str = "") -> Installed | None:
        """What there is to go back to at once, where it failed; another one ``tick`` opens."""
        assert self._folder is not None
        with _best_effort():
            self._folder.trial_ended(one, failed=failed)
        now, old = self._folder.current(), self._old  # a full disk takes no note, but goes back
        return now if now is not None and old is not None and now.digest == old.digest else None

    def _return_to(self, back: Installed, why: str) -> None:
        assert self._old is not None
        assert self._one is not None
        gone, self._one = self._one, back
        self.bundle, self._old = self._old, None
        self.classifier = BundleClassifier(self.bundle)
        self.tell(False, f"model {gone} is rolled back to {back}: {why}")

    def _take(self, coming: "_Loading", fits: Callable[[Bundle], object]) -> None:
        """What cannot be used is left, and not tried again by this run."""
        assert self._folder is not None
        try:
            bundle = coming.result()
            fits(bundle)
        except SightpostError as exc:
            self._refused = coming.one.id  # until another one is wanted, or this one again
            self._end_trial(coming.one, str(exc))
            self.tell(False, f"model {coming.one} is not taken: {exc}")
            return
        before, self.bundle, self._one = self.bundle, bundle, coming.one
        self.classifier, self._old = BundleClassifier(bundle), None
        if self._is_pending():
            self._begin_trial(before)
        self.tell(True, f"model {coming.one} has taken over")


@contextmanager
def _best_effort() -> Iterator[None]:
    """A disk that takes no note of a trial does not end it."""
    try:
        yield
    except StoreError as exc:
        log.warning("%s", exc)


class _Loading:
    """Opens a model in a thread of its own."""

    def __init__(self, folder: ModelFolder, one: Installed, threads: int) -> None:
        self.one = one
        self._folder, self._threads = folder, threads
        self._bundle: Bundle | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._open, name="model", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Bundle:
        """The Bundle, or what opening it raised."""
        if self._bundle is None:
            raise self._error or ModelError("the model could not be opened")
        return self._bundle

    def _open(self) -> None:
        try:
            self._bundle = self._folder.open(self.one, threads=self._threads)
        except SightpostError as exc:
            self._error = exc
        except Exception as exc:  # noqa: BLE001 - a model is no reason for a camera to stop
            self._error = ModelError(f"the model could not be opened: {exc}")


def _heal(folder: ModelFolder) -> Installed | None:
    """The version to open, once a run that died in a trial has cost its model that trial."""
    one, trial = folder.current(), folder.state().trial
    if one is None and (other := folder.previous()) is not None:
        log.error("the current model in %s is gone: %s goes on", folder.path, other)
        return other
    if one is None or trial is None or trial.id != one.id or not trial.begun:
        return one
    back = folder.trial_ended(one, failed=UNCLEAN)
    if back is None or back.id == one.id:
        log.warning("model %s goes on, there is no other one; %s", one, UNCLEAN)
        return one
    log.warning("model %s is rolled back to %s: %s", one, back, UNCLEAN)
    return back


def _open_best(folder: ModelFolder, wanted: Installed, threads: int) -> tuple[Installed, Bundle]:
    """``wanted``, else the newest other version that can be used: a station should not go dark."""
    try:
        return wanted, folder.open(wanted, threads=threads)
    except ModelError as exc:
        refused = exc
    back = folder.trial_ended(wanted, failed=str(refused)) if _on_trial(folder, wanted) else None
    known = (back, folder.previous(), *folder.versions())
    others = [one for one in known if one is not None and one.id != wanted.id]
    for one in others:
        try:
            bundle = folder.open(one, threads=threads)
        except ModelError:
            continue
        log.error("model %s cannot be used (%s): %s goes on", wanted, refused, one)
        return one, bundle
    raise refused


def _on_trial(folder: ModelFolder, one: Installed) -> bool:
    trial = folder.state().trial
    return trial is not None and trial.id == one.id


def _reference(folder: ModelFolder, one: Installed, threads: int) -> Bundle | None:
    """What a model on trial is compared with; it does without where that cannot be opened."""
    before = folder.previous() if _on_trial(folder, one) else None
    if before is None or before.id == one.id:
        return None
    try:
        return folder.open(before, threads=threads)
    except ModelError as exc:
        log.warning("model %s cannot be used any more: %s", before, exc)
        return None
