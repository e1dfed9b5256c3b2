"""A run under a service manager: it waits after bad ends, says when it is ready, is watched."""

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from . import vitals
from .errors import ConfigError, MissingExtra, ModelError
from .lives import HEALTHY_S, Life
from .supervision import START_S, Supervisor
from .systemd import Notifier

if TYPE_CHECKING:
    from .station import Station

log = logging.getLogger("sightpost")

_Handler = Callable[[int, FrameType | None], Any] | int

TOO_LONG = "the start took longer than the manager waits"


class Served:
    """Around a whole run; nothing of it happens where no manager listens.

    Args:
        folder: the store's, where it is kept how runs end.
        notifier: the manager.
    """

    def __init__(self, folder: Path, notifier: Notifier | None = None) -> None:
        self._notifier = notifier or Notifier.from_environment()
        self._life = Life(folder) if self._notifier.heard else None
        self._supervisor: Supervisor | None = None
        self._healthy_s = self._patient_s = 0.0
        self._asked = self._ended = False
        self._before: _Handler = signal.SIG_DFL

    def __enter__(self) -> "Served":
        self.starts("reading how runs ended")
        if self._life is not None:
            self._before = signal.signal(signal.SIGTERM, self._leave) or signal.SIG_DFL
        try:
            if self._life is not None:
                self._life.begin(self._waits)
            self.starts("opening the model")
        except SystemExit as exc:
            self._ends(exc)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._asked and isinstance(exc, Exception):
            # What raised while a C library was imported comes out as an ImportError.
            self._ends(asked := SystemExit(0))
            raise asked from exc
        self._ends(exc)

    def starts(self, what: str, *, more_s: float = 0.0) -> None:
        """The next step of starting; it may take its time, and ``more_s`` where that is known.

        Raises:
            SystemExit: an end was asked for, and whoever was at work took no notice.
        """
        self._be_patient(START_S + more_s)
        self._notifier.status(f"starting: {what}")
        if self._asked:
            raise SystemExit(0)

    def watches(self, station: "Station") -> None:
        """The station is put together: from now on ``beat`` tells how it is doing."""
        self._supervisor = Supervisor(
            self._notifier, lambda: vitals.counters(station), lambda: vitals.line(station)
        )
        self._healthy_s = time.monotonic() + HEALTHY_S
        self.starts("waiting for the first picture", more_s=station.site.camera.stall_s)

    def beat(self) -> None:
        """The loop goes round."""
        if self._supervisor is None:
            return
        self._supervisor.beat()
        if self._life is not None and time.monotonic() >= self._healthy_s:
            self._healthy_s = time.monotonic() + HEALTHY_S
            self._life.healthy()

    def over(self) -> None:
        """The loop is over."""
        if self._supervisor is not None:
            self._supervisor.close()

    def _waits(self, wait_s: float, why: str) -> None:
        text = f"waiting {wait_s:.0f} s after several bad ends, the last one: {why}"
        log.warning("%s", text)
        self._be_patient(wait_s + START_S)
        self._notifier.status(text)

    def _be_patient(self, seconds: float) -> None:
        self._patient_s = time.monotonic() + seconds
        self._notifier.extend(seconds)

    def _leave(self, _number: int, _frame: object) -> None:
        """SIGTERM until the loop has a handler of its own: whoever asks for an end has not killed a
        run. It does not disturb the note of an end."""
        if not self._ended:
            self._asked = True
            raise SystemExit(0)

    def _ends(self, exc: BaseException | None) -> None:
        if self._life is None:
            return
        self._ended = True
        self._life.end(
            self._why(exc), reboot=not isinstance(exc, (ModelError, ConfigError, MissingExtra))
        )
        if signal.getsignal(signal.SIGTERM) == self._leave:
            signal.signal(signal.SIGTERM, self._before)

    def _why(self, exc: BaseException | None) -> str:
        """ "" where it ends as it should: at once when asked to, not when nobody waits any more."""
        if isinstance(exc, Exception):
            return f"{type(exc).__name__}: {exc}"
        if self._supervisor is not None and self._supervisor.ready:
            return self._supervisor.late
        return TOO_LONG if time.monotonic() >= self._patient_s else ""
