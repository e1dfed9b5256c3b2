"""The uplink as a child of ``sightpost run``: started, started again, and never left behind."""

import contextlib
import logging
import math
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
"""For a turn of its loop (0.5 s), its last events (1 s), its last state, the newest picture and its
goodbye (2 s); killing it loses no event."""
STEPPED_ASIDE = 75
"""Its exit code where another uplink sends from the store already (EX_TEMPFAIL)."""
ASIDE_S = 300.0
AGAIN_S = 3600.0
"""So often at most the same trouble is said again, however often it ends with it."""
MOST_SAID = 20
LONGEST = 4096
"""Bytes of last words: a traceback fits, and a pipe takes them at once."""
_PROGRAM = (
    "import sys; parent, words, config, store, *sys.path[:] = sys.argv[1:]; "
    "from sightpost_edge.commands.uplink import serve_as_child; "
    "serve_as_child(int(parent), int(words), config, store)"
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
        # For what a child says that dies; one pipe for all of them.
        self._words, self._for_child = os.pipe()
        os.set_blocking(self._words, False)
        self._line = list(line) if line else _line(self._for_child, config, store)
        self._backoff, self._clock = backoff or Backoff(), clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = self._due_s = clock()
        self._told: dict[str, float] = {}
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
        self._due_s = math.inf
        self._close_pipe()
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
                start_new_session=True, pass_fds=[self._for_child],
            )  # fmt: skip
        except OSError as exc:
            self._say(f"the uplink cannot be started ({exc.strerror}): trying again")
            self._due_s = self._clock() + self._backoff.next_wait_s()

    def _bury(self, code: int) -> None:
        now_s = self._clock()
        if code == STEPPED_ASIDE:
            self._say("another uplink sends from this store already: left to that one", math.inf)
            self._due_s = now_s + ASIDE_S
            return
        words = ""
        with contextlib.suppress(BlockingIOError):
            words = os.read(self._words, LONGEST).decode(errors="replace")
        self._say(f"the uplink ended ({words or _said(code)}): it is started again")
        self._due_s = now_s + self._backoff.next_wait_s(now_s - self._started_s)

    def _close_pipe(self) -> None:
        if self._words >= 0:
            os.close(self._words)
            os.close(self._for_child)
            self._words = -1

    def _say(self, what: str, again_s: float = AGAIN_S) -> None:
        """The same once an hour: an uplink that dies every five minutes does not fill the log."""
        now_s = self._clock()
        if now_s - self._told.get(what, -math.inf) < again_s:
            return
        self._told.pop(what, None)
        self._told[what] = now_s
        while len(self._told) > MOST_SAID:
            del self._told[next(iter(self._told))]
        log.warning("mqtt: %s", what)


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


def last_words(handle: int, said: str) -> None:
    """Why the child ends, for its parent to log."""
    with contextlib.suppress(OSError):
        os.write(handle, said.encode(errors="replace")[-LONGEST:])


def _line(words: int, config: Path, store: Path) -> list[str]:
    """Starts without the site module, on the paths of this process."""
    package = str(Path(__file__).parent.parent.parent)
    paths = [*(path for path in sys.path if os.path.isabs(path)), package]
    given = [str(os.getpid()), str(words), str(config.absolute()), str(store.absolute())]
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, *given, *paths]


def _said(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
