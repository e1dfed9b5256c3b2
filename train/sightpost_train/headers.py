"""What the first bytes of a file say without decoding it: format, size, camera, time, oddities."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

_MAGIC = (
    (rb"\xff\xd8\xff", "jpeg"),
    (rb"\x89PNG\r\n\x1a\n", "png"),
    (rb"GIF8[79]a", "gif"),
    (rb"RIFF....WEBP", "webp"),
    (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", "bmp"),
    (rb"II\*\0.{4}CR|FUJIFILMCCD-RAW|IIR[OS]|IIU\0", "camera raw"),
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "tiff"),
    (rb"P[1-6]\s", "pnm"),
    (rb".{4}ftyp(heic|heix|hevc|heim|heis|mif1|msf1)", "HEIC"),
    (rb".{4}ftypavi[fs]", "AVIF"),
    (rb".{4}ftyp", "video (MP4 or MOV)"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"%PDF", "PDF"),
    (rb"8BPS", "Photoshop (PSD)"),
    (rb"PK\x03\x04", "ZIP"),
    (rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)", "HTML (a web page, not the picture)"),
    (rb"(\xef\xbb\xbf)?\s*<(\?xml|svg)", "SVG or XML"),
    (rb"[\t\n\r\x20-\x7e]{8}", "text"),
)
_SNIFFERS = tuple((re.compile(magic, re.DOTALL | re.IGNORECASE), name) for magic, name in _MAGIC)
DECODED = frozenset({"jpeg", "png", "gif", "webp", "bmp", "tiff", "pnm"})
"""Only these are handed to the decoder: rarer formats would widen what hostile files can reach."""

_EXIF_MODEL, _EXIF_MAKE, _EXIF_ORIENTATION, _EXIF_CHANGED = 0x0110, 0x010F, 0x0112, 0x0132
_EXIF_WIDTH, _EXIF_HEIGHT, _EXIF_MORE = 0x0100, 0x0101, 0x8769
_EXIF_TAKEN, _EXIF_SERIAL = 0x9003, 0xA431
_SCAN_BREAK = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_MARKERS_BETWEEN_SCANS = frozenset({0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})


@dataclass(frozen=True, slots=True)
class Remark:
    """Something worth knowing about a file; ``kind`` is one word, ``text`` a predicate."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Header:
    """What a file claims to be; every field may be a lie, none has been checked by decoding.

    ``format`` is one of ``DECODED``, the name of another known format, or empty. ``width`` and
    ``height`` are as stored, in pixels, 0 where unknown. ``exif_time`` is local,
    "YYYY:MM:DD HH:MM:SS"; ``camera`` is make, model and serial number. ``short``: the file ends
    before what it announces.
    """

    format: str
    width: int = 0
    height: int = 0
    exif_time: str = ""
    camera: str = ""
    short: bool = False
    remarks: tuple[Remark, ...] = ()


def read_header(encoded: bytes) -> Header:
    """Read what the file announces. Never raises: slices of broken files are short, not errors."""
    found = next((name for pattern, name in _SNIFFERS if pattern.match(encoded)), "")
    parser = {
        "jpeg": _jpeg, "png": _png, "gif": _gif, "webp": _webp, "bmp": _bmp, "tiff": _tiff,
        "pnm": _pnm,
    }.get(found)  # fmt: skip
    return parser(encoded) if parser else Header(found)


def _jpeg(encoded: bytes) -> Header:
    header, at = Header("jpeg"), 2
    remarks: list[Remark] = []
    while at + 4 <= len(encoded) and encoded[at] == 0xFF:
        marker, length = encoded[at + 1], _big(encoded, at + 2, 2)
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            header = replace(
                header, height=_big(encoded, at + 5, 2), width=_big(encoded, at + 7, 2)
            )
            remarks += _jpeg_coding(marker, encoded[at + 9 : at + 10])
        elif marker == 0xE1 and encoded[at + 4 : at + 10] == b"Exif\0\0":
            header = _with_exif(header, encoded[at + 10 : at + 2 + length])
        elif marker == 0xE2 and encoded[at + 4 : at + 8] == b"MPF\0":
            remarks.append(Remark("frames", "holds several pictures, the first is used"))
        at += 2 + length
        if marker == 0xDA:
            remarks += _scan_damage(encoded, at)
            break
    return replace(header, remarks=(*header.remarks, *remarks))


def _jpeg_coding(marker: int, components: bytes) -> Iterator[Remark]:
    if marker >= 0xC9:
        yield Remark("coding", "is arithmetic-coded, which many readers cannot decode")
    if components == b"\x04":
        yield Remark("colour", "is stored as CMYK and converted to RGB")


def _scan_damage(encoded: bytes, at: int) -> Iterator[Remark]:
    """A marker that cannot stand in scan data (ITU-T T.81, table B.1) shows overwritten bytes."""
    while found := _SCAN_BREAK.search(encoded, at):
        marker = encoded[found.start() + 1]
        if marker == 0xD9:
            return
        if marker not in _MARKERS_BETWEEN_SCANS:
            yield Remark("damaged", "has damaged data inside: part of it may show wrong colours")
            return
        at = found.end() + _big(encoded, found.end(), 2)


def _png(encoded: bytes) -> Header:
    header = Header("png", _big(encoded, 16, 4), _big(encoded, 20, 4))
    depth, colour = encoded[24:25], encoded[25:26]
    remarks: list[Remark] = []
    if depth == b"\x10":
        remarks.append(Remark("depth", "has 16 bits per channel, reduced to 8"))
    transparent = colour in (b"\x04", b"\x06")
    at = 8
    while at + 8 <= len(encoded):
        length, kind = _big(encoded, at, 4), encoded[at + 4 : at + 8]
        if kind == b"acTL":
            remarks.append(Remark("frames", "is animated, the first frame is used"))
        elif kind == b"eXIf":
            header = _with_exif(header, encoded[at + 8 : at + 8 + length])
        transparent |= kind == b"tRNS"
        at += 12 + length
    if transparent:
        remarks.append(Remark("alpha", "has transparency, which is dropped"))
    return replace(header, remarks=(*header.remarks, *remarks))


def _gif(encoded: bytes) -> Header:
    frames = encoded.count(b"\x21\xf9\x04")
    animated = Remark("frames", f"is animated ({frames} frames), the first is used")
    return Header(
        "gif", _little(encoded, 6, 2), _little(encoded, 8, 2),
        short=not encoded.rstrip(b"\0").endswith(b";"), remarks=(animated,) if frames > 1 else (),
    )  # fmt: skip


def _webp(encoded: bytes) -> Header:
    header = Header("webp", short=_little(encoded, 4, 4) + 8 > len(encoded))
    kind = encoded[12:16]
    if kind == b"VP8X":
        width, height = _little(encoded, 24, 3) + 1, _little(encoded, 27, 3) + 1
        flags = encoded[20] if len(encoded) > 20 else 0
        animated = Remark("frames", "is animated, the first frame is used")
        header = replace(header, remarks=(animated,) if flags & 2 else ())
        exif = encoded.find(b"EXIF", 30) if flags & 8 else -1
        if exif > 0:
            tiff = encoded[exif + 8 : exif + 8 + _little(encoded, exif + 4, 4)]
            header = _with_exif(header, tiff.removeprefix(b"Exif\0\0"))
    elif kind == b"VP8L":
        bits = _little(encoded, 21, 4)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = _little(encoded, 26, 2) & 0x3FFF, _little(encoded, 28, 2) & 0x3FFF
    return replace(header, width=width, height=height)


def _bmp(encoded: bytes) -> Header:
    width, height = (int.from_bytes(encoded[at : at + 4], "little", signed=True) for at in (18, 22))
    return Header("bmp", abs(width), abs(height), short=_little(encoded, 2, 4) > len(encoded))


def _pnm(encoded: bytes) -> Header:
    words = re.sub(rb"#[^\n]*\n", b" ", encoded[:4096]).split(maxsplit=4)
    sizes = [int(word) if word.isdigit() and len(word) < 10 else 0 for word in words[1:3]]
    width, height = sizes if len(sizes) == 2 else (0, 0)
    channels = {b"P5": 1, b"P6": 3}.get(encoded[:2], 0)
    return Header("pnm", width, height, short=width * height * channels > len(encoded))


def _tiff(encoded: bytes) -> Header:
    tags = _ifd(encoded, _number(encoded, 4, 4, _order(encoded)))
    sizes = [tags.get(tag, 0) for tag in (_EXIF_WIDTH, _EXIF_HEIGHT)]
    width, height = (size if isinstance(size, int) else 0 for size in sizes)
    return _with_exif(Header("tiff", width, height, short=not tags), encoded)


def _with_exif(header: Header, tiff: bytes) -> Header:
    """Add camera, time and rotation from a TIFF structure (Exif 2.32, chapter 4.6)."""
    tags = _ifd(tiff, _number(tiff, 4, 4, _order(tiff)))
    more = tags.get(_EXIF_MORE)
    if isinstance(more, int):
        tags |= _ifd(tiff, more)
    words = [str(tags.get(tag, "")) for tag in (_EXIF_MAKE, _EXIF_MODEL, _EXIF_SERIAL)]
    turned = Remark("rotation", "is turned upright by its EXIF rotation")
    orientation = tags.get(_EXIF_ORIENTATION, 1)
    return replace(
        header,
        exif_time=str(tags.get(_EXIF_TAKEN, tags.get(_EXIF_CHANGED, ""))),
        camera=" ".join(word for word in words if word),
        remarks=(turned,) if orientation in range(2, 9) else (),
    )


def _ifd(tiff: bytes, at: int) -> dict[int, int | str]:
    """The first value of each short, long or text entry of one image file directory."""
    order = _order(tiff)
    tags: dict[int, int | str] = {}
    # 512 entries are ten times what cameras write: a hostile count costs nothing.
    for entry in range(at + 2, at + 2 + 12 * min(512, _number(tiff, at, 2, order)), 12):
        if entry + 12 > len(tiff):
            break
        tag, kind = _number(tiff, entry, 2, order), _number(tiff, entry + 2, 2, order)
        count = _number(tiff, entry + 4, 4, order)
        if kind in (3, 4):
            tags[tag] = _number(tiff, entry + 8, 2 if kind == 3 else 4, order)
        elif kind == 2 and count <= 256:
            start = entry + 8 if count <= 4 else _number(tiff, entry + 8, 4, order)
            text = tiff[start : start + count].split(b"\0")[0]
            tags[tag] = text.decode("ascii", "replace").strip()
    return tags


def _order(tiff: bytes) -> bool:
    return tiff[:2] == b"MM"


def _number(data: bytes, at: int, size: int, big: bool) -> int:
    return int.from_bytes(data[at : at + size], "big" if big else "little")


def _big(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _little(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
