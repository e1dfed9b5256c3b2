"""A small RTSP camera: JPEG over RTP (RFC 2435) within the RTSP connection, for FFmpeg to read."""

import contextlib
import itertools
import socket
import struct
import threading
import time

import cv2
import numpy as np

_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 26\r\nc=IN IP4 0.0.0.0\r\na=control:track\r\n"
)


class RtspCamera:
    """Serves ``uri`` at 20 pictures a second; ``frozen`` keeps the connection and sends nothing."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/cam"
        self.frozen = False
        self._open: list[socket.socket] = []
        self._closed = False
        self._seeds = itertools.count()
        threading.Thread(target=self._serve, daemon=True).start()

    def drop(self) -> None:
        """Pull the cable on everybody who is connected."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open = []

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def _serve(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as requests:
            while words := requests.readline().split():
                headers = dict(_header_lines(requests))
                connection.sendall(_answer(words[0].decode(), words[1].decode(), headers))
                if words[0] == b"PLAY":
                    self._play(connection)

    def _play(self, connection: socket.socket) -> None:
        sequence = 0
        while not self._closed:
            if not self.frozen:
                moment = time.monotonic()
                for payload, last in _payloads(next(self._seeds)):
                    head = struct.pack(
                        ">BBHII", 0x80, 26 | last << 7, sequence & 0xFFFF,
                        int(moment * 90000) & 0xFFFFFFFF, 1,
                    )  # fmt: skip
                    packet = head + payload
                    connection.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
                    sequence += 1
            time.sleep(0.05)


def _header_lines(requests: object) -> list[tuple[str, str]]:
    lines = []
    while line := requests.readline().decode().strip():  # type: ignore[attr-defined]
        name, _, value = line.partition(":")
        lines.append((name.lower(), value.strip()))
    return lines


def _answer(method: str, address: str, headers: dict[str, str]) -> bytes:
    extra, body = "", ""
    if method == "OPTIONS":
        extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
    elif method == "DESCRIBE":
        body = _SDP
        extra = f"Content-Type: application/sdp\r\nContent-Base: {address}/\r\n"
    elif method == "SETUP":
        extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
    elif method == "PLAY":
        extra = "Session: 1\r\n"
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n{extra}{length}\r\n{body}".encode()


def _payloads(seed: int) -> list[tuple[bytes, int]]:
    """One picture as RTP payloads: its quantization tables, then its scan; the last is marked."""
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    jpeg = bytes(cv2.imencode(".jpg", cv2.resize(pixels, (64, 48)))[1])
    tables, at = b"", 2
    while jpeg[at + 1] != 0xDA:
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] == 0xDB:
            tables += jpeg[at + 5 : at + 2 + length]
        at += 2 + length
    scan = jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big") : -2]
    pieces, payloads = range(0, len(scan), 1000), []
    for offset in pieces:
        head = struct.pack(">IBBBB", offset, 1, 255, 64 // 8, 48 // 8)
        if offset == 0:
            head += struct.pack(">BBH", 0, 0, len(tables)) + tables
        payloads.append((head + scan[offset : offset + 1000], int(offset == pieces[-1])))
    return payloads
