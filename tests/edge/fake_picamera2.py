"""What matters of picamera2 0.3.38's API, traps included; tests/picamera asks the real one.

A job that timed out stays queued: it swallows the next request, and stop() waits for it for ever
(here: raises ``Hang``). A request that is not released is a buffer less. A control that is not
advertised raises. What is granted is not what was asked for. Names of formats are those of
little-endian words; rows of YUV are padded.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from sightpost_edge.records import Pixels

ADVERTISED = {
    "FrameDurationLimits": (16_666, 200_000, 33_333),
    "ExposureTime": (50, 120_000, 20_000),
    "AnalogueGain": (1.0, 16.0, 1.0),
    "AeEnable": (False, True, True),
    "AfMode": (0, 2, 0),
    "LensPosition": (0.0, 15.0, 1.0),
    "AwbMode": (0, 7, 0),
    "ColourGains": (0.0, 32.0, None),
    "ScalerCrop": ((0, 0, 64, 64), (100, 200, 4000, 3000), (100, 200, 4000, 3000)),
}


class Hang(AssertionError):
    """Here the real one would wait for ever."""


@dataclass
class Transform:
    hflip: int = 0
    vflip: int = 0


class ColorSpace:
    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"<libcamera.ColorSpace '{self.name}'>"

    @classmethod
    def Smpte170m(cls) -> "ColorSpace":
        return cls("SMPTE170M")

    @classmethod
    def Rec709(cls) -> "ColorSpace":
        return cls("Rec709")


def encoded(rgb: Pixels, name: str, *, padding: int = 0) -> Pixels:
    """What ``make_array`` gives of a picture, (h, w, 3) R,G,B, in the format of that name."""
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    if name in ("YUV420", "YVU420"):
        bgr = cv2.copyMakeBorder(bgr, 0, 0, 0, padding, cv2.BORDER_CONSTANT, value=(0, 255, 0))
        code = cv2.COLOR_BGR2YUV_I420 if name == "YUV420" else cv2.COLOR_BGR2YUV_YV12
        return np.asarray(cv2.cvtColor(bgr, code), np.uint8)
    if name in ("NV12", "NV21"):
        height, width = rgb.shape[:2]
        planar = encoded(rgb, "YUV420")
        u, v = planar[height:].reshape(2, -1)
        pairs = (u, v) if name == "NV12" else (v, u)
        return np.vstack([planar[:height], np.dstack(pairs).reshape(height // 2, width)])
    code = {
        "XRGB8888": cv2.COLOR_RGB2BGRA,
        "XBGR8888": cv2.COLOR_RGB2RGBA,
        "YUYV": cv2.COLOR_RGB2YUV_YUYV,
        "YVYU": cv2.COLOR_RGB2YUV_YVYU,
        "UYVY": cv2.COLOR_RGB2YUV_UYVY,
    }.get(name)
    if code is not None:
        return np.asarray(cv2.cvtColor(rgb, code), np.uint8)
    return {"RGB888": bgr, "BGR888": rgb, "MJPEG": rgb}[name].copy()


@dataclass
class World:
    """The hardware, and what it was asked."""

    picture: Pixels
    cameras: list[dict[str, Any]] = field(
        default_factory=lambda: [{"Model": "imx708", "Id": "/base/soc/i2c0mux/imx708@1a", "Num": 0}]
    )
    advertised: dict[str, Any] = field(default_factory=lambda: dict(ADVERTISED))
    formats: dict[str, str] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    colour_space: ColorSpace | None = None
    turns: bool = True
    streams: int = 2
    padding: int = 0
    half_shows: Pixels | None = None
    sensor_resolution: tuple[int, int] = (4608, 2592)
    whole_view_us: int = 17_857
    busy: bool = False
    silent: bool = False
    broken: str = ""
    sensor_ns: int | None = -1
    outstanding: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    controls: dict[str, Any] = field(default_factory=dict)
    copies: list[str] = field(default_factory=list)
    open: int = 0


class Request:
    def __init__(self, camera: "Picamera2") -> None:
        self._camera, self._released = camera, False
        camera.world.outstanding += 1

    def make_array(self, name: str) -> Pixels:
        world, granted = self._camera.world, self._camera.granted
        if granted[name] is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        if world.broken == "array":
            raise RuntimeError("failed to find buffer")
        world.copies.append(name)
        picture = world.picture if name == "main" or world.half_shows is None else world.half_shows
        scaled = cv2.resize(picture, granted[name]["size"], interpolation=cv2.INTER_AREA)
        return encoded(np.asarray(scaled, np.uint8), granted[name]["format"], padding=world.padding)

    def get_metadata(self) -> dict[str, int]:
        ns = self._camera.world.sensor_ns
        if ns is None:
            return {"ExposureTime": 20_000}
        return {"SensorTimestamp": time.monotonic_ns() if ns < 0 else ns}

    def release(self) -> None:
        assert not self._released, "lock now has negative ref_count"
        self._released = True
        self._camera.world.outstanding -= 1


class Picamera2:
    """``world`` is set by the test."""

    world: World

    def __init__(self, camera_num: int = 0) -> None:
        if self.world.busy or self.world.open:
            try:
                raise RuntimeError("Failed to acquire camera: Device or resource busy")
            except RuntimeError as exc:
                raise RuntimeError("Camera __init__ sequence did not complete.") from exc
        self.world.open += 1
        self.is_open = True
        self.started = False
        self.jobs = 0
        self.granted: dict[str, Any] = {}
        self.sensor_resolution = self.world.sensor_resolution

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        return cls.world.cameras

    @property
    def camera_controls(self) -> dict[str, Any]:
        whole = bool(self.granted.get("sensor"))
        _, longest, usual = self.world.advertised["FrameDurationLimits"]
        shortest = self.world.whole_view_us if whole else 8_333
        return {**self.world.advertised, "FrameDurationLimits": (shortest, longest, usual)}

    def create_video_configuration(
        self, main: Any = None, lores: Any = None, raw: Any = "a raw stream", transform: Any = None,
        colour_space: Any = None, buffer_count: int = 6, sensor: Any = None,
    ) -> dict[str, Any]:  # fmt: skip
        assert raw is None, "a raw stream eats contiguous memory"
        width, height = main["size"]
        # align_stream(optimal=False)
        main = {**main, "size": (width - width % 2, height - height % 2)}
        return {
            "main": main, "lores": lores, "raw": None, "transform": transform or Transform(),
            "colour_space": colour_space or ColorSpace.Rec709(), "buffer_count": buffer_count,
            "sensor": sensor,
        }  # fmt: skip

    def configure(self, config: dict[str, Any]) -> None:
        assert not self.started, "Camera must be stopped before configuring"
        world = self.world
        world.asked.append(config)
        streams = [config[name] for name in ("main", "lores") if config[name] is not None]
        if len(streams) > world.streams or world.broken == "configure":
            raise RuntimeError(f"Invalid camera configuration: {config}")
        for stream in streams:
            assert not any(side % 2 for side in stream["size"]), "width and height should be even"
        assert config["lores"] is None or config["lores"]["format"] == "YUV420", "must be YUV"
        self.granted = dict(config)
        for name in ("main", "lores"):
            if config[name] is not None:
                self.granted[name] = {
                    "format": world.formats.get(name, config[name]["format"]),
                    "size": (world.size if name == "main" else None) or config[name]["size"],
                }
        if not world.turns:
            self.granted["transform"] = Transform()
        self.granted["colour_space"] = world.colour_space or config["colour_space"]

    def camera_configuration(self) -> dict[str, Any]:
        return self.granted

    def set_controls(self, controls: dict[str, Any]) -> None:
        for name, value in controls.items():
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
            self.world.controls[name] = value

    def start(self) -> None:
        if self.world.broken == "start":
            raise OSError(12, "Cannot allocate memory")
        self.started = True

    def capture_request(self, wait: float | None = None) -> Request:
        assert isinstance(wait, (int, float)), "without a number picamera2 waits for ever"
        assert not isinstance(wait, bool), "True waits for ever"
        if self.world.silent or self.world.outstanding >= self.granted["buffer_count"]:
            self.jobs += 1
            raise TimeoutError
        if self.jobs:
            Request(self)  # finished by the job that nobody waits for any more
            self.jobs -= 1
        return Request(self)

    def cancel_all_and_flush(self) -> None:
        self.jobs = 0

    def stop(self) -> None:
        if self.jobs:
            raise Hang
        self.started = False

    def close(self) -> None:
        if not self.is_open:
            return
        self.stop()
        self.is_open = False
        self.world.open -= 1
