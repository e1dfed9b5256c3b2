"""A folder of photos as a source: each photo stands for itself, one second apart."""

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ..errors import PhotoUnreadable, SourceUnavailable
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


class FolderSource:
    """Photos in the order of their paths; an unreadable one is reported and left out."""

    live = False

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.dropped = 0
        self._closing = False
        self._photos = list_photos(local_path(uri))
        if not self._photos:
            raise SourceUnavailable(
                f"no photos in {local_path(uri)}",
                hint="looked for " + ", ".join(sorted(PHOTO_SUFFIXES)),
            )

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._photos):
            if self._closing:
                return
            try:
                pixels = read_photo(path)
                taken = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            except PhotoUnreadable as exc:
                log.warning("left out: %s", exc)
                continue
            yield Frame(index, float(index), taken, time.monotonic_ns(), pixels, "rgb", path.name)

    def close(self) -> None:
        """End the iteration."""
        self._closing = True
