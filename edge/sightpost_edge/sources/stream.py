"""Network cameras: HTTP-MJPEG with its JPEGs undecoded, RTSP and everything else by FFmpeg."""

import base64
import hashlib
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import cv2

from ..errors import SourceUnavailable
from ..image import RawImage
from ..masking import without_password
from . import say_unused
from .camera import READ_SHARE, Camera, Shot
from .health import Report, log_health
from .jpeg import JpegReader
from .live import LiveSource
from .multipart import Parts
from .settings import DEFAULTS, CameraSettings

CHUNK = 1 << 18
_CHALLENGES = re.compile(r",\s*(?=(?:Digest|Basic)\s+\w+\s*=)", re.IGNORECASE)
_DIGESTS = {"MD5": "md5", "SHA": "sha1", "SHA-256": "sha256"}


def stream_source(
    uri: str, *, camera: CameraSettings = DEFAULTS, report: Report = log_health
) -> LiveSource:
    """``rtsp://`` and ``http://`` streams, with timeouts."""
    name = without_password(uri)
    say_unused(name, camera, used=set())
    timeout_s = camera.stall_s * READ_SHARE
    return LiveSource(name, lambda: open_stream(uri, timeout_s), camera=camera, report=report)


def open_stream(uri: str, timeout_s: float) -> Camera:
    """A camera by its address; what an HTTP server sends decides who reads it."""
    if not uri.startswith("http"):
        return FfmpegCamera(uri, timeout_s)
    response = _get(uri, timeout_s)
    kind = response.headers.get_content_type()
    if kind.startswith("multipart/") and (boundary := response.headers.get_boundary()):
        return HttpCamera(response, boundary, timeout_s)
    response.close()
    if kind.startswith(("image/", "text/")):
        raise SourceUnavailable(
            f"{without_password(uri)} is no stream but {kind}",
            hint="the camera's manual names the address of its MJPEG or RTSP stream",
        )
    return FfmpegCamera(uri, timeout_s)


class HttpCamera:
    """An HTTP-MJPEG stream; each part is a JPEG that nobody has decoded."""

    def __init__(self, response: HTTPResponse, boundary: str, timeout_s: float) -> None:
        self._response, self._timeout_s = response, timeout_s
        self._parts, self._jpegs = Parts(self._receive, boundary), JpegReader()
        self._until_s = 0.0

    def read(self) -> Shot:
        """The next picture; its time is that of its last byte."""
        self._until_s = time.monotonic() + self._timeout_s
        part = self._parts.next_picture()
        stamp_ns = time.monotonic_ns()
        return Shot(self._jpegs.image(part), stamp_ns)

    def close(self) -> None:
        """Close the connection."""
        self._response.close()

    def _receive(self) -> bytes:
        """A server that trickles never trips the socket's own time-out."""
        if time.monotonic() > self._until_s:
            raise TimeoutError(f"no whole picture within {self._timeout_s:g} s")
        return self._response.read1(CHUNK)


class FfmpegCamera:
    """A stream behind OpenCV's FFmpeg, which asks RTSP cameras for TCP unless told otherwise."""

    def __init__(self, uri: str, timeout_s: float) -> None:
        # Its own time-out is 30 s, in which a pulled cable looks like a healthy camera.
        self._timeout_s, timeout_ms = timeout_s, round(timeout_s * 1000)
        options = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms,
        ]  # fmt: skip
        self._capture: Any = cv2.VideoCapture(uri, cv2.CAP_FFMPEG, options)
        if not self._capture.isOpened():
            raise _unavailable(uri)

    def read(self) -> Shot | None:
        """The next picture, B,G,R.

        A frozen RTSP stream gives an old picture as good, twice, each after the whole time-out.
        """
        began_s = time.monotonic()
        ok, pixels = self._capture.read()
        took_s = time.monotonic() - began_s
        if took_s >= 0.9 * self._timeout_s:
            raise TimeoutError(f"no picture within {took_s:.1f} s")
        return Shot(RawImage(pixels, "bgr"), time.monotonic_ns()) if ok else None

    def close(self) -> None:
        """Close the connection."""
        self._capture.release()


class _Login(urllib.request.HTTPDigestAuthHandler):
    """Gives the password once, by the first way that both sides know, Digest before Basic.

    Python's own handlers heed one challenge only, fail at SHA-256 (RFC 7616) and try a wrong
    password seven times, after which many cameras lock the account.
    """

    def __init__(self, passwords: urllib.request.HTTPPasswordMgr) -> None:
        super().__init__(passwords)
        self._passwords = passwords

    def http_error_401(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        """Ask again with the password; None where there is none or it was given already."""
        fp.close()
        if req.has_header("Authorization"):
            return None
        demands = [
            demand.strip()
            for line in headers.get_all("WWW-Authenticate", [])
            for demand in _CHALLENGES.split(line)
        ]
        answer = next(self._digests(req, demands), "") or self._basic(req, demands)
        if not answer:
            return None
        req.add_unredirected_header("Authorization", answer)
        return self.parent.open(req, timeout=req.timeout)

    def _digests(self, req: urllib.request.Request, demands: list[str]) -> Iterator[str]:
        for demand in demands:
            kind, _, rest = demand.partition(" ")
            if kind.lower() != "digest":
                continue
            said = [item for item in urllib.request.parse_http_list(rest) if "=" in item]
            try:
                found = self.get_authorization(req, urllib.request.parse_keqv_list(said))
            except (ValueError, urllib.error.URLError):  # an algorithm that nobody here knows
                continue
            if found:
                yield f"Digest {found}"

    def _basic(self, req: urllib.request.Request, demands: list[str]) -> str:
        user, password = self._passwords.find_user_password(None, req.full_url)  # type: ignore[arg-type]
        if user is None or not any(demand.lower().startswith("basic") for demand in demands):
            return ""
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"

    def get_algorithm_impls(
        self, algorithm: str
    ) -> tuple[Callable[[str], str], Callable[[str, str], str]]:
        """The hash of a text, and of a secret with data, by the name a camera gives it."""
        name = _DIGESTS.get(algorithm.upper())
        if name is None:
            raise ValueError(f"unknown digest {algorithm!r}")

        def digest(text: str) -> str:
            return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()

        return digest, lambda secret, data: digest(f"{secret}:{data}")


def _get(uri: str, timeout_s: float) -> HTTPResponse:
    """Ask for the stream, past no proxy (cameras are near), with Basic or Digest as demanded."""
    try:
        address, passwords = _credentials(uri)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            _Login(passwords),
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        )
        response: HTTPResponse = opener.open(address, timeout=timeout_s)
    except urllib.error.HTTPError as exc:
        exc.close()
        hint = "the user name and password belong into the address: http://USER:PASSWORD@camera/..."
        refused = exc.code in (401, 403)
        raise _unavailable(uri, f"the camera answers {exc.code}", hint if refused else "") from exc
    except urllib.error.URLError as exc:
        raise _unavailable(uri, str(exc.reason)) from exc
    except (OSError, HTTPException, ValueError) as exc:
        raise _unavailable(uri, type(exc).__name__) from exc
    return response


def _credentials(uri: str) -> tuple[str, urllib.request.HTTPPasswordMgr]:
    """The address without user and password, and a book that knows them for this host only."""
    parts = urlsplit(uri)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username:
        user, password = unquote(parts.username), unquote(parts.password or "")
        host = urlsplit(address).netloc  # all of it: a camera may send on to another path
        passwords.add_password(None, f"{parts.scheme}://{host}/", user, password)
    return address, passwords


def _unavailable(uri: str, why: str = "", hint: str = "") -> SourceUnavailable:
    return SourceUnavailable(
        f"no stream at {without_password(uri)}" + (f" ({why})" if why else ""),
        hint=hint or "is the camera on, the address right, the password correct?",
    )
