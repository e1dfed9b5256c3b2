"""From a source's Frames to Predictions: the next Frame is decoded, cut and scaled while the model
is at work on this one."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from .classifier import Classifier
from .judge import FrameJudge
from .machine import cores_here
from .motion import MotionSettings
from .pace import Pace
from .pixels import WHOLE, Region
from .prepare import Preparing, Work, steady
from .records import Health, ModelChanged, Pixels, Prediction
from .sources import Source

AWAKE_S = 1.0
"""So long every Frame is looked at after an answer that differs from the one before."""
SURE = 0.5
"""Labels that change below this score are noise: a scene nobody knows must not keep it awake."""
HANGS_S = 1.0
"""A Frame that takes so long to prepare hangs: no sign of life is passed on any more."""
WAIT_S = 0.25
SPARE = 1.3
"""Preparing is begun earlier by this share of its usual time: a late Frame idles the model."""


@dataclass(frozen=True, slots=True)
class _Letter:
    """Work; without it the Frames have ended, by themselves or by an error.

    ``by``: whose Frames these are. A look that ended early leaves what nobody has taken, and its
    thread may still write: fitted for another model.
    """

    by: "_Ahead"
    work: Work | None = None
    error: BaseException | None = None


Inbox = queue.SimpleQueue[Health | _Letter]
"""What the threads of a watch tell the main one; ``put`` serves as a source's ``report``."""


def look(
    source: Source,
    classifier: Classifier,
    *,
    regions: Sequence[Region] = (WHOLE,),
    motion: MotionSettings | None = None,
    judge: FrameJudge | None = None,
    pace: Pace | None = None,
    inbox: Inbox | None = None,
    on_health: Callable[[Health], None] = lambda health: None,
    on_wait: Callable[[], None] = lambda: None,
    on_withheld: Callable[[str], None] = lambda fault: None,
    overlap: bool | None = None,
    changes: Callable[[], bool] = lambda: False,
) -> Generator[Prediction, None, None]:
    """One Prediction for each region of each Frame, in order, each as soon as it is made.

    Args:
        source: a live one gives its newest Frame; a recording loses nothing.
        classifier: called from the thread that iterates, and from that one only.
        regions: parts of the picture, each classified by itself.
        motion: when the model may be spared; without it every Frame is classified.
        judge: withholds Frames on which nothing can be seen.
        pace: how often to look at a live source, or a recording that is played at its own speed.
        inbox: where the source reports its health.
        on_health: is told of camera faults in this thread, also while no Frame comes.
        on_wait: is called in this thread, twice a second and more, while no Frame comes; not while
            one hangs on its way.
        on_withheld: is told the fault of each Frame on which nothing can be seen; from the
            preparing thread.
        overlap: prepare the next Frame while the model works; default: where a core is free. Never
            in a gated recording: the same Frames then give the same looks every time.
        changes: asked at each Frame whether another model takes over; that Frame is left out.

    Raises:
        ModelChanged: ``changes`` said so. The source can be iterated over again; a Frame that is
            being prepared when a look ends early is left out.
    """
    prepared = Preparing(source, classifier, tuple(regions), motion, judge, pace)
    prepared.on_withheld = on_withheld
    ahead = _Ahead(prepared, inbox or Inbox(), on_health, on_wait)
    prepared.tell = ahead.inbox.put
    parallel = cores_here() > 1 if overlap is None else overlap
    if prepared.gated and not source.live:
        parallel = False
    return _look(ahead, prepared, classifier, tuple(regions), changes, parallel=parallel)


def _look(
    ahead: "_Ahead",
    prepared: "Preparing",
    classifier: Classifier,
    regions: tuple[Region, ...],
    changes: Callable[[], bool],
    *,
    parallel: bool,
) -> Generator[Prediction, None, None]:
    last: dict[str, Prediction] = {}
    invoke_s = 0.0
    try:
        ahead.ask()
        while (work := ahead.take()) is not None:
            if changes():  # now, while nothing is being prepared
                raise ModelChanged
            looks = any(fitted is not None for fitted in work.fitted)
            if parallel:
                ahead.ask(busy_s=invoke_s if looks and prepared.live else 0.0)
            spent_s = yield from _each(classifier, work, regions, last, prepared)
            if looks:
                invoke_s = steady(invoke_s, spent_s)
            if not parallel:
                ahead.ask()
    finally:
        ahead.close()


def _each(
    classifier: Classifier,
    work: Work,
    regions: tuple[Region, ...],
    last: dict[str, Prediction],
    prepared: Preparing,
) -> Generator[Prediction, None, float]:
    """One by one: eight regions take a Pi Zero half a minute, and whoever looks on sees progress.

    Returns:
        Seconds that the model was busy.
    """
    spent_s = 0.0
    try:
        for region, fitted in zip(regions, work.fitted, strict=True):
            began, before = time.perf_counter(), last.get(region.name)
            found = _predict(classifier, work, region, fitted, last)
            if before is not None and _differ(before, found):
                # One look alone would stand until the next forced one: make sure of it.
                prepared.awake_until_s = work.frame.elapsed_s + AWAKE_S
            spent_s += time.perf_counter() - began
            yield found
    finally:
        work.frame.image.forget()
    return spent_s


def _differ(one: Prediction, other: Prediction) -> bool:
    return one.label != other.label and max(one.score, other.score) >= SURE


def _predict(
    classifier: Classifier,
    work: Work,
    region: Region,
    fitted: Pixels | None,
    last: dict[str, Prediction],
) -> Prediction:
    if fitted is None:
        return replace(last[region.name], frame=work.frame, inference_ms=0.0, carried=True)
    found = classifier.classify(work.frame, fitted, region=region)
    found = replace(found, inference_ms=found.inference_ms + work.took_s * 1000)
    last[region.name] = found
    return found


class _Ahead:
    """Prepares one Frame ahead in a thread of its own, each when it is asked for.

    Prepared at once the next Frame would be old by the time the model is free. So the thread waits
    first, as long as the model will take less what preparing takes, and then takes the newest.
    """

    def __init__(
        self,
        items: Preparing,
        inbox: Inbox,
        on_health: Callable[[Health], None],
        on_wait: Callable[[], None],
    ) -> None:
        self.inbox = inbox
        self._items, self._on_health, self._on_wait = items, on_health, on_wait
        self._asked: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="prepare", daemon=True)
        self._thread.start()

    def ask(self, *, busy_s: float = 0.0) -> None:
        """Prepare the next Frame; the model is busy for so long."""
        self._asked.put(busy_s)

    def take(self) -> Work | None:
        """The Work asked for, None at the end; raises what ended the Frames."""
        while True:
            try:
                letter = self.inbox.get(timeout=WAIT_S)
            except queue.Empty:
                if time.perf_counter() - self._items.began_s < HANGS_S:
                    self._on_wait()
                continue
            if isinstance(letter, Health):
                self._on_health(letter)
            elif letter.by is self:
                if letter.error is not None:
                    raise letter.error
                return letter.work

    def close(self) -> None:
        """Let the thread end; one that hangs in a source is left behind."""
        self._items.closing.set()
        self._asked.put(None)
        self._thread.join(timeout=0.5)

    def _work(self) -> None:
        try:
            works = iter(self._items)
            while (busy_s := self._asked.get()) is not None:
                if self._items.closing.wait(max(0.0, busy_s - self._items.took_s * SPARE)):
                    break
                work = next(works, None)
                self.inbox.put(_Letter(self, work))
                if work is None:
                    break
        except BaseException as exc:  # noqa: BLE001 - handed on to the thread that asked
            self.inbox.put(_Letter(self, error=exc))
