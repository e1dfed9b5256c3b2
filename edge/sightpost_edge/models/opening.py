"""The models of a folder as a run opens them: the one that is wanted, else one that can be used.

Whoever opens a model that has not proven itself writes it down first: what kills the process while
it is opened must not be met again at the next start.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..bundle import Bundle
from ..errors import LibraryError, ModelError, SightpostError, StoreError
from .folder import Installed, ModelFolder
from .report import Told

UNCLEAN = "the run ended uncleanly during its trial"
_REFUSED = (ModelError, StoreError, LibraryError)
"""Another version may do: only the first of these is the model's own fault."""

log = logging.getLogger("sightpost")


@dataclass(frozen=True, slots=True)
class Opened:
    """A version, and the Bundle that it is."""

    one: Installed
    bundle: Bundle = field(repr=False)


def open_wanted(folder: ModelFolder, threads: int, tell: Told) -> tuple[Opened, Opened | None]:
    """What ``current`` names, or else what can be used; and what it is compared with in its trial.

    ``tell`` hears of each model that had to give way.

    Raises:
        ModelError: none can be used.
    """
    wanted = _healed(folder, tell)
    if wanted is None:
        raise ModelError(
            f"no model is installed in {folder.path}",
            hint="sightpost model install FILE puts one there",
        )
    with _in_trial(folder, wanted):
        opened = _open_best(folder, wanted, threads, tell)
        return opened, _reference(folder, opened.one, threads)


def is_on_trial(folder: ModelFolder, one: Installed) -> bool:
    """Whether this version has not proven itself yet."""
    trial = folder.state().trial
    return trial is not None and trial.id == one.id


@contextmanager
def best_effort() -> Iterator[None]:
    """A disk that takes no note of a trial does not end it."""
    try:
        yield
    except StoreError as exc:
        log.warning("%s", exc)


class Loading:
    """Opens a model in a thread of its own; its trial has begun with that."""

    def __init__(self, folder: ModelFolder, one: Installed, threads: int) -> None:
        self.one = one
        self._folder, self._threads = folder, threads
        self.on_trial = False
        self._bundle: Bundle | None = None
        self._error: SightpostError | None = None
        self._thread = threading.Thread(target=self._open, name="model", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Until it is done, or for so long."""
        self._thread.join(timeout_s)

    @property
    def done(self) -> bool:
        """Whether ``result`` is known."""
        return not self._thread.is_alive()

    def result(self) -> Opened:
        """The model, or what opening it raised."""
        if self._bundle is None:
            raise self._error or ModelError("the model could not be opened")
        return Opened(self.one, self._bundle)

    def _open(self) -> None:
        try:
            self.on_trial = is_on_trial(self._folder, self.one)
            with best_effort():
                self._folder.trial_begun(self.one)
            self._bundle = self._folder.open(self.one, threads=self._threads)
        except SightpostError as exc:
            self._error = exc
        except Exception as exc:  # noqa: BLE001 - a model is no reason for a camera to stop
            self._error = ModelError(f"the model could not be opened: {exc}")


def _healed(folder: ModelFolder, tell: Told) -> Installed | None:
    """The version to open, once a run that died in a trial has cost its model that trial."""
    one, trial = folder.current(), folder.state().trial
    if one is None:
        other = folder.previous()
        if other is not None:
            tell(False, f"the current model in {folder.path} is gone: {other} goes on")
        return other
    if trial is None or trial.id != one.id or not trial.begun:
        return one
    back = folder.previous()
    with best_effort():
        folder.trial_ended(one, failed=UNCLEAN)
    if back is None:
        tell(False, f"model {one} goes on, there is no other one; {UNCLEAN}")
        return one
    tell(False, f"model {one} is rolled back to {back}: {UNCLEAN}")
    return back


@contextmanager
def _in_trial(folder: ModelFolder, one: Installed) -> Iterator[None]:
    """Not over a camera that is missing: that is opened later, and the trial begins with it."""
    with best_effort():
        folder.trial_begun(one)
    try:
        yield
    finally:
        with best_effort():
            folder.trial_paused(one)


def _open_best(folder: ModelFolder, wanted: Installed, threads: int, tell: Told) -> Opened:
    """``wanted``, else the last one that can be used: a station should not go dark."""
    try:
        return Opened(wanted, folder.open(wanted, threads=threads))
    except _REFUSED as exc:
        refused = exc
    known = (folder.previous(), *folder.versions())
    if isinstance(refused, ModelError) and is_on_trial(folder, wanted):
        with best_effort():
            folder.trial_ended(wanted, failed=str(refused))
    for one in known:
        if one is None or one.id == wanted.id:
            continue
        try:
            bundle = folder.open(one, threads=threads)
        except _REFUSED:
            continue
        tell(False, f"model {wanted} cannot be used ({refused}): {one} goes on")
        return Opened(one, bundle)
    raise refused


def _reference(folder: ModelFolder, one: Installed, threads: int) -> Opened | None:
    """What a model on trial is compared with; it does without where that cannot be opened."""
    before = folder.previous() if is_on_trial(folder, one) else None
    if before is None or before.id == one.id:
        return None
    try:
        return Opened(before, folder.open(before, threads=threads))
    except _REFUSED as exc:
        log.warning("model %s cannot be used any more: %s", before, exc)
        return None
