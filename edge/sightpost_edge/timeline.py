"""The axis of time of a chart: what it covers, its slots, and which share of each was watched."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import pairwise

from .localtime import DAY_MS, local, stretches, to_ms
from .store.queries import EventFilter
from .store.watched import Watch

FIRST_MS, LAST_MS = 3652 * DAY_MS, 47_482 * DAY_MS
"""1980 and 2100, in days since 1970: a clock that says something else was not set."""
DAYS = 180
"""More days than these are drawn as weeks: a bar for each would be narrower than four pixels."""
_SECONDS_MS = 300_000
"""Below, four dates a quarter of the time apart need seconds to differ."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A word on the axis of time: where, as a share of its length, and what."""

    share: float
    text: str


@dataclass(frozen=True, slots=True)
class Slots:
    """Days, weeks, months or years side by side; ``starts`` has one more, where the axis ends."""

    unit: str
    starts: tuple[date, ...]

    def of(self, day: date) -> int:
        """The slot in which a day lies."""
        return bisect_right(self.starts, day) - 1

    def borders(self, zone: tzinfo | None) -> list[int]:
        """Where each begins, and the last one ends, in milliseconds since 1970."""
        return [to_ms(datetime.combine(day, datetime.min.time()), zone) for day in self.starts]


def span(seen: Sequence[int], wanted: EventFilter, watches: Sequence[Watch]) -> tuple[int, int]:
    """What the axis of time covers: the filter's times, else all that was watched or seen."""
    low, high = list(seen), list(seen)
    if wanted.last is None:
        low += [watch.from_ms for watch in watches if watch.to_ms >= wanted.from_ms]
        high += [watch.to_ms for watch in watches]
    from_ms = wanted.from_ms if wanted.from_ms > FIRST_MS else min(low, default=wanted.from_ms)
    to_ms_ = max(high, default=from_ms)
    if wanted.until_ms is not None:
        to_ms_ = min(max(to_ms_, from_ms), wanted.until_ms - 1)
    return max(from_ms, wanted.from_ms), max(to_ms_, from_ms)


def slots(first: date, last: date, most: int) -> Slots:
    """Days where at most so many, and at most ``DAYS``, cover the time; else weeks, months or
    years."""
    for unit in ("day", "week", "month", "year"):
        begun = _begin(first, unit)
        starts = [begun]
        while starts[-1] <= last:
            starts.append(_after(starts[-1], unit))
        if len(starts) - 1 <= (min(most, DAYS) if unit == "day" else most):
            break
    return Slots(unit, tuple(starts))


def _begin(day: date, unit: str) -> date:
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day if unit == "day" else day.replace(day=1, month=1 if unit == "year" else day.month)


def _after(day: date, unit: str) -> date:
    ahead = {"day": 1, "week": 7, "month": 31, "year": 366}[unit]
    return _begin(day + timedelta(days=ahead), unit)


def shares(watches: Sequence[Watch], borders: Sequence[int]) -> list[float]:
    """Which share of each slot was watched."""
    watched_ms: Counter[int] = Counter()
    for watch in watches:
        slot = max(0, bisect_right(borders, watch.from_ms) - 1)
        while slot < len(borders) - 1 and borders[slot] < watch.to_ms:
            begun, ended = max(borders[slot], watch.from_ms), min(borders[slot + 1], watch.to_ms)
            watched_ms[slot] += max(0, ended - begun)
            slot += 1
    return [watched_ms[i] / (b - a) for i, (a, b) in enumerate(pairwise(borders))]


def ticks(from_ms: int, to_ms_: int, zone: tzinfo | None) -> tuple[Tick, ...]:
    """Four or five dates, evenly; never the same twice."""
    length = max(1, to_ms_ - from_ms)
    form = "%Y-%m-%d" if length > 3 * DAY_MS else "%m-%d %H:%M"
    form = form if length >= _SECONDS_MS else "%H:%M:%S"
    found = [
        Tick(share, f"{local(from_ms + round(share * length), zone):{form}}")
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    same = [False, *(a.text == b.text for a, b in pairwise(found))]
    return tuple(tick for tick, again in zip(found, same, strict=True) if not again)


def period(from_ms: int, to_ms_: int, zone: tzinfo | None) -> str:
    """What an axis covers, in words: its days, and how far local time is ahead of UTC."""
    first, last = (local(end, zone).date() for end in (from_ms, to_ms_))
    days = f"{first}" if first == last else f"{first} to {last}"
    ahead = sorted({one.offset_name for one in stretches(from_ms, max(to_ms_, from_ms + 1), zone)})
    return f"{days}, UTC{' and '.join(ahead)}"
