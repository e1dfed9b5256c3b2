"""From a source's Frames to Predictions: what is bad or still is left out, and the next Frame is
decoded, cut and scaled while the model is at work on this one."""

import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from .classifier import Classifier
from .errors import PhotoUnreadable
from .judge import FrameJudge
from .machine import cores_here
from .motion import MotionGate, MotionSettings
from .pace import Pace
from .pixels import WHOLE, Region
from .records import Frame, Health, Pixels, Prediction
from .sources import Source
from .sources.live import CONTENT_FAULTS

log = logging.getLogger("sightpost")


@dataclass(frozen=True, slots=True)
class Work:
    """One Frame, ready for the model: the input for each region, None where nothing moved."""

    frame: Frame
    fitted: tuple[Pixels | None, ...] = field(repr=False)
    took_s: float


@dataclass(frozen=True, slots=True)
class _Over:
    """The Frames have ended, by themselves or by an error."""

    error: BaseException | None = None


Inbox = queue.SimpleQueue[Work | Health | _Over]
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
) -> Generator[Prediction, None, None]:
    """One Prediction for each region of each Frame, in order.

    Args:
        source: a live one gives its newest Frame; a recording loses nothing.
        classifier: called from the thread that iterates, and from that one only.
        regions: parts of the picture, each classified by itself.
        motion: when the model may be spared; without it every Frame is classified.
        judge: withholds Frames on which nothing can be seen.
        pace: how often to look at a live source.
        inbox: where the source reports its health.
        on_health: is told of camera faults in this thread, also while no Frame comes.
        on_wait: is called in this thread, twice a second and more, while no Frame comes; not while
            one hangs on its way.
        on_withheld: is told the fault of each Frame on which nothing can be seen; from the
            preparing thread.
        overlap: prepare the next Frame while the model works; default: where a core is free. Never
            in a gated recording: the same Frames then give the same looks every time.
    """
    prepared = _Preparing(source, classifier, tuple(regions), motion, judge, pace)
    prepared.on_withheld = on_withheld
    ahead = _Ahead(prepared, inbox or Inbox(), on_health, on_wait)
    prepared.tell = ahead.inbox.put
    parallel = cores_here() > 1 if overlap is None else overlap
    if prepared.gated and not source.live:
        parallel = False
    return _look(ahead, prepared, classifier, tuple(regions), parallel=parallel)


def _look(
    ahead: "_Ahead",
    prepared: "_Preparing",
    classifier: Classifier,
    regions: tuple[Region, ...],
    *,
    parallel: bool,
) -> Generator[Prediction, None, None]:
    last: dict[str, Prediction] = {}
    invoke_s = 0.0
    try:
        ahead.ask()
        while (work := ahead.take()) is not None:
            looks = any(fitted is not None for fitted in work.fitted)
            if parallel:
                ahead.ask(busy_s=invoke_s if looks and prepared.live else 0.0)
            began = time.perf_counter()
            before = dict(last)
            found = [
                _predict(classifier, work, region, fitted, last)
                for region, fitted in zip(regions, work.fitted, strict=True)
            ]
            if any(before.get(p.region, p).label != p.label for p in found):
                # One look alone would stand until the next forced one: make sure of it.
                prepared.awake_until_s = work.frame.elapsed_s + AWAKE_S
            work.frame.image.forget()
            if looks:
                invoke_s = _steady(invoke_s, time.perf_counter() - began)
            yield from found
            if not parallel:
                ahead.ask()
    finally:
        ahead.close()


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


def _steady(before: float, now: float) -> float:
    """A running mean of about ten values; the first one counts whole."""
    return now if not before else before + 0.1 * (now - before)


class _Preparing:
    """Iterates over Work: Frames judged, gated and fitted to the model's input."""

    def __init__(
        self,
        source: Source,
        classifier: Classifier,
        regions: tuple[Region, ...],
        motion: MotionSettings | None,
        judge: FrameJudge | None,
        pace: Pace | None,
    ) -> None:
        self._source, self._classifier, self._regions = source, classifier, regions
        settings = [motion] if motion is not None and motion.enabled else []
        self._gates = [MotionGate(one, region) for one in settings for region in regions]
        self._judge, self._pace = judge, pace
        self._moved, self._ill = True, False
        self._gated_s = self._judged_s = self._accused_s = -math.inf
        self.live = source.live
        self.awake_until_s = -math.inf
        self.on_withheld: Callable[[str], None] = lambda fault: None
        self.began_s = math.inf
        if judge is not None and source.live:
            judge.accept_size_s = 0.0  # another size is the source's business: it reopens
        self.closing = threading.Event()
        self.tell: Callable[[Health], None] = lambda health: None
        self.took_s = 0.0
        self._fault = self._last_fault = ""

    @property
    def gated(self) -> bool:
        """Whether the model is spared where nothing moves."""
        return bool(self._gates)

    def __iter__(self) -> Iterator[Work]:
        for frame in self._paced():
            began = self.began_s = time.perf_counter()
            try:
                fitted = self._prepare(frame)
            except PhotoUnreadable as exc:
                self._unreadable(exc)
                fitted = None
            self.began_s = math.inf
            if fitted is None:
                frame.image.forget()
                continue
            spent_s = time.perf_counter() - began
            self.took_s = _steady(self.took_s, spent_s)
            yield Work(frame, fitted, spent_s)

    def _paced(self) -> Iterable[Frame]:
        """A live source's Frames when it is time for them; all of a recording's at once."""
        if self._pace is None or not self._source.live:
            return self._source
        return self._pace.frames(self._source)

    def _prepare(self, frame: Frame) -> tuple[Pixels | None, ...] | None:
        """The input for each region, or None where nothing can be seen.

        Where something moved a moment ago the picture is decoded for the model first: what judge
        and gate look at then costs no decoding of its own. Photos of a folder are neither judged
        nor gated: one has nothing to do with the next.
        """
        if frame.name:
            return tuple(self._classifier.fit(frame, region) for region in self._regions)
        if self._asleep(frame.elapsed_s):
            return (None,) * len(self._regions)
        first: Pixels | None = None
        if self._moved and not self._ill:
            with contextlib.suppress(PhotoUnreadable):  # the judge will say so
                first = self._classifier.fit(frame, self._regions[0])
        if not self._good(frame):
            return None
        return self._gated(frame, first)

    def _asleep(self, now_s: float) -> bool:
        """While nothing moves it is enough to look for motion fifteen times a second."""
        quiet = not self._moved and not self._ill and now_s >= self.awake_until_s
        if quiet and 0 <= now_s - self._gated_s < STILL_S:
            return True
        self._gated_s = now_s
        return False

    def _good(self, frame: Frame) -> bool:
        """Whether anything can be seen; while nothing can, it is enough to ask ten times a second.

        A live source tells of damaged pictures itself once it is accused of them.
        """
        if self._judge is None:
            return True
        if self._ill and 0 <= frame.elapsed_s - self._judged_s < ILL_S:
            return self._withhold("")
        self._judged_s = frame.elapsed_s
        verdict = self._judge.see(frame)
        self._ill = bool(verdict.fault)
        if verdict.health is not None:
            if verdict.health.fault in CONTENT_FAULTS or not self.live:
                self.tell(verdict.health)
            self._accused_s = -math.inf if not verdict.health.ok else math.inf
            self._fault = "" if verdict.health.ok else verdict.health.fault
        if self._fault and frame.elapsed_s - self._accused_s >= ACCUSE_S:
            self._accused_s = frame.elapsed_s
            self._distrust(self._fault, "nothing can be seen")
        return self._withhold(verdict.fault) if verdict.fault else True

    def _withhold(self, fault: str) -> bool:
        self._last_fault = fault or self._last_fault
        self.on_withheld(self._last_fault)
        return False

    def _unreadable(self, exc: PhotoUnreadable) -> None:
        """The gates saw a picture that the model will not: they begin anew."""
        log.warning("%s: a picture %s", self._source.uri, exc)
        self.on_withheld("unreadable")
        self._gates = [MotionGate(gate.settings, gate.region) for gate in self._gates]
        self._moved = True

    def _distrust(self, fault: str, detail: str) -> None:
        if distrust := getattr(self._source, "distrust", None):
            distrust(fault, detail)

    def _gated(self, frame: Frame, first: Pixels | None) -> tuple[Pixels | None, ...]:
        """The input for each region in which something moved; ``first`` is that of the first."""
        moved = [True] * len(self._regions)
        if self._gates:
            luma = frame.image.luma()
            gates = [gate.look(luma, frame.elapsed_s).look for gate in self._gates]
            if frame.elapsed_s >= self.awake_until_s:
                moved = gates
        self._moved = any(moved)
        fitted: list[Pixels | None] = []
        for i, region in enumerate(self._regions):
            if not moved[i]:
                fitted.append(None)
            elif i == 0 and first is not None:
                fitted.append(first)
            else:
                fitted.append(self._classifier.fit(frame, region))
        return tuple(fitted)


class _Ahead:
    """Prepares one Frame ahead in a thread of its own, each when it is asked for.

    Prepared at once the next Frame would be old by the time the model is free. So the thread waits
    first, as long as the model will take less what preparing takes, and then takes the newest.
    """

    def __init__(
        self,
        items: _Preparing,
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
            elif isinstance(letter, Work):
                return letter
            elif letter.error is not None:
                raise letter.error
            else:
                return None

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
                if work is None:
                    break
                self.inbox.put(work)
            self.inbox.put(_Over())
        except BaseException as exc:  # noqa: BLE001 - handed on to the thread that asked
            self.inbox.put(_Over(exc))


STILL_S = 0.06
AWAKE_S = 1.0
ILL_S = 0.1
ACCUSE_S = 60.0
HANGS_S = 1.0
"""A Frame that takes so long to prepare hangs: no sign of life is passed on any more."""
WAIT_S = 0.25
SPARE = 1.3
"""Preparing is begun earlier by this share of its usual time: a late Frame idles the model."""
