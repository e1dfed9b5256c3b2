"""An event's story in few bytes: 60 Moments in 600, a quarter of what their rows would take.

Column after column compresses better than row after row, whole numbers better than floats: times
are differences in microseconds, scores ten-thousandths.
"""

import json
import zlib
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

from ..records import Moment

_TEN_THOUSANDTHS, _MICRO = 1e4, 1e6


def compact(trace: Iterable[Moment]) -> bytes:
    """As it is kept: zlib of JSON, the words that occur and then a list for each field."""
    moments = tuple(trace)
    words: dict[str, int] = {}

    def numbers(texts: Iterable[str]) -> list[int]:
        return [words.setdefault(text, len(words)) for text in texts]

    times = [round(m.elapsed_s * _MICRO) for m in moments]
    columns = [
        times[:1] + [after - before for before, after in pairwise(times)],
        numbers(m.label for m in moments),
        [round(m.score * _TEN_THOUSANDTHS) for m in moments],
        numbers(m.runner_up for m in moments),
        [round(m.second * _TEN_THOUSANDTHS) for m in moments],
        numbers(m.reason for m in moments),
        [None if m.novelty is None else round(m.novelty * _TEN_THOUSANDTHS) for m in moments],
        [int(m.carried) for m in moments],
    ]
    text = json.dumps({"words": list(words), "columns": columns}, separators=(",", ":"))
    return zlib.compress(text.encode())


def expand(kept: bytes | str) -> tuple[Moment, ...]:
    """A story as it was kept, also by releases that wrote a list for each Moment."""
    found = json.loads(zlib.decompress(kept) if isinstance(kept, bytes) else kept)
    if isinstance(found, list):
        return tuple(Moment(*moment) for moment in found)
    return tuple(_moment(found["words"], row) for row in zip(*_absolute(found), strict=True))


def _absolute(found: dict[str, Any]) -> Sequence[Sequence[Any]]:
    times, *rest = found["columns"]
    return [list(accumulate(times)), *rest]


def _moment(words: Sequence[str], row: tuple[Any, ...]) -> Moment:
    elapsed, label, score, runner_up, second, reason, novelty, carried = row
    return Moment(
        elapsed / _MICRO,
        words[label],
        score / _TEN_THOUSANDTHS,
        words[runner_up],
        second / _TEN_THOUSANDTHS,
        words[reason],
        None if novelty is None else novelty / _TEN_THOUSANDTHS,
        bool(carried),
    )
