"""The uplink as a child of ``sightpost run``: started, started again, and never left behind."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .backoff import Backoff

log = logging.getLogger("sightpost")

STOP_S = 4.0
"""For its last events (1 s), its goodbye (2 s) and a turn of its loop; killing it loses nothing."""
STEPPED_ASIDE = 75
"""Its exit code where another uplink sends from the store already (EX_TEMPFAIL)."""
ASIDE_S = 300.0
_PROGRAM = (
    "import sys; parent, config, store, *sys.path[:] = sys.argv[1:]; "
    "from sightpost_edge.commands.uplink import serve_as_child; "
    "serve_as_child(int(parent), config, store)"
)


class UplinkChild:
    """Make it in the main thread (the kernel ends it together with the thread that made it), call
    ``tick`` now and then, ``close`` at the end.

    Whatever becomes of it, nothing is raised here: a dead uplink is no reason to stop looking.

    Args:
        config: the site's file.
        store: the folder that it sends from.
        backoff: waits between its deaths and its new starts.
    """

    def __init__(
        self, config: Path, store: Path, *, backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic, line: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        self._line = list(line) if line else _line(config, store)
        self._backoff, self._clock = backoff or Backoff(), clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = self._due_s = clock()
        self._told = 0
        self.tick()

    @property
    def pid(self) -> int | None:
        """Of the running child."""
        return self._process.pid if self._process else None

    def tick(self) -> None:
        """Bury it if it has died, start it if it is time."""
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._process = None
            self._bury(code)
        if self._clock() >= self._due_s:
            self._start()

    def close(self) -> None:
        """Ask it to end, wait four seconds, kill it."""
        process, self._process = self._process, None
        self._due_s = float("inf")
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        if process.returncode is None:
            process.kill()
            process.wait()

    def __enter__(self) -> "UplinkChild":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _start(self) -> None:
        self._started_s = self._clock()
        try:
            self._process = subprocess.Popen(
                self._line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        except OSError as exc:
            self._say(-1, f"cannot be started ({exc.strerror}): trying again")
            self._due_s = self._clock() + self._backoff.next_wait_s()

    def _bury(self, code: int) -> None:
        now_s = self._clock()
        if code == STEPPED_ASIDE:
            self._say(code, "leaves sending to the one that holds its lock")
            self._due_s = now_s + ASIDE_S
            return
        self._say(code, f"ended ({_said(code)}): it is started again")
        self._due_s = now_s + self._backoff.next_wait_s(now_s - self._started_s)

    def _say(self, code: int, what: str) -> None:
        """Once for each way to end: an uplink that dies every five minutes is one line."""
        if code != self._told:
            self._told = code
            log.warning("mqtt: the uplink %s", what)


def die_with(parent: int) -> None:
    """Have the kernel end this process when its parent is gone.

    Raises:
        SystemExit: it is gone already.
    """
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)


def _line(config: Path, store: Path) -> list[str]:
    """Starts without the site module, on the paths of this process."""
    package = str(Path(__file__).parent.parent.parent)
    paths = [*(path for path in sys.path if os.path.isabs(path)), package]
    words = [str(os.getpid()), str(config.absolute()), str(store.absolute())]
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, *words, *paths]


def _said(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
