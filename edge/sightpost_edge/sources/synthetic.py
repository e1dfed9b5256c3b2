"""A generated production line as a camera: ``synthetic://line?seed=7&fps=15&seconds=60``."""

import time
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from ..conveyor import Belt
from ..errors import ConfigError, nearest
from ..image import RawImage
from ..masking import without_password
from ..records import Pixels
from . import say_unused
from .camera import Ended, Shot
from .health import Report, log_health
from .live import LiveSource
from .settings import DEFAULTS, CameraSettings

_DEFAULTS = {"seed": 1.0, "fps": 15.0, "seconds": 0.0}


class BeltCamera:
    """Draws the belt and hands its pictures out at the frame rate, as a camera would."""

    def __init__(self, *, seed: int, fps: float, seconds: float) -> None:
        self._frames: Iterator[Pixels] = Belt(seed=seed, fps=fps).frames()
        self._period_s = 1.0 / fps
        self._left = round(seconds * fps) if seconds else -1
        self._due_s = time.monotonic()

    def read(self) -> Shot:
        """The next picture, when it is due."""
        if self._left == 0:
            raise Ended
        self._left -= 1
        pixels = next(self._frames)
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        self._due_s = max(self._due_s + self._period_s, time.monotonic())
        return Shot(RawImage(pixels, "rgb"), time.monotonic_ns())

    def close(self) -> None:
        """Nothing to release."""


def synthetic_source(
    uri: str, *, camera: CameraSettings = DEFAULTS, report: Report = log_health
) -> LiveSource:
    """Open the generated line; without ``seconds`` it never ends."""
    options = dict(_DEFAULTS)
    for key, text in parse_qsl(urlsplit(uri).query):
        if key not in options:
            raise ConfigError(
                f"unknown option {key!r} in {without_password(uri)}", hint=nearest(key, options)
            )
        try:
            options[key] = float(text)
        except ValueError as exc:
            raise ConfigError(f"{key}={text!r} in {without_password(uri)} is not a number") from exc
    if not (options["fps"] > 0 and options["seconds"] >= 0):
        raise ConfigError(
            f"fps must be positive and seconds not negative in {without_password(uri)}"
        )
    say_unused(uri, camera, used=set())
    return LiveSource(
        uri,
        lambda: BeltCamera(
            seed=int(options["seed"]), fps=options["fps"], seconds=options["seconds"]
        ),
        camera=camera,
        report=report,
    )
