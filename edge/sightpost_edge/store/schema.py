"""The tables of the store, and how those of older releases are brought up to date."""

import sqlite3
from pathlib import Path

from ..errors import StoreError

_FIRST = """
CREATE TABLE events (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    label         TEXT NOT NULL,
    score         REAL NOT NULL,
    started_at    TEXT NOT NULL,   -- wall time, UTC, ISO 8601
    ended_at      TEXT NOT NULL,
    started_s     REAL NOT NULL,   -- seconds since the source began
    ended_s       REAL NOT NULL,
    peak_s        REAL NOT NULL,
    decided_s     REAL NOT NULL,   -- when the event closed and was written
    monotonic_ns  INTEGER NOT NULL,-- of the peak frame, comparable within one boot
    boot_id       TEXT NOT NULL,
    clock_quality TEXT NOT NULL,
    frames        INTEGER NOT NULL,
    frame_name    TEXT NOT NULL,   -- the peak photo's name, for folders
    reason        TEXT NOT NULL,
    source        TEXT NOT NULL,
    model         TEXT NOT NULL,
    model_digest  TEXT NOT NULL,
    snapshot      TEXT NOT NULL    -- path below the store, '' without one
);
"""

_STORIES_AND_HEALTH = """
ALTER TABLE events ADD COLUMN region TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN named_by TEXT NOT NULL DEFAULT 'label';
ALTER TABLE events ADD COLUMN novelty REAL;                     -- of the peak frame
ALTER TABLE events ADD COLUMN run INTEGER NOT NULL DEFAULT 0;   -- 0: before runs were kept
ALTER TABLE events ADD COLUMN trace TEXT NOT NULL DEFAULT '[]'; -- JSON: a list for each Moment
CREATE TABLE runs (
    run          INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at   TEXT NOT NULL,
    source       TEXT NOT NULL,
    model        TEXT NOT NULL,
    model_path   TEXT NOT NULL,
    model_digest TEXT NOT NULL,
    rules        TEXT NOT NULL     -- JSON: decide.Rules as they were in force
);
CREATE TABLE health (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    run           INTEGER NOT NULL,
    at            TEXT NOT NULL,
    monotonic_ns  INTEGER NOT NULL,
    boot_id       TEXT NOT NULL,
    clock_quality TEXT NOT NULL,
    fault         TEXT NOT NULL,
    ok            INTEGER NOT NULL, -- 0: it began, 1: it is over
    detail        TEXT NOT NULL
);
"""

_MS = "CAST(ROUND((COALESCE(julianday({0}), 2440587.5) - 2440587.5) * 86400000.0) AS INTEGER)"
"""ISO 8601 as milliseconds since 1970; julianday resolves 0.04 ms."""

# Integer times carry counts by hour over a million rows (strftime took twice as long), and numbers
# that SQLite keeps count of cost a page of writing for each row: AUTOINCREMENT is gone.
_EPOCHS_AND_OUTBOX = f"""
ALTER TABLE events RENAME TO events_2;
CREATE TABLE events (
    seq            INTEGER PRIMARY KEY,  -- never used twice: the newest row is never deleted
    label          TEXT NOT NULL,
    score          REAL NOT NULL,
    started_ms     INTEGER NOT NULL,     -- wall time, UTC, ms since 1970
    ended_ms       INTEGER NOT NULL,
    started_s      REAL NOT NULL,
    ended_s        REAL NOT NULL,
    peak_s         REAL NOT NULL,
    decided_s      REAL NOT NULL,
    monotonic_ns   INTEGER NOT NULL,
    boot_id        TEXT NOT NULL,
    clock_quality  TEXT NOT NULL,
    clock_shift_ms INTEGER NOT NULL,     -- what the wall times were corrected by
    frames         INTEGER NOT NULL,
    frame_name     TEXT NOT NULL,
    reason         TEXT NOT NULL,
    region         TEXT NOT NULL,
    named_by       TEXT NOT NULL,
    novelty        REAL,
    run            INTEGER NOT NULL,
    source         TEXT NOT NULL,
    model          TEXT NOT NULL,
    model_digest   TEXT NOT NULL,
    snapshot       TEXT NOT NULL,
    clip           TEXT NOT NULL,
    picture_bytes  INTEGER NOT NULL,     -- snapshot and clip on disk
    marked         INTEGER NOT NULL,     -- a person wants it kept
    trace          BLOB NOT NULL         -- zlib of the JSON; text in rows of older releases
);
INSERT INTO events SELECT seq, label, score, {_MS.format("started_at")}, {_MS.format("ended_at")},
    started_s, ended_s, peak_s, decided_s, monotonic_ns, boot_id, clock_quality, 0, frames,
    frame_name, reason, region, named_by, novelty, run, source, model, model_digest, snapshot, '',
    0, 0, trace FROM events_2;
DROP TABLE events_2;
CREATE INDEX events_by_time ON events(started_ms, label, score);
CREATE INDEX events_marked ON events(marked) WHERE marked = 1;
ALTER TABLE runs RENAME TO runs_2;
CREATE TABLE runs (
    run            INTEGER PRIMARY KEY,
    first_seq      INTEGER NOT NULL,     -- no earlier event is this run's
    started_ms     INTEGER NOT NULL,
    ended_ms       INTEGER,              -- last known to be alive
    monotonic_ns   INTEGER NOT NULL,
    boot_id        TEXT NOT NULL,
    clock_quality  TEXT NOT NULL,
    clock_shift_ms INTEGER NOT NULL,
    source         TEXT NOT NULL,
    model          TEXT NOT NULL,
    model_path     TEXT NOT NULL,
    model_digest   TEXT NOT NULL,
    rules          TEXT NOT NULL
);
INSERT INTO runs SELECT run, 0, {_MS.format("started_at")}, NULL, 0, '', 'unknown', 0, source,
    model, model_path, model_digest, rules FROM runs_2;
DROP TABLE runs_2;
ALTER TABLE health RENAME TO health_2;
CREATE TABLE health (
    seq            INTEGER PRIMARY KEY,
    run            INTEGER NOT NULL,
    at_ms          INTEGER NOT NULL,
    monotonic_ns   INTEGER NOT NULL,
    boot_id        TEXT NOT NULL,
    clock_quality  TEXT NOT NULL,
    clock_shift_ms INTEGER NOT NULL,
    fault          TEXT NOT NULL,
    ok             INTEGER NOT NULL,
    detail         TEXT NOT NULL
);
INSERT INTO health SELECT seq, run, {_MS.format("at")}, monotonic_ns, boot_id, clock_quality, 0,
    fault, ok, detail FROM health_2;
DROP TABLE health_2;
CREATE TABLE outbox (
    id   INTEGER PRIMARY KEY,            -- never used twice: the newest row is never deleted
    kind TEXT NOT NULL,                  -- event, health, correction or drops
    ref  INTEGER NOT NULL                -- events.seq or health.seq
);
CREATE TABLE samples (
    id             INTEGER PRIMARY KEY,
    kind           TEXT NOT NULL,        -- uncertain, novel or random
    label          TEXT NOT NULL,
    score          REAL NOT NULL,
    scores         TEXT NOT NULL,        -- JSON: the best labels with their scores
    novelty        REAL,
    at_ms          INTEGER NOT NULL,
    monotonic_ns   INTEGER NOT NULL,
    boot_id        TEXT NOT NULL,
    clock_quality  TEXT NOT NULL,
    clock_shift_ms INTEGER NOT NULL,
    run            INTEGER NOT NULL,
    region         TEXT NOT NULL,
    file           TEXT NOT NULL,
    bytes          INTEGER NOT NULL
);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE store (id TEXT NOT NULL, created_ms INTEGER NOT NULL);
INSERT INTO store VALUES (lower(hex(randomblob(8))), {_MS.format("'now'")});
"""

MIGRATIONS = (_FIRST, _STORIES_AND_HEALTH, _EPOCHS_AND_OUTBOX)
SCHEMA_VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Each step in a transaction of its own: a kill in the middle leaves the version before."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"the store in {path.parent} was written by a newer sightpost",
            hint="update sightpost on this device, or give --store another folder",
        )
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
