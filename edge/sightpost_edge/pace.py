"""When to look next: a target rate, a slower one while the board is too hot, rest in the field."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import ConfigError
from .heat import NOW, Heat
from .machine import throttle_words
from .records import Frame

if TYPE_CHECKING:
    from .sources import Source

CHECK_S = 2.0
"""A step comes within five seconds of its cause."""
SETTLE_S = 10.0
"""Between two steps down: heat answers slowly."""
COOL_S = 60.0
SLACK_S = 0.001
"""A container rounds times to milliseconds: 0.333 s is due at three pictures a second."""
NAP_S = 0.25
"""How long a waiting loop does not look up."""
STEPS = 3
"""Half, a quarter, an eighth."""


@dataclass(frozen=True, slots=True)
class RateSettings:
    """How often to look: the ``[rate]`` table of the site's config. It holds for cameras and for
    recordings that are played at their own speed; any other recording gives all its Frames.

    ``per_s``: frames a second, 0 for every new one. ``awake_s``, ``asleep_s``: look for so long
    from the first picture on, then let the camera rest for so long; 0 is always awake, and an open
    Event is seen to its end. ``hot_c``: from this temperature on, as with the firmware's throttle
    bits, the rate is halved, again and again down to an eighth; it doubles after each minute below
    ``cool_c`` without a bit.
    """

    per_s: float = 0.0
    awake_s: float = 0.0
    asleep_s: float = 0.0
    hot_c: float = 80.0
    cool_c: float = 75.0

    def __post_init__(self) -> None:
        for name in ("per_s", "awake_s", "asleep_s", "hot_c", "cool_c"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"rate: {name} must not be negative or infinite")
        if bool(self.awake_s) != bool(self.asleep_s):
            raise ConfigError("rate: awake_s and asleep_s go together")
        if not self.cool_c < self.hot_c:
            raise ConfigError(
                f"rate: cool_c ({self.cool_c:g}) must be below hot_c ({self.hot_c:g})"
            )


class Pace:
    """Tells a loop how long to wait; it keeps no clock, ``now_s`` is monotonic seconds.

    A loop asks ``wait_s`` until that is 0, takes a frame, says ``looked``, and closes its camera
    while ``resting``; ``frames`` does all this. ``busy`` is set while an Event is open, which is
    seen to its end; ``stopped`` ends a wait, whatever its length, in a quarter of a second.
    """

    def __init__(
        self,
        settings: RateSettings,
        heat: Callable[[], Heat],
        *,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._settings, self._heat, self._tell = settings, heat, tell
        self._recent_s: deque[float] = deque(maxlen=32)
        self._next_s = -math.inf
        self._step = 0
        self._base_per_s = 0.0
        self._why = ""
        self._checked_s = self._stepped_s = self._slowed_s = -math.inf
        self._cool_since_s = math.inf
        self.busy = self.stopped = False
        self._sleep_at_s = math.inf
        self._wake_at_s = -math.inf
        self._idle_until_s = -math.inf

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next frame is wanted; 0 is now."""
        self._check(now_s)
        until_s = self._wake_at_s if self.resting(now_s) else self._next_s
        return max(0.0, until_s - now_s)

    def looked(self, now_s: float) -> None:
        """A frame was taken just now."""
        self._recent_s.append(now_s)
        if self._sleep_at_s == math.inf and self._settings.awake_s:
            self._sleep_at_s = now_s + self._settings.awake_s
        self._check(now_s)
        # From when it was due, so that a late frame does not delay all others; but no debts.
        self._next_s += self._interval_s()
        if self._next_s <= now_s:
            self._next_s = now_s + self._interval_s()

    def idle(self, now_s: float) -> bool:
        """Whether ``frames`` waits, by plan, until a Frame is wanted."""
        return now_s < self._idle_until_s

    def asleep(self, now_s: float) -> bool:
        """Whether the camera rests for a while, by its duty cycle."""
        return now_s < self._wake_at_s

    def resting(self, now_s: float) -> bool:
        """Whether the camera is to rest now."""
        if now_s < self._wake_at_s:
            return True
        if now_s < self._sleep_at_s or self.busy:
            return False
        self._wake_at_s = now_s + self._settings.asleep_s
        self._sleep_at_s = math.inf
        self._next_s = self._wake_at_s
        self._recent_s.clear()
        return True

    def frames(
        self,
        source: "Source",
        *,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[Frame]:
        """The source's Frames at this pace; a source with ``rest`` and ``wake`` rests in between.

        For live sources, whose newest Frame is taken: one that keeps all would fall behind; see
        ``passing``.
        """
        for frame in source:
            self.looked(clock_s())
            yield frame
            rests = False
            if self._may_sleep(clock_s()):
                sleep(NAP_S)  # what the model makes of this Frame may keep the camera awake
            while not self.stopped and (left_s := self.wait_s(clock_s())) > 0:
                self._idle_until_s = clock_s() + left_s
                if not rests and self.resting(clock_s()) and hasattr(source, "rest"):
                    source.rest()
                    rests = True
                sleep(min(left_s, NAP_S))
            if rests:
                source.wake()  # type: ignore[attr-defined]

    def passing(
        self, source: "Source", *, clock_s: Callable[[], float] = time.monotonic
    ) -> Iterator[Frame]:
        """Of a recording that is played at its own speed the Frames at this pace; others pass by.

        By its own times: the same ones however late they come, and none of them waits here, which
        would have it fall behind.
        """
        offset_s = math.nan
        for frame in source:
            if math.isnan(offset_s):
                offset_s = clock_s() - frame.elapsed_s
            now_s = offset_s + frame.elapsed_s
            left_s = self.wait_s(now_s)
            if left_s > SLACK_S:
                self._idle_until_s = clock_s() + left_s
                frame.image.forget()
                continue
            self.looked(now_s)
            yield frame

    def _may_sleep(self, now_s: float) -> bool:
        return not self.stopped and not self.busy and now_s >= self._sleep_at_s

    @property
    def share(self) -> float:
        """Of the usual rate, because of the heat: 1 or 1/2, 1/4, 1/8."""
        return 0.5**self._step

    @property
    def state(self) -> str:
        """For the status line; empty where all is as usual."""
        return f"1/{2**self._step} rate ({self._why})" if self._step else ""

    def _interval_s(self) -> float:
        """Seconds from one frame to the next."""
        if not self._step:
            return 1 / self._settings.per_s if self._settings.per_s else 0.0
        return 1 / (self._base_per_s * self.share)

    def _check(self, now_s: float) -> None:
        if now_s - self._checked_s < CHECK_S:
            return
        self._checked_s = now_s
        heat = self._heat()
        degrees = -math.inf if heat.temperature_c is None else heat.temperature_c
        if heat.bits & NOW or degrees >= self._settings.hot_c:
            self._cool_since_s = math.inf
            self._slow_down(now_s, heat)
        elif degrees >= self._settings.cool_c:
            self._cool_since_s = math.inf
        else:
            self._cool_since_s = min(self._cool_since_s, now_s)
            self._speed_up(now_s)

    def _slow_down(self, now_s: float, heat: Heat) -> None:
        if self._step == STEPS or now_s - self._slowed_s < SETTLE_S:
            return
        if not self._step:
            self._base_per_s = self._usual_per_s()
            if not self._base_per_s:
                return  # not known yet how fast it goes: at the next check
        self._step += 1
        self._stepped_s = self._slowed_s = now_s
        degrees = "" if heat.temperature_c is None else f"{heat.temperature_c:.0f} °C"
        words = throttle_words(f"{heat.bits & NOW:x}")
        self._why = ", ".join(word for word in (words, degrees) if word)
        self._next_s = now_s + self._interval_s()
        self._tell(f"looking at {self.state}")

    def _speed_up(self, now_s: float) -> None:
        if not self._step or now_s - max(self._cool_since_s, self._stepped_s) < COOL_S:
            return
        self._step -= 1
        self._stepped_s = now_s
        self._recent_s.clear()
        self._next_s = min(self._next_s, now_s + self._interval_s())
        self._tell(f"looking at {self.state or 'the usual rate again'}")

    def _usual_per_s(self) -> float:
        """The rate asked for, or a lower one that was reached; 0 where nothing is known yet."""
        asked, recent = self._settings.per_s, self._recent_s
        passed_s = recent[-1] - recent[0] if len(recent) > 1 else 0.0
        measured = (len(recent) - 1) / passed_s if passed_s > 0 else 0.0
        return min(asked, measured) if asked and measured else asked or measured
