"""What a station's owner may say about the camera: the ``[camera]`` table of its config."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..errors import ConfigError, nearest

Autofocus = Literal["", "continuous", "manual"]
LONGEST_STALL_S = 3600.0


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """How to open a source; what a source cannot do is said in the log, not silently left out.

    ``width``, ``height``, ``fps``: asked of the camera, 0 for its good default.
    ``rotation``: 0 or 180 degrees; ``mirror``: left for right.
    ``crop``: x, y, width and height of the sensor's part that is read out, as shares.
    ``autofocus``: "continuous", "manual" or "" for the camera's own; ``lens_position`` in dioptres.
    ``exposure_us`` and ``gain``: 0 for automatic; ``white_balance``: libcamera's mode names.
    ``controls``: any further libcamera control by its name.
    ``stall_s``: without a picture for so long the camera counts as failed; ``frozen_s``: the same
    after so long of one and the same picture, 0 switches it off.
    ``realtime``: a recording is played at its own speed, as a camera would, instead of as fast as
    possible; ``loop``: it starts again at its end.
    """

    width: int = 0
    height: int = 0
    fps: float = 0.0
    rotation: int = 0
    mirror: bool = False
    crop: list[float] = field(default_factory=list)
    autofocus: Autofocus = ""
    lens_position: float = 0.0
    exposure_us: int = 0
    gain: float = 0.0
    white_balance: str = ""
    controls: dict[str, Any] = field(default_factory=dict)
    stall_s: float = 8.0
    frozen_s: float = 8.0
    realtime: bool = False
    loop: bool = False

    def __post_init__(self) -> None:
        if self.rotation not in (0, 180):
            raise ConfigError(f"camera rotation must be 0 or 180, not {self.rotation}")
        if self.crop and not (len(self.crop) == 4 and all(map(_is_share, self.crop))):
            raise ConfigError(
                "camera crop must be four shares: x, y, width, height",
                hint="[0.25, 0.25, 0.5, 0.5] is the middle of the sensor",
            )
        if self.autofocus not in get_args(Autofocus):
            raise ConfigError(
                f"camera autofocus: unknown value {self.autofocus!r}",
                hint=nearest(str(self.autofocus), get_args(Autofocus)[1:]),
            )
        for name in ("width", "height", "fps", "exposure_us", "gain", "frozen_s", "lens_position"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"camera {name} must not be negative or infinite")
        if not 0 < self.stall_s <= LONGEST_STALL_S:
            raise ConfigError(
                f"camera stall_s must be above 0, at most {LONGEST_STALL_S:g}",
                hint="8 s find a fault soon and leave a slow camera its time",
            )
        if bool(self.width) != bool(self.height):
            raise ConfigError("camera width and height go together")


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 1


DEFAULTS = CameraSettings()
