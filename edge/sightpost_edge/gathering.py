"""One region's Predictions become Events: what opens one, keeps it, ends it and names it."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from .names import Look, Names
from .reasons import Step
from .records import Event, Frame, Moment, Prediction
from .rules import Rules
from .smoothing import SMOOTHERS, Row
from .stretch import Stretch
from .trace import Trace

BEFORE_S = 2.0
"""So much of what came before an Event is told with it."""
LATE_S = 1.0
"""A picture older than the last one by this much is late; by more, the source began again."""
BLIND_FRAMES = 5.0
"""``gap_s`` and so many usual intervals without a picture are a time in which nothing was seen."""
LEAST_WEIGHT_S = 0.001
ROUNDING_S = 1e-6
"""0.7 s less 0.4 s is not quite 0.3 s."""
MOST_MOMENTS = 512


class Gathering:
    """The Event that is open in one region and, within it, the stretch in which a rival leads."""

    def __init__(
        self, rules: Rules, names: Names, region: str, on_step: Callable[[Step], object] | None
    ) -> None:
        self._rules, self._names, self._region, self._on_step = rules, names, region, on_step
        self._smooth = SMOOTHERS[rules.smoothing](rules.smoothing_s)
        self._current: Stretch | None = None
        self._rival: Stretch | None = None
        self._now: Frame | None = None
        self._late = False
        self._usual_s = 0.0
        self._cold_until_s: dict[int, float] = {}
        self._trace = Trace()
        self._lately: deque[Moment] = deque(maxlen=MOST_MOMENTS)
        self._closed: list[Event] = []

    def step(self, prediction: Prediction) -> list[Event]:
        """Take one Prediction in; gives the Events that closed with it."""
        frame, last = prediction.frame, self._now
        if last is not None and self._is_late(frame, last):
            self._tell(frame, "late")
            return []
        passed_s = None if last is None else self._passed_s(frame, last)
        if last is not None and last.image is not frame.image:
            last.image.forget()  # a snapshot decodes again what few Frames it needs
        self._now = frame
        row = self._names.row(prediction)
        look = self._names.look(self._smooth(row, passed_s))
        if over := self._over(look, frame):
            self._close(over, self._moment(look, prediction, over))
        reason, stretch = self._turn(look, prediction, row)
        self._take(look, prediction, reason, stretch, passed_s)
        return self._hand_over()

    def end(self, reason: str) -> list[Event]:
        """Close what is open: nothing follows."""
        self._finish(reason)
        return self._hand_over()

    def _finish(self, reason: str) -> None:
        if self._current is not None:
            self._close(reason, replace(self._lately[-1], reason=reason))

    def _hand_over(self) -> list[Event]:
        closed, self._closed = self._closed, []
        return closed

    # Time

    def _is_late(self, frame: Frame, last: Frame) -> bool:
        """Whether it fell behind a little, as packets do; the next one to do so began again."""
        back_s = last.elapsed_s - frame.elapsed_s if frame.name == last.name else 0.0
        self._late = 0 < back_s <= LATE_S and not self._late
        return self._late

    def _passed_s(self, frame: Frame, last: Frame) -> float | None:
        """Seconds since the last Frame; None where that one has nothing to do with this one."""
        if frame.name == last.name and frame.elapsed_s >= last.elapsed_s:
            passed_s = frame.elapsed_s - last.elapsed_s
            if not self._was_blind(passed_s):
                return passed_s
            self._finish("not seen")
        if frame.elapsed_s < last.elapsed_s:
            self._finish("time went back")
            self._cold_until_s.clear()
        self._lately.clear()
        return None

    def _was_blind(self, passed_s: float) -> bool:
        """A stall, a covered lens, a rest: two things may have been there, one on either side."""
        usual_s = self._usual_s
        if usual_s and passed_s > self._rules.gap_s + BLIND_FRAMES * usual_s:
            return True
        self._usual_s = usual_s + 0.1 * (passed_s - usual_s) if usual_s else passed_s
        return False

    # What follows

    def _over(self, look: Look, frame: Frame) -> str:
        """Why the open Event is over, "" where it is not."""
        if self._current is None:
            return ""
        last = (self._rival or self._current).last_alive
        if frame.name != self._current.started.name:
            return "next photo"
        if not look.alive and _since(last, frame) >= self._rules.gap_s:
            return "left"
        if _since(self._current.started, frame) >= self._rules.max_s:
            return "still there"
        return ""

    def _turn(self, look: Look, prediction: Prediction, row: Row) -> tuple[str, Stretch | None]:
        """The rule that speaks, and the stretch that the Frame belongs to."""
        if self._current is not None and self._challenged(self._current, look):
            return self._contest(self._current, look, prediction, row)
        self._settle()
        if self._current is not None:
            return ("going on" if look.alive else "gap"), self._current
        return self._begin(look, prediction, row)

    def _begin(self, look: Look, prediction: Prediction, row: Row) -> tuple[str, Stretch | None]:
        if all(self._is_cold(name, prediction.frame) for name in look.counted):
            return self._why_not(look, prediction, row), None
        return self._open(Stretch.begin(self._names, prediction.frame))

    def _open(self, stretch: Stretch) -> tuple[str, Stretch]:
        since_s = stretch.started.elapsed_s - BEFORE_S
        self._trace = Trace(m for m in self._lately if m.elapsed_s >= since_s)
        self._current = stretch
        return "opened", stretch

    def _contest(
        self, current: Stretch, look: Look, prediction: Prediction, row: Row
    ) -> tuple[str, Stretch | None]:
        """Another label leads: for long enough to be an Event of its own?"""
        frame, switch_s = prediction.frame, self._rules.switch_s
        rival = self._rival = self._rival or Stretch.begin(self._names, frame)
        if _since(rival.started, frame) < switch_s:
            return "rival leads", rival
        # On a conveyor 27 of 41 parts came in as another label for up to 0.3 s.
        brief = _since(current.started, rival.started) < switch_s
        if brief:
            self._settle()
            if not self._is_cold(current.name, current.started):
                return "going on", current
        self._rival, reason = None, "another label took over"
        self._close(reason, self._moment(look, prediction, reason))
        if brief or self._is_cold(look.counted[0], rival.started):
            return self._begin(look, prediction, row)
        return self._open(rival)

    def _challenged(self, current: Stretch, look: Look) -> bool:
        """Whether a name that is no kin of the Event's leads; independent scores do not compete."""
        if not look.counted or self._names.kin(look.counted[0], current.name):
            return False
        return not (self._names.multi_label and self._names.reached(look, current.name))

    def _settle(self) -> None:
        """A rival that gave way was part of the Event."""
        if self._current is not None and self._rival is not None:
            self._current.absorb(self._rival)
        self._rival = None

    def _why_not(self, look: Look, prediction: Prediction, row: Row) -> str:
        if look.counted:
            return "cooling down"
        if look.close:
            return "margin too small"
        if not self._names.unknown and self._names.speaks_for_unknown(prediction):
            return "unknown"
        if self._names.reaches(row):
            return "not yet"
        return "nothing there" if look.nothing else "below threshold"

    def _is_cold(self, name: int, frame: Frame) -> bool:
        return frame.elapsed_s < self._cold_until_s.get(name, -math.inf)

    # What is kept

    def _take(
        self, look: Look, prediction: Prediction, reason: str, stretch: Stretch | None,
        passed_s: float | None,
    ) -> None:  # fmt: skip
        frame, names = prediction.frame, self._names
        moment = self._moment(look, prediction, reason)
        if stretch is not None:
            counted = look.counted
            if names.multi_label:  # they do not compete: what is cooling down just goes unsaid
                counted = tuple(n for n in counted if not self._is_cold(n, stretch.started))
            # A frame speaks for the time since the one before, but not for a long blind gap.
            weight_s = max(LEAST_WEIGHT_S, min(passed_s or 0.0, self._rules.gap_s))
            novel = names.speaks_for_unknown(prediction)
            stretch.gather(look, counted, moment, frame, novel=novel, weight_s=weight_s)
            self._trace.add(moment)
        self._lately.append(moment)
        since_s = frame.elapsed_s - BEFORE_S - self._rules.switch_s
        while self._lately[0].elapsed_s < since_s:
            self._lately.popleft()
        if self._on_step is not None:
            self._tell(frame, reason, moment)

    def _moment(self, look: Look, prediction: Prediction, reason: str) -> Moment:
        texts, second = self._names.texts, float(look.row[look.second])
        return Moment(
            elapsed_s=prediction.frame.elapsed_s,
            label=texts[look.top],
            score=float(look.row[look.top]),
            runner_up=texts[look.second] if second > 0 else "",
            second=second,
            reason=reason,
            novelty=prediction.novelty,
            carried=prediction.carried,
        )

    def _close(self, reason: str, moment: Moment) -> None:
        """End the open Event and keep it, unless the rules drop it."""
        self._settle()
        stretch, self._current = self._current, None
        if stretch is None or self._now is None:
            return
        self._trace.add(moment)
        dropped = self._dropped(stretch)
        event = None if dropped else self._event(stretch, reason, self._now)
        if event is not None:
            self._cool(stretch.name, self._now.elapsed_s)
            self._closed.append(event)
        self._tell(self._now, dropped or reason, moment, closing=stretch, event=event)

    def _dropped(self, stretch: Stretch) -> str:
        lasted_s = _since(stretch.started, stretch.last_alive)
        # A photo in a folder is there for no time at all.
        if not stretch.started.name and lasted_s < self._names.least_s[stretch.name]:
            return "too short"
        return "cooling down" if self._is_cold(stretch.name, stretch.started) else ""

    def _cool(self, name: int, now_s: float) -> None:
        """The name, and its group: what was just called a fox is not news as some canid."""
        cooldown_s = self._names.cooldown_s[name]
        for known in (name, self._names.parents[name]) if cooldown_s > 0 else ():
            self._cold_until_s[known] = max(
                now_s + cooldown_s, self._cold_until_s.get(known, -math.inf)
            )

    def _event(self, stretch: Stretch, reason: str, decided: Frame) -> Event:
        name = stretch.name
        best = stretch.running[name]
        return Event(
            label=self._names.texts[name],
            score=best.score,
            started=stretch.started,
            ended=stretch.last_alive,
            peak=best.frame,
            decided=decided,
            frames=stretch.frames,
            reason=reason,
            named_by=self._names.named_by(name, novel=best.novel),
            region=self._region,
            trace=self._trace.finish(best.moment),
        )

    def _tell(
        self, frame: Frame, reason: str, moment: Moment | None = None,
        *, closing: Stretch | None = None, event: Event | None = None,
    ) -> None:  # fmt: skip
        if self._on_step is None:
            return
        label, score = ("", 0.0) if moment is None else (moment.label, moment.score)
        if closing is not None:
            label = self._names.texts[closing.name]
            score = closing.running[closing.name].score
        self._on_step(
            Step(
                frame=frame,
                region=self._region,
                label=label,
                score=score,
                runner_up="" if moment is None else moment.runner_up,
                second=0.0 if moment is None else moment.second,
                reason=reason,
                open=self._names.texts[self._current.name] if self._current is not None else "",
                opened=reason == "opened",
                closed=closing is not None,
                event=event,
            )
        )


def _since(one: Frame, other: Frame) -> float:
    """Seconds between two Frames, as far as these figures go."""
    return other.elapsed_s - one.elapsed_s + ROUNDING_S
