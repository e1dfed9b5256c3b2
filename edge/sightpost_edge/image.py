"""A picture as the camera gave it - pixels, YUV or JPEG - decoded only as far as somebody asks.

Decoding is the largest cost beside the model (720p JPEG: 3 ms, a MobileNetV2: 4 ms), and of the
frames that a camera gives most are never looked at: so a Frame holds what came over the wire.
"""

import zlib
from typing import Any, Protocol

import cv2
import numpy as np

from .errors import PhotoUnreadable, first_line
from .pixels import MAX_PIXELS, jpeg_segments
from .records import ChannelOrder, Pixels

REDUCTIONS = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
"""Sizes at which libjpeg can decode by leaving frequencies out."""
GREY_REDUCTIONS = {
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

YUV = {
    "I420": cv2.COLOR_YUV2BGR_I420,
    "NV12": cv2.COLOR_YUV2BGR_NV12,
    "YUYV": cv2.COLOR_YUV2BGR_YUYV,
}
"""Formats by their usual names, all but YUYV in planes; rows may be padded on the right."""


class Image(Protocol):
    """One picture, (height, width), in ``order`` once decoded.

    ``reductions`` are the n for which ``decode(n)`` gives the picture at 1/n of its size (rounded
    up) more cheaply than at full size; ``at_hand`` is the one that is decoded already, 0 where
    none is. ``checksum`` is that of what the camera gave: two frames of a living sensor never
    agree. ``forget`` drops decoded pixels that can be made again.
    """

    width: int
    height: int
    order: ChannelOrder
    reductions: tuple[int, ...]

    @property
    def at_hand(self) -> int:
        """The reduction that costs nothing more."""

    def decode(self, reduction: int = 1) -> Pixels:
        """(height / n, width / n, 3) uint8, read-only by convention; PhotoUnreadable if bad."""

    def luma(self) -> Pixels:
        """A small greyscale picture, (h, w) uint8, 80 to 160 wide, by the cheapest way there is."""

    def checksum(self) -> int:
        """CRC-32 of what the camera gave."""

    def forget(self) -> None:
        """Drop what can be decoded again."""


class RawImage:
    """Pixels that need no decoding: (height, width, 3) uint8 in ``order``."""

    reductions: tuple[int, ...] = ()
    at_hand = 1

    def __init__(self, pixels: Pixels, order: ChannelOrder) -> None:
        self._pixels = pixels
        self.order = order
        self.height, self.width = pixels.shape[:2]

    def decode(self, reduction: int = 1) -> Pixels:
        """The pixels as they are."""
        return self._pixels

    def luma(self) -> Pixels:
        """From single pixels: averaging would cost more than the gate that looks at it."""
        return _small_grey(self._pixels, self.order)

    def checksum(self) -> int:
        """Of every eighth row: 0.1 ms less for 720p, and noise is in every row."""
        return zlib.crc32(np.ascontiguousarray(self._pixels[::8]).data)

    def forget(self) -> None:
        """Nothing: these pixels are all there is."""


class YuvImage:
    """A picture in ``layout`` (``YUV``): planes (height * 3 / 2, stride), YUYV (height, stride, 2).

    All uint8.
    """

    order: ChannelOrder = "bgr"
    reductions: tuple[int, ...] = ()

    def __init__(self, planes: Pixels, layout: str, width: int) -> None:
        self._planes, self._code = planes, YUV[layout]
        packed = planes.ndim == 3
        self.width, self.height = width, planes.shape[0] if packed else planes.shape[0] * 2 // 3
        self._luma = planes[..., 0] if packed else planes[: self.height]
        self._decoded: Pixels | None = None

    @property
    def at_hand(self) -> int:
        """1 once it is converted."""
        return int(self._decoded is not None)

    def decode(self, reduction: int = 1) -> Pixels:
        """Converted once; the padding on the right is cut off."""
        decoded = self._decoded  # another thread may forget it meanwhile
        if decoded is None:
            decoded = self._decoded = cv2.cvtColor(self._planes, self._code)[:, : self.width]
        return decoded

    def luma(self) -> Pixels:
        """From the luminance plane."""
        return _thin(self._luma[:, : self.width])

    def checksum(self) -> int:
        """Of every eighth row."""
        return zlib.crc32(np.ascontiguousarray(self._planes[::8]).data)

    def forget(self) -> None:
        """Drop the converted pixels."""
        self._decoded = None


class JpegImage:
    """A JPEG as a camera sent it; ``encoded`` is what a snapshot keeps, bit for bit.

    ``size``, width and height, where the caller has read the header already.
    """

    order: ChannelOrder = "bgr"
    reductions: tuple[int, ...] = tuple(REDUCTIONS)

    def __init__(self, encoded: bytes, size: tuple[int, int] | None = None) -> None:
        self.encoded = encoded
        self.width, self.height = size or jpeg_size(encoded)
        if self.width * self.height > MAX_PIXELS:
            raise PhotoUnreadable(f"is too large ({self.width} x {self.height} pixels)")
        self._decoded: tuple[int, Pixels] | None = None
        self._luma: Pixels | None = None

    @property
    def at_hand(self) -> int:
        """The reduction it was decoded at last."""
        decoded = self._decoded
        return decoded[0] if decoded else 0

    def decode(self, reduction: int = 1) -> Pixels:
        """Decoded at the reduction asked for; the latest one is kept until ``forget``."""
        decoded = self._decoded  # another thread may forget it meanwhile
        if decoded is None or decoded[0] != reduction:
            flag = REDUCTIONS.get(reduction, cv2.IMREAD_COLOR)
            decoded = self._decoded = reduction, self._decode_as(flag)
        return decoded[1]

    def _decode_as(self, flag: int) -> Pixels:
        """EXIF rotation is left alone: a camera does not turn between two frames."""
        flag |= cv2.IMREAD_IGNORE_ORIENTATION
        try:
            picture: Any = cv2.imdecode(np.frombuffer(self.encoded, np.uint8), flag)
        except cv2.error as exc:
            raise PhotoUnreadable(f"is a JPEG that cannot be decoded ({first_line(exc)})") from exc
        if picture is None:
            raise PhotoUnreadable("is a JPEG that cannot be decoded")
        return np.asarray(picture, np.uint8)

    def luma(self) -> Pixels:
        """From what is decoded already, else decoded small, luminance only.

        Averaged both ways: the motion gate compares one frame's with the next one's.
        """
        if self._luma is None:
            step = max((n for n in REDUCTIONS if self.width >= 80 * n), default=1)
            if self._decoded is not None:
                self._luma = _averaged(self._decoded[1], -(-self.width // step))
            else:
                flag = GREY_REDUCTIONS.get(step, cv2.IMREAD_GRAYSCALE)
                self._luma = _averaged(self._decode_as(flag), -(-self.width // step))
        return self._luma

    def checksum(self) -> int:
        """Of all bytes (20 us for 50 KB)."""
        return zlib.crc32(self.encoded)

    def forget(self) -> None:
        """Drop the decoded pixels."""
        self._decoded = self._luma = None


def _thin(plane: Pixels) -> Pixels:
    """Every n-th pixel of a plane, so that it is 80 to 160 wide (smaller ones as they are)."""
    step = max(1, -(-plane.shape[1] // 160))
    return np.ascontiguousarray(plane[::step, ::step])


def _averaged(picture: Pixels, width: int) -> Pixels:
    """Greyscale, so wide or, beyond 160, by a whole number less.

    Halved as often as it goes: twice by two costs 75 us, once by four 465.
    """
    width = -(-width // -(-width // 160))
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    while picture.shape[1] >= 2 * width:
        half = (picture.shape[1] // 2, max(1, picture.shape[0] // 2))
        picture = _grey(cv2.resize(picture, half, interpolation=cv2.INTER_AREA))
    picture = _grey(picture)
    if picture.shape[:2] != (height, width):
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(picture, np.uint8)


def _grey(picture: Pixels) -> Pixels:
    """(h, w) of B,G,R; what is grey already as it is."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if picture.ndim == 3 else picture
    return np.asarray(grey, np.uint8)


def _small_grey(picture: Pixels, order: ChannelOrder) -> Pixels:
    code = cv2.COLOR_BGR2GRAY if order == "bgr" else cv2.COLOR_RGB2GRAY
    return np.asarray(cv2.cvtColor(_thin(picture), code), np.uint8)


def as_jpeg(image: Image) -> bytes:
    """The picture as a file: what the camera sent where that was a JPEG, else encoded here."""
    if isinstance(image, JpegImage):
        return image.encoded
    pixels = image.decode()
    bgr = pixels if image.order == "bgr" else pixels[..., ::-1]
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return jpeg.tobytes()


def jpeg_size(encoded: bytes) -> tuple[int, int]:
    """Width and height from the header (ITU-T T.81, B.2.2), without decoding.

    Raises:
        PhotoUnreadable: not a JPEG, or one that was cut off: OpenCV fills the rest with grey and
            calls it a success.
    """
    if encoded[:2] != b"\xff\xd8":
        raise PhotoUnreadable("is not a JPEG")
    if b"\xff\xd9" not in encoded[-1024:]:
        raise PhotoUnreadable("is a truncated JPEG (its end mark is missing)")
    for marker, at, _ in jpeg_segments(encoded):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(encoded[at + i : at + i + 2], "big") for i in (5, 7))
            if width and height and at + 9 <= len(encoded):
                return width, height
            break
    raise PhotoUnreadable("is a JPEG without a size")
