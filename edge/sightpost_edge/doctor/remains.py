"""What is left of events: of a database that is gone or empty, and of one that is damaged."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from ..store.ballast import size_of
from ..store.database import DATABASE
from ..store.events import CLIPS, SAMPLES, SNAPSHOTS
from ..store.inspection import LEAST
from ..store.numbers import SEQUENCE
from .finding import Finding
from .host import Host
from .service import unit_of

_NAME = "storage.database"
_COUNTED = 10_000
"""Names in a folder; more are not counted: a slow card lists 100,000 a second."""


def is_blank(path: Path) -> bool:
    """Whether there is no database, nor a log without one, which is damage."""
    return size_of(path) < LEAST and not size_of(Path(f"{path}-wal"))


def of_none(host: Host) -> Finding:
    """No database: nothing was seen yet, or it was lost and other files tell."""
    there = host.store / DATABASE
    what = f"{host.shown(there)} is {'empty' if os.path.lexists(there) else 'not there'}"
    used, number = _next_number(host.store) - 1, sum(1 for _ in _pictures(host.store))
    if used < 1 and not number:
        return Finding(_NAME, "ok", f"no events in {host.shown(host.store)} yet: {what}")
    more = "and more " if number >= _COUNTED else ""
    what += f"; {_counted(used, 'event')} at most had been stored" if used > 0 else ""
    what += f"; {_counted(number, f'{more}picture')} left" if number else ""
    if host.live() is not None:
        return Finding(
            _NAME, "fault", what, "the run writes into a file that was deleted: what it sees is "
            "gone with its end", _again(host),
        )  # fmt: skip
    return Finding(
        _NAME, "warning", what,
        "the events are lost, unless there is a copy; the next run begins a new database, goes on "
        "with their numbers and keeps the pictures until it needs their room",
        f"Put a copy back as {host.shown(there)} before the next start, if there is one; without "
        "one nothing has to be done.",
    )  # fmt: skip


def rescue(host: Host, name: str) -> str:
    """The commands that bring into a store of its own what SQLite can still read.

    ``.recover`` would read more, but Debian builds its ``sqlite3`` without what that needs
    (``SQLITE_ENABLE_DBPAGE_VTAB``): it ends with "SQL logic error" even on a sound database.
    ``.dump`` skips damaged pages: 320 of 500 events with 20 of 67 pages overwritten, 198 of a file
    cut in half, none where the table's own first page is gone. It ends with ROLLBACK then.
    """
    path = host.store / name
    if not path.is_file() or size_of(path) < LEAST:
        return f"Nothing can be read there: put a copy of {name} back, or just start the station."
    read = host.sudo(f"sqlite3 -readonly {shlex.quote(host.shown(path))} .dump")
    lines = [] if host.has("sqlite3") else [host.sudo("apt install -y sqlite3")]
    return "\n".join([
        *lines, "mkdir -p rescued",
        f"{read} | sed 's/^ROLLBACK;.*/COMMIT;/' | sqlite3 rescued/{DATABASE}",
        "sightpost events export --store rescued --to rescued.jsonl  # what could be read",
    ])  # fmt: skip


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _again(host: Host) -> str:
    if host.station:
        return host.sudo(f"systemctl restart {unit_of(host)}")
    return "End the run (Ctrl-C, or kill) and start it again."


def _next_number(store: Path) -> int:
    """Below it all may be used up: it is written ahead, a hundred at a time."""
    try:
        return int((store / SEQUENCE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1


def _pictures(store: Path) -> Iterator[str]:
    left = _COUNTED
    for folder in (SNAPSHOTS, CLIPS, SAMPLES):
        try:
            with os.scandir(store / folder) as found:
                for one in found:
                    if left <= 0:
                        return
                    left -= 1
                    yield one.name
        except OSError:
            continue
