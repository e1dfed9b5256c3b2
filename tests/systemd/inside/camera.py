"""A network camera: ten pictures a second of blocks that move, red, green and blue in turn."""

import itertools
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PICTURES = [path.read_bytes() for path in sorted(Path("/job/pictures").glob("*.jpg"))]


class Stream(BaseHTTPRequestHandler):
    """Pictures until the other side goes."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for picture in itertools.cycle(PICTURES):
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}"
                self.wfile.write(head.encode() + b"\r\n\r\n" + picture + b"\r\n")
                time.sleep(0.1)
        except OSError:
            return


ThreadingHTTPServer(("127.0.0.1", 8080), Stream).serve_forever()
