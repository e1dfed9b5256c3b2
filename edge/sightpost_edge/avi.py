"""Motion JPEG in an AVI file, the JPEGs as they are: every player and ffmpeg open it.

Chunks and headers as in Microsoft's "AVI RIFF File Reference" (AVIMAINHEADER, AVISTREAMHEADER,
BITMAPINFOHEADER, AVIOLDINDEX): AVI 1.0, whose offsets allow 1 GiB in old players.
"""

import itertools
import struct
from collections.abc import Iterable, Sequence

MOST_BYTES = 2**30
_HAS_INDEX, _KEY_FRAME = 0x10, 0x10
_AT_LEAST_S = 0.001


def avi(jpegs: Sequence[bytes], *, width: int, height: int, fps: float) -> bytes:
    """A file that shows pictures of one size, one after the other, at a constant rate.

    Each JPEG must carry its Huffman tables, as ``sources.jpeg`` makes sure: some players know
    none. ``ValueError`` where there are none, or more than an AVI 1.0 file holds.
    """
    chunks = [_chunk(b"00dc", jpeg) for jpeg in jpegs]
    index = _index(jpegs)
    movie_bytes = 4 + sum(map(len, chunks))
    if not chunks or movie_bytes > MOST_BYTES:
        raise ValueError(f"{len(chunks)} pictures of {movie_bytes} bytes make no AVI file")
    headers = _headers(jpegs, width, height, round(1e6 / fps))
    body = [
        b"AVI ",
        headers,
        b"LIST" + struct.pack("<I", movie_bytes) + b"movi",
        *chunks,
        index,
    ]
    return b"".join([b"RIFF", struct.pack("<I", sum(map(len, body))), *body])


def usual_fps(times_s: Iterable[float]) -> float:
    """The rate of most pictures: the median interval is that of a camera which left some out."""
    times = sorted(times_s)
    steps = sorted(b - a for a, b in itertools.pairwise(times))
    return 1 / max(steps[len(steps) // 2], _AT_LEAST_S) if steps else 1.0


def _headers(jpegs: Sequence[bytes], width: int, height: int, frame_us: int) -> bytes:
    largest = max(map(len, jpegs))
    main = struct.pack(
        "<14I",
        frame_us, largest * 1_000_000 // frame_us, 0, _HAS_INDEX, len(jpegs), 0, 1, largest,
        width, height, 0, 0, 0, 0,
    )  # fmt: skip
    stream = struct.pack(
        "<4s4sIHHIIIIIIiI4h",
        b"vids", b"MJPG", 0, 0, 0, 0, frame_us, 1_000_000, 0, len(jpegs), largest, -1, 0,
        0, 0, width, height,
    )  # fmt: skip
    picture = struct.pack(
        "<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0
    )
    streams = b"strl" + _chunk(b"strh", stream) + _chunk(b"strf", picture)
    return _chunk(b"LIST", b"hdrl" + _chunk(b"avih", main) + _chunk(b"LIST", streams))


def _index(jpegs: Sequence[bytes]) -> bytes:
    """Offsets count from the word "movi"."""
    rows, at = [], 4
    for jpeg in jpegs:
        rows.append(struct.pack("<4sIII", b"00dc", _KEY_FRAME, at, len(jpeg)))
        at += 8 + len(jpeg) + len(jpeg) % 2
    return _chunk(b"idx1", b"".join(rows))


def _chunk(name: bytes, content: bytes) -> bytes:
    """Padded to an even length, which its size does not count."""
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
