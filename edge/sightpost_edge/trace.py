"""An Event's story in at most a hundred Moments: where it turned, and evenly spread between."""

import bisect
from collections.abc import Iterable, Sequence

from .records import Moment

LIMIT = 100


class Trace:
    """Takes every Moment of an Event and keeps at most twice ``LIMIT`` of them on the way."""

    def __init__(self, before: Iterable[Moment] = ()) -> None:
        self._moments = list(before)
        self._thinned = False

    def add(self, moment: Moment) -> None:
        """The next one in time."""
        self._moments.append(moment)
        if len(self._moments) >= 2 * LIMIT:
            self._moments, self._thinned = thinned(self._moments), True

    def finish(self, peak: Moment) -> tuple[Moment, ...]:
        """All that is told of the Event, its peak included."""
        moments = list(self._moments)
        if not any(moment is peak for moment in moments):
            bisect.insort(moments, peak, key=lambda moment: moment.elapsed_s)
        # Where the older ones were thinned, so are the latest: one density for the whole story.
        return tuple(thinned(moments, peak) if self._thinned or len(moments) > LIMIT else moments)


def thinned(moments: Sequence[Moment], peak: Moment | None = None) -> list[Moment]:
    """At most ``LIMIT``: first, last, peak, each change of reason; the rest evenly in time.

    Where reasons keep changing, no single change tells more than another: evenly in time, all.
    """
    last = len(moments) - 1
    kept = {0, last} | {i for i, moment in enumerate(moments) if moment is peak}
    turns = {i for i in range(1, last) if moments[i].reason != moments[i - 1].reason}
    if len(turns) <= LIMIT // 2:
        kept |= turns
    kept |= set(_spaced(moments, LIMIT - len(kept)))
    return [moments[i] for i in sorted(kept)]


def _spaced(moments: Sequence[Moment], room: int) -> list[int]:
    """At most ``room`` of them, as far apart in time as that allows."""
    before_s = moments[0].elapsed_s
    spacing_s = (moments[-1].elapsed_s - before_s) / room
    found: list[int] = []
    for index, moment in enumerate(moments):
        if moment.elapsed_s - before_s >= spacing_s:
            before_s = moment.elapsed_s
            found.append(index)
    return found[:room]
