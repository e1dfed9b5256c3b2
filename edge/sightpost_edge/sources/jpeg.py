"""Makes whole JPEGs of what a camera sends as such: Huffman tables put in, padding cut off."""

from ..errors import PhotoUnreadable
from ..image import JpegImage, jpeg_size
from ..pixels import jpeg_segments

_END = b"\xff\xd9"

_DC_COUNTS = ("00010501010101010100000000000000", "00030101010101010101010000000000")
_AC_COUNTS = ("0002010303020403050504040000017d", "00020102040403040705040400010277")
_AC_SYMBOLS = (
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25"
    "262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a83"
    "8485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3"
    "d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa",
    "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718"
    "191a262728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a"
    "82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9ca"
    "d2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa",
)


def _standard_tables() -> bytes:
    """A DHT segment with the tables of ITU-T T.81, annex K.3: luminance and chrominance."""
    symbols = bytes(range(12))
    body = b"".join(
        bytes([number]) + bytes.fromhex(dc) + symbols for number, dc in enumerate(_DC_COUNTS)
    ) + b"".join(
        bytes([0x10 + number]) + bytes.fromhex(counts) + bytes.fromhex(symbols_hex)
        for number, (counts, symbols_hex) in enumerate(zip(_AC_COUNTS, _AC_SYMBOLS, strict=True))
    )
    return b"\xff\xc4" + (len(body) + 2).to_bytes(2, "big") + body


STANDARD_TABLES = _standard_tables()


class JpegReader:
    """Makes a JpegImage of each picture of one camera.

    Its header is the same in nearly every picture and is walked again only when it changed: with
    cold caches that is half of what the capture thread does (30 of 60 us for 720p).
    """

    def __init__(self) -> None:
        self._header = b""
        self._has_tables = True
        self._size = 0, 0

    def image(self, sent: bytes) -> JpegImage:
        """Motion JPEG may leave the Huffman tables out (USB cameras save 420 bytes a picture so).

        OpenCV knows them, but the snapshot that is kept should open everywhere. What follows the
        end mark is padding of the driver's buffer, or the line break of the next part.

        Raises:
            PhotoUnreadable: not a JPEG, or one without its end.
        """
        if not self._header or not sent.startswith(self._header):
            scan, has_tables = _scan_start(sent)
            self._size = jpeg_size(sent[:scan] + _END)
            # With the scan's mark: the header without tables is how the one with them begins.
            self._header, self._has_tables = sent[: scan + 2], has_tables
        scan = len(self._header) - 2
        end = sent.rfind(_END, scan) + 2
        if end < 2:
            raise PhotoUnreadable("is a truncated JPEG (its end mark is missing)")
        if not self._has_tables:
            return JpegImage(sent[:scan] + STANDARD_TABLES + sent[scan:end], self._size)
        return JpegImage(sent if end == len(sent) else sent[:end], self._size)


def _scan_start(sent: bytes) -> tuple[int, bool]:
    """Where the first scan begins (T.81, B.2.3), and whether a Huffman table came before it."""
    if sent[:2] != b"\xff\xd8":
        raise PhotoUnreadable("is not a JPEG")
    has_tables = False
    for marker, at, _ in jpeg_segments(sent):
        if marker == 0xDA:
            return at, has_tables
        has_tables |= marker == 0xC4
    raise PhotoUnreadable("is a JPEG without a picture in it")
