"""One read of one photo: its digest, what it is, how it looks, and what is wrong with it."""

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sightpost_edge.errors import PhotoUnreadable
from sightpost_edge.pixels import MAX_PIXELS, decode
from sightpost_edge.records import Pixels

from .headers import DECODED, Header, Remark, read_header

THUMBNAIL_PX = 32
MAX_FILE_BYTES = 256 * 2**20
"""Larger files are not read: an uncompressed picture of 85 megapixels still fits."""
THREADS = min(8, os.cpu_count() or 1)
_LOOK_PX = 256
"""Looks are measured on a short side of at most this, so that they compare between cameras."""
_LOST_ROWS = 8
"""Rows of one JPEG block, the least that lost data leaves grey."""
_SUFFIXES = {
    "jpeg": (".jpg", ".jpeg"), "tiff": (".tif", ".tiff"), "pnm": (".ppm", ".pgm"),
    "png": (".png",), "webp": (".webp",), "bmp": (".bmp",),
}  # fmt: skip
_NAMED_SUFFIXES = frozenset(suffix for suffixes in _SUFFIXES.values() for suffix in suffixes)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Facts:
    """What one read of a file tells; ``problem`` is empty for a photo that can be used.

    ``format`` comes from the content; ``width`` and ``height`` are upright pixels.
    ``perceptual_hash`` holds 64 bits, near for pictures that look alike; ``thumbnail`` is
    (32, 32) uint8, grey. ``brightness`` and ``contrast`` are mean and standard deviation in grey
    levels 0-255, ``sharpness`` the variance of the Laplacian (Pech-Pacheco et al., 2000), all
    measured at a short side of at most 256 px. ``exif_time`` is "YYYY:MM:DD HH:MM:SS" in the
    camera's own time. ``problem_kind`` is "empty", "truncated", "too large", "no photo" or
    "unreadable"; ``warnings`` are oddities of a photo that can be used.
    """

    sha256: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    perceptual_hash: int = 0
    thumbnail: NDArray[np.uint8] = field(
        default_factory=lambda: np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8),
        repr=False,
        compare=False,
    )
    brightness: float = 0.0
    contrast: float = 0.0
    sharpness: float = 0.0
    exif_time: str = ""
    camera: str = ""
    warnings: tuple[Remark, ...] = ()
    problem: str = ""
    problem_kind: str = ""


def examine(path: Path) -> Facts:
    """Everything about a photo but its pixels; never raises for what a file holds or is."""
    return read(path)[0]


def read(path: Path) -> tuple[Facts, Pixels | None]:
    """Read and decode a file once: its facts and (h, w, 3) uint8, R,G,B, or None if unusable."""
    try:
        encoded = bytes_of(path)
    except PhotoUnreadable as exc:
        return Facts(problem=str(exc), problem_kind="too large"), None
    except (OSError, ValueError) as exc:  # ValueError: a name with a zero byte
        problem = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        return Facts(problem=problem, problem_kind="unreadable"), None
    sha256 = hashlib.sha256(encoded).hexdigest()
    header = read_header(encoded)
    try:
        # A size that the header does not tell may be any.
        with _DECODING.room_for(header.width * header.height or MAX_PIXELS):
            picture = _decode(encoded, header)
            warnings = (*header.remarks, *_disguise(path, header), *_lost_rows(picture, header))
            return _looks(picture, sha256, header, warnings), picture
    except PhotoUnreadable as exc:
        problem, kind = _problem(exc, encoded, header)
        return Facts(
            sha256, header.format, header.width, header.height, problem=problem, problem_kind=kind
        ), None


def in_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], *, what: str
) -> Iterator[Result]:
    """``work`` of each item in order, on several threads, with a progress bar titled ``what``."""
    pool = ThreadPoolExecutor(THREADS)
    try:
        results = pool.map(work, items)
        yield from tqdm(
            results, desc=what, total=len(items), unit=" photos", leave=False, disable=None
        )
    finally:
        pool.shutdown(cancel_futures=True)  # so that Ctrl-C does not read the rest first


class _Room:
    """Bounds the pixels that are being decoded at once, whatever the number of threads.

    Decoding holds two copies of 3 bytes per pixel: 100 megapixels in flight are 600 MB.
    """

    def __init__(self, pixels: int) -> None:
        self._free = self._all = pixels
        self._changed = threading.Condition()

    @contextmanager
    def room_for(self, pixels: int) -> Iterator[None]:
        """Wait until a picture of so many pixels may be decoded."""
        taken = max(0, min(pixels, self._all))
        with self._changed:
            self._changed.wait_for(lambda: self._free >= taken)
            self._free -= taken
        try:
            yield
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify_all()


_DECODING = _Room(MAX_PIXELS)


def bytes_of(path: Path) -> bytes:
    """A file's content.

    Raises:
        OSError: it is none, or cannot be read.
        PhotoUnreadable: it is larger than ``MAX_FILE_BYTES``.
    """
    # Without O_NONBLOCK, opening a pipe that is named like a photo would wait for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "is no file")
        if status.st_size > MAX_FILE_BYTES:
            raise PhotoUnreadable(
                f"is too large ({status.st_size / 2**20:,.0f} MiB, at most "
                f"{MAX_FILE_BYTES // 2**20} are read)"
            )
        return file.read()


def _decode(encoded: bytes, header: Header) -> Pixels:
    if header.format not in DECODED and encoded:
        raise PhotoUnreadable(f"is no photo: its content is {header.format or 'of no known kind'}")
    if header.width * header.height > MAX_PIXELS:
        raise PhotoUnreadable(f"is too large ({header.width:,} x {header.height:,} pixels)")
    return decode(encoded)


def _problem(exc: PhotoUnreadable, encoded: bytes, header: Header) -> tuple[str, str]:
    text = str(exc)
    if not encoded:
        return text, "empty"
    if "too large" in text:
        return text, "too large"
    if "truncated" in text:
        return text, "truncated"
    if header.short:
        return f"is a truncated {header.format.upper()} (its end is missing)", "truncated"
    if header.format not in DECODED:
        return text, "no photo"
    return f"is a damaged {header.format.upper()}: {text}", "unreadable"


def _disguise(path: Path, header: Header) -> Iterator[Remark]:
    suffix = path.suffix.lower()
    if suffix in _NAMED_SUFFIXES and suffix not in _SUFFIXES.get(header.format, ()):
        yield Remark("disguised", f"is named {suffix} but holds {header.format.upper()}")


def _lost_rows(picture: Pixels, header: Header) -> Iterator[Remark]:
    """A JPEG whose data ends early decodes to level 128 from there on, on one side only.

    libjpeg fills in zero coefficients, which are exactly mid-grey; a border drawn in that colour
    has its like on the opposite side.
    """
    if header.format != "jpeg":
        return
    turned = np.swapaxes(picture, 0, 1)
    sides = (picture[::-1], picture, turned[::-1], turned)
    grey = [_grey_rows(side) for side in sides]
    if sum(rows >= _LOST_ROWS for rows in grey) == 1:
        share = max(rows / len(side) for rows, side in zip(grey, sides, strict=True))
        text = f"has {share:.0%} of plain mid-grey on one side, as where the end of a JPEG is lost"
        yield Remark("damaged", text)


def _grey_rows(picture: Pixels) -> int:
    """How many rows from the top are level 128 throughout."""
    if np.any(picture[:_LOST_ROWS] != 128):
        return 0
    different = np.any(picture != 128, axis=(1, 2))
    return int(different.argmax()) if different.any() else 0


def _looks(picture: Pixels, sha256: str, header: Header, warnings: tuple[Remark, ...]) -> Facts:
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    thumbnail = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    scale = _LOOK_PX / min(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return Facts(
        sha256, header.format, width, height, perceptual_hash(thumbnail), thumbnail,
        brightness=float(grey.mean()), contrast=float(grey.std()),
        sharpness=float(cv2.Laplacian(grey, cv2.CV_32F).var()),
        exif_time=header.exif_time, camera=header.camera, warnings=warnings,
    )  # fmt: skip


def perceptual_hash(thumbnail: NDArray[np.uint8]) -> int:
    """64 bits of a (32, 32) uint8 grey picture: which low frequencies are above their median.

    The 8 x 8 lowest of the discrete cosine transform without the mean (Zauner, 2010, pHash);
    resizing and re-encoding change a few bits at most, another picture about half.
    """
    low = cv2.dct(thumbnail.astype(np.float32))[:8, :8].ravel()
    low[0] = -np.inf  # the mean: brightness alone is no difference
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
