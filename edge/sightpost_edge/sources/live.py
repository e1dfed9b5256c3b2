"""Newest Frame wins: a camera is read in its own thread and only the latest picture is kept.

A queue between camera and model makes every decision late by its length (measured: four buffers
add about four frame periods); here pulling is the back-pressure.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

from .. import clock
from ..errors import SightpostError, SourceLost, SourceUnavailable, first_line
from ..records import Frame
from .camera import Camera, CameraFault, Ended, Shot
from .health import Report, health, log_health
from .ladder import PATIENCE, Ladder, Patience
from .session import Session
from .settings import DEFAULTS, CameraSettings

__all__ = ["Camera", "Ended", "LiveSource", "Shot"]

log = logging.getLogger("sightpost")

CONTENT_FAULTS = frozenset({"black", "white", "blurred", "covered"})


class LiveSource:
    """A Source over any Camera that reopens it when it fails, and says so.

    Two threads: ``capture`` reads, ``camera-keeper`` watches that it does. On a fault the keeper
    reports it once, reopens the camera up to three times and reports once that pictures are good
    again; then the iteration ends in ``SourceLost``, whose exit code lets the service manager
    start a clean process. No Frame is older than the fault before it, and none comes twice.

    Args:
        uri: for messages; without passwords.
        open_camera: opens the Camera; called in the capture thread, again after each failure.
        camera: ``stall_s`` and ``frozen_s`` are heeded here.
        report: gets each Health, from the keeper's thread.
        patience: how often and after what waits the camera is reopened.
    """

    live = True

    def __init__(
        self,
        uri: str,
        open_camera: Callable[[], Camera],
        *,
        camera: CameraSettings = DEFAULTS,
        report: Report = log_health,
        patience: Patience = PATIENCE,
    ) -> None:
        self.uri = uri
        self.dropped = 0
        self._open_camera, self._settings, self._patience = open_camera, camera, patience
        self._report = report
        self._ladder = Ladder(patience, most_s=2 * max(camera.stall_s, patience.open_s))
        # One reentrant lock: a signal handler may call close() while this thread holds it.
        lock = threading.RLock()
        self._pictures, self._attention = threading.Condition(lock), threading.Condition(lock)
        self._stirred = self._closing = self._resting = self._renew = False
        self._newest: Shot | None = None
        self._end: Exception | None = None
        self._accused: CameraFault | None = None
        self._outage = ""
        self._content_s: float | None = None
        self._open_by_s = -math.inf
        self._abandoned: list[threading.Thread] = []
        self._started_ns = 0
        self._session = self._new_session(None)
        self._prove()
        self._keeper = threading.Thread(target=self._keep, name="camera-keeper", daemon=True)
        self._keeper.start()

    @property
    def opening(self) -> bool:
        """Whether the camera is being opened again, or will be in a moment: no picture is due.

        For as long as one attempt may take and no longer, and the ladder bounds how many there are.
        """
        return time.monotonic() < self._open_by_s

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while (shot := self._take()) is not None:
            elapsed_s = max(0, shot.monotonic_ns - self._started_ns) / 1e9
            age_s = max(0, time.monotonic_ns() - shot.monotonic_ns) / 1e9
            taken = clock.now() - timedelta(seconds=age_s)
            yield Frame(index, elapsed_s, taken, shot.monotonic_ns, shot.image)
            index += 1

    def close(self) -> None:
        """Stop reading; a capture thread that hangs in a driver is left behind, not waited for."""
        with self._attention:
            self._closing = True
            self._session.stop(0.0)
            self._pictures.notify_all()
        self._stir()
        if threading.current_thread() is not self._keeper:
            self._keeper.join(timeout=self._patience.close_s)

    def rest(self) -> None:
        """Close the camera until ``wake``: a planned rest is no fault, the iteration waits."""
        with self._attention:
            self._resting, self._newest = True, None
        self._stir()

    def wake(self) -> None:
        """Open the camera again after ``rest``."""
        with self._attention:
            self._resting = False
        self._stir()

    def distrust(self, fault: str, detail: str) -> None:
        """Somebody who looked at the pictures asks for a reopening.

        For what they show (black, white, blurred, covered) the camera is reopened once, then at
        most every ten minutes, and the judge reports the Health itself: only it knows when the
        view is good again. Any other fault is treated as if it had been found here.
        """
        with self._attention:
            if fault not in CONTENT_FAULTS:
                if self._session.first_s is not None:
                    self._accused = CameraFault(fault, detail)
            elif self._may_reopen_for_content():
                log.warning("%s: %s (%s), reopening", self.uri, fault, detail)
                self._renew = True
        self._stir()

    def _may_reopen_for_content(self) -> bool:
        now_s, last_s = time.monotonic(), self._content_s
        if last_s is not None and now_s - last_s < self._patience.content_s:
            return False
        self._content_s = now_s
        return True

    # What the consumer's thread does

    def _take(self) -> Shot | None:
        """Wait for a picture not yet handed out; None when closed or ended."""
        with self._pictures:
            while not self._closing:
                if self._newest is not None:
                    shot, self._newest = self._newest, None
                    return shot
                if isinstance(self._end, Ended):
                    return None
                if self._end is not None:
                    raise self._end
                self._pictures.wait()
        return None

    # What the capture thread does

    def _deliver(self, session: Session, shot: Shot) -> None:
        with self._pictures:
            if session.over or self._resting:
                return
            self._started_ns = self._started_ns or shot.monotonic_ns
            self.dropped += self._newest is not None
            self._newest = shot
            self._pictures.notify()

    def _stir(self) -> None:
        with self._attention:
            self._stirred = True
            self._attention.notify_all()

    # What the keeper's thread does

    def _new_session(self, before: Shot | None) -> Session:
        session = Session(
            self._open_camera, deliver=self._deliver, stir=self._stir,
            settings=self._settings, patience=self._patience, before=before,
        )  # fmt: skip
        session.thread.start()
        return session

    def _prove(self) -> None:
        """Only a good picture proves a camera: OpenCV may claim an absent one is open."""
        session = self._session
        try:
            while session.first_s is None and not (session.ended or session.fault):
                if session.silence():
                    break
                self._doze(session.left_s())
        except BaseException:
            session.stop(self._patience.close_s)
            raise
        if session.first_s is None:
            session.stop(self._patience.close_s)
            error, session.error = session.error, None
            if isinstance(error, SightpostError):
                raise error
            said = f" ({session.fault.detail})" if error and session.fault else ""
            raise SourceUnavailable(
                f"{self.uri} opened but gives no picture{said}",
                hint="is another program using it? check the cable, then try again",
            ) from error

    def _doze(self, timeout_s: float) -> None:
        """Wait until something stirs."""
        with self._attention:
            if not self._stirred:
                self._attention.wait(timeout_s)
            self._stirred = False

    def _keep(self) -> None:
        """One session after another, until closed or the ladder ends."""
        try:
            while not self._closing:
                fault = self._attend(self._session)
                self._retire(self._session)
                if fault is None:
                    self._ladder.rested(self._session.lasted_s)
                else:
                    self._climb(fault)
                self._rest_and_wait(0.0)
                if not self._closing:
                    self._accused, self._renew = None, False
                    self._session = self._new_session(self._session.last)
                    self._opens_within(self._session.left_s())
        except (SightpostError, Ended) as exc:
            self._finish(exc)
        except Exception as exc:  # noqa: BLE001 - the consumer must hear of it, whatever it is
            self._finish(SourceLost(f"{self.uri} failed: {first_line(exc)}"))
        finally:
            self._session.stop(self._patience.close_s)

    def _attend(self, session: Session) -> CameraFault | None:
        """Wait until the session has to go: for a fault, or None for a rest, renewal or close."""
        while True:
            if session.first_s is not None:
                self._open_by_s = -math.inf
            if session.first_s is not None and self._outage:
                self._report(health(self._outage, f"{self.uri} gives good pictures", ok=True))
                self._outage = ""
            if self._closing or self._resting or self._renew:
                self._renew = False
                return None
            if session.ended:
                raise Ended
            accused, self._accused = self._accused, None
            if fault := session.fault or accused or session.silence():
                return fault
            self._doze(session.left_s())

    def _retire(self, session: Session) -> None:
        session.stop(self._patience.close_s)
        session.error = None
        if session.thread.is_alive():
            self._abandoned.append(session.thread)
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]

    def _climb(self, fault: CameraFault) -> None:
        """Report a new outage, then wait for the next attempt; ``SourceLost`` after the last."""
        with self._pictures:
            self.dropped += self._newest is not None
            self._newest = None
        if not self._outage:
            self._outage = fault.fault
            self._report(health(fault.fault, f"{self.uri}: {fault.detail}", ok=False))
        wait_s = self._ladder.next_wait_s(self._session.lasted_s, time.monotonic())
        if wait_s is None:
            raise self._lost(fault, "opening it again did not help")
        if len(self._abandoned) >= self._patience.abandoned:
            raise self._lost(fault, f"{len(self._abandoned)} reads hang in its driver")
        log.warning("%s: %s, reopening in %.1f s", self.uri, fault.detail, wait_s)
        self._opens_within(wait_s)
        self._rest_and_wait(wait_s)

    def _opens_within(self, timeout_s: float) -> None:
        """And then twice the time that letting go of a camera takes."""
        self._open_by_s = time.monotonic() + timeout_s + 2 * self._patience.close_s

    def _lost(self, fault: CameraFault, why: str) -> SourceLost:
        return SourceLost(
            f"{self.uri} failed ({fault.fault}: {fault.detail}) and {why}",
            hint="check cable and power; under systemd the service restarts by itself",
        )

    def _rest_and_wait(self, wait_s: float) -> None:
        """Until ``wait_s`` have passed and nobody wants the camera to rest; at once if closed."""
        until_s = time.monotonic() + wait_s
        with self._attention:
            while not self._closing:
                left_s = until_s - time.monotonic()
                if left_s <= 0 and not self._resting:
                    return
                self._attention.wait(None if self._resting else left_s)

    def _finish(self, end: Exception) -> None:
        with self._pictures:
            self._end, self._open_by_s = end, -math.inf
            self._pictures.notify_all()
