"""The local time zone, for display only: what people type and read, and how hours are counted."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from . import clock
from .errors import ConfigError

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
_UNIT_MS = {"s": 1000, "min": 60_000, "m": 60_000, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
_DAYS = {"today": 0, "yesterday": 1}
_LOOK_MS = 7 * DAY_MS
"""No zone changes its offset and changes it back within a week."""
_FIRST_MS, _LAST_MS = -25_567 * DAY_MS, 47_482 * DAY_MS
"""1900 and 2100: before and after, where only wrong clocks are, the offset stays as it is there."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """From ``from_ms`` to before ``to_ms`` local time is ``offset_ms`` ahead of UTC."""

    from_ms: int
    to_ms: int
    offset_ms: int

    @property
    def offset_name(self) -> str:
        """As ISO 8601 writes it: "+01:00"."""
        minutes = abs(self.offset_ms) // 60_000
        return f"{'-' if self.offset_ms < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def read_when(
    text: str, *, whole_day: bool = False, now: datetime | None = None, zone: tzinfo | None = None
) -> int:
    """What people write for a moment, as milliseconds since 1970.

    "2026-11-21" (its beginning), "2026-11-21T18:00", "2h" or "3d" (ago), "today", "yesterday", in
    local time; a time with an offset of its own ("...T18:00Z") means that.

    Args:
        text: see above.
        whole_day: of a day alone take the end: "until 2026-11-21" has that day in it.
        now: aware; the clock's by default.
        zone: the system's by default.

    Raises:
        ConfigError: it is none of these.
    """
    here = (now or clock.now()).astimezone(zone)
    word = text.strip().lower()
    if word in _DAYS:
        word = text = (here.date() - timedelta(days=_DAYS[word])).isoformat()
    if ago := re.fullmatch(r"(\d{1,6})\s*(s|min|m|h|d|w)", word):
        return clock.to_ms(here) - int(ago[1]) * _UNIT_MS[ago[2]]
    try:
        when = datetime.fromisoformat(text.strip())
        if whole_day and re.fullmatch(r"[-\dW]+", word):
            when += timedelta(days=1)
        return to_ms(when, zone) if when.tzinfo is None else clock.to_ms(when)
    except (ValueError, OverflowError) as exc:
        raise ConfigError(
            f"{text!r} is no time",
            hint="such as 2026-11-21, 2026-11-21T18:00, 2h or 3d (ago), today, yesterday",
        ) from exc


def to_ms(naive: datetime, zone: tzinfo | None = None) -> int:
    """A local time without an offset as milliseconds since 1970."""
    try:
        return clock.to_ms(naive.astimezone() if zone is None else naive.replace(tzinfo=zone))
    except (OverflowError, ValueError):  # where the calendar ends
        return clock.to_ms(naive.replace(tzinfo=UTC))


def local(wall_ms: int, zone: tzinfo | None = None) -> datetime:
    """Milliseconds since 1970 as an aware local time; UTC where the calendar ends."""
    when = clock.from_ms(wall_ms)
    try:
        return when.astimezone(zone)
    except (OverflowError, ValueError):
        return when


def stretches(from_ms: int, to_ms: int, zone: tzinfo | None = None) -> Iterator[Stretch]:
    """The time from ``from_ms`` to before ``to_ms`` cut where summer time begins or ends.

    Within each part the hours of local time are 3,600,000 ms apart, whatever the zone, so they
    can be counted with integers.
    """
    begun, look = from_ms, max(from_ms, _FIRST_MS)
    offset = _offset_ms(look, zone)
    while look < min(to_ms, _LAST_MS):
        ahead = min(look + _LOOK_MS, to_ms)
        if _offset_ms(ahead, zone) != offset:
            ahead = _change_ms(look, ahead, offset, zone)
            yield Stretch(begun, ahead, offset)
            begun, offset = ahead, _offset_ms(ahead, zone)
        look = ahead
    if begun < to_ms:
        yield Stretch(begun, to_ms, offset)


def _change_ms(low_ms: int, high_ms: int, offset_ms: int, zone: tzinfo | None) -> int:
    """The first moment after ``low_ms`` at which the offset is another one; zones change on full
    seconds."""
    low, high = low_ms // 1000, -(-high_ms // 1000)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_ms(middle * 1000, zone) == offset_ms:
            low = middle
        else:
            high = middle
    return high * 1000


def _offset_ms(wall_ms: int, zone: tzinfo | None) -> int:
    offset = local(wall_ms, zone).utcoffset() or timedelta(0)
    return offset // timedelta(milliseconds=1)


def plain(local_ms: int) -> datetime:
    """Local milliseconds (those of UTC plus the offset) as a time without an offset."""
    return clock.from_ms(local_ms).replace(tzinfo=None)
