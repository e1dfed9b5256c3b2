"""Photos decoded once: fitted pixels by content, memory-mapped, whole after any kill."""

import fcntl
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sightpost_edge import __version__
from sightpost_edge.durable import make_folder
from sightpost_edge.errors import DiskFull, StoreError, writing_to
from sightpost_edge.pixels import Geometry, fit
from sightpost_edge.records import Pixels

from . import facts
from .facts import THREADS, THUMBNAIL_PX
from .photos import LeftOut, Photo

log = logging.getLogger("sightpost")

INDEX, PIXELS = "index.db", "pixels.u8"
BLOCK = 256
"""Photos between two commits: a killed run decodes at most so many again."""
SPARE_BYTES = 256 * 2**20

SCHEMA = """
CREATE TABLE IF NOT EXISTS photos (
    sha256 TEXT PRIMARY KEY, row INTEGER, hash TEXT, thumbnail BLOB, problem TEXT);
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT);
"""


@dataclass(frozen=True, slots=True)
class Stack:
    """Photos in a memory-mapped file; indexing copies what is asked for.

    ``file`` is (m, h, w, 3) uint8, R,G,B; photo i of the stack is row ``rows[i]`` of it.
    """

    file: Pixels = field(repr=False)
    rows: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Pixels:
        return np.asarray(self.file[self.rows[index]])

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, h, w, 3)."""
        return (len(self.rows), *self.file.shape[1:])

    def part(self, index: Sequence[int] | NDArray[Any]) -> "Stack":
        """The photos at ``index``, still in the file."""
        return Stack(self.file, self.rows[np.asarray(index, np.int64)])


@dataclass(frozen=True, slots=True)
class Cached:
    """What reading photos gave; ``photos`` are the readable ones, the rest in the same order."""

    photos: tuple[Photo, ...]
    stack: Stack = field(repr=False)
    hashes: tuple[int, ...] = field(repr=False)
    thumbnails: Pixels = field(repr=False)
    left_out: tuple[LeftOut, ...]
    decoded: int


@dataclass(frozen=True, slots=True)
class _Read:
    """One file as it is now; ``row`` is -1 while its pixels are in no file."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    hash: int
    thumbnail: bytes
    problem: str
    row: int = -1
    pixels: Pixels | None = field(default=None, repr=False)


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/sightpost``, or ``~/.cache/sightpost``; it can be deleted at any time."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sightpost"


def read_cached(
    root: Path, photos: Sequence[Photo], geometry: Geometry, *, folder: Path | None = None
) -> Cached:
    """Read photos through the cache: what was decoded before, for any run, is not decoded again.

    A file is taken for unchanged when path, size and modification time are; its pixels are found
    by content, so copies and renamed folders cost one reading and no decoding.

    Raises:
        DiskFull, StoreError: the cache cannot be written; XDG_CACHE_HOME moves it.
    """
    rule = f"{geometry.width}x{geometry.height}-{geometry.crop_fraction}-{geometry.shrink}"
    # Another OpenCV may decode otherwise, another sightpost may fit otherwise.
    place = (folder or cache_folder() / "pixels") / f"{rule}-opencv{cv2.__version__}-{__version__}"
    with _place_to_write(place), _locked(place), closing(_database(place)) as database:
        store = _Store(place / PIXELS, geometry, database)
        reads, decoded = store.take(root, photos)
    return _collect(photos, reads, store.map(), decoded)


@contextmanager
def _place_to_write(place: Path) -> Iterator[None]:
    """What goes wrong with the cache in our own words, and how to put it elsewhere."""
    try:
        make_folder(place)
        yield
    except StoreError as exc:
        exc.hint += "; XDG_CACHE_HOME moves the cache of decoded photos"
        raise
    except sqlite3.Error as exc:
        full = "full" in str(exc)
        raise (DiskFull if full else StoreError)(
            f"the cache of decoded photos in {place} cannot be used ({exc})",
            hint="free some space, or set XDG_CACHE_HOME to another disk"
            if full
            else "delete that folder: everything in it can be made again",
        ) from exc


def _collect(photos: Sequence[Photo], reads: Sequence[_Read], file: Pixels, decoded: int) -> Cached:
    left_out = [
        LeftOut(photo.path, read.problem)
        for photo, read in zip(photos, reads, strict=True)
        if read.problem
    ]
    good = [(p, r) for p, r in zip(photos, reads, strict=True) if not r.problem]
    raw = b"".join(read.thumbnail for _, read in good)
    thumbnails = np.frombuffer(raw, np.uint8).reshape(len(good), THUMBNAIL_PX, THUMBNAIL_PX)
    return Cached(
        photos=tuple(replace(photo, sha256=read.sha256) for photo, read in good),
        stack=Stack(file, np.array([read.row for _, read in good], np.int64)),
        hashes=tuple(read.hash for _, read in good),
        thumbnails=thumbnails,
        left_out=tuple(left_out),
        decoded=decoded,
    )


class _Store:
    """Rows of pixels in one growing file, found through the database; one writer at a time."""

    def __init__(self, path: Path, geometry: Geometry, database: sqlite3.Connection) -> None:
        self._path, self._geometry, self._database = path, geometry, database
        self._shape = (geometry.height, geometry.width, 3)
        self._bytes = geometry.height * geometry.width * 3
        # Rows behind the last committed one belong to a run that was killed: written over.
        self._next = database.execute("SELECT COALESCE(MAX(row), -1) + 1 FROM photos").fetchone()[0]
        if self._next and (not path.exists() or path.stat().st_size < self._next * self._bytes):
            database.execute("DELETE FROM photos")  # the pixels are gone: read everything again
            path.unlink(missing_ok=True)  # who has it mapped keeps what he sees
            self._next = 0

    def map(self) -> Pixels:
        """(rows, h, w, 3) uint8, read-only."""
        if not self._next:
            return np.zeros((0, *self._shape), np.uint8)
        return np.memmap(self._path, np.uint8, "r", shape=(self._next, *self._shape))

    def take(self, root: Path, photos: Sequence[Photo]) -> tuple[list[_Read], int]:
        """What each photo is now, and how many had to be decoded."""
        known = self._known(root, photos)
        missing = [i for i, read in enumerate(known) if read is None]
        self._refuse_full_disk(len(missing))
        fresh: dict[int, _Read] = {}
        decoded = 0
        bar = tqdm(
            total=len(missing), desc="reading photos", unit=" photos", leave=False, disable=None
        )
        with ThreadPoolExecutor(THREADS) as pool, bar:
            for start in range(0, len(missing), BLOCK):
                block = missing[start : start + BLOCK]
                reads = list(pool.map(lambda i: self._read(root / photos[i].path), block))
                kept = self._keep(reads)
                decoded += sum(read.pixels is not None for read in reads)
                fresh.update(zip(block, kept, strict=True))
                bar.update(len(block))
        return [read or fresh[i] for i, read in enumerate(known)], decoded

    def _known(self, root: Path, photos: Sequence[Photo]) -> list[_Read | None]:
        known: list[_Read | None] = []
        for photo in photos:
            path = root / photo.path
            try:
                status = path.stat()
            except OSError:
                known.append(None)
                continue
            found = self._database.execute(
                "SELECT sha256, hash, thumbnail, problem, row FROM files JOIN photos USING (sha256)"
                " WHERE path = ? AND size = ? AND mtime_ns = ?",
                (os.fsencode(path.absolute()), status.st_size, status.st_mtime_ns),
            ).fetchone()
            known.append(found and self._row(str(path), status, found))
        return known

    @staticmethod
    def _row(path: str, status: os.stat_result, found: tuple[Any, ...]) -> _Read:
        sha256, hash_, thumbnail, problem, row = found
        return _Read(
            path, status.st_size, status.st_mtime_ns, sha256, int(hash_, 16), thumbnail,
            problem, row,
        )  # fmt: skip

    def _read(self, path: Path) -> _Read:
        """Decode and fit one file; runs in a thread."""
        try:
            status = path.stat()
        except OSError as exc:
            return _Read(str(path), 0, 0, "", 0, b"", exc.strerror or str(exc))
        seen, picture = facts.read(path)
        pixels = None if picture is None else fit(picture, self._geometry)
        return _Read(
            str(path.absolute()), status.st_size, status.st_mtime_ns, seen.sha256,
            seen.perceptual_hash, seen.thumbnail.tobytes() if picture is not None else b"",
            seen.problem, pixels=pixels,
        )  # fmt: skip

    def _keep(self, reads: Iterable[_Read]) -> list[_Read]:
        """Pixels first, on disk; then the rows that point to them, in one transaction."""
        placed: list[_Read] = []
        rows = dict(self._rows_of([read.sha256 for read in reads]))
        with writing_to(self._path), self._path.open("r+b" if self._path.exists() else "wb") as out:
            for read in reads:
                if read.pixels is not None and read.sha256 not in rows:
                    out.seek(self._next * self._bytes)
                    out.write(read.pixels.tobytes())
                    rows[read.sha256] = self._next
                    self._next += 1
                placed.append(replace(read, row=rows.get(read.sha256, -1), pixels=None))
            out.flush()
            os.fsync(out.fileno())
        self._commit(placed)
        return placed

    def _rows_of(self, digests: Sequence[str]) -> Iterator[tuple[str, int]]:
        for digest in digests:
            found = self._database.execute(
                "SELECT row FROM photos WHERE sha256 = ? AND row >= 0", (digest,)
            ).fetchone()
            if found:
                yield digest, found[0]

    def _commit(self, placed: Sequence[_Read]) -> None:
        read_whole = [read for read in placed if read.sha256]
        with writing_to(self._path.parent), self._database as database:
            database.executemany(
                "INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?)",
                [(r.sha256, r.row, f"{r.hash:x}", r.thumbnail, r.problem) for r in read_whole],
            )
            database.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
                [(os.fsencode(r.path), r.size, r.mtime_ns, r.sha256) for r in read_whole],
            )

    def _refuse_full_disk(self, photos: int) -> None:
        needed, free = photos * self._bytes, shutil.disk_usage(self._path.parent).free
        if photos and free < needed + SPARE_BYTES:
            raise DiskFull(
                f"the cache of {photos} decoded photos needs {needed / 2**30:.1f} GiB in "
                f"{self._path.parent}, {free / 2**30:.1f} GiB are free",
                hint="free some space, or set XDG_CACHE_HOME to a folder on a larger disk",
            )


def _database(place: Path) -> sqlite3.Connection:
    """The index; one that is damaged is made anew, with its pixels."""
    try:
        return _opened(place / INDEX)
    except sqlite3.OperationalError:
        raise  # locked, full or unwritable: nothing is damaged
    except sqlite3.DatabaseError:
        (place / INDEX).unlink()
        (place / PIXELS).unlink(missing_ok=True)
        return _opened(place / INDEX)


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    try:
        database.executescript(SCHEMA)
    except sqlite3.Error:
        database.close()
        raise
    return database


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """One process at a time adds to the cache; the lock goes with the process."""
    with writing_to(place), (place / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another run is reading photos: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
