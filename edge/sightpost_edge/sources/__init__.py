"""Where Frames come from: one URI names a camera, a stream, a recording or a folder of photos.

Adding a source: one module whose class offers ``Source``, one row in ``SCHEMES``, and the
conformance suite in ``tests/edge/test_sources.py`` passes.
"""

import glob
import importlib
import logging
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Protocol, cast

from ..errors import ConfigError, SourceUnavailable, looking_at, nearest
from ..masking import without_password
from ..pixels import PHOTO_SUFFIXES
from ..records import Frame
from .health import Report, log_health
from .settings import DEFAULTS, CameraSettings

log = logging.getLogger("sightpost")


class Source(Protocol):
    """Yields Frames until it ends or is closed; ``close`` may be called from a signal handler.

    ``live`` sources keep only the newest Frame and count the others in ``dropped``; recordings
    and folders lose nothing. Faults, rests and reopenings are a ``LiveSource``'s alone.
    """

    uri: str
    live: bool

    @property
    def dropped(self) -> int:
        """Frames that were left out for newer ones."""

    def __iter__(self) -> Iterator[Frame]:
        """The Frames, in order."""

    def close(self) -> None:
        """Stop; the iteration ends after the Frame in hand."""


SCHEMES = {
    "picamera": "picamera:picamera_source",
    "v4l2": "v4l2:device_source",
    "rtsp": "stream:stream_source",
    "rtsps": "stream:stream_source",
    "http": "stream:stream_source",
    "https": "stream:stream_source",
    "file": "video:file_source",
    "folder": "folder:folder_source",
    "synthetic": "synthetic:synthetic_source",
}
"""Scheme to "module:callable"; the module is imported only when its scheme is asked for."""


def open_source(
    uri: str, *, camera: CameraSettings = DEFAULTS, report: Report = log_health
) -> Source:
    """Open a source by URI; bad names fail here, not at the first Frame.

    ``picamera://0``, ``v4l2:///dev/video0`` or a bare number, ``rtsp://``, ``http(s)://`` (MJPEG),
    a video file, a folder of photos or a pattern (``"photos/*.jpg"``), ``synthetic://line?seed=7``.

    Args:
        uri: see above.
        camera: how to open it; what the source cannot do is said in the log.
        report: gets each Health of a live source, from a thread of that source.

    Raises:
        ConfigError: the scheme is unknown.
        SourceUnavailable: there is no such camera, stream, file or folder.
        MissingExtra: its library is not installed.
    """
    module, _, name = SCHEMES[_scheme(uri)].partition(":")
    factory = getattr(importlib.import_module(f".{module}", __name__), name)
    return cast(Source, factory(uri, camera=camera, report=report))


def _scheme(uri: str) -> str:
    if not uri:
        raise ConfigError("no source given", hint="for example --source picamera://0 or clip.mp4")
    if uri.isdigit():
        return "v4l2"
    scheme = uri.partition("://")[0] if "://" in uri else ""
    if scheme in SCHEMES:
        return scheme
    if scheme:
        raise ConfigError(f"unknown source {scheme}://", hint=nearest(scheme, SCHEMES))
    path = Path(uri)
    with looking_at(without_password(uri), SourceUnavailable):
        if path.is_dir() or (path.is_file() and path.suffix.lower() in PHOTO_SUFFIXES):
            return "folder"
        if path.exists():
            return "v4l2" if path.is_char_device() else "file"
        if glob.has_magic(uri):
            return "folder"
    raise SourceUnavailable(
        f"no file, folder or camera at {without_password(uri)}",
        hint="sources: a path, a camera number, or " + ", ".join(f"{s}://" for s in SCHEMES),
    )


def local_path(uri: str) -> Path:
    """The path of ``file:///x``, ``v4l2:///dev/x``, ``folder://x`` or a bare path."""
    return Path(uri.split("://", 1)[1] if "://" in uri else uri)


def say_unused(uri: str, camera: CameraSettings, *, used: Set[str]) -> None:
    """Name in the log what was set for the camera and this source cannot do."""
    heeded = {"stall_s", "frozen_s", *used}
    names = [
        name
        for name in CameraSettings.__dataclass_fields__
        if name not in heeded and getattr(camera, name) != getattr(DEFAULTS, name)
    ]
    if names:
        shown = without_password(uri)
        log.warning("%s: this source has no use for camera settings: %s", shown, ", ".join(names))
