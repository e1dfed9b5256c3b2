"""The Raspberry Pi camera on a fake of picamera2's API; ``make test-picamera`` takes the real."""

import logging
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_edge.errors import ConfigError, LibraryError, MissingExtra, SourceUnavailable
from sightpost_edge.image import as_jpeg
from sightpost_edge.pixels import Geometry, decode, fit, fit_image
from sightpost_edge.records import Pixels
from sightpost_edge.sources import open_source
from sightpost_edge.sources.picamera import SIZE, PiCamera, to_monotonic
from sightpost_edge.sources.picamera_controls import crop_rectangle
from sightpost_edge.sources.picamera_formats import as_image, deviation
from sightpost_edge.sources.settings import CameraSettings
from sightpost_edge.testing import colour

from . import fake_picamera2 as fake

FORMATS = (
    "RGB888", "BGR888", "XRGB8888", "XBGR8888", "YUV420", "YVU420", "NV12", "NV21", "YUYV", "YVYU",
    "UYVY", "MJPEG",
)  # fmt: skip
ALL_AT_ONCE = CameraSettings(
    width=1280, height=720, fps=20, autofocus="manual", lens_position=2.5, exposure_us=9000,
    gain=4.0, white_balance="Daylight", controls={"ColourGains": [1.5, 2.0]},
)  # fmt: skip


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake.World]:
    """A Pi with a camera that looks at four coloured quarters; nothing may be left open or held."""
    world = fake.World(quarters(*SIZE))
    picamera2, libcamera = types.ModuleType("picamera2"), types.ModuleType("libcamera")
    picamera2.Picamera2 = type("Picamera2", (fake.Picamera2,), {"world": world})  # type: ignore[attr-defined]
    libcamera.Transform, libcamera.ColorSpace = fake.Transform, fake.ColorSpace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", picamera2)
    monkeypatch.setitem(sys.modules, "libcamera", libcamera)
    yield world
    assert world.open == 0, "a camera was left open"
    assert world.outstanding == 0, "a request was not released"


@pytest.fixture
def opened(world: fake.World) -> Iterator[Callable[..., PiCamera]]:
    """Opens the camera with settings, and closes it when the test is over."""
    cameras: list[PiCamera] = []

    def open_it(**settings: Any) -> PiCamera:
        cameras.append(PiCamera(0, CameraSettings(**settings)))
        return cameras[-1]

    yield open_it
    for camera in cameras:
        camera.close()


def quarters(width: int, height: int) -> Pixels:
    """Red and green above, blue and grey below, (height, width, 3) uint8, R,G,B."""
    rows = [[(200, 30, 40), (30, 190, 50)], [(40, 30, 210), (128, 128, 128)]]
    picture = np.array(rows, np.uint8)
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST))


def asked(world: fake.World) -> dict[str, Any]:
    return world.asked[-1]


# Pictures


def test_frames_come_through_the_source(world: fake.World) -> None:
    """By URI, as a live source: the picture at full size, and its half for the model."""
    source = open_source("picamera://0")
    frame = next(iter(source))
    source.close()
    assert (frame.image.width, frame.image.height) == SIZE
    np.testing.assert_allclose(frame.rgb()[100, 100], (200, 30, 40), atol=6)
    assert abs(time.monotonic_ns() - frame.monotonic_ns) < 5e9


@pytest.mark.parametrize("granted", FORMATS)
def test_whatever_format_is_granted_has_its_colours(
    world: fake.World, opened: Callable[..., PiCamera], granted: str
) -> None:
    """Formats are named as little-endian words, and YUV rows may be padded."""
    world.formats["main"] = granted
    world.padding = 64 if granted in ("YUV420", "YVU420") else 0
    image = opened().read().image
    picture = image.decode()
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    rgb = picture if image.order == "rgb" else picture[..., ::-1]
    np.testing.assert_allclose(rgb[240::480, 320::640], quarters(2, 2), atol=8)
    assert decode(as_jpeg(image)).shape == picture.shape


def test_padding_shows_in_no_part_of_a_picture(
    world: fake.World, opened: Callable[..., PiCamera]
) -> None:
    """The padding is pure green here: neither pixels nor the motion gate's luminance have it."""
    world.picture, world.padding = colour("blue", width=1280, height=960), 64
    image = opened().read().image
    assert image.decode()[..., 1].max() < 60
    assert image.luma().max() < 90


def test_an_unknown_format_is_refused() -> None:
    """Guessing at bytes would give colours that are wrong in silence."""
    with pytest.raises(SourceUnavailable, match="SRGGB10"):
        as_image(quarters(64, 48), "SRGGB10", 64)


def test_yuv_is_not_converted_before_somebody_looks(
    opened: Callable[..., PiCamera], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most frames are dropped unseen: reading one costs a copy and nothing else."""
    camera = opened()
    camera.read()  # here the half is judged
    arrays = {name: fake.encoded(quarters(64, 48), "YUV420") for name in ("main", "lores")}
    monkeypatch.setattr(fake.Request, "make_array", lambda _, name: arrays[name])
    monkeypatch.setattr(cv2, "cvtColor", lambda *_: pytest.fail("converted"))
    image = camera.read().image
    image.checksum()
    image.luma()


# The half that the camera's chip makes


def test_the_half_serves_models_that_were_judged_at_half_size(
    world: fake.World, opened: Callable[..., PiCamera]
) -> None:
    """decode(2) is the chip's small picture; without the contract's leave the whole is used."""
    world.half_shows = np.clip(world.picture.astype(int) + 1, 0, 255).astype(np.uint8)
    image = opened().read().image
    assert image.reductions == (2,)
    assert image.decode(2).shape == (480, 640, 3)
    geometry = Geometry(224, 224)
    allowed = fit_image(image, geometry, reductions=frozenset({2}))
    whole = fit_image(image, geometry)
    np.testing.assert_array_equal(allowed, fit(image.decode(2), geometry, order="bgr"))
    np.testing.assert_array_equal(whole, fit(image.decode(), geometry, order="bgr"))
    assert 0.5 < np.abs(allowed.astype(int) - whole).mean() < 2


@pytest.mark.parametrize("fault", ["brighter", "shifted", "cut"])
def test_a_half_that_shows_something_else_is_not_used(
    world: fake.World, opened: Callable[..., PiCamera], fault: str
) -> None:
    """Three levels brighter, 2 % to the side, 3 % cut away: each is over two grey levels here."""
    world.picture = checked(*SIZE)
    world.half_shows = {
        "brighter": np.clip(world.picture.astype(int) + 3, 0, 252).astype(np.uint8),
        "shifted": np.roll(world.picture, SIZE[0] // 50, axis=1),
        "cut": world.picture[15:-15, 20:-20],
    }[fault]
    camera = opened()
    assert camera.read().image.reductions == ()
    world.copies.clear()
    camera.read()
    assert world.copies == ["main"], "what is not used need not be copied"


def checked(width: int, height: int) -> Pixels:
    """Squares of 80 pixels."""
    y, x = np.mgrid[:height, :width] // 80
    return np.repeat(((x + y) % 2 * 150 + 50).astype(np.uint8)[..., None], 3, axis=2)


def test_a_dark_scene_decides_nothing(
    world: fake.World, opened: Callable[..., PiCamera], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two black pictures agree whatever the lens sees; it is looked at again by daylight."""
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    daylight = world.picture
    world.picture = np.full_like(daylight, 3)
    camera = opened()
    assert camera.read().image.reductions == ()
    world.picture = daylight
    assert camera.read().image.reductions == (), "at most once a second: it costs a conversion"
    now_s[0] += 1.1
    assert camera.read().image.reductions == (2,)


def test_deviation_is_the_mean_of_grey_levels() -> None:
    """Equal pictures are off by nothing, a level more everywhere by one; grey ones by None."""
    picture = checked(640, 480)
    whole, brighter = (as_image(p, "BGR888", 640) for p in (picture, picture + 1))
    assert deviation(whole, whole) == 0
    assert deviation(whole, brighter) == pytest.approx(1.0)
    flat = as_image(np.full_like(picture, 90), "BGR888", 640)
    assert deviation(flat, whole) is None


@pytest.mark.parametrize(
    ("size", "half"),
    [((1280, 720), (640, 360)), ((640, 480), (320, 240)), ((1000, 750), None), ((320, 240), None)],
)
def test_a_half_is_asked_for_where_it_is_even_and_large_enough(
    world: fake.World, opened: Callable[..., PiCamera], size: tuple[int, int],
    half: tuple[int, int] | None,
) -> None:  # fmt: skip
    """Sizes must be even, and a model wants some 224 rows."""
    opened(width=size[0], height=size[1])
    lores = asked(world)["lores"]
    assert (lores and lores["size"]) == half


def test_a_camera_with_one_stream_gives_one(
    world: fake.World, opened: Callable[..., PiCamera]
) -> None:
    """Some pipelines refuse a second stream: the picture alone will do."""
    world.streams = 1
    assert opened().read().image.reductions == ()
    assert [config["lores"] is None for config in world.asked] == [False, True]


def test_no_half_is_asked_of_a_usb_camera(
    world: fake.World, opened: Callable[..., PiCamera]
) -> None:
    """libcamera has an assertion there, which would end the process."""
    world.cameras[0]["Id"] = "/base/scb/pcie@7d500000/pci@0,0/usb@0,0-1.2:1.0-046d:0825"
    opened()
    assert [config["lores"] for config in world.asked] == [None]


# What is asked, and what is granted


def test_the_configuration(world: fake.World, opened: Callable[..., PiCamera]) -> None:
    """Planar YUV in the colours that OpenCV converts, few buffers, and no raw stream."""
    opened()
    config = asked(world)
    assert config["main"] == {"format": "YUV420", "size": SIZE}
    assert config["raw"] is None
    assert config["buffer_count"] == 4
    assert "SMPTE170M" in str(config["colour_space"])


@pytest.mark.parametrize(
    ("size", "output"), [((1280, 960), (2304, 1296)), ((4000, 2000), (4608, 2592))]
)
def test_the_sensor_shows_its_whole_view(
    world: fake.World, opened: Callable[..., PiCamera], size: tuple[int, int],
    output: tuple[int, int],
) -> None:  # fmt: skip
    """The binned mode, or the full one where the picture is larger than that."""
    opened(width=size[0], height=size[1])
    assert asked(world)["sensor"] == {"output_size": output}


@pytest.mark.parametrize(("fps", "sensors"), [(50, 1), (100, 2)])
def test_more_frames_than_the_whole_view_allows_narrow_it(
    world: fake.World, opened: Callable[..., PiCamera], fps: int, sensors: int
) -> None:
    """56 frames a second are that mode's limit; 100 take the mode that picamera2 chooses."""
    opened(fps=fps)
    assert len(world.asked) == sensors
    assert bool(asked(world)["sensor"]) == (fps == 50)


@pytest.mark.parametrize(
    ("rotation", "mirror", "flips"),
    [(0, False, (0, 0)), (180, False, (1, 1)), (0, True, (1, 0)), (180, True, (0, 1))],
)
def test_rotation_and_mirror(
    world: fake.World, opened: Callable[..., PiCamera], rotation: int, mirror: bool,
    flips: tuple[int, int],
) -> None:  # fmt: skip
    """Half a turn is both flips; mirrored as well, the horizontal one cancels out."""
    opened(rotation=rotation, mirror=mirror)
    transform = asked(world)["transform"]
    assert (transform.hflip, transform.vflip) == flips


def test_what_is_not_granted_is_said(
    world: fake.World, opened: Callable[..., PiCamera], caplog: pytest.LogCaptureFixture
) -> None:
    """Another size, no turning, other colours: pictures come, and the log says what they are."""
    world.size, world.turns, world.colour_space = (640, 480), False, fake.ColorSpace.Rec709()
    image = opened(width=800, height=600, rotation=180).read().image
    assert (image.width, image.height) == (640, 480)
    for words in ("gives 640 x 480, not 800 x 600", "does not turn or mirror", "Rec709"):
        assert words in caplog.text
    assert image.reductions == (), "400 x 300 is no half of 640 x 480"


def test_a_camera_that_does_as_asked_says_nothing(
    opened: Callable[..., PiCamera], caplog: pytest.LogCaptureFixture
) -> None:
    """No warning without a reason."""
    opened(rotation=180)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# Controls


def test_the_settings_become_controls(world: fake.World, opened: Callable[..., PiCamera]) -> None:
    """By libcamera's names and numbers; both exposure and gain given means no automatic."""
    opened(**{name: getattr(ALL_AT_ONCE, name) for name in CameraSettings.__dataclass_fields__})
    assert world.controls == {
        "FrameDurationLimits": (50_000, 50_000), "AfMode": 0, "LensPosition": 2.5,
        "ExposureTime": 9000, "AnalogueGain": 4.0, "AeEnable": False, "AwbMode": 5,
        "ColourGains": [1.5, 2.0],
    }  # fmt: skip


def test_nothing_set_leaves_everything_to_the_camera(
    world: fake.World, opened: Callable[..., PiCamera]
) -> None:
    """picamera2's own defaults for video stand."""
    opened()
    assert world.controls == {}


def test_a_frame_lasts_as_long_as_its_exposure(
    world: fake.World, opened: Callable[..., PiCamera]
) -> None:
    """Else libcamera would cut the exposure to 1/30 s."""
    opened(exposure_us=100_000)
    assert world.controls["FrameDurationLimits"] == (100_000, 100_000)
    assert "AeEnable" not in world.controls, "the gain is still automatic"


def test_a_control_the_camera_lacks_is_named_and_left_out(
    world: fake.World, opened: Callable[..., PiCamera], caplog: pytest.LogCaptureFixture
) -> None:
    """picamera2 would raise; a fixed lens is no reason not to run."""
    del world.advertised["AfMode"]
    opened(autofocus="continuous", gain=2.0, controls={"AnalogGain": 3.0})
    assert world.controls == {"AnalogueGain": 2.0}
    assert "has no control AfMode" in caplog.text
    assert "has no control AnalogGain: did you mean 'AnalogueGain'?" in caplog.text


def test_a_value_out_of_range_is_clamped_and_said(
    world: fake.World, opened: Callable[..., PiCamera], caplog: pytest.LogCaptureFixture
) -> None:
    """With the range, so that the owner need not look for it."""
    opened(gain=40.0, fps=1)
    assert world.controls == {"AnalogueGain": 16.0, "FrameDurationLimits": (200_000, 200_000)}
    assert "AnalogueGain can be 1.0 to 16.0 here; 40.0 becomes 16.0" in caplog.text


def test_the_crop_keeps_the_pictures_shape(
    world: fake.World, opened: Callable[..., PiCamera]
) -> None:
    """In sensor pixels from the area's corner; libcamera would squash any other shape."""
    opened(crop=[0.5, 0.0, 0.5, 1.0])
    left, top, width, height = world.controls["ScalerCrop"]
    assert (left, width) == (2100, 2000)
    assert (top, height) == (200 + (3000 - 1500) // 2, 1500)


def test_the_crop_on_a_pi_5_is_one_for_each_stream(
    world: fake.World, opened: Callable[..., PiCamera]
) -> None:
    """picamera2 has set ScalerCrops there by itself, and they win over ScalerCrop."""
    world.advertised["ScalerCrops"] = ((0, 0, 64, 64), (100, 200, 4000, 3000), None)
    opened(crop=[0.25, 0.25, 0.5, 0.5])
    assert world.controls == {"ScalerCrops": [(1100, 950, 2000, 1500)] * 2}


def test_a_camera_that_cannot_crop_shows_everything(
    world: fake.World, opened: Callable[..., PiCamera], caplog: pytest.LogCaptureFixture
) -> None:
    """And says so."""
    del world.advertised["ScalerCrop"]
    opened(crop=[0.25, 0.25, 0.5, 0.5])
    assert world.controls == {}
    assert "has no control ScalerCrop" in caplog.text


@pytest.mark.parametrize("aspect", [4 / 3, 16 / 9, 1.0])
def test_a_crop_never_leaves_what_was_asked_for(aspect: float) -> None:
    """What the owner cut away may be a neighbour's window."""
    left, top, width, height = crop_rectangle([0.1, 0.2, 0.3, 0.4], (8, 8, 4608, 2592), aspect)
    assert width / height == pytest.approx(aspect, rel=2e-3)
    assert left >= 8 + 0.1 * 4608 - 1
    assert top >= 8 + 0.2 * 2592 - 1
    assert left + width <= 8 + 0.4 * 4608 + 1
    assert top + height <= 8 + 0.6 * 2592 + 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"white_balance": "dayligt"}, "dayligt"),
        ({"crop": [0.5, 0.5, 0.6, 0.5]}, "within the picture"),
        ({"crop": [0.5, 0.5, 0.0, 0.5]}, "within the picture"),
    ],
)
def test_impossible_settings_are_refused(
    world: fake.World, settings: dict[str, Any], words: str
) -> None:
    """Before a camera is opened."""
    with pytest.raises(ConfigError, match=words):
        open_source("picamera://0", camera=CameraSettings(**settings))
    assert world.asked == []


def test_settings_for_recordings_are_named(
    world: fake.World, caplog: pytest.LogCaptureFixture
) -> None:
    """A camera cannot be looped."""
    open_source("picamera://0", camera=CameraSettings(loop=True)).close()
    assert "no use for camera settings: loop" in caplog.text


# Requests, time-outs, closing


def test_no_frame_holds_a_buffer(world: fake.World, opened: Callable[..., PiCamera]) -> None:
    """Pictures may be kept for as long as anybody likes; the camera goes on."""
    camera = opened()
    kept = [camera.read() for _ in range(12)]
    assert world.outstanding == 0
    assert len({id(shot.image.decode()) for shot in kept}) == 12


def test_a_request_that_cannot_be_read_is_released(
    world: fake.World, opened: Callable[..., PiCamera]
) -> None:
    """The failure goes to the source, which reopens the camera; the buffer goes back."""
    camera = opened()
    world.broken = "array"
    with pytest.raises(RuntimeError, match="find buffer"):
        camera.read()
    assert world.outstanding == 0


def test_a_time_out_leaves_nothing_queued(
    world: fake.World, opened: Callable[..., PiCamera]
) -> None:
    """A job left behind would swallow the next request and let stop() wait for ever."""
    camera = opened(stall_s=3.0)
    world.silent = True
    with pytest.raises(TimeoutError, match=r"no picture within 1\.5 s"):
        camera.read()
    world.silent = False
    camera.read()
    assert world.outstanding == 0, "the job that timed out has swallowed a request"
    world.silent = True
    with pytest.raises(TimeoutError):
        camera.read()
    camera.close()
    camera.close()  # a second time does nothing


def test_a_read_that_was_interrupted_does_not_hang_the_close(
    opened: Callable[..., PiCamera], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of waiting leaves a job queued as well."""
    camera = opened()

    def interrupted(camera: Any, wait: float) -> None:
        camera.jobs += 1
        raise KeyboardInterrupt

    monkeypatch.setattr(fake.Picamera2, "capture_request", interrupted)
    with pytest.raises(KeyboardInterrupt):
        camera.read()
    camera.close()


def test_a_silent_camera_is_reported_and_closed(world: fake.World) -> None:
    """Opened, but without a picture: the source says so and leaves nothing open."""
    world.silent = True
    with pytest.raises(SourceUnavailable, match="gives no picture"):
        open_source("picamera://0", camera=CameraSettings(stall_s=0.2))


# Times


def test_a_frames_time_is_the_sensors(world: fake.World, opened: Callable[..., PiCamera]) -> None:
    """SensorTimestamp, and now where there is none or an impossible one."""
    world.sensor_ns = time.monotonic_ns() - 40_000_000
    camera = opened()
    assert camera.read().monotonic_ns == world.sensor_ns
    for impossible in (None, 0, 1_700_000_000_000_000_000):
        world.sensor_ns = impossible
        before = time.monotonic_ns()
        assert before <= camera.read().monotonic_ns <= time.monotonic_ns()


SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("sensor_ns", "expected_ns"),
    [
        (999 * SECOND, 999 * SECOND),  # CLOCK_MONOTONIC, a second old
        (1599 * SECOND, 999 * SECOND),  # CLOCK_BOOTTIME, a second old
        (900 * SECOND, 1000 * SECOND),  # too old
        (1601 * SECOND, 1000 * SECOND),  # not yet
        (0, 1000 * SECOND),
    ],
)
def test_after_a_suspend_two_clocks_differ(sensor_ns: int, expected_ns: int) -> None:
    """Up for 1600 s, ten minutes of them suspended: either clock's reading is understood."""
    assert to_monotonic(sensor_ns, 1000 * SECOND, 1600 * SECOND) == expected_ns


def test_a_missing_time_is_not_the_start_of_the_machine() -> None:
    """0 is none, even half a minute after power-on, when it would be a plausible age."""
    assert to_monotonic(0, 30 * SECOND, 30 * SECOND) == 30 * SECOND


# What can be missing


def test_no_camera(world: fake.World) -> None:
    """An unplugged ribbon: no IndexError, a hint instead."""
    world.cameras = []
    with pytest.raises(SourceUnavailable, match="no Raspberry Pi camera 0") as caught:
        open_source("picamera://0")
    assert "ribbon" in caught.value.hint


def test_a_busy_camera(world: fake.World) -> None:
    """Another program holds it: the reason is in what picamera2's error was raised from."""
    world.busy = True
    with pytest.raises(SourceUnavailable, match="Device or resource busy") as caught:
        open_source("picamera://0")
    assert "fuser" in caught.value.hint


@pytest.mark.parametrize(
    ("broken", "words"), [("configure", "Invalid camera"), ("start", "Cannot allocate")]
)
def test_a_camera_that_does_not_start_is_closed(world: fake.World, broken: str, words: str) -> None:
    """Else it would be busy when it is tried again."""
    world.broken = broken
    with pytest.raises(SourceUnavailable, match=words):
        open_source("picamera://0")


@pytest.mark.parametrize("error", [KeyError("PixelArraySize"), ArithmeticError(), SystemExit()])
def test_whatever_stops_the_start_the_camera_is_closed(
    world: fake.World, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Also what picamera2 has never raised so far; the fixture counts what is left open."""

    def fail(camera: Any) -> None:
        raise error

    monkeypatch.setattr(fake.Picamera2, "start", fail)
    expected = SourceUnavailable if isinstance(error, LookupError) else type(error)
    with pytest.raises(expected):
        PiCamera(0)
    assert world.open == 0


def test_a_camera_that_cannot_be_flushed_is_closed(
    world: fake.World, opened: Callable[..., PiCamera], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next opening would find the device busy."""
    camera = opened()

    def fail(camera: Any) -> None:
        raise RuntimeError("Device has been disconnected")

    monkeypatch.setattr(fake.Picamera2, "cancel_all_and_flush", fail)
    camera.close()
    assert world.open == 0


def test_a_name_is_not_a_number(world: fake.World) -> None:
    """picamera://front is a mistake."""
    with pytest.raises(ConfigError, match="not a camera number"):
        open_source("picamera://front")


def test_without_picamera2_the_apt_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest trap: a virtual environment that cannot see apt's packages."""
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingExtra) as caught:
        open_source("picamera://0")
    assert "python3-picamera2" in caught.value.hint
    assert "--system-site-packages" in caught.value.hint


def plant_picamera2(monkeypatch: pytest.MonkeyPatch, folder: Any, program: str) -> None:
    """Have ``import picamera2`` run ``program``."""
    (folder / "picamera2.py").write_text(program)
    monkeypatch.delitem(sys.modules, "picamera2", raising=False)
    monkeypatch.syspath_prepend(str(folder))


def test_a_picamera2_built_for_another_numpy_names_the_lock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """apt's simplejpeg on Bookworm is built for numpy 1, and says so in a ValueError."""
    plant_picamera2(monkeypatch, tmp_path, "raise ValueError('numpy.dtype size changed')")
    with pytest.raises(LibraryError, match="dtype size changed") as caught:
        open_source("picamera://0")
    assert "device-bookworm" in caught.value.hint


def test_a_picamera2_that_cannot_be_loaded_now_is_not_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Memory that is short now may be there at the next start: nothing has to be installed."""
    plant_picamera2(monkeypatch, tmp_path, "raise ImportError('libcamera.so: cannot allocate')")
    with pytest.raises(LibraryError, match="cannot allocate") as caught:
        open_source("picamera://0")
    assert "sightpost doctor" in caught.value.hint
