"""A TCP proxy between a client and a broker that does to their bytes what networks do."""

import contextlib
import socket
import struct
import threading
import time

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing sends RST."""


class NetworkProxy:
    """Listens on ``port``; the attributes are the faults, and count at once.

    ``latency_s``: every piece takes so long. ``bytes_per_s``: how fast a direction is, 0 unlimited.
    ``slice_bytes``: no piece is longer, 0 as they come. ``refusing``: nobody listens. ``deaf``:
    what the broker says is lost, and that connection never hears from it again. ``black``: both
    directions are: the connection is half-open for good.
    """

    def __init__(self, target: int, *, usual_latency_s: float = 0.0) -> None:
        self._usual_latency_s = self.latency_s = usual_latency_s
        self.bytes_per_s = 0
        self.slice_bytes = 0
        self.deaf = self.black = False
        self.connections = 0
        self._target = target
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._doomed: set[tuple[socket.socket, socket.socket]] = set()
        self._swallowed: set[tuple[socket.socket, socket.socket]] = set()
        self._cut_after: int | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._accepting()

    @property
    def refusing(self) -> bool:
        """Whether connections are refused."""
        return self._listener.fileno() < 0

    @refusing.setter
    def refusing(self, value: bool) -> None:
        if value and not self.refusing:
            self._hang_up()
        elif not value and self.refusing and not self._closed:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=16)
            self._accepting()

    def reset(self) -> None:
        """Break every connection with RST."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._break(pair)

    def cut_after(self, upstream_bytes: int) -> None:
        """Break the connection that carries the next so many bytes to the broker, in the middle."""
        self._cut_after = upstream_bytes

    def heal(self) -> None:
        """No more faults; connections that have lost bytes stay as they are."""
        self.latency_s, self.bytes_per_s, self.slice_bytes = self._usual_latency_s, 0, 0
        self.deaf = self.black = False
        self._cut_after = None
        self.refusing = False

    def close(self) -> None:
        self._closed = True
        self._hang_up()
        self.reset()

    def __enter__(self) -> "NetworkProxy":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _hang_up(self) -> None:
        # Closing alone would leave the accepting thread with the port.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accepting(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                client.close()
                continue
            for end in (client, broker):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            pair = (client, broker)
            with self._lock:
                self._pairs.add(pair)
            for upstream in (True, False):
                threading.Thread(target=self._carry, args=(pair, upstream), daemon=True).start()

    def _carry(self, pair: tuple[socket.socket, socket.socket], upstream: bool) -> None:
        source, sink = pair if upstream else pair[::-1]
        try:
            while piece := source.recv(self.slice_bytes or 65536):
                if self.latency_s:
                    time.sleep(self.latency_s)
                if self.bytes_per_s:
                    time.sleep(len(piece) / self.bytes_per_s)
                if self.black or (self.deaf and not upstream):
                    self._doomed.add(pair)
                if self.black:
                    self._swallowed.add(pair)  # a stream with a hole in it is worse than none
                if pair in self._swallowed or (pair in self._doomed and not upstream):
                    continue
                passing = self._until_cut(piece) if upstream else piece
                sink.sendall(passing)
                if len(passing) < len(piece):
                    break  # at once: going on would leave a hole in the stream
        except OSError:
            pass
        self._break(pair)

    def _until_cut(self, piece: bytes) -> bytes:
        """What may still pass: all of it, or less where the cut is now."""
        if self._cut_after is None:
            return piece
        left = self._cut_after
        self._cut_after = None if left < len(piece) else left - len(piece)
        return piece[:left]

    def _break(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            if pair not in self._pairs:
                return
            self._pairs.remove(pair)
            self._doomed.discard(pair)
            self._swallowed.discard(pair)
        for end in pair:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)
            end.close()
