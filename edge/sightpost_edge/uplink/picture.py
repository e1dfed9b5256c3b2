"""An event's picture as it travels: small enough for a thin line and for the broker."""

from pathlib import Path

MOST_BYTES = 128 * 1024
"""30 s at 4 kB/s, after which the line counts as dead; half a snapshot of 1080 lines fits."""
QUALITY = 80


def picture(path: Path, *, most: int = MOST_BYTES) -> bytes | None:
    """The JPEG, reduced where it is too large; None where it is gone or cannot be reduced."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if len(content) <= most else _reduced(content, most)


def _reduced(content: bytes, most: int) -> bytes | None:
    import cv2
    import numpy as np

    for flag in (cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_COLOR_4,
                 cv2.IMREAD_REDUCED_COLOR_8):  # fmt: skip
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
        if pixels is None:
            return None
        small = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        if len(small) <= most:
            return bytes(small)
    return None
