"""A small file that another process replaces: read anew when it is another one, never fatal."""

import json
import logging
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
        OSError: it cannot be read.
        ValueError: it is something else, or longer than ``MOST_BYTES``.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"longer than {MOST_BYTES} bytes")
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - damaged, like any other bytes
    return found
