"""What the owner says about the camera, in libcamera's words and within what this camera can do."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigError, nearest
from ..pixels import Region
from .settings import CameraSettings

log = logging.getLogger("sightpost")

FRAME_US = 33_333
"""picamera2's video configuration: 30 frames a second, and no exposure longer than one of them."""
WHITE_BALANCE = {
    "auto": 0, "incandescent": 1, "tungsten": 2, "fluorescent": 3, "indoor": 4, "daylight": 5,
    "cloudy": 6,
}  # fmt: skip
"""libcamera's AwbModeEnum."""
AUTOFOCUS = {"manual": 0, "continuous": 2}
"""libcamera's AfModeEnum; its third, one search on demand, suits no unattended camera."""

Rectangle = tuple[int, int, int, int]


def check(camera: CameraSettings) -> None:
    """Refuse what can be known to be wrong before a camera is opened (ConfigError)."""
    if camera.white_balance and camera.white_balance.lower() not in WHITE_BALANCE:
        raise ConfigError(
            f"camera white_balance {camera.white_balance!r} is not a mode of libcamera",
            hint=nearest(camera.white_balance.lower(), WHITE_BALANCE),
        )
    if camera.crop:
        Region("crop", *camera.crop)


def wanted(
    camera: CameraSettings, advertised: Mapping[str, Any], size: tuple[int, int], streams: int
) -> dict[str, Any]:
    """The controls that stand for ``camera``, by libcamera's names.

    Args:
        advertised: picamera2's ``camera_controls`` of the configured camera.
        size: of the picture that was granted, width and height.
        streams: how many pictures of each frame the camera makes.
    """
    controls: dict[str, Any] = {}
    # A frame lasts at least as long as its exposure.
    if camera.fps or camera.exposure_us > FRAME_US:
        frame_us = max(camera.exposure_us, round(1e6 / camera.fps) if camera.fps else 0)
        controls["FrameDurationLimits"] = (frame_us, frame_us)
    if camera.autofocus:
        controls["AfMode"] = AUTOFOCUS[camera.autofocus]
    if camera.autofocus == "manual":
        controls["LensPosition"] = camera.lens_position
    if camera.exposure_us:
        controls["ExposureTime"] = camera.exposure_us
    if camera.gain:
        controls["AnalogueGain"] = camera.gain
    if camera.exposure_us and camera.gain:
        controls["AeEnable"] = False
    if camera.white_balance:
        controls["AwbMode"] = WHITE_BALANCE[camera.white_balance.lower()]
    if camera.crop:
        controls |= _crop(camera.crop, advertised, size, streams)
    return controls | camera.controls


def within(controls: Mapping[str, Any], advertised: Mapping[str, Any], uri: str) -> dict[str, Any]:
    """What the camera has of ``controls``, within its ranges; the rest is logged and left out.

    picamera2 raises RuntimeError at a control that is not advertised, and clamps nothing.
    """
    granted: dict[str, Any] = {}
    for name, value in controls.items():
        if name not in advertised:
            log.warning("%s has no control %s: %s", uri, name, nearest(name, advertised))
            continue
        low, high = advertised[name][:2]
        granted[name] = _clamp(value, low, high)
        if granted[name] != value:
            log.warning(
                "%s: %s can be %s to %s here; %s becomes %s",
                uri, name, low, high, value, granted[name],
            )  # fmt: skip
    return granted


def _clamp(value: Any, low: Any, high: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_clamp(part, low, high) for part in value)
    numbers = all(type(part) in (int, float) for part in (value, low, high))
    # Some drivers advertise a range of nothing, 0 to 0: they do not know it.
    return min(max(value, low), high) if numbers and low < high else value


def _crop(
    crop: Sequence[float], advertised: Mapping[str, Any], size: tuple[int, int], streams: int
) -> dict[str, Any]:
    """On a Pi 5 each stream has a crop of its own, and picamera2 has set those already."""
    if "ScalerCrop" not in advertised:
        return {"ScalerCrop": tuple(crop)}  # to be reported as missing
    part = crop_rectangle(crop, advertised["ScalerCrop"][1], size[0] / size[1])
    if "ScalerCrops" in advertised:
        return {"ScalerCrops": [part] * streams}
    return {"ScalerCrop": part}


def crop_rectangle(crop: Sequence[float], area: Rectangle, aspect: float) -> Rectangle:
    """The largest rectangle of the picture's shape in ``crop``: any other would be squashed.

    ``crop`` is in shares of ``area`` (x, y, width, height in sensor pixels); ``aspect`` is the
    picture's width by height.
    """
    width, height = crop[2] * area[2], crop[3] * area[3]
    fitted = min(width, height * aspect), min(height, width / aspect)
    left = area[0] + crop[0] * area[2] + (width - fitted[0]) / 2
    top = area[1] + crop[1] * area[3] + (height - fitted[1]) / 2
    return round(left), round(top), round(fitted[0]), round(fitted[1])
