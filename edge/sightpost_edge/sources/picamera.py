"""The Raspberry Pi camera through picamera2.

Written against picamera2 0.3.38. A request is copied and given back at once, for holding the
camera's buffers stalls it. 1280 x 960 and its half, 2.3 MB of YUV, take 0.15 ms on a PC.
"""

import contextlib
import gc
import logging
import sys
import time
from typing import Any

from ..errors import ConfigError, MissingExtra, SourceUnavailable, first_line
from ..extras import is_absent, unloadable
from ..image import Image
from ..masking import without_password
from ..records import Pixels
from . import picamera_controls as controls
from . import say_unused
from .camera import Shot
from .health import Report, log_health
from .live import LiveSource
from .picamera_formats import LAZY, MAX_DEVIATION, TwinImage, as_image, deviation
from .settings import DEFAULTS, CameraSettings

log = logging.getLogger("sightpost")

SIZE = (1280, 960)
"""Four by three: most sensors are, and a wider picture would lose the top and bottom of the view.
Half of it, 640 x 480, is what a model of 224 x 224 likes to be given."""
SMALLEST_HALF = 240
BUFFERS = 4
"""One that picamera2 keeps, one being copied, two for the camera to fill."""
JUDGE_EVERY_S = 1.0
OLDEST_NS = 60_000_000_000
REFUSED = (RuntimeError, OSError, ValueError, TypeError, AttributeError, LookupError)
"""What picamera2 and libcamera's bindings raise at a configuration they do not like."""
_APT_PACKAGES = {"picamera2": "python3-picamera2", "libcamera": "python3-libcamera",
                 "pykms": "python3-kms++"}  # fmt: skip


def picamera_source(
    uri: str, *, camera: CameraSettings = DEFAULTS, report: Report = log_health
) -> LiveSource:
    """``picamera://0``: the first camera of ``rpicam-hello --list-cameras``."""
    number = uri.split("://", 1)[1] or "0"
    if not number.isdigit():
        raise ConfigError(
            f"{without_password(uri)}: not a camera number", hint="the first camera is picamera://0"
        )
    controls.check(camera)
    unused = {"realtime", "loop"}
    say_unused(uri, camera, used=set(CameraSettings.__dataclass_fields__) - unused)
    return LiveSource(uri, lambda: PiCamera(int(number), camera), camera=camera, report=report)


class PiCamera:
    """One camera: a picture for people, and at half its size one for the model where they agree.

    Video without the raw stream, which would eat contiguous memory. Planar YUV is half the bytes of
    R,G,B, its luminance is the motion gate's input, and it is converted only when looked at.
    """

    def __init__(self, number: int, settings: CameraSettings = DEFAULTS) -> None:
        self._settings, self._uri = settings, f"picamera://{number}"
        # Over before the camera counts as stalled: a read that still waits holds the device.
        self._wait_s = settings.stall_s / 2
        self._judge_at_s = 0.0
        self._agrees: bool | None = None
        self._camera, usb = _opened(number)
        try:
            self._granted = self._configured(usb=usb)
            self._report_what_differs()
            self._set_controls()
            self._camera.start()
        except BaseException as exc:
            with contextlib.suppress(Exception):  # what was wrong before is what matters
                self.close()
            if not isinstance(exc, REFUSED):
                raise
            raise SourceUnavailable(
                f"camera {number} does not start ({_cause(exc)})",
                hint="ask for a smaller picture or fewer [camera] controls; dmesg | tail says more",
            ) from exc

    def _configured(self, *, usb: bool) -> dict[str, Any]:
        """The configuration that was granted; without a half where the camera makes none.

        Asking libcamera for two streams of a USB camera may end the process (an assertion).
        """
        width, height = self._settings.width or SIZE[0], self._settings.height or SIZE[1]
        half = (width // 2, height // 2)
        halves = width % 4 == 0 and height % 4 == 0 and half[1] >= SMALLEST_HALF and not usb
        if halves:
            try:
                return self._configure((width, height), {"format": "YUV420", "size": half})
            except REFUSED as exc:
                log.info("%s: one stream only (%s)", self._uri, _cause(exc))
        return self._configure((width, height), None)

    def _configure(self, size: tuple[int, int], half: dict[str, Any] | None) -> dict[str, Any]:
        """With the sensor's whole view, unless the owner asks for more frames than that allows."""
        for sensor in (self._whole_view(size), {}):
            self._camera.configure(
                self._camera.create_video_configuration(
                    main={"format": "YUV420", "size": size}, lores=half, raw=None, sensor=sensor,
                    buffer_count=BUFFERS, colour_space=self._colours(), transform=self._transform(),
                )
            )  # fmt: skip
            shortest_us = self._camera.camera_controls.get("FrameDurationLimits", (0,))[0]
            if not self._settings.fps or shortest_us <= 1e6 / self._settings.fps:
                break
        return dict(self._camera.camera_configuration())

    def _whole_view(self, size: tuple[int, int]) -> dict[str, Any]:
        """The sensor mode at half resolution: it bins, so it sees everything, and is fast.

        Left alone, picamera2 takes the mode nearest to the picture's size, which on most sensors
        is cut out of the middle: an imx219 at 640 x 480 shows 15 % of its view.
        """
        full = self._camera.sensor_resolution
        binned = (full[0] // 2, full[1] // 2)
        fits = size[0] <= binned[0] and size[1] <= binned[1]
        return {"output_size": binned if fits else tuple(full)}

    def _colours(self) -> Any:
        """OpenCV converts YUV by ITU-R BT.601; picamera2 would choose BT.709 from 720 lines on."""
        from libcamera import ColorSpace

        return ColorSpace.Smpte170m()

    def _transform(self) -> Any:
        from libcamera import Transform

        turned = self._settings.rotation == 180
        return Transform(hflip=int(turned != self._settings.mirror), vflip=int(turned))

    def _report_what_differs(self) -> None:
        main, settings = self._granted["main"], self._settings
        asked = (settings.width or SIZE[0], settings.height or SIZE[1])
        if tuple(main["size"]) != asked:
            log.warning("%s gives %d x %d, not %d x %d", self._uri, *main["size"], *asked)
        if str(self._granted.get("transform")) != str(self._transform()):
            log.warning("%s does not turn or mirror its pictures as asked", self._uri)
        space = self._granted.get("colour_space")
        if main["format"] in LAZY and space is not None and str(space) != str(self._colours()):
            log.warning("%s: colours are %s and will be slightly off", self._uri, space)

    def _set_controls(self) -> None:
        advertised = self._camera.camera_controls
        streams = 1 if self._granted.get("lores") is None else 2
        wanted = controls.wanted(
            self._settings, advertised, tuple(self._granted["main"]["size"]), streams
        )
        self._camera.set_controls(controls.within(wanted, advertised, self._uri))

    def read(self) -> Shot:
        """The next picture; ``TimeoutError`` when there is none."""
        try:
            request = self._camera.capture_request(wait=self._wait_s)
        except TimeoutError as exc:
            # The job stays queued: it would swallow the next request, and stop() wait for it.
            self._camera.cancel_all_and_flush()
            raise TimeoutError(f"{self._uri} gives no picture within {self._wait_s:g} s") from exc
        try:
            whole, half, sensor_ns = self._copied(request)
        finally:
            request.release()
        times = (time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        return Shot(self._image(whole, half), to_monotonic(sensor_ns, *times))

    def _copied(self, request: Any) -> tuple[Pixels, Pixels | None, int]:
        half = self._granted.get("lores") is not None and self._agrees is not False
        return (
            request.make_array("main"),
            request.make_array("lores") if half else None,
            int(request.get_metadata().get("SensorTimestamp") or 0),
        )

    def _image(self, whole: Pixels, half: Pixels | None) -> Image:
        image = self._as_image(whole, "main")
        if half is None:
            return image
        small = self._as_image(half, "lores")
        if self._agrees is None and time.monotonic() >= self._judge_at_s:
            self._judge_at_s = time.monotonic() + JUDGE_EVERY_S
            self._agrees = self._judged(image, small)
        return TwinImage(image, small) if self._agrees else image

    def _as_image(self, array: Pixels, stream: str) -> Image:
        granted = self._granted[stream]
        return as_image(array, granted["format"], granted["size"][0])

    def _judged(self, whole: Image, half: Image) -> bool | None:
        """Whether the model may look at the camera's half; None until a frame has some contrast."""
        sizes = (half.width * 2, half.height * 2) == (whole.width, whole.height)
        if not sizes or half.order != whole.order:
            log.info("%s: its small picture is not half of the large one", self._uri)
            return False
        off = deviation(whole, half)
        if off is not None:
            what = "used" if off <= MAX_DEVIATION else "not used"
            log.info("%s: its half is off by %.2f grey levels: %s", self._uri, off, what)
        return None if off is None else off <= MAX_DEVIATION

    def close(self) -> None:
        """Stop and release the camera.

        It would wait for ever for a job that is still queued. Its parts refer to each other: three
        file descriptors stay open until the garbage collector comes, so it is called.
        """
        camera, self._camera = self._camera, None
        if camera is None:
            return
        try:
            with contextlib.suppress(Exception):  # else the device stays held by this process
                camera.cancel_all_and_flush()
            camera.close()
        finally:
            del camera
            gc.collect()


def to_monotonic(sensor_ns: int, now_ns: int, boot_ns: int) -> int:
    """A SensorTimestamp on Python's monotonic clock.

    libcamera documents CLOCK_BOOTTIME, Pi kernels write CLOCK_MONOTONIC; they differ by the time
    the machine was suspended. The youngest reading that is not in the future is right, and ``now``
    where neither is plausible.

    Args:
        sensor_ns: the timestamp; 0 for none.
        now_ns: CLOCK_MONOTONIC now.
        boot_ns: CLOCK_BOOTTIME now.
    """
    readings = (sensor_ns, sensor_ns - (boot_ns - now_ns))
    plausible = [ns for ns in readings if 0 <= now_ns - ns <= OLDEST_NS]
    return max(plausible) if sensor_ns and plausible else now_ns


def _opened(number: int) -> tuple[Any, bool]:
    """The camera, and whether it is on USB."""
    camera_class = _picamera2()
    cameras = camera_class.global_camera_info()
    if number >= len(cameras):
        raise SourceUnavailable(
            f"no Raspberry Pi camera {number} ({len(cameras)} found)",
            hint="rpicam-hello --list-cameras shows what the system sees; check the ribbon",
        )
    try:
        camera = camera_class(camera_num=number)
    except (RuntimeError, OSError, IndexError) as exc:
        raise SourceUnavailable(
            f"camera {number} cannot be opened ({_cause(exc)})",
            hint="another program holds it: sudo fuser -v /dev/video* /dev/media*",
        ) from exc
    return camera, "usb" in str(cameras[number].get("Id", "")).lower()


def _cause(exc: BaseException) -> str:
    """picamera2 says that it failed; what it was raised from says why."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return first_line(exc)


def _picamera2() -> Any:
    try:
        from picamera2 import Picamera2
    except Exception as exc:
        if is_absent(exc, *_APT_PACKAGES):
            name = getattr(exc, "name", "")
            raise MissingExtra(
                f"{name} is not visible to this Python",
                hint=f"sudo apt install -y {_APT_PACKAGES[name]} && python3 -m venv "
                f"--system-site-packages --upgrade {sys.prefix}",
            ) from exc
        # apt's simplejpeg is built for apt's numpy: "numpy.dtype size changed".
        lock = "use the lock made for your system: requirements/device-bookworm.txt or -trixie"
        raise unloadable("picamera2", exc, lock if "size changed" in str(exc) else "") from exc
    return Picamera2
