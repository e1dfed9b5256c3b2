"""What a station keeps beside its events: a clip of each, and frames worth a person's label."""

import logging

from .clips import Clip, ClipMaker
from .errors import PhotoUnreadable
from .reasons import Step
from .records import Prediction
from .samples import over_budget, pending_sample
from .sampling import Sample, Sampler
from .store import EventStore, Keeper, StoredEvent
from .store.pending import Later, PendingClip
from .store.quota import Quota

log = logging.getLogger("sightpost")


class Keepsakes:
    """Watches along and hands the keeper what is to be kept.

    Args:
        keeper: writes it.
        clips: None makes none.
        sampler: None chooses none.
    """

    def __init__(self, keeper: Keeper, clips: ClipMaker | None, sampler: Sampler | None) -> None:
        self._keeper, self._clips, self._sampler = keeper, clips, sampler
        self._index = -1

    def see(self, prediction: Prediction) -> None:
        """The next Prediction."""
        if self._sampler is not None and (sample := self._sampler.see(prediction)) is not None:
            self._label_later(sample)
        if self._clips is None:
            return
        if prediction.frame.index != self._index:
            self._index = prediction.frame.index
            self._clips.add(prediction.frame)
        for clip in self._clips.due():
            self._keep(clip)

    def step(self, step: Step) -> None:
        """What the rules said."""
        if self._clips is not None:
            self._clips.step(step)

    def stored(self, event: StoredEvent) -> None:
        """An event has its number: its clip can follow."""
        if self._clips is not None:
            self._clips.stored(event.seq, event.started_s, event.ended_s)

    def finish(self) -> None:
        """No more pictures come: the clips that are waited for end here."""
        if self._clips is not None:
            for clip in self._clips.finish():
                self._keep(clip)
            self._clips.close()

    def _label_later(self, sample: Sample) -> None:
        store = self._keeper.store
        try:
            waiting = pending_sample(sample, store.read_clock(), store.run, live=store.live)
        except PhotoUnreadable as exc:  # it could be decoded small, and cannot be in full
            log.warning("a picture was not kept as a sample: it %s", exc)
        else:
            self._keeper.put_pending(waiting)

    def _keep(self, clip: Clip) -> None:
        self._keeper.put_pending(PendingClip(clip.seq, Later(clip.as_avi, clip.held)))


def trim_samples(store: EventStore, quota: Quota, most_bytes: int) -> int:
    """Bring the samples back within their own budget; how many had to go."""
    return quota.give_up("samples", [one.id for one in over_budget(store.connection, most_bytes)])
