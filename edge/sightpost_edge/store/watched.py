"""When the station watched, and in how many of its runs the clock could not be trusted."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from .. import clock
from .reading import columns, connected

TRUSTED = frozenset({"synchronized", "corrected", "recording"})
"""Clock qualities whose wall times are right."""

_RESTART_MS = 600_000
"""A restart or an update is no gap worth drawing."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A time in which the station watched; milliseconds since 1970."""

    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Watched:
    """All such times, in order and apart.

    Of ``runs`` live runs in the time that was asked for, ``doubtful`` had no clock to trust.
    """

    watches: tuple[Watch, ...] = ()
    runs: int = 0
    doubtful: int = 0


def read_watched(
    folder: Path, *, from_ms: int = 0, to_ms: int = 2**62, now_ms: int | None = None
) -> Watched:
    """What the runs say, those of cameras and streams: a file was watched when it was filmed.

    A run that does not say when it ended, as those of older releases, counts until the next one
    began, or until ``now_ms``: no gap is claimed that may not have been one.
    """
    with connected(folder) as connection:
        if "started_ms" not in columns(connection, "runs"):
            return Watched()
        rows = _live_runs(connection)
    end_ms = clock.to_ms(clock.now()) if now_ms is None else now_ms
    nexts = [*(row[0] for row in rows[1:]), end_ms][: len(rows)]
    watches, worths = list[Watch](), list[bool]()
    for (begun_ms, ended_ms, quality), next_ms in zip(rows, nexts, strict=True):
        done_ms = next_ms if ended_ms is None else ended_ms
        if done_ms < max(begun_ms, from_ms) or begun_ms >= to_ms:
            continue
        worths.append(quality in TRUSTED)
        if watches and begun_ms <= watches[-1].to_ms + _RESTART_MS:
            watches[-1] = Watch(watches[-1].from_ms, max(watches[-1].to_ms, done_ms))
        else:
            watches.append(Watch(begun_ms, done_ms))
    return Watched(tuple(watches), len(worths), worths.count(False))


def _live_runs(connection: sqlite3.Connection) -> list[tuple[int, int | None, str]]:
    rows = connection.execute(
        "SELECT started_ms, ended_ms, clock_quality, source FROM runs ORDER BY started_ms, run"
    )
    return [(begun, ended, quality) for begun, ended, quality, source in rows if is_live(source)]


def is_live(source: str) -> bool:
    """Whether a source is a camera or a stream, and no file or folder."""
    scheme = source.partition("://")[0] if "://" in source else ""
    return source.isdigit() or source.startswith("/dev/") or scheme not in ("", "file", "folder")
