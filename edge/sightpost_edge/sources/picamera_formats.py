"""What picamera2 hands out - an array in some granted format, or two of one frame - as an Image.

Its format names are those of little-endian words: an array of "RGB888" holds B,G,R in memory and
one of "BGR888" R,G,B.
"""

import cv2
import numpy as np

from ..errors import SourceUnavailable
from ..image import Image, RawImage, YuvImage
from ..pixels import Geometry, fit
from ..records import ChannelOrder, Pixels

LAZY = {"YUV420": "I420", "NV12": "NV12", "YUYV": "YUYV"}
"""Kept as they are, by ``image.YUV``'s names, and converted when somebody looks."""
CONVERTED = {
    "YVU420": cv2.COLOR_YUV2BGR_YV12,
    "NV21": cv2.COLOR_YUV2BGR_NV21,
    "YVYU": cv2.COLOR_YUV2BGR_YVYU,
    "UYVY": cv2.COLOR_YUV2BGR_UYVY,
    "XRGB8888": cv2.COLOR_BGRA2BGR,
    "XBGR8888": cv2.COLOR_RGBA2BGR,
    "BGR888": cv2.COLOR_RGB2BGR,
}
"""Rare: nobody asks for them, but a USB camera may give them. MJPEG arrives decoded, as R,G,B."""

JUDGED_AS = Geometry(224, 224)
"""The input most models take."""
MIN_CONTRAST = 20.0
"""Standard deviation in grey levels below which two pictures would agree whatever they show."""
MAX_DEVIATION = 2.0
"""Mean of grey levels. Six photos at 1280 x 960: 0.7 to 1.0 for a half that averages, 1.4 to 2.6
for one that leaves pixels out; decoding a JPEG at half size gives 0.3 to 0.8, squashing 32."""


def as_image(array: Pixels, granted: str, width: int) -> Image:
    """An array in its granted format; rows may be padded on the right beyond ``width``.

    Raises:
        SourceUnavailable: a format this program does not convert: guessing at bytes would give
            colours that are wrong in silence.
    """
    if granted in LAZY:
        return YuvImage(array, LAZY[granted], width)
    if granted == "RGB888":
        return RawImage(array, "bgr")
    if granted == "MJPEG":
        return RawImage(array, "rgb")
    if granted not in CONVERTED:
        raise SourceUnavailable(
            f"the camera gives {granted}, which this program does not convert",
            hint="another camera, or the v4l2:// source if it is on USB",
        )
    pixels = np.asarray(cv2.cvtColor(array, CONVERTED[granted]), np.uint8)
    return RawImage(pixels[:, :width], "bgr")


class TwinImage:
    """One frame at two sizes: the picture, and the same scaled to half by the camera's own chip.

    The half stands in for ``decode(2)``: the model looks at it where its contract says that it was
    judged at half size, and a snapshot shows the whole.
    """

    reductions: tuple[int, ...] = (2,)

    def __init__(self, whole: Image, half: Image) -> None:
        self.width, self.height = whole.width, whole.height
        self.order: ChannelOrder = whole.order
        self._whole, self._half = whole, half

    @property
    def at_hand(self) -> int:
        """2 once the half is converted, else 1 once the whole is."""
        return 2 if self._half.at_hand else self._whole.at_hand

    def decode(self, reduction: int = 1) -> Pixels:
        """The whole picture, or at ``reduction`` 2 the half."""
        return (self._half if reduction == 2 else self._whole).decode()

    def luma(self) -> Pixels:
        """Of the half: fewer bytes to walk over."""
        return self._half.luma()

    def checksum(self) -> int:
        """Of the half: it is made from every pixel of the whole."""
        return self._half.checksum()

    def forget(self) -> None:
        """Drop what was converted of either."""
        self._whole.forget()
        self._half.forget()


def deviation(whole: Image, half: Image) -> float | None:
    """How far the model's input from ``half`` is off that from ``whole``: mean of grey levels.

    None where the frame has too little contrast to tell.
    """
    large, small = (fit(image.decode(), JUDGED_AS, order=image.order) for image in (whole, half))
    if large.std(axis=(0, 1)).max() < MIN_CONTRAST:
        return None
    return float(np.abs(large.astype(np.int16) - small).mean())
