"""What a live source asks of a camera: the next picture, not decoded yet, or how it failed."""

from dataclasses import dataclass, field
from typing import Protocol

from ..image import Image

READ_SHARE = 5 / 8
"""Of ``stall_s``, for a camera's own time-out: a read that still waits when the camera counts as
stalled costs a thread and holds the device."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture from a camera, not decoded yet, and its monotonic time."""

    image: Image = field(repr=False)
    monotonic_ns: int


class Camera(Protocol):
    """What a live source reads: blocks for the next Shot; None when the camera failed.

    It is opened, read and closed in one thread. A time-out is a ``TimeoutError``, bytes that are
    no picture a ``PhotoUnreadable``; whatever else is raised counts as the driver's failure.
    """

    def read(self) -> Shot | None:
        """The next Shot, or None on failure; raises ``Ended`` when there will be no more."""

    def close(self) -> None:
        """Release the device."""


class Ended(Exception):
    """A camera with an end (a synthetic one) has reached it."""


class CameraFault(Exception):
    """Why a camera is not to be trusted now: ``fault`` is one of ``records.FAULTS``."""

    def __init__(self, fault: str, detail: str) -> None:
        super().__init__(detail)
        self.fault, self.detail = fault, detail
