"""Whether the store is sound, and not mostly false triggers; part of ``storage``."""

import shlex
import sqlite3
from collections.abc import Callable, Iterator
from functools import wraps

from .. import clock
from ..errors import StoreError
from ..store.ballast import Ballast, Space, size_of
from ..store.database import DATABASE, wal_reset_bug
from ..store.inspection import why_unusable
from ..store.quarantine import held
from . import remains
from .finding import Finding, as_fix
from .host import Host
from .mounts import is_readonly
from .remains import is_blank
from .stored import pictures, rate
from .unseen import is_shut, skipped, unseen

Check = Callable[[Host], Iterator[Finding]]

MANY_IN_HOUR, MANY_IN_DAY = 600, 5000
"""False triggers of cameras outside: 16,000 a day (motioneyeos#1242)."""


def check_database(host: Host) -> Iterator[Finding]:
    """Read only; a damaged one is set aside by the next run, not lost."""
    path = host.store / DATABASE
    name = "storage.database"
    if is_blank(path):
        yield remains.of_none(host)
        return
    if is_readonly(host, host.store):
        what = "not looked at: its file system is read-only, as storage.filesystem says"
        yield Finding(name, "ok", what)
        return
    try:
        reason = why_unusable(path)
    except StoreError as exc:
        fix = f"sudo chown -R sightpost:sightpost {_shown(host)}" if host.station else exc.hint
        yield Finding(name, "fault" if host.is_root else "note", str(exc), fix=as_fix(fix))
        return
    except sqlite3.Error as exc:
        yield Finding(
            name, "warning", f"{host.shown(path)} could not be asked: {exc}",
            "a disk that fails shows like this", "sudo dmesg --level=err,warn | tail -n 50",
        )  # fmt: skip
        return
    if reason:
        yield Finding(
            name, "fault", f"{host.shown(path)} is damaged: {reason.splitlines()[-1]}",
            "the next start sets it aside and begins a new one; its pictures stay",
            remains.rescue(host, DATABASE),
        )  # fmt: skip
    else:
        yield Finding(name, "ok", f"{host.shown(path)} is sound ({size_of(path) / 1e6:.1f} MB)")


def check_quarantine(host: Host) -> Iterator[Finding]:
    """Databases that were found damaged have events that nobody sees."""
    aside = held(host.store / DATABASE)
    if not aside:
        yield Finding("storage.quarantine", "ok", "no database was ever set aside")
        return
    largest = max(aside, key=lambda name: aside[name])
    yield Finding(
        "storage.quarantine", "warning", f"{len(aside)} damaged databases were set aside, "
        f"{sum(aside.values()) / 1e6:.1f} MB",
        "their events are not listed; and what damaged them, a worn card or a weak supply, may "
        "still be there",
        remains.rescue(host, largest),
    )  # fmt: skip


def check_rate(host: Host) -> Iterator[Finding]:
    """Wind, insects in infrared light and passing clouds make events by the thousand."""
    found = rate(host.store, clock.to_ms(clock.now()))
    if found.in_hour <= MANY_IN_HOUR and found.in_day <= MANY_IN_DAY:
        yield Finding("storage.rate", "ok", f"{found.in_day} events in the last day")
        return
    yield Finding(
        "storage.rate", "warning", f"{found.in_day} events in the last day, {found.in_hour} in one "
        f"hour, {found.of_label} of those {found.label!r}",
        "on a production line that may be right; in a garden it is wind, light or insects, and "
        "what matters is lost among them",
        "Look at some (sightpost events list, sightpost why NUMBER), then in the config mask what "
        "moves ([motion] mask), raise the threshold of that label ([rules.classes]), or ask for "
        "least_s = 1.0; sightpost replay shows on a recording what it changes.",
    )  # fmt: skip


def check_held(host: Host) -> Iterator[Finding]:
    """What takes how much of the share."""
    found = pictures(host.store)
    if not found.events and not found.samples:
        yield Finding("storage.held", "ok", "no pictures are stored yet")
        return
    least = "" if found.complete else "at least "
    what = (
        f"{least}{found.events / 1e6:.0f} MB of pictures and clips, {found.samples / 1e6:.0f} MB "
        f"of samples, {size_of(host.store / DATABASE) / 1e6:.0f} MB of events"
    )
    if found.complete and found.samples > 10 * found.events and found.samples > 1e8:
        yield Finding(
            "storage.held", "note", what,
            "frames kept to be labelled take nearly all of what is stored",
            "Fetch them (sightpost events samples), or give them less: [samples] max_mb.",
        )  # fmt: skip
    else:
        yield Finding("storage.held", "ok", what)


def check_ballast(host: Host) -> Iterator[Finding]:
    """Without it nothing can be deleted on a full disk."""
    if not size_of(host.store / DATABASE):
        yield Finding("storage.ballast", "ok", "a run keeps space back for deleting")
        return
    space, kept = Space.of(host.store), Ballast(host.store).size
    if kept >= space.ballast:
        yield Finding("storage.ballast", "ok", f"{kept / 1e6:.1f} MB are kept back for deleting")
        return
    full = space.free < 2 * space.ballast
    yield Finding(
        "storage.ballast", "warning" if full else "note",
        "no space is kept back for deleting" + (", and the disk is full" if full else ""),
        "SQLite has to write before it can delete; a run makes it again as soon as there is room",
        f"df -h {_shown(host)}" if full else
        f"sudo systemctl restart sightpost@{host.station}" if host.station else
        "Nothing has to be done: the next sightpost run makes it.",
    )  # fmt: skip


def check_sqlite(host: Host) -> Iterator[Finding]:
    """The library that keeps the events."""
    version = ".".join(map(str, _sqlite()))
    options = _compile_options()
    if "THREADSAFE=0" in options or any(one.startswith("OMIT_WAL") for one in options):
        yield Finding(
            "storage.sqlite", "fault", f"SQLite {version} was built without threads or without "
            "its write-ahead log", "the store writes in a thread of its own, through that log",
            "sudo apt install -y --reinstall python3 libsqlite3-0",
        )  # fmt: skip
    elif wal_reset_bug(_sqlite()):
        yield Finding(
            "storage.sqlite", "note", f"SQLite {version} can lose events when two programs write "
            "(litestream#1432)",
            "one run is one writer and safe; a replicator such as Litestream beside it is not",
            "Copy the store with sightpost events export, or sqlite3 events.db '.backup copy.db', "
            "and let nothing else write to it; fixed in SQLite 3.51.3.",
        )  # fmt: skip
    else:
        yield Finding("storage.sqlite", "ok", f"SQLite {version}")


def _sqlite() -> tuple[int, int, int]:
    return sqlite3.sqlite_version_info


def _compile_options() -> set[str]:
    with sqlite3.connect(":memory:") as connection:
        found = {str(row[0]) for row in connection.execute("PRAGMA compile_options")}
    connection.close()
    return found


def _shown(host: Host) -> str:
    return shlex.quote(host.shown(host.store))


def _inside(check: Check) -> Check:
    """A check that has nothing to look at where the store is shut; that is said once, by the first
    of them."""

    @wraps(check)
    def look(host: Host) -> Iterator[Finding]:
        name = f"storage.{check.__name__.removeprefix('check_')}"
        if not is_shut(host.store):
            yield from check(host)
        elif name == "storage.database":
            yield unseen(host, name, f"the store {_shown(host)}")
        else:
            yield skipped(name)

    return look


CHECKS: tuple[Check, ...] = (
    *map(_inside, (check_database, check_quarantine, check_rate, check_held, check_ballast)),
    check_sqlite,
)
