"""The conformance suite: what every source must do, run over each of them."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_edge.errors import ConfigError, MissingExtra, SourceUnavailable
from sightpost_edge.image import RawImage
from sightpost_edge.masking import without_password
from sightpost_edge.records import Frame
from sightpost_edge.sources import SCHEMES, Source, open_source
from sightpost_edge.sources.live import Ended, LiveSource, Shot
from sightpost_edge.sources.settings import CameraSettings
from sightpost_edge.testing import ScriptedSource, colour, colour_frames

COLOURS = ("red", "green", "blue")


def write_clip(path: Path, *, frames_each: int = 5, fps: float = 10.0) -> Path:
    """A video of a second or so: red, green, blue."""
    codec = cv2.VideoWriter_fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), codec, fps, (64, 48))
    for name in COLOURS:
        for _ in range(frames_each):
            writer.write(colour(name)[..., ::-1])
    writer.release()
    return path


def write_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for index, name in enumerate(COLOURS):
        cv2.imwrite(str(folder / f"{index}_{name}.png"), colour(name)[..., ::-1])
    return folder


@pytest.fixture
def mjpeg() -> Iterator[str]:
    """A camera's HTTP stream: an endless multipart answer of JPEGs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for index in range(600):
                    jpeg = cv2.imencode(".jpg", colour(COLOURS[index % 3])[..., ::-1])[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                    self.wfile.write(head.encode() + b"\r\n\r\n" + jpeg + b"\r\n")
                    time.sleep(0.01)
            except OSError:
                pass

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/stream.mjpg"
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["file", "folder", "synthetic", "http", "scripted"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    makers: dict[str, Callable[[], Source]] = {
        "file": lambda: open_source(str(write_clip(tmp_path / "clip.avi"))),
        "folder": lambda: open_source(str(write_folder(tmp_path / "photos"))),
        "synthetic": lambda: open_source("synthetic://line?seed=3&fps=60&seconds=0.2"),
        "http": lambda: open_source(request.getfixturevalue("mjpeg")),
        "scripted": lambda: ScriptedSource(colour_frames(*COLOURS)),
    }
    opened = makers[request.param]()
    yield opened
    opened.close()


def take(source: Source, count: int) -> list[Frame]:
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


def test_frames_are_pictures_in_order(source: Source) -> None:
    """(h, w, 3) uint8, rising index, rising time, a wall time that knows its zone."""
    frames = take(source, 3)
    assert len(frames) >= 2
    for frame in frames:
        pixels = frame.image.decode()
        assert pixels.dtype == np.uint8
        assert pixels.shape == (frame.image.height, frame.image.width, 3)
        assert frame.captured_at.tzinfo is not None
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert [frame.elapsed_s for frame in frames] == sorted({frame.elapsed_s for frame in frames})


def test_close_ends_the_iteration(source: Source) -> None:
    """After close, at most the frame in hand comes; a signal handler relies on that."""
    iterator = iter(source)
    next(iterator)
    source.close()
    assert len(list(iterator)) <= 1


def test_closing_twice_is_harmless(source: Source) -> None:
    """Signals come in pairs."""
    source.close()
    source.close()


def test_it_says_what_it_is(source: Source) -> None:
    """The URI goes into events, ``live`` and ``dropped`` into the summary."""
    assert source.uri
    assert source.dropped >= 0
    assert isinstance(source.live, bool)


def test_a_file_loses_nothing_and_keeps_media_time(tmp_path: Path) -> None:
    """15 frames at 10 fps: all of them, however slowly they are taken, 0.1 s apart."""
    frames = list(open_source(str(write_clip(tmp_path / "clip.avi"))))
    assert len(frames) == 15
    assert frames[10].elapsed_s == pytest.approx(1.0, abs=0.01)


def test_channel_order_is_told(tmp_path: Path) -> None:
    """Red frames of a file are B,G,R in memory and say so; photos are R,G,B and say so."""
    clip = next(iter(open_source(str(write_clip(tmp_path / "clip.avi")))))
    photo = next(iter(open_source(str(write_folder(tmp_path / "photos")))))
    for first in (clip, photo):
        assert first.rgb()[..., 0].mean() > 180
        assert first.rgb()[..., 2].mean() < 80
    assert (clip.image.order, photo.image.order) == ("bgr", "rgb")


def test_a_bad_photo_is_left_out_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One broken file does not end a folder."""
    folder = write_folder(tmp_path / "photos")
    (folder / "1_broken.jpg").write_bytes(b"\xff\xd8\xff")
    assert len(list(open_source(str(folder)))) == 3
    assert "1_broken.jpg" in caplog.text


@pytest.mark.parametrize(
    ("uri", "error", "says"),
    [
        ("picammera://0", ConfigError, "did you mean 'picamera'"),
        ("rstp://10.0.0.1/x", ConfigError, "did you mean 'rtsp'"),
        ("nowhere.mp4", SourceUnavailable, "a path, a camera number"),
        ("", ConfigError, "--source"),
        ("http://[::1", SourceUnavailable, "is the camera on"),
        ("x" * 300, SourceUnavailable, ""),
        ("/dev/video97", SourceUnavailable, "a path"),
        ("97", SourceUnavailable, "picamera://0"),
        ("synthetic://line?sed=3", ConfigError, "did you mean 'seed'"),
        ("synthetic://line?fps=fast", ConfigError, ""),
        ("synthetic://line?fps=0", ConfigError, ""),
        ("http://127.0.0.1:9/none.mjpg", SourceUnavailable, "is the camera on"),
    ],
)
def test_what_cannot_be_opened_says_why_at_the_call(
    uri: str, error: type[Exception], says: str
) -> None:
    """open_source raises; nobody has asked for a frame yet."""
    with pytest.raises(error) as caught:
        open_source(uri)
    assert says in getattr(caught.value, "hint", "")


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    """A text file named .mp4."""
    (tmp_path / "x.mp4").write_text("hello")
    with pytest.raises(SourceUnavailable, match="not a video"):
        open_source(str(tmp_path / "x.mp4"))


def test_an_empty_folder(tmp_path: Path) -> None:
    """No photos is said at once."""
    with pytest.raises(SourceUnavailable, match="no photos"):
        open_source(str(tmp_path))


def test_every_scheme_names_code_that_exists() -> None:
    """A row in the table is a promise."""
    import importlib

    for target in SCHEMES.values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(f"sightpost_edge.sources.{module}"), name))


def test_passwords_stay_out_of_logs() -> None:
    """The URI in events and messages has no secret."""
    assert without_password("rtsp://me:s3cret@cam/1") == "rtsp://***@cam/1"
    assert without_password("http://cam/x?user=a&pwd=s3cret") == "http://cam/x?user=a&pwd=***"
    for harmless in ("http://cam:81/x.mjpg", "rtsp://cam/1?channel=2&width=640", "http://[::1]/x"):
        assert without_password(harmless) == harmless
    in_path = "rtsp://cam/user=admin_password=s3cret_channel=1_stream=0.sdp"
    assert without_password(in_path) == "rtsp://cam/user=admin_password=***_channel=1_stream=0.sdp"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"crop": ["a", 0, 1, 1]}, "crop must be four shares"),
        ({"crop": [0, 0, 1]}, "crop must be four shares"),
        ({"crop": [0, 0, 1, float("nan")]}, "crop must be four shares"),
        ({"autofocus": "foo"}, "autofocus: unknown value 'foo'"),
        ({"stall_s": float("inf")}, "stall_s must be above 0, at most"),
        ({"stall_s": 1e12}, "stall_s must be above 0, at most"),
        ({"fps": float("inf")}, "fps must not be negative or infinite"),
        ({"lens_position": float("nan")}, "lens_position must not be negative or infinite"),
    ],
)
def test_impossible_camera_settings_are_refused(settings: dict[str, Any], says: str) -> None:
    """As they are made: in the capture thread they would pass for a broken camera."""
    with pytest.raises(ConfigError, match=says):
        CameraSettings(**settings)


@pytest.mark.parametrize(
    "uri",
    [
        "http://cam/s?access_token=s3cret", "http://cam/s?api_key=s3cret&x=1",
        "http://cam/s?user=a&passwd=s3cret", "http://cam/s?usr=a&user_pwd=s3cret",
        "http://cam/v.cgi?loginuse=a&loginpas=s3cret", "http://cam/v.cgi?PWD=s3cret",
        "http://cam/s?auth=s3cret#x", "http://cam/s?secret=s3cret", "http://cam/s?pwd=a_s3cret",
        "rtsp://s3cret@cam/1", "rtsp://admin:pa/s3cret@cam/1", "rtsp://admin:s3cret@s3cret@cam/1",
        "rtsp://admin:12/s3cret@cam/1", "rtsp://admin:pa?s3cret@cam/1", "rtsp://a:p#s3cret@cam/1",
    ],
)  # fmt: skip
def test_whatever_cameras_call_a_password_it_is_masked(uri: str) -> None:
    """Also where it holds marks that nobody has encoded."""
    assert "s3cret" not in without_password(uri)
    assert "cam" in without_password(uri)


class Tape:
    """A camera that plays a list: Shots, None for failures, exceptions to raise."""

    def __init__(self, *items: object) -> None:
        self.items = list(items)
        self.closed = False

    def read(self) -> Shot | None:
        if not self.items:
            raise Ended
        item = self.items.pop(0)
        if isinstance(item, Exception):
            raise item
        if callable(item):
            item = item()
        return item  # type: ignore[return-value]

    def close(self) -> None:
        self.closed = True


def shot(name: str = "red") -> Shot:
    return Shot(RawImage(colour(name), "rgb"), time.monotonic_ns())


def shots(*names: str) -> list[Shot]:
    """A nanosecond apart at least: two pictures of one time are one picture."""
    return [
        replace(shot(name), monotonic_ns=time.monotonic_ns() + i) for i, name in enumerate(names)
    ]


def test_the_newest_frame_wins() -> None:
    """A slow consumer sees the latest picture, and the others are counted."""
    source = LiveSource("tape://", lambda: Tape(*shots(*["red"] * 20, "blue")))
    source._keeper.join(5)
    frames = list(source)
    assert len(frames) == 1
    assert frames[0].rgb()[..., 2].mean() > 180
    assert source.dropped == 20


def test_a_frame_is_stamped_when_it_was_taken() -> None:
    """Not when somebody came to fetch it."""
    old = Shot(RawImage(colour("red"), "rgb"), time.monotonic_ns() - 5_000_000_000)
    frame = next(iter(LiveSource("tape://", lambda: Tape(old))))
    age_s = (datetime.now(UTC) - frame.captured_at).total_seconds()
    assert 4.9 < age_s < 30


def test_photos_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    """Names are paths below the folder."""
    for part in ("a", "b"):
        write_folder(tmp_path / "photos" / part)
    names = [frame.name for frame in open_source(str(tmp_path / "photos"))]
    assert names[0] == "a/0_red.png"
    assert len(set(names)) == 6


def test_a_single_photo_is_a_source(tmp_path: Path) -> None:
    """It goes through the photo decoder, not through the video one."""
    photo = write_folder(tmp_path / "photos") / "0_red.png"
    (frame,) = open_source(str(photo))
    assert (frame.name, frame.image.order) == ("0_red.png", "rgb")


def test_a_camera_without_a_picture_is_not_open() -> None:
    """OpenCV may claim that an absent camera is open: only a good read proves it."""
    for reads in (None, RuntimeError("dequeue failed"), Ended()):
        tape = Tape(reads)
        with pytest.raises(SourceUnavailable, match="gives no picture"):
            LiveSource("tape://", lambda tape=tape: tape)  # type: ignore[misc]
        assert tape.closed


def test_why_a_camera_cannot_be_opened_arrives_as_it_was_said() -> None:
    """It is opened in another thread; its error keeps class and hint."""

    def missing() -> Tape:
        raise MissingExtra("no picamera2", hint="sudo apt install")

    with pytest.raises(MissingExtra) as caught:
        LiveSource("tape://", missing)
    assert caught.value.hint == "sudo apt install"


def test_settings_that_a_source_cannot_follow_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line, with nothing said about those it follows."""
    clip = str(write_clip(tmp_path / "clip.avi"))
    open_source(clip, camera=CameraSettings(gain=2.0, width=640, height=480, loop=True)).close()
    assert caplog.messages == [
        f"{clip}: this source has no use for camera settings: width, height, gain"
    ]


# Recordings


def test_a_loop_goes_on_in_time(tmp_path: Path) -> None:
    """Over two seams: index and time keep rising, and colours come round again."""
    clip = str(write_clip(tmp_path / "clip.avi"))
    frames = take(open_source(clip, camera=CameraSettings(loop=True)), 40)
    assert [frame.index for frame in frames] == list(range(40))
    steps = np.diff([frame.elapsed_s for frame in frames])
    assert steps == pytest.approx([0.1] * 39, abs=0.01)
    assert frames[15].rgb()[..., 0].mean() > 180
    assert frames[30].rgb()[..., 0].mean() > 180


def test_a_recording_in_real_time_loses_nothing_and_closes_at_once(tmp_path: Path) -> None:
    """15 frames at 50 fps take 0.28 s; one at 0.2 fps is not waited for when closed."""
    realtime = CameraSettings(realtime=True)
    quick = str(write_clip(tmp_path / "quick.avi", fps=50.0))
    began_s = time.monotonic()
    assert len(list(open_source(quick, camera=realtime))) == 15
    assert 0.27 <= time.monotonic() - began_s < 3
    source = open_source(str(write_clip(tmp_path / "slow.avi", fps=0.2)), camera=realtime)
    next(iterator := iter(source))
    threading.Timer(0.05, source.close).start()
    began_s = time.monotonic()
    assert list(iterator) == []
    assert time.monotonic() - began_s < 3


def test_a_damaged_frame_in_the_middle_does_not_end_a_recording(tmp_path: Path) -> None:
    """A stretch of zeros: what is lost is a few frames, not the rest; time still rises."""
    clip = write_clip(tmp_path / "clip.avi", frames_each=20)
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 12] = bytes(len(content) // 12)
    clip.write_bytes(content)
    frames = list(open_source(str(clip)))
    assert 45 <= len(frames) < 60
    assert frames[-1].rgb()[..., 2].mean() > 180
    assert (np.diff([frame.elapsed_s for frame in frames]) > 0).all()


def test_a_file_whose_frames_are_all_damaged_ends_even_in_a_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pass without a picture is repeated."""
    from sightpost_edge.sources import video

    monkeypatch.setattr(video, "_frames", lambda capture, period_s: iter(()))
    clip = str(write_clip(tmp_path / "clip.avi"))
    assert list(open_source(clip, camera=CameraSettings(loop=True))) == []


# Photos


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.png", ["0_red.png", "1_green.png", "2_blue.png"]),
        ("[01]_*.png", ["0_red.png", "1_green.png"]),
        ("**/2_*.png", ["2_blue.png", "deep/2_blue.png"]),
    ],
)
def test_a_pattern_is_a_source(tmp_path: Path, pattern: str, names: list[str]) -> None:
    """Sorted, photos only, named by their path below the part without wildcards."""
    folder = write_folder(tmp_path / "photos")
    write_folder(folder / "deep")
    (folder / "0_notes.txt").write_text("no photo")
    for uri in (f"{folder}/{pattern}", f"folder://{folder}/{pattern}"):
        assert [frame.name for frame in open_source(uri)] == names


def test_a_folder_whose_name_looks_like_a_pattern_is_that_folder(tmp_path: Path) -> None:
    """photos[1] exists."""
    folder = write_folder(tmp_path / "photos[1]")
    assert len(list(open_source(str(folder)))) == 3


def test_a_pattern_without_a_match_says_so(tmp_path: Path) -> None:
    """At the call."""
    with pytest.raises(SourceUnavailable, match="no photos"):
        open_source(f"{tmp_path}/*.jpg")


def test_a_folder_of_clips_says_what_to_do(tmp_path: Path) -> None:
    """Somebody's season is a folder of videos: one command each, shown."""
    for number in range(3):
        (tmp_path / f"clip{number}.MP4").touch()
    for uri in (str(tmp_path), f"{tmp_path}/*.MP4"):
        with pytest.raises(SourceUnavailable) as caught:
            open_source(uri)
        assert "there are 3 videos" in caught.value.hint
        assert "for clip in" in caught.value.hint
