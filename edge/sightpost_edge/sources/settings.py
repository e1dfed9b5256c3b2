"""What a station's owner may say about the camera: the ``[camera]`` table of its config."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import ConfigError


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
    autofocus: Literal["", "continuous", "manual"] = ""
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
        if self.crop and not (len(self.crop) == 4 and all(0 <= v <= 1 for v in self.crop)):
            raise ConfigError("camera crop must be four shares: x, y, width, height")
        for name in ("width", "height", "fps", "exposure_us", "gain", "frozen_s"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"camera {name} must not be negative")
        if not self.stall_s > 0:
            raise ConfigError("camera stall_s must be positive")
        if bool(self.width) != bool(self.height):
            raise ConfigError("camera width and height go together")


DEFAULTS = CameraSettings()
