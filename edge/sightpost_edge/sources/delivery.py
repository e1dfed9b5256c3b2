"""Judges how a camera's pictures arrive - their times, sizes and repeats - not what they show."""

from ..errors import PhotoUnreadable
from ..image import Image
from .camera import CameraFault, Shot

FROZEN_LOOKS = 16
"""Looks at the checksum within ``frozen_s``: one per picture would be 30 us of 60 (720p JPEG)."""
FROZEN_SHOTS = 5
UNREADABLE_SHOTS = 3
"""One damaged picture in a thousand is usual on a long cable and no reason to reopen."""
FLAT_LEVELS = 2


class Delivery:
    """The pictures of one opened camera, from its opening at ``now_s`` on.

    Args:
        stall_s: see ``CameraSettings``.
        frozen_s: see ``CameraSettings``.
        before: the last picture before the camera was reopened. It proves nothing if it comes
            again: a driver may hand out what was still in its buffers.
        now_s: monotonic, as in every call here.
    """

    def __init__(
        self, *, stall_s: float, frozen_s: float, before: Shot | None, now_s: float
    ) -> None:
        self._stall_s, self._frozen_s = stall_s, frozen_s
        self.good_s = now_s
        self.last = before
        self.doubt = "stall"
        self._again: int | None = before.image.checksum() if before and frozen_s else None
        self._size: tuple[int, int] | None = None
        self._unreadable = 0
        self._look_s = now_s
        self._checksum, self._since_s, self._same = -1, now_s, 0

    def accepts(self, shot: Shot, now_s: float) -> bool:
        """Whether this picture may be handed out; ``CameraFault`` when it tells of a fault."""
        if self.last is not None and shot.monotonic_ns <= self.last.monotonic_ns:
            self._stands_still("time stamps do not advance", now_s)
            return False
        self._check_size(shot.image)
        if self._again is not None:
            if shot.image.checksum() == self._again and not _flat(shot.image):
                self._stands_still("the same picture again after reopening", now_s)
                return False
            self._again = None
        if self._frozen_s and now_s >= self._look_s:
            self._look(shot.image, now_s)
        self.good_s, self.last, self.doubt, self._unreadable = now_s, shot, "stall", 0
        return True

    def unreadable(self, detail: str, now_s: float) -> None:
        """These bytes were no picture; ``CameraFault`` when that goes on."""
        self._unreadable += 1
        self.doubt = "unreadable"
        if self._unreadable >= UNREADABLE_SHOTS and now_s >= self.good_s + self._stall_s / 4:
            raise CameraFault("unreadable", f"{self._unreadable} pictures in a row: {detail}")

    def silence(self, limit_s: float, now_s: float) -> CameraFault | None:
        """The fault of a camera that gave no good picture for so long."""
        if now_s < self.good_s + limit_s:
            return None
        return CameraFault(self.doubt, f"no good picture for {limit_s:g} s")

    def _check_size(self, image: Image) -> None:
        size = image.width, image.height
        if self._size is None:
            self._size = size
        elif size != self._size:
            was = f"{self._size[0]}x{self._size[1]}"
            raise CameraFault("shape", f"pictures of {was} became {size[0]}x{size[1]}")

    def _stands_still(self, detail: str, now_s: float) -> None:
        self.doubt = "frozen"
        if now_s >= self.good_s + (self._frozen_s or self._stall_s):
            raise CameraFault("frozen", detail)

    def _look(self, image: Image, now_s: float) -> None:
        """Sensor noise makes exact repeats implausible; still-image streams switch this off."""
        self._look_s = now_s + self._frozen_s / FROZEN_LOOKS
        checksum = image.checksum()
        if checksum != self._checksum:
            self._checksum, self._since_s, self._same = checksum, now_s, 1
            return
        self._same += 1
        long_s = now_s - self._since_s
        if self._same >= FROZEN_SHOTS and long_s >= self._frozen_s and not _flat(image):
            raise CameraFault("frozen", f"the same picture for {long_s:.1f} s")


def _flat(image: Image) -> bool:
    """Night clipped to black is the same picture too, and no camera's fault."""
    try:
        luma = image.luma()
    except PhotoUnreadable:
        return False
    return int(luma.max()) - int(luma.min()) <= FLAT_LEVELS
