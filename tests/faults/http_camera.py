"""A small HTTP-MJPEG camera that can freeze, die and come back on the same port."""

import base64
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", pixels)[1])


class HttpCamera:
    """Serves ``uri``, 50 pictures a second, each another one.

    ``kind`` is the Content-Type it announces, ``user`` what it demands ("name:password"),
    ``shows`` gives the JPEG of a number, ``fps`` is how many a second; ``frozen`` keeps the
    connection and sends nothing.
    """

    def __init__(
        self,
        *,
        kind: str = "multipart/x-mixed-replace; boundary=frame",
        user: str = "",
        tls: ssl.SSLContext | None = None,
        shows: Callable[[int], bytes] = jpeg,
        fps: float = 50.0,
    ) -> None:
        self._shows, self._period_s = shows, 1 / fps
        self._kind, self._user, self._tls = kind, user, tls
        self.frozen = False
        self.sent = 0
        self.requests: list[str] = []
        self._port = 0
        self._open: list[socket.socket] = []
        self.start()
        self.uri = f"http{'s' if tls else ''}://127.0.0.1:{self._port}/stream.mjpg"

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def kill(self) -> None:
        # Closing alone would leave the accepting thread with the port.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open = []

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _encrypted(self, connection: socket.socket) -> socket.socket:
        if self._tls is None:
            return connection
        try:
            return self._tls.wrap_socket(connection, server_side=True)
        except OSError:
            connection.close()
            raise

    def _answer(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), self._encrypted(accepted) as connection:
            request = connection.recv(65536).decode()
            self.requests.append(request)
            token = base64.b64encode(self._user.encode()).decode()
            if self._user and f"Basic {token}" not in request:
                connection.sendall(
                    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n"
                    b'WWW-Authenticate: Basic realm="camera"\r\n\r\n'
                )
                return
            connection.sendall(f"HTTP/1.0 200 OK\r\nContent-Type: {self._kind}\r\n\r\n".encode())
            while True:
                if not self.frozen:
                    self.sent += 1
                    body = self._shows(self.sent)
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}"
                    connection.sendall(head.encode() + b"\r\n\r\n" + body + b"\r\n")
                time.sleep(self._period_s)
