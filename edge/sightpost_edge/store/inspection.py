"""Whether what lies in the place of the database can be used, asked before anything is written.

It is only read here: closing a connection that may write would pour the log into a damaged file,
and whoever wants to rescue its events needs both as they were.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from ..errors import StoreError
from .ballast import size_of
from .schema import MIGRATIONS, SCHEMA_VERSION

AT_MOST_S = 1.0
"""So long the pages are checked at a start: 30 MB of a slow card. The rest is read within minutes
by ``holdings``, and damage found then, or by any write, is left as a note for the next start."""
NOTE = "-suspect"
LEAST = 2
"""SQLite takes a file of one byte for an empty one, begins anew and removes the log."""
_DAMAGED = ("malformed", "not a database", "unsupported file format")


def why_unusable(path: Path, *, at_most_s: float = AT_MOST_S) -> str:
    """A reason in words; "" where nothing speaks against opening it, or nothing is there.

    Raises:
        sqlite3.OperationalError: it could not be asked: locked, or the disk failed.
        StoreError: it belongs to somebody else; that is no damage.
    """
    if reason := _no_database(path, Path(f"{path}-wal")):
        return reason
    if size_of(path) < LEAST or size_of(Path(f"{path}-journal")):
        # Not begun, or cut off in its first moments, before it had a log: whoever may write rolls
        # that back, and a reader could not even open it.
        return ""
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, check_same_thread=False)) as found:
            found.text_factory = readable
            return _wrong_tables(found) or _damage(found, at_most_s)
    except UnicodeDecodeError:  # SQLite quotes what it could not make sense of
        return "its list of tables is damaged"
    except sqlite3.DatabaseError as exc:
        if is_damage(exc):
            return str(exc)
        raise


def _no_database(path: Path, log_file: Path) -> str:
    """What can be said without opening it."""
    if any(os.path.lexists(one) and not one.is_file() for one in (path, log_file)):
        return "it is no file"
    for one in (path, log_file):
        if one.exists() and not os.access(one, os.R_OK | os.W_OK):
            raise StoreError(
                f"no permission to read and write {one}",
                hint="give it back to the user who runs sightpost, with chown",
            )
    if Path(f"{path}{NOTE}").exists():
        return "the last run found damage in it"
    if size_of(path) < LEAST and size_of(log_file):
        return "it is empty, its log is not"
    return ""


def readable(text: bytes) -> str:
    """What a card has spoiled in a text must not stop a run, nor hide all other events."""
    return text.decode("utf-8", "replace")


def is_damage(exc: sqlite3.Error) -> bool:
    """Whether the file is to blame, and not the disk, a lock or our own statement."""
    return any(words in str(exc) for words in _DAMAGED)


@contextmanager
def noted(path: Path) -> Iterator[None]:
    """Damage met while writing is noted: the next start sets the file aside, however sound it
    looks; without the note it would meet the same damage again, and end, and start."""
    try:
        yield
    except sqlite3.DatabaseError as exc:
        if is_damage(exc):
            Path(f"{path}{NOTE}").touch()
        raise


def _wrong_tables(connection: sqlite3.Connection) -> str:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        return ""  # healthy, and not ours to set aside: opening it says what to do
    if version < 0 or not _fits(connection, version):
        return f"its tables are not those of version {version}"
    return ""


def _fits(connection: sqlite3.Connection, version: int) -> bool:
    """Whether all that this version needs is there, and nothing of the versions after it: they
    could not be made then. What others have added (Litestream a table, a person a view, a column
    or an index) is no damage."""
    names = _names(connection)
    if version == 0:
        return not names
    ours = frozenset[str]().union(*(_expected(one)[0] for one in range(1, SCHEMA_VERSION + 1)))
    tables, columns = _expected(version)
    return names & ours == tables and columns <= _columns(connection, tables)


@cache
def _expected(version: int) -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
    """The tables and indexes that a database of this version has, and their columns."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for script in MIGRATIONS[:version]:
            connection.executescript(script)
        names = _names(connection)
        return names, _columns(connection, names)


def _names(connection: sqlite3.Connection) -> frozenset[str]:
    """Of all tables, indexes and views."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
    return frozenset(str(name) for (name,) in found)


def _columns(connection: sqlite3.Connection, names: frozenset[str]) -> frozenset[tuple[str, str]]:
    """Every column with its table or index; others are not asked, a view may be broken."""
    return frozenset(
        (name, str(column))
        for name in names
        for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", (name,))
    )


def _damage(connection: sqlite3.Connection, at_most_s: float) -> str:
    """What SQLite's own check finds in the time it has.

    A progress handler would not end it: SQLite 3.40 calls none while it walks the pages.
    """
    end = threading.Timer(at_most_s, connection.interrupt)
    end.daemon = True
    end.start()
    try:
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as exc:
        if "interrupted" in str(exc):
            return ""
        raise
    finally:
        end.cancel()
        end.join()  # the connection is closed next
    return "" if said == "ok" else str(said)
