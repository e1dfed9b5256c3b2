"""Cuts the pictures out of a multipart/x-mixed-replace body, the way cameras really write it."""

from collections.abc import Callable

from ..errors import SourceLost

MAX_HEADER = 64 * 1024
MAX_PART = 32 * 1024 * 1024
_ENDS = (b"\xff\xd9", b"\xff\xd9\r\n", b"\xff\xd9\n")


class Parts:
    """The parts of a body of which ``receive`` gives the next bytes, b"" at its end.

    Cameras announce ``--x`` and send ``--x``, or announce ``x``; they leave Content-Length out,
    or break lines with LF alone. Without a length a part ends where the next begins, or with the
    end mark of a JPEG: waiting for the next one would make each picture late by one.
    """

    def __init__(self, receive: Callable[[], bytes], boundary: str) -> None:
        self._receive = receive
        bare = boundary.lstrip("-") or boundary  # of dashes only: nothing else to go by
        self._delimiter = b"--" + bare.encode("latin-1", "replace")
        self._buffer = bytearray()

    def next_picture(self) -> bytes:
        """The next part that is not said to be something else (some cameras send text between)."""
        while True:
            headers = self._headers()
            length = headers.get("content-length", "")
            body = self._take(int(length)) if length.isdecimal() and int(length) else self._rest()
            kind = headers.get("content-type", "image")
            if "image" in kind or "jpeg" in kind or "jpg" in kind:
                return body

    def _headers(self) -> dict[str, str]:
        """Those of the next part, names in lower case."""
        at = self._find(self._delimiter, 0, MAX_PART)
        del self._buffer[: at + len(self._delimiter)]
        end = self._find(b"\n", 0, MAX_HEADER)
        lines = []
        while True:
            begin, end = end + 1, self._find(b"\n", end + 1, MAX_HEADER)
            line = bytes(self._buffer[begin:end]).decode("latin-1").strip()
            if not line:
                break
            lines.append(line)
        del self._buffer[: end + 1]
        split = (line.partition(":") for line in lines)
        return {name.strip().lower(): value.strip().lower() for name, _, value in split}

    def _take(self, length: int) -> bytes:
        if length > MAX_PART:
            raise SourceLost(f"the camera announces a picture of {length} bytes")
        while len(self._buffer) < length:
            self._fill()
        body = bytes(memoryview(self._buffer)[:length])
        del self._buffer[:length]
        return body

    def _rest(self) -> bytes:
        searched = 0
        while (at := self._buffer.find(self._delimiter, searched)) < 0:
            if self._buffer.endswith(_ENDS):
                at = len(self._buffer)
                break
            searched = max(0, len(self._buffer) - len(self._delimiter))
            self._limit(MAX_PART)
            self._fill()
        body = bytes(memoryview(self._buffer)[:at])
        del self._buffer[:at]
        return body

    def _find(self, what: bytes, begin: int, limit: int) -> int:
        while (at := self._buffer.find(what, begin)) < 0:
            begin = max(begin, len(self._buffer) - len(what) + 1)
            self._limit(limit)
            self._fill()
        return at

    def _fill(self) -> None:
        received = self._receive()
        if not received:
            raise ConnectionError("the camera ended the stream")
        self._buffer += received

    def _limit(self, limit: int) -> None:
        if len(self._buffer) > limit:
            raise SourceLost("the camera's stream has no pictures in it")
