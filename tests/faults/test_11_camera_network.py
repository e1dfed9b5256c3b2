"""Network cameras that freeze, die and come back, over real connections."""

import dataclasses
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from sightpost_edge.errors import SourceUnavailable
from sightpost_edge.image import JpegImage
from sightpost_edge.records import Health
from sightpost_edge.sources import open_source, stream

from .camera_rig import BUSY_S, QUICK, Station
from .conftest import ReportFault
from .http_camera import HttpCamera
from .rtsp_camera import RtspCamera

TIMEOUT_S = 0.5


@pytest.fixture
def http() -> Iterator[HttpCamera]:
    server = HttpCamera()
    yield server
    server.kill()


@pytest.fixture
def rtsp() -> Iterator[RtspCamera]:
    server = RtspCamera()
    yield server
    server.close()


def watch(uri: str) -> Station:
    return Station(lambda: stream.open_stream(uri, TIMEOUT_S))


def checksums(station: Station) -> list[int]:
    return [frame.image.checksum() for frame in station.frames]


@pytest.mark.fault("11 camera faults")
def test_an_http_camera_that_freezes_is_reopened(http: HttpCamera) -> None:
    """The cable is pulled: no byte, no end. JPEGs stay as they were sent; none comes twice."""
    station = watch(http.uri)
    station.wait_for_frames(5)
    http.frozen, froze_s = True, time.monotonic()
    station.wait(lambda: station.health)
    assert station.reports == [("stall", False)]
    assert station.health[0].monotonic_ns / 1e9 - froze_s <= TIMEOUT_S + BUSY_S
    http.frozen = False
    station.wait(lambda: len(station.health) == 2)
    station.wait_for_frames(5)
    station.close()
    assert station.reports == [("stall", False), ("stall", True)]
    assert all(isinstance(frame.image, JpegImage) for frame in station.frames)
    assert len(set(checksums(station))) == len(station.frames)


@pytest.mark.fault("11 camera faults")
def test_an_http_camera_that_dies_and_comes_back(http: HttpCamera) -> None:
    """Refused connections in between."""
    station = watch(http.uri)
    station.wait_for_frames(5)
    http.kill()
    station.wait(lambda: station.health)
    http.start()
    station.wait(lambda: len(station.health) == 2)
    station.wait_for_frames(5)
    station.close()
    assert station.reports == [("error", False), ("error", True)]


@pytest.mark.fault("11 camera faults", count=20)
def test_twenty_reopenings_leave_no_connection_behind(http: HttpCamera) -> None:
    """Descriptors are flat: every socket that was opened is closed."""
    quick = dataclasses.replace(QUICK, waits_s=(0.005,) * 3, healthy_s=0.0)
    station = Station(lambda: stream.open_stream(http.uri, TIMEOUT_S), patience=quick)
    station.wait_for_frames(2)
    before = len(os.listdir("/proc/self/fd"))
    for count in range(20):
        station.source.distrust("unreadable", "is a JPEG that cannot be decoded")
        station.wait(lambda count=count: len(station.health) == 2 * count + 2)  # type: ignore[misc]
    station.wait(lambda: len(http.requests) == 21)
    # The server's ends go when it notices.
    station.wait(lambda: len(os.listdir("/proc/self/fd")) <= before)
    station.close()
    assert station.lost is None


@pytest.mark.fault("11 camera faults")
def test_an_rtsp_camera_that_freezes_is_reopened(rtsp: RtspCamera) -> None:
    """Found by how long a read took."""
    station = watch(rtsp.uri)
    station.wait_for_frames(5)
    rtsp.frozen, froze_s = True, time.monotonic()
    station.wait(lambda: station.health)
    assert station.health[0].monotonic_ns / 1e9 - froze_s <= 2 * TIMEOUT_S + BUSY_S
    rtsp.frozen = False
    station.wait(lambda: len(station.health) == 2)
    station.wait_for_frames(5)
    station.close()
    assert station.reports == [("stall", False), ("stall", True)]
    assert len(set(checksums(station))) == len(station.frames)


@pytest.mark.parametrize("wait_s", [0.3, 0.45])
def test_a_program_that_ends_while_a_camera_hangs_ends_as_it_meant_to(
    rtsp: RtspCamera, wait_s: float
) -> None:
    """Not with 134: a native read that returns while Python shuts down would abort it."""
    program = f"""
import sys, time
from sightpost_edge.sources.ladder import Patience
from sightpost_edge.sources.live import LiveSource
from sightpost_edge.sources.stream import open_stream
source = LiveSource("x", lambda: open_stream({rtsp.uri!r}, 0.5), patience=Patience(close_s=0.01))
next(iter(source))
print("open", flush=True)
sys.stdin.readline()
time.sleep({wait_s})
source.close()
sys.exit(3)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        rtsp.frozen = True
        process.communicate("\n", timeout=30)
    assert process.returncode == 3


@pytest.mark.fault("11 camera faults")
def test_an_rtsp_camera_that_drops_the_connection_is_reopened(rtsp: RtspCamera) -> None:
    """FFmpeg says False at once."""
    station = watch(rtsp.uri)
    station.wait_for_frames(5)
    rtsp.drop()
    station.wait(lambda: len(station.health) == 2)
    station.wait_for_frames(5)
    station.close()
    assert station.reports[0][0] in ("error", "stall")


@pytest.mark.fault("11 camera faults")
def test_an_old_picture_given_out_as_good_after_the_time_out_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What H.264 over RTSP does when it freezes: True, twice, each after the whole time-out."""

    class Capture:
        def isOpened(self) -> bool:
            return True

        def read(self) -> tuple[bool, np.ndarray]:
            time.sleep(0.05)
            return True, np.zeros((48, 64, 3), np.uint8)

    monkeypatch.setattr(stream.cv2, "VideoCapture", lambda *arguments: Capture())
    with pytest.raises(TimeoutError):
        stream.FfmpegCamera("rtsp://camera/1", 0.05).read()


def test_a_password_opens_the_stream_and_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """It is sent only when asked for; the address in the request and in messages has none."""
    server = HttpCamera(user="me:s3cret/@")
    address = server.uri.replace("http://", "http://me:s3cret%2F%40@")
    source = open_source(address)
    assert next(iter(source)).image.width == 64
    source.close()
    assert "Authorization" not in server.requests[0]
    assert "s3cret" not in source.uri + caplog.text + "".join(server.requests)
    with pytest.raises(SourceUnavailable, match="401") as caught:
        open_source(server.uri.replace("http://", "http://me:wr0ng@"))
    assert "wr0ng" not in str(caught.value)
    assert "USER:PASSWORD" in caught.value.hint
    server.kill()


def test_an_address_of_single_pictures_is_no_stream() -> None:
    """The commonest mistake with network cameras: snapshot.jpg."""
    server = HttpCamera(kind="image/jpeg")
    with pytest.raises(SourceUnavailable, match="no stream but image/jpeg"):
        open_source(server.uri)
    server.kill()


def test_what_is_not_multipart_goes_to_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's Content-Type decides, not the address."""
    asked: list[str] = []
    monkeypatch.setattr(stream, "FfmpegCamera", lambda uri, timeout_s: asked.append(uri))
    for kind in ("video/mp4", "application/vnd.apple.mpegurl", "multipart/x-mixed-replace"):
        server = HttpCamera(kind=kind)
        stream.open_stream(server.uri, TIMEOUT_S)
        server.kill()
    assert len(asked) == 3


@pytest.mark.fault("11 camera faults")
def test_a_server_that_trickles_is_a_time_out() -> None:
    """A byte now and then keeps the socket's own time-out away for ever."""

    class Response:
        def read1(self, size: int) -> bytes:
            time.sleep(0.03)
            return b"-"

    with pytest.raises(TimeoutError, match="no whole picture"):
        stream.HttpCamera(Response(), "frame", 0.1).read()  # type: ignore[arg-type]


def test_a_certificate_that_nobody_signed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody could be that camera; with its certificate among the trusted ones it is read."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate and is not here")
    made = tmp_path / "camera.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "1", "-subj", "/CN=camera", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", made, "-out", tmp_path / "certificate.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    made.write_bytes(made.read_bytes() + (tmp_path / "certificate.pem").read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made)
    server = HttpCamera(tls=context)
    with pytest.raises(SourceUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        open_source(server.uri)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    source = open_source(server.uri)
    assert next(iter(source)).image.width == 64
    source.close()
    server.kill()


@pytest.mark.slow
def test_a_real_station_is_back_in_time(http: HttpCamera, report_fault: ReportFault) -> None:
    """Nothing shortened: frozen, then dead for 5 s; found within 10 s, back within 60 s."""
    told: list[Health] = []
    source = open_source(http.uri, report=told.append)
    frames = iter(source)
    slowest_s, late = 0.0, 0
    for fault, begin, mend in (
        ("stall", lambda: setattr(http, "frozen", True), lambda: setattr(http, "frozen", False)),
        ("error", http.kill, http.start),
    ):
        next(frames)
        began_s = time.monotonic()
        begin()
        while not told:
            time.sleep(0.05)
        late += told[0].monotonic_ns / 1e9 - began_s > 10
        time.sleep(5 if fault == "error" else 0)
        mended_s = time.monotonic()
        mend()
        while next(frames).monotonic_ns / 1e9 < mended_s:
            pass
        took_s = time.monotonic() - mended_s
        slowest_s, late = max(slowest_s, took_s), late + (took_s > 60)
        while len(told) < 2:
            time.sleep(0.05)
        assert [(health.fault, health.ok) for health in told] == [(fault, False), (fault, True)]
        told.clear()
    source.close()
    report_fault("11 a real camera's time", 2, late, slowest_s)
    assert not late


class Guarded:
    """A camera that answers with the ``demands`` until one of ``lets_in`` is in the request."""

    def __init__(self, *demands: str, lets_in: str = "", sends_on: bool = False) -> None:
        self.requests: list[tuple[str, str]] = []
        guarded = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                said = self.headers.get("Authorization", "")
                guarded.requests.append((self.path, said))
                if sends_on and self.path == "/first":
                    self._say(302, {"Location": "/second"})
                elif demands and not (lets_in and re.search(lets_in, said)):
                    self._say(401, *({"WWW-Authenticate": demand} for demand in demands))
                else:
                    self._say(200, {"Content-Type": "multipart/x-mixed-replace; boundary=frame"})

            def _say(self, code: int, *headers: dict[str, str]) -> None:
                self.send_response(code)
                for header in headers:
                    for name, value in header.items():
                        self.send_header(name, value)
                self.end_headers()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def uri(self, user: str = "", path: str = "first") -> str:
        return f"http://{user}127.0.0.1:{self._server.server_port}/{path}"

    def opened(self, user: str = "") -> list[tuple[str, str]]:
        """What it was asked while somebody opened it."""
        try:
            stream.open_stream(self.uri(user), 5.0).close()
        finally:
            self._server.shutdown()
            self._server.server_close()
        return self.requests


NEW = 'Digest realm="camera", nonce="7", qop="auth", algorithm=SHA-256'
OLD = 'Digest realm="camera", nonce="7", qop="auth,auth-int", algorithm=MD5'
BASIC = 'Basic realm="camera"'


@pytest.mark.parametrize(
    ("demands", "given"),
    [
        ([BASIC], "^Basic bWU6czNjcmV0$"),
        ([OLD], '^Digest username="me".* algorithm="MD5"'),
        ([NEW], '^Digest username="me".* algorithm="SHA-256"'),
        ([BASIC, OLD], '^Digest username="me"'),
        ([f"{BASIC}, {OLD}"], '^Digest username="me"'),
        ([NEW.replace("SHA-256", "SHA-512-256"), BASIC], "^Basic "),
        (["Negotiate", "Digest nonsense", BASIC], "^Basic "),
    ],
)
def test_the_password_is_given_in_a_way_that_both_sides_know(
    demands: list[str], given: str
) -> None:
    """Digest where there is one; Basic where it is all that is left."""
    requests = Guarded(*demands, lets_in=given).opened("me:s3cret@")
    assert len(requests) == 2
    assert requests[0] == ("/first", "")


def test_a_digest_is_right() -> None:
    """RFC 7616, 3.4.1, by hand; a name may hold any letter."""
    [_, (_, said)] = Guarded(NEW, lets_in="^Digest").opened("J%C3%A4:s3cret@")
    fields = urllib.request.parse_keqv_list(urllib.request.parse_http_list(said[7:]))

    def digest(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    nonce = f"7:{fields['nc']}:{fields['cnonce']}:auth"
    expected = f"{digest('Jä:camera:s3cret')}:{nonce}:{digest('GET:/first')}"
    assert fields["response"] == digest(expected)


@pytest.mark.parametrize("demands", [[NEW], [OLD], [BASIC], [NEW, BASIC]])
@pytest.mark.parametrize(("user", "asked"), [("", 1), ("me:wr0ng@", 2), ("me@", 2)])
def test_a_wrong_password_is_given_once(demands: list[str], user: str, asked: int) -> None:
    """Cameras lock an account after a few; without one the hint says where it belongs."""
    camera = Guarded(*demands)
    with pytest.raises(SourceUnavailable, match="401") as caught:
        camera.opened(user)
    assert "USER:PASSWORD" in caught.value.hint
    assert len(camera.requests) == asked


def test_a_camera_may_send_on_to_another_path() -> None:
    """The password goes along, to the same host only."""
    camera = Guarded(BASIC, lets_in="^Basic", sends_on=True)
    assert [path for path, _ in camera.opened("me:s3cret@")] == ["/first", "/second", "/second"]
    other = Guarded(BASIC, lets_in="^Basic")
    address, passwords = stream._credentials(camera.uri("me:s3cret@"))
    assert passwords.find_user_password(None, address) == ("me", "s3cret")  # type: ignore[arg-type]
    assert passwords.find_user_password(None, other.uri()) == (None, None)  # type: ignore[arg-type]
    with pytest.raises(SourceUnavailable):
        other.opened()
