"""A run under a service manager: it waits after bad ends, says when it is ready, is watched."""

import logging
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from . import vitals
from .lives import HEALTHY_S, Life
from .supervision import START_S, Supervisor
from .systemd import Notifier

if TYPE_CHECKING:
    from .station import Station

log = logging.getLogger("sightpost")


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
        self._healthy_s = 0.0

    def __enter__(self) -> "Served":
        if self._life is not None:
            self._life.begin(self._waits)
        self.starts("opening the model")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        late = self._supervisor.late if self._supervisor is not None else ""
        if self._life is not None:
            failed = isinstance(exc, Exception)
            self._life.end(f"{type(exc).__name__}: {exc}" if failed else late)

    def starts(self, what: str) -> None:
        """The next step of starting; it may take its time."""
        self._notifier.extend(START_S)
        self._notifier.status(f"starting: {what}")

    def watches(self, station: "Station") -> None:
        """The station is put together: from now on ``beat`` tells how it is doing."""
        self._supervisor = Supervisor(
            self._notifier, lambda: vitals.counters(station), lambda: vitals.line(station)
        )
        self._healthy_s = time.monotonic() + HEALTHY_S
        self.starts("waiting for the first picture")

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
        self._notifier.extend(wait_s + START_S)
        self._notifier.status(text)
