"""Multipart streams as cameras write them, and JPEGs as they leave them."""

import contextlib
import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from sightpost_edge.errors import PhotoUnreadable, SourceLost
from sightpost_edge.image import JpegImage, jpeg_size
from sightpost_edge.pixels import _jpeg_ends
from sightpost_edge.sources.jpeg import STANDARD_TABLES, JpegReader
from sightpost_edge.sources.multipart import Parts
from sightpost_edge.testing import colour

JPEGS = [bytes(cv2.imencode(".jpg", colour(name))[1]) for name in ("red", "green", "blue")]


def whole_jpeg(sent: bytes) -> bytes:
    return JpegReader().image(sent).encoded


def pieces(body: bytes, size: int) -> Callable[[], bytes]:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return lambda: chunks.pop(0) if chunks else b""


def part(jpeg: bytes, headers: str, *, line: str = "\r\n", dashes: str = "--") -> bytes:
    head = f"{dashes}frame{line}" + headers.replace("\n", line) + line
    return head.encode() + jpeg + line.encode()


STYLES = {
    "as the book says": lambda j: part(j, f"Content-Type: image/jpeg\nContent-Length: {len(j)}\n"),
    "no length": lambda j: part(j, "Content-Type: image/jpeg\n"),
    "a length of nothing": lambda j: part(j, "Content-Length: 0\n"),
    "a length in words": lambda j: part(j, "Content-Length: unknown\n"),
    "no headers": lambda j: part(j, ""),
    "odd names": lambda j: part(j, f"CONTENT-length :{len(j)}\nX-Time: 12:30:01\nnonsense\n"),
    "line feeds only": lambda j: part(
        j, f"Content-type: image/jpg\nContent-length: {len(j)}\n", line="\n"
    ),
    "four dashes": lambda j: part(j, f"Content-Length: {len(j)}\n", dashes="----"),
    "no line break after the picture": lambda j: part(j, f"Content-Length: {len(j)}\n")[:-2],
    "text between": lambda j: (
        part(b"ping", "Content-Type: text/plain\nContent-Length: 4\n")
        + part(j, f"Content-Type: image/jpeg\nContent-Length: {len(j)}\n")
    ),
    "padding after the end mark": lambda j: part(j + bytes(900), "Content-Type: image/jpeg\n"),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 18])
@pytest.mark.parametrize("boundary", ["frame", "--frame"])
def test_every_style_gives_the_pictures(style: str, size: int, boundary: str) -> None:
    """In whatever pieces they come."""
    body = b"".join(map(STYLES[style], JPEGS)) + b"--frame--\r\n"
    parts = Parts(pieces(body, size), boundary)
    assert [whole_jpeg(parts.next_picture()) for _ in JPEGS] == JPEGS
    with pytest.raises(ConnectionError):
        parts.next_picture()


def test_a_picture_without_a_length_does_not_wait_for_the_next() -> None:
    """At one picture a second that would be a second late."""
    sent = iter([part(JPEGS[0], "Content-Type: image/jpeg\n")])

    def receive() -> bytes:
        return next(sent)

    assert whole_jpeg(Parts(receive, "frame").next_picture()) == JPEGS[0]


@pytest.mark.parametrize(
    "endless",
    [b"x" * 65536, b"--frame\r\n" + b"a: b\r\n" * 9999, b"--frame\r\n\r\n" + b"x" * 65536],
)
def test_a_stream_of_something_else_ends(endless: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: neither a header nor a picture is read without end."""
    monkeypatch.setattr("sightpost_edge.sources.multipart.MAX_PART", 1 << 20)
    first = iter([endless])
    with pytest.raises(SourceLost):
        Parts(lambda: next(first, b"a: b\r\n" * 9999), "frame").next_picture()


def test_a_huge_length_is_not_believed() -> None:
    """Before a byte of it is read."""
    body = part(b"", f"Content-Length: {10**12}\n")
    with pytest.raises(SourceLost, match="announces"):
        Parts(pieces(body, 100), "frame").next_picture()


def without_tables(jpeg: bytes) -> bytes:
    out, at = bytearray(jpeg[:2]), 2
    while jpeg[at + 1] != 0xDA:
        length = 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] != 0xC4:
            out += jpeg[at : at + length]
        at += length
    return bytes(out) + jpeg[at:]


def test_huffman_tables_that_were_left_out_are_put_in() -> None:
    """The pixels are those of the whole file, and it is one for any program."""
    bare = without_tables(JPEGS[0])
    assert len(JPEGS[0]) - len(bare) == len(STANDARD_TABLES) + 3 * 4
    mended = whole_jpeg(bare)
    assert STANDARD_TABLES in mended
    assert (JpegImage(mended).decode() == JpegImage(JPEGS[0]).decode()).all()


def test_the_tables_are_those_that_encoders_write() -> None:
    """libjpeg's, table by table."""

    def tables(jpeg: bytes) -> dict[int, bytes]:
        found, at = {}, 2
        while jpeg[at + 1] != 0xDA:
            length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
            body = jpeg[at + 4 : at + 2 + length] if jpeg[at + 1] == 0xC4 else b""
            while body:
                count = 17 + sum(body[1:17])
                found[body[0]], body = body[1:count], body[count:]
            at += 2 + length
        return found

    assert tables(b"\xff\xd8" + STANDARD_TABLES + b"\xff\xda\x00\x02") == tables(JPEGS[0])


def test_a_whole_jpeg_is_left_alone() -> None:
    """Not even copied; padding is cut off."""
    assert whole_jpeg(JPEGS[0]) is JPEGS[0]
    assert whole_jpeg(JPEGS[0] + bytes(5000)) == JPEGS[0]


@pytest.mark.parametrize(
    "sent",
    [b"", b"\xff\xd8", b"GIF89a" * 9, JPEGS[0][:-2], JPEGS[0][:100], b"\xff\xd8\xff\xd9",
     b"\xff\xd8" + b"\xff" * 50, b"\xff\xd8\xff\xe0\x00\x00" * 9],
)  # fmt: skip
def test_what_is_no_whole_jpeg_is_refused(sent: bytes) -> None:
    """As unreadable, whatever the bytes."""
    with pytest.raises(PhotoUnreadable):
        whole_jpeg(sent)


def test_a_header_that_changes_is_read_again() -> None:
    """Another size, other tables, no tables, and back: each picture is what it is alone."""
    small = bytes(cv2.imencode(".jpg", colour("red", width=32, height=16))[1])
    coarse = bytes(cv2.imencode(".jpg", colour("red"), [cv2.IMWRITE_JPEG_QUALITY, 20])[1])
    reader = JpegReader()
    for sent in (JPEGS[0], small, coarse, without_tables(JPEGS[1]), JPEGS[1], JPEGS[2], small):
        image, alone = reader.image(sent), JpegImage(whole_jpeg(sent))
        assert image.encoded == alone.encoded
        assert (image.width, image.height) == (alone.width, alone.height)
        assert image.decode().shape == (image.height, image.width, 3)


def test_a_bad_picture_between_good_ones_spoils_none() -> None:
    """Whatever was half read of it is forgotten."""
    reader = JpegReader()
    no_size = b"\xff\xd8\xff\xda\x00\x02" + JPEGS[0][-100:]
    for sent in (JPEGS[0], b"\xff\xd8\xff", no_size, JPEGS[0][:-2], JPEGS[1][:200]):
        with contextlib.suppress(PhotoUnreadable):
            reader.image(sent)
        assert reader.image(JPEGS[2]).encoded == JPEGS[2]


def test_any_damage_is_survived() -> None:
    """2,000 mutants through one reader: a JPEG or an error of ours."""
    chance, reader = np.random.default_rng(3), JpegReader()
    for _ in range(2000):
        mutant = bytearray(JPEGS[0])
        for at in chance.integers(0, 700, 3):
            mutant[at] = chance.integers(256)
        try:
            reader.image(bytes(mutant[: chance.integers(2, len(mutant))]))
        except PhotoUnreadable:
            continue


@pytest.mark.parametrize("boundary", ["-", "---"])
def test_a_boundary_of_dashes_only(boundary: str) -> None:
    """Nothing is left of it without its dashes, and "--" alone is found within pictures."""
    odd = JPEGS[0][:20] + b"--" + JPEGS[0][22:]
    head = f"--{boundary}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
    parts = Parts(
        pieces(b"".join(head + jpeg + b"\r\n" for jpeg in (odd, JPEGS[1])), 1000), boundary
    )
    found = [parts.next_picture().removesuffix(b"\r\n") for _ in range(2)]
    assert found == [odd, JPEGS[1]]


@pytest.mark.parametrize(
    "header",
    [
        b"\xff" * (8 << 20),
        b"\xff\xe0\x00\x02" * (2 << 20),
        (b"\xff" * 999 + b"\xe0\x00\x02") * 8000,
    ],
)
def test_a_header_without_end_takes_no_time(header: bytes) -> None:
    """Fill bytes and empty segments, as many as a part may have: the capture thread must go on."""
    sent = b"\xff\xd8" + header + JPEGS[0][2:]
    began_s = time.process_time()
    for read in (whole_jpeg, jpeg_size, _jpeg_ends):
        with contextlib.suppress(PhotoUnreadable):
            read(sent)
    assert time.process_time() - began_s < 0.5


def test_fill_bytes_before_a_marker_are_allowed() -> None:
    """T.81, B.1.1.2."""
    at = JPEGS[0].index(b"\xff\xc0")
    sent = JPEGS[0][:at] + b"\xff" * 500 + JPEGS[0][at:]
    assert JpegReader().image(sent).width == JpegImage(JPEGS[0]).width
    assert jpeg_size(sent) == jpeg_size(JPEGS[0])
    assert _jpeg_ends(sent)
    assert not _jpeg_ends(sent[:-2])
