"""A folder of photos as a source: each photo stands for itself, one second apart."""

import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ..errors import PhotoUnreadable, SourceUnavailable
from ..image import RawImage
from ..pixels import PHOTO_SUFFIXES, read_photo
from ..records import Frame
from . import local_path

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


class FolderSource:
    """Photos in the order of their paths (or one photo); an unreadable one is left out by name."""

    live = False

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.dropped = 0
        self._closing = False
        path = local_path(uri)
        self._root = path if path.is_dir() else path.parent
        self._photos = list_photos(path) if path.is_dir() else [path]
        if not self._photos:
            raise SourceUnavailable(
                f"no photos in {path}",
                hint="looked for " + ", ".join(sorted(PHOTO_SUFFIXES)),
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
