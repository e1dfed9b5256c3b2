"""Photos as a source - a folder, a pattern, a single one: each stands for itself, 1 s apart."""

import glob
import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ..errors import PhotoUnreadable, SourceUnavailable, looking_at
from ..image import RawImage
from ..masking import without_password
from ..pixels import PHOTO_SUFFIXES, read_photo
from ..records import Frame
from . import local_path, say_unused
from .health import Report, log_health
from .settings import DEFAULTS, CameraSettings

log = logging.getLogger("sightpost")


def list_photos(folder: Path) -> list[Path]:
    """The photos below ``folder``, sorted by path; hidden files and folders are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PHOTO_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def printable(name: str) -> str:
    """A file's name for logs and databases, which hold no bytes that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def match_photos(pattern: str) -> list[Path]:
    """The photos that a pattern such as ``site/**/night_*.jpg`` names, sorted by path."""
    paths = (Path(name) for name in glob.glob(pattern, recursive=True))
    return sorted(p for p in paths if p.suffix.lower() in PHOTO_SUFFIXES and p.is_file())


def folder_source(
    uri: str, *, camera: CameraSettings = DEFAULTS, report: Report = log_health
) -> "FolderSource":
    """``photos/``, ``folder://photos``, ``photo.jpg`` or ``"photos/*.jpg"``."""
    say_unused(uri, camera, used=set())
    return FolderSource(uri)


_VIDEO_SUFFIXES = {".avi", ".mkv", ".mov", ".mp4", ".m4v", ".mts", ".webm"}


class FolderSource:
    """Photos in the order of their paths; an unreadable one is left out by name.

    Their names are paths below the folder, or below a pattern's last part without wildcards.
    """

    live = False

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.dropped = 0
        self._closing = False
        path = local_path(uri)
        with looking_at(without_password(str(path)), SourceUnavailable):
            self._root, self._photos = _found(path)
        if not self._photos:
            raise SourceUnavailable(
                f"no photos in {without_password(str(path))}", hint=_what_instead(path)
            )

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._photos):
            if self._closing:
                return
            try:
                image = RawImage(read_photo(path), "rgb")
                taken = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            except PhotoUnreadable as exc:
                log.warning("left out: %s", exc)
                continue
            name = printable(path.relative_to(self._root).as_posix())
            yield Frame(index, float(index), taken, time.monotonic_ns(), image, name)

    def close(self) -> None:
        """End the iteration."""
        self._closing = True


def _found(path: Path) -> tuple[Path, list[Path]]:
    """What the photos' names begin below, and the photos."""
    if path.is_dir():
        return path, list_photos(path)
    if path.exists():
        return path.parent, [path]
    return _before_wildcards(path), match_photos(str(path))


def _what_instead(path: Path) -> str:
    """Somebody with a season of clips gives their folder."""
    found = path.rglob("*") if path.is_dir() else glob.iglob(str(path), recursive=True)
    videos = [name for name in map(Path, found) if name.suffix.lower() in _VIDEO_SUFFIXES]
    if videos:
        return (
            f"there are {len(videos)} videos; give them one at a time: "
            f'for clip in {videos[0].parent}/*; do sightpost run --source "$clip" ...; done'
        )
    return "looked for " + ", ".join(sorted(PHOTO_SUFFIXES))


def _before_wildcards(pattern: Path) -> Path:
    return next(p for p in pattern.parents if not glob.has_magic(str(p)))
