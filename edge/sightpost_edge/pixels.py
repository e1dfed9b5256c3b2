"""The only crop, resize and normalisation in the repository: training and device share these lines.

Measured reasons for the choices below: squashing instead of cropping moves a photo by 32-37 grey
levels, B,G,R given as R,G,B by 18-49, another JPEG decoder by 1.0-1.3. Area averaging is the most
stable rule across camera resolutions.
"""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .errors import ConfigError, PhotoUnreadable
from .records import ChannelOrder, Pixels

if TYPE_CHECKING:
    from .image import Image

MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded, as ``__init__`` tells OpenCV."""

MAX_BYTES = 256 * 1024 * 1024
"""Larger files are refused unread: 89 megapixels of R,G,B that nothing has compressed."""
MAX_SEGMENTS = 4096
"""Of a JPEG's header, walked in Python; a colour profile of 16 MB takes 256."""
FLOAT_PIXELS = 4_000_000
"""48 MB as floats."""
_FILL = re.compile(b"\xff+")

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}
)


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a picture of any size becomes the model's input.

    The centred rectangle of the input's shape that covers ``crop_fraction`` of the largest one
    that fits is cut out, then scaled by area averaging (``shrink``) or, where the photo is smaller
    than the input, linearly (``grow``: area averaging would only repeat pixels).
    """

    width: int
    height: int
    crop_fraction: float = 1.0
    shrink: str = "area"
    grow: str = "linear"


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a camera's picture, in shares of its width and height from the top left."""

    name: str = ""
    x: float = 0.0
    y: float = 0.0
    width: float = 1.0
    height: float = 1.0

    def __post_init__(self) -> None:
        inside = self.x + self.width <= 1 + 1e-9 and self.y + self.height <= 1 + 1e-9
        if not (self.x >= 0 and self.y >= 0 and self.width > 0 and self.height > 0 and inside):
            raise ConfigError(
                f"region {self.name!r} does not lie within the picture",
                hint="x, y, width and height are shares: 0.5 is half of the picture",
            )

    def cut(self, picture: Pixels) -> Pixels:
        """That part of ``picture``, (h, w, ...), without copying."""
        height, width = picture.shape[:2]
        left, top = round(self.x * width), round(self.y * height)
        right, bottom = round((self.x + self.width) * width), round((self.y + self.height) * height)
        return picture[top : max(bottom, top + 1), left : max(right, left + 1)]


WHOLE = Region()


def fit_image(
    image: "Image",
    geometry: Geometry,
    *,
    region: Region = WHOLE,
    reductions: frozenset[int] = frozenset(),
) -> Pixels:
    """``fit`` a camera's picture, decoded at one of the ``reductions`` that the model allows."""
    picture = image.decode(reduction_for(image, geometry, region=region, allowed=reductions))
    return fit(region.cut(picture), geometry, order=image.order)


def reduction_for(
    image: "Image", geometry: Geometry, *, region: Region = WHOLE, allowed: frozenset[int]
) -> int:
    """The strongest allowed reduction that leaves the model no fewer pixels than it takes, or 1."""
    width, height = image.width * region.width, image.height * region.height
    scale = min(width / geometry.width, height / geometry.height) * geometry.crop_fraction
    return max((n for n in image.reductions if n in allowed and n <= scale), default=1)


def fit(picture: Pixels, geometry: Geometry, *, order: ChannelOrder = "rgb") -> Pixels:
    """Cut and scale a picture for the model.

    Args:
        picture: (h, w, 3) uint8 in ``order``.
        geometry: the contract's rule.
        order: channel order of ``picture``; the result is always R,G,B.

    Returns:
        (geometry.height, geometry.width, 3) uint8, R,G,B, contiguous.
    """
    patch = _centre(picture, geometry)
    target = (geometry.width, geometry.height)
    if patch.shape[1::-1] != target:
        if patch.shape[1] < geometry.width:
            patch = cv2.resize(patch, target, interpolation=cv2.INTER_LINEAR)
        else:
            patch = _shrink(patch, target)
    if order == "bgr":
        return np.asarray(cv2.cvtColor(patch, cv2.COLOR_BGR2RGB), np.uint8)
    return np.ascontiguousarray(patch)


def _shrink(patch: Pixels, target: tuple[int, int]) -> Pixels:
    """Area averaging; by way of floats where the ratio is no whole number.

    OpenCV computes the same bytes either way (`tests/edge/test_pixels.py`), and takes 0.56 ms with
    floats from 360 px to 224 instead of 0.77. Whole ratios have a path of their own. Where rounding
    left one side a pixel short, OpenCV interpolates, which floats round otherwise; and above
    ``FLOAT_PIXELS`` they would take more memory than they are worth.
    """
    height, width = patch.shape[:2]
    whole = width % target[0] == 0 and height % target[1] == 0
    grows = width < target[0] or height < target[1]
    if whole or grows or width * height > FLOAT_PIXELS:
        return np.asarray(cv2.resize(patch, target, interpolation=cv2.INTER_AREA), np.uint8)
    averaged = cv2.resize(patch.astype(np.float32), target, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.convertScaleAbs(averaged), np.uint8)


def _centre(picture: Pixels, geometry: Geometry) -> Pixels:
    height, width = picture.shape[:2]
    scale = min(width / geometry.width, height / geometry.height) * geometry.crop_fraction
    crop_w = max(1, min(width, round(geometry.width * scale)))
    crop_h = max(1, min(height, round(geometry.height * scale)))
    left, top = (width - crop_w) // 2, (height - crop_h) // 2
    return picture[top : top + crop_h, left : left + crop_w]


def decode(encoded: bytes) -> Pixels:
    """Decode a photo to (h, w, 3) uint8, R,G,B, upright by its EXIF rotation.

    Greyscale is repeated, alpha dropped, CMYK converted, 16 bits reduced to 8: always the same
    library, because another JPEG decoder alone moves pixels by 1.0-1.3 levels.

    Raises:
        PhotoUnreadable: empty, truncated, too large, or no picture.
    """
    return np.asarray(cv2.cvtColor(decode_bgr(encoded), cv2.COLOR_BGR2RGB), np.uint8)


def decode_bgr(encoded: bytes, flag: int = cv2.IMREAD_COLOR) -> Pixels:
    """As ``decode``, in OpenCV's own order B,G,R; another ``flag`` decodes a JPEG reduced."""
    _refuse_obvious(encoded)
    try:
        picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
    except cv2.error as exc:
        if "PIXELS" in str(exc):
            raise PhotoUnreadable("is too large (over 100 megapixels)") from exc
        raise PhotoUnreadable(f"cannot be decoded ({str(exc).strip().splitlines()[-1]})") from exc
    if picture is None:
        raise PhotoUnreadable("is not a picture this library can read", hint=_convert_hint())
    return np.asarray(picture, np.uint8)


def read_photo(path: Path) -> Pixels:
    """``decode`` the file at ``path``; errors name it."""
    try:
        return decode(read_encoded(path))
    except PhotoUnreadable as exc:
        raise PhotoUnreadable(f"{path}: {exc}", hint=exc.hint) from exc
    except OSError as exc:
        raise PhotoUnreadable(f"{path}: {exc.strerror}") from exc


def read_encoded(path: Path) -> bytes:
    """A photo's file; what cannot be one is refused before it is read.

    A film that was called .jpg took all memory, and a pipe never ends.

    Raises:
        PhotoUnreadable: larger than any photo, or a folder, a pipe, a device.
        OSError: as reading does.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise PhotoUnreadable("is a directory" if path.is_dir() else "is not a regular file")
    if found.st_size > MAX_BYTES:
        raise PhotoUnreadable(f"is too large for a photo ({found.st_size / 2**20:.0f} MiB)")
    return path.read_bytes()


def _refuse_obvious(encoded: bytes) -> None:
    """OpenCV fills a truncated photo with grey and calls it a success; the end marks tell."""
    if not encoded:
        raise PhotoUnreadable("is empty (0 bytes)")
    if encoded[:2] == b"\xff\xd8" and not _jpeg_ends(encoded):
        raise PhotoUnreadable("is a truncated JPEG (its end mark is missing)")
    if encoded[:8] == b"\x89PNG\r\n\x1a\n":
        if b"IEND" not in encoded[-4096:]:
            raise PhotoUnreadable("is a truncated PNG (its end mark is missing)")
        width, height = (int.from_bytes(encoded[i : i + 4], "big") for i in (16, 20))
        if width * height > MAX_PIXELS:
            raise PhotoUnreadable(f"is too large ({width} x {height} pixels)")


def _jpeg_ends(encoded: bytes) -> bool:
    """Whether an end mark follows the scan data.

    Looking at the last bytes only would be wrong both ways: phones append videos to photos, and
    the thumbnail in the header has an end mark of its own. (ITU-T T.81, B.1.1: in scan data 0xFF
    is always stuffed, so FF D9 after the first scan is the end.)
    """
    behind = 2
    for marker, at, end in jpeg_segments(encoded):
        behind = at if marker == 0xDA else end
    return encoded.find(b"\xff\xd9", behind) >= 0


def jpeg_segments(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, begin and end of each segment of a JPEG's header; the first scan's is the last.

    Any number of fill bytes may come before a marker (T.81, B.1.1.2): 32 MiB of them, walked one
    by one, took 12 s.
    """
    end = 2
    for _ in range(MAX_SEGMENTS):
        fill = _FILL.match(encoded, end)
        if fill is None or fill.end() + 3 > len(encoded):
            return
        at = fill.end() - 1
        marker = encoded[at + 1]
        end = at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
        yield marker, at, end
        if marker == 0xDA:
            return


def _convert_hint() -> str:
    return "convert it to JPEG or PNG, for example with: mogrify -format jpg FILE"
