"""A service manager for tests: starts a service, hears it, ends what falls silent.

As the unit says: SIGTERM, a moment for its goodbye, SIGKILL.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

WATCHDOG_S = 2.0
ABORT_S = 1.0
"""The unit's TimeoutAbortSec, at the scale of its WatchdogSec."""
WORKER = Path(__file__).with_name("hang_worker.py")


class Manager:
    """Starts the service, hears what it says, ends it when it says nothing any more."""

    def __init__(self, folder: Path, *words: str, worker: Path = WORKER) -> None:
        self._words, self._worker = words, worker
        self.folder, self.taps = folder, folder / "taps"
        self.taps.mkdir()
        self.store = folder / "store"
        self._gate = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._gate.bind(str(folder / "notify"))
        self.config = folder / "site.toml"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "log"

    def start(self) -> float:
        """Seconds until it was ready."""
        began_s = time.monotonic()
        environment = {
            **os.environ, "NOTIFY_SOCKET": str(self.folder / "notify"),
            "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6)), "XDG_STATE_HOME": str(self.folder),
        }  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(self._worker), str(self.taps), "run", "--config",
                 str(self.config), *self._words],
                env=environment, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        self.hear_until("READY=1", 30.0)
        return time.monotonic() - began_s

    def hear_until(self, wanted: str, timeout_s: float) -> float:
        """When it was heard, monotonic seconds."""
        end_s = time.monotonic() + timeout_s
        while (left_s := end_s - time.monotonic()) > 0:
            if self.hear(left_s) == wanted:
                return time.monotonic()
        raise AssertionError(f"no {wanted} in {timeout_s} s: {self.log.read_text()[-2000:]}")

    def hear(self, timeout_s: float) -> str:
        """The next message, "" where none comes."""
        self._gate.settimeout(max(0.001, timeout_s))
        try:
            return self._gate.recv(4096).decode()
        except TimeoutError:
            return ""

    def bites(self) -> tuple[float, float]:
        """Wait until it has been silent for too long, then end it: when the last ping came and
        when it was gone, monotonic seconds."""
        assert self.process is not None
        last_s = time.monotonic()
        while (left_s := last_s + WATCHDOG_S - time.monotonic()) > 0:
            if self.hear(left_s) == "WATCHDOG=1":
                last_s = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(ABORT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return last_s, time.monotonic()

    def close(self) -> None:
        for tap in self.taps.iterdir():
            tap.unlink()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        self._gate.close()
