"""A small file that another process replaces: read anew when it is another one, never fatal."""

import errno
import json
import logging
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")
MOST_BYTES = 64 * 1024
"""A hundred times what the largest of these files holds; more is somebody else's."""
DAMAGED = (ValueError, TypeError, KeyError, RecursionError, OverflowError)
"""What parsing raises on bytes that are not what they should be: deeply nested JSON and ``1e999``,
which Python reads as infinity, included."""

log = logging.getLogger("sightpost")


class Polled(Generic[T]):
    """Asking costs a stat; where the content is damaged the last good one counts, said once.

    ``parse`` raises one of ``DAMAGED``; ``absent`` counts while there is no file.
    """

    def __init__(self, path: Path, parse: Callable[[Mapping[str, Any]], T], absent: T) -> None:
        self._path, self._parse, self._absent = path, parse, absent
        self._value, self._mark = absent, (0, 0, 0)
        self._warned = False

    def __call__(self) -> T:
        """What the file says now; the same object until it is replaced."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._value, self._mark = self._absent, (0, 0, 0)
            return self._value
        except OSError as exc:
            return self._keep(exc)
        mark = (found.st_ino, found.st_mtime_ns, found.st_size)
        if mark != self._mark:
            self._mark = mark
            try:
                self._value = self._parse(read_object(self._path))
                self._warned = False
            except (OSError, *DAMAGED) as exc:
                return self._keep(exc)
        return self._value

    def _keep(self, exc: Exception) -> T:
        if not self._warned:
            log.warning("%s cannot be read (%s); what it said before holds", self._path, exc)
            self._warned = True
        return self._value


def read_object(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file.

    Raises:
        OSError: it cannot be read, or is a link: these files are replaced, never linked.
        ValueError: it is something else, or longer than ``MOST_BYTES``.
    """
    content = read_ordinary(path, MOST_BYTES + 1, follow=False)
    if len(content) > MOST_BYTES:
        raise ValueError(f"longer than {MOST_BYTES} bytes")
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - damaged, like any other bytes
    return found


def read_ordinary(path: Path, most: int, *, follow: bool) -> bytes:
    """The first ``most`` bytes of an ordinary file in a folder that others may write.

    A named pipe that was put in its place would block for ever, and a link with ``follow`` False
    would have root read what whoever laid it may not.

    Raises:
        OSError: it cannot be read, is no ordinary file, or a link that is not to be followed.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.ENXIO, "no ordinary file", str(path))
        return file.read(most)
