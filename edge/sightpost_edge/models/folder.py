"""A station's models on disk: which is current, which was before, and who must prove itself.

    current -> versions/3-2eaa9312      replaced by one rename
    versions/3-2eaa9312/model.tflite    with its signature; whole, or not there
    state.json                          the highest versions, the trial, how trials ended

What has not been proven is on trial: that is read from the ids in ``state.proven``, so that a kill
between two writes can lose the note of a trial, never the trial.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

from .. import clock
from ..bundle import Bundle
from ..container import read_file
from ..durable import make_folder, remove_torn
from ..errors import BundleCorrupt, SightpostError, SignatureRefused, StoreError
from ..lock import held
from ..manifest import Manifest, verify_file, version_numbers
from ..minikeys import PublicKey
from .link import CURRENT, current_id, move_current, remove_torn_links
from .state import NOT_AGAIN, Outcome, Result, State, Trial, read_state, write_state
from .trust import MODELS, read_trusted, trusted_key_path
from .versions import (
    VERSIONS,
    Installed,
    drop,
    is_id,
    put,
    read_version,
    read_versions,
    remove_parts,
)

__all__ = ["CURRENT", "KEEP", "MODELS", "Installed", "ModelFolder"]

SPARED = "its owner spared it the trial"
CHOSEN = "its owner chose it again"
LOCK = "lock"
LOCK_WAIT_S = 10.0
"""A change is a few small writes; a card that stalls was seen to take seconds."""
KEEP = 3
"""Versions on disk, the current and the previous one among them."""


class ModelFolder:
    """The model folder at ``path``, which need not exist yet.

    Args:
        path: usually ``STORE/models``.
        key: file of the trusted public key; default: see ``trust.trusted_key_path``.
        read_clock: all clocks at one moment.
    """

    def __init__(
        self, path: Path, *, key: Path | None = None,
        read_clock: Callable[[], clock.Reading] = clock.read,
    ) -> None:  # fmt: skip
        self.path, self.key = path, key or trusted_key_path(path)
        self._read_clock = read_clock

    def current(self) -> Installed | None:
        """What ``current`` leads to; None where it leads nowhere, or to something damaged."""
        one = current_id(self.path)
        return read_version(self.path / VERSIONS / one) if one else None

    def versions(self) -> list[Installed]:
        """All that are whole on disk, newest first."""
        return read_versions(self.path)

    def find(self, one: str) -> Installed | None:
        """The version with this id."""
        return read_version(self.path / VERSIONS / one) if is_id(one) else None

    def previous(self) -> Installed | None:
        """Where a roll-back leads: the last one that was in use, else the newest proven one, else
        the newest that has not failed.

        Never to what the trusted key did not sign; to what was rolled back itself only where the
        current one is gone, for a station should not go dark.
        """
        state, current = self._settled(), current_id(self.path)
        dark, key = self.current() is None, self._key_or_none()
        others = [v for v in self.versions() if v.id != current and _may_open(v, key)]
        bad = {v.id for v in others if state.ended(v.id) == "rolled back"}
        others = [v for v in others if v.id not in bad or (dark and v.id in state.proven)]
        named = (v for v in others if v.id == state.previous)
        proven = (v for v in others if v.id in state.proven)
        untried = (v for v in others if state.last_of(v.id) is None)
        return next(chain(named, proven, untried), None)

    def trusts(self, one: Installed) -> bool:
        """Whether the key that is trusted now is said to have signed this version; ``open`` makes
        sure. True of all while no key is trusted.
        """
        return _may_open(one, self._key_or_none())

    def state(self) -> State:
        """What is remembered; ``trial`` is that of the current version, None where it is proven."""
        return self._settled()

    def trusted(self) -> PublicKey | None:
        """The key whose models are taken; None where none is trusted yet.

        Raises:
            ConfigError: there is one, and it cannot be used.
        """
        return read_trusted(self.key)

    def highest(self, key_id: str, name: str) -> str:
        """The highest version ever taken from this key by this name, "" where there is none.

        What lies on disk counts too: a ``state.json`` that was lost lets nothing older in.
        """
        known = [read_state(self.path).highest.get(key_id, {}).get(name, "")]
        known += [v.version for v in self.versions() if (v.key_id, v.name) == (key_id, name)]
        return max(known, key=version_numbers)

    def verify(self, one: Installed, key: PublicKey) -> Manifest:
        """What ``key`` signed of this version, once its signature holds; runs nothing.

        Raises:
            SignatureRefused: it does not.
            ModelError: the file cannot be read.
        """
        manifest = verify_file(one.path, read_file(one.path), key)
        if (manifest.sha256, manifest.version) != (one.digest, one.version):
            raise SignatureRefused(f"{one.path}: its signature is that of another version")
        return manifest

    def check(self, one: Installed) -> None:
        """Whether a version still is what was installed, by its signature where a key is trusted.

        Raises:
            SignatureRefused, BundleCorrupt: it is not; or unsigned, and a key is trusted by now.
            ConfigError, ModelError: the key, or the file, cannot be read.
        """
        if (key := self.trusted()) is not None:
            self.verify(one, key)
        elif hashlib.sha256(read_file(one.path)).hexdigest() != one.digest:
            raise BundleCorrupt(f"{one.path} is not what was installed", hint="install it again")

    def open(self, one: Installed, *, threads: int = 1) -> Bundle:
        """Open a version: by its signature where a key is trusted, else after a trial in a child.

        A day of expiry that is past is no reason to refuse what was installed in its time.

        Raises:
            SignatureRefused: unsigned, or not by the trusted key, or not these labels.
            ConfigError: the trusted key cannot be used.
            ModelError: see ``Bundle.open``.
        """
        key = self.trusted()
        if key is None:
            return Bundle.open(one.path, threads=threads)
        manifest = self.verify(one, key)
        manifest.check_runtime()
        bundle = Bundle.open(one.path, threads=threads, signed_sha256=manifest.sha256)
        manifest.check_labels(bundle.contract.labels, where=f"{one.path}: ")
        return bundle

    def switch(
        self, to: Installed, *, why: str, proven: bool = False, left: Result = "left"
    ) -> None:
        """Make ``to`` current, in one step; where it is not proven yet its trial is to begin.

        Where that is the way back, ``left`` and ``why`` are noted of what was current, and it does
        not come in by itself. ``proven``: its owner knows what it is like, and wants no trial.

        Raises:
            StoreBusy, DiskFull, StoreError: it could not be done; what was current still is.
        """
        with self.changing():
            state, leaving = self._settled(), self.current()
            if proven and to.id not in state.proven:
                state = replace(state, proven=(*state.proven, to.id), trial=None)
                state = self._noted(state, to, "confirmed", SPARED)
            elif to.id in state.proven and state.ended(to.id) in NOT_AGAIN:
                state = self._noted(state, to, "confirmed", CHOSEN)
            if leaving is not None and to.number < leaving.number:
                state = self._noted(state, leaving, left, why)
            self._switch(to, state)

    def adopt(self, file: Path, one: Installed, signature: bytes = b"") -> Installed:
        """Give ``file`` its place among the versions and make it current; call it ``changing``.

        Raises:
            DiskFull, StoreError: it could not be done; what was current still is.
        """
        made = put(self.path, file, one, signature)
        self.take(made)
        return made

    def take(self, one: Installed) -> None:
        """Make current what is on disk: nothing lower by its name and key is installed from now on.

        What has proven itself need not do so again under another signature. Call it ``changing``.
        """
        state = self._settled()
        same = [v.id for v in self.versions() if v.digest == one.digest and v.id in state.proven]
        if one.id not in state.proven and any(state.ended(v) not in NOT_AGAIN for v in same):
            state = replace(state, proven=(*state.proven, one.id))
        if one.signed:
            state = replace(state.raised(one.key_id, one.name, one.version), name=one.name)
        self._switch(one, state)
        self.clean()

    def trial_begun(self, one: Installed) -> None:
        """To be called before the first frame is classified with ``one``: whoever starts after a
        crash then knows what it crashed with.
        """
        self._note_trial(one, begun=True)

    def trial_paused(self, one: Installed) -> None:
        """To be called where a run is stopped in the middle of a trial, which is no crash."""
        self._note_trial(one, begun=False)

    def trial_ended(
        self, one: Installed, failed: str = "", *, instead: Installed | None = None
    ) -> Installed | None:
        """Keep ``one``, or go back where it ``failed``, with the reason; what is current now.

        ``instead`` is what the run works with that cannot take ``one``, proven or not.
        Where nothing older is there to go back to it stays, and that is noted: a station must not
        go dark over a power cut in the trial of its first model. Where somebody chose another
        version meanwhile nothing changes.

        Raises:
            StoreBusy, DiskFull, StoreError: it could not be noted; the way back was gone first.
        """
        with self.changing():
            state = self._settled()
            if current_id(self.path) != one.id or (state.trial is None and instead is None):
                return self.current()
            known = self.find(instead.id) if instead else None
            back = known or self.previous() if failed else None
            if back:
                move_current(self.path, back.id)
            there = {v.id for v in self.versions()}
            stays = tuple(v for v in state.proven if v in there)
            stays = stays if back else (*stays, one.id)
            state = replace(state, trial=None, proven=stays)
            result: Result = "rolled back" if back else "kept" if failed else "confirmed"
            write_state(self.path, self._noted(state, one, result, failed))
            return back or one

    def refused(self, one: Installed, why: str) -> None:
        """Note that a version whose signature was good did not work here."""
        with self.changing():
            write_state(self.path, self._noted(self._settled(), one, "refused", why))

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One changer at a time; never held for longer than a few small writes."""
        make_folder(self.path)
        what = "the models are being changed by another process"
        with held(self.path / LOCK, wait_s=LOCK_WAIT_S, what=what):
            yield

    def clean(self) -> None:
        """Remove what a kill left behind, and versions beyond ``KEEP``; call it ``changing``."""
        remove_torn(self.path)
        remove_torn_links(self.path)
        remove_parts(self.path)
        previous, there = self.previous(), self.versions()
        needed = {current_id(self.path), previous.id if previous else ""}
        spare = [v.id for v in there if v.id not in needed]
        for one in spare[max(0, KEEP - len(needed & {v.id for v in there})) :]:
            with contextlib.suppress(StoreError):
                drop(self.path, one)

    def _switch(self, to: Installed, state: State) -> None:
        leaving = self.current()
        if leaving is not None and leaving.id == to.id:
            write_state(self.path, state)
            return
        if leaving is not None and state.trial is None:
            state = replace(state, previous=leaving.id)
        previous = "" if state.previous == to.id else state.previous
        trial = None if to.id in state.proven else Trial(to.id, self._now_ms())
        write_state(self.path, replace(state, previous=previous, trial=trial))
        move_current(self.path, to.id)

    def _note_trial(self, one: Installed, *, begun: bool) -> None:
        with self.changing():
            state = self._settled()
            if state.trial is None or state.trial.id != one.id:
                return
            trial = Trial(one.id, self._now_ms(), begun, self._read_clock().boot_id)
            write_state(self.path, replace(state, trial=trial))

    def _settled(self) -> State:
        """As it is in truth: the trial is that of the current version, unless that is proven; what
        a kill between going back and noting it left open is noted.
        """
        state, current = read_state(self.path), current_id(self.path)
        if (open_end := state.open_end(current)) is not None:
            state = state.noted(open_end, {v.id for v in self.versions()})
        return state.settled(current)

    def _key_or_none(self) -> PublicKey | None:
        """With a key that cannot be used nothing opens, and that is said there."""
        try:
            return self.trusted()
        except SightpostError:
            return None

    def _noted(self, state: State, one: Installed, result: Result, why: str) -> State:
        outcome = Outcome(one.id, one.version, self._now_ms(), result, why)
        return state.noted(outcome, {v.id for v in self.versions()})

    def _now_ms(self) -> int:
        return self._read_clock().wall_ms


def _may_open(one: Installed, key: PublicKey | None) -> bool:
    return key is None or (one.signed and one.key_id == key.name)
