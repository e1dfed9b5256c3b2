"""One opened camera and the thread that opens, reads and closes it."""

import atexit
import contextlib
import threading
import time
import weakref
from collections.abc import Callable

from ..errors import PhotoUnreadable, first_line
from .camera import Camera, CameraFault, Ended, Shot
from .delivery import Delivery
from .ladder import Patience
from .settings import CameraSettings

EXIT_WAIT_S = 6.0
_stopped: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()


@atexit.register
def _let_reads_return() -> None:
    """OpenCV's read that returns while Python shuts down aborts the process with exit code 134."""
    until_s = time.monotonic() + EXIT_WAIT_S
    for thread in list(_stopped):
        thread.join(max(0.0, until_s - time.monotonic()))


class Session:
    """Delivers a camera's good pictures until it fails, ends or is told that it is over.

    A read may hang in a driver for ever, and no thread can be ended from outside: such a session
    is left behind, and what it still reads one day goes nowhere.

    Args:
        open_camera: called in the session's thread.
        deliver: gets each good Shot.
        stir: called at the first good picture and at the end.
        before: the last good Shot of the session before.
    """

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        *,
        deliver: Callable[["Session", Shot], None],
        stir: Callable[[], None],
        settings: CameraSettings,
        patience: Patience,
        before: Shot | None,
    ) -> None:
        self._open_camera, self._deliver, self._stir = open_camera, deliver, stir
        self._stall_s, self._open_s = settings.stall_s, max(settings.stall_s, patience.open_s)
        self._delivery = Delivery(
            stall_s=settings.stall_s, frozen_s=settings.frozen_s, before=before,
            now_s=time.monotonic(),
        )  # fmt: skip
        self.over = False
        self.ended = False
        self.fault: CameraFault | None = None
        self.error: Exception | None = None
        self.first_s: float | None = None
        self.thread = threading.Thread(target=self._run, name="capture", daemon=True)

    @property
    def last(self) -> Shot | None:
        """The last good Shot, of this session or of those before."""
        return self._delivery.last

    @property
    def lasted_s(self) -> float:
        """Seconds from the first to the last good picture."""
        return 0.0 if self.first_s is None else self._delivery.good_s - self.first_s

    def silence(self) -> CameraFault | None:
        """The fault of giving no picture for too long, if so."""
        return self._delivery.silence(self._limit_s(), time.monotonic())

    def left_s(self) -> float:
        """Seconds until ``silence`` would be a fault."""
        return max(0.0, self._delivery.good_s + self._limit_s() - time.monotonic())

    def stop(self, timeout_s: float) -> None:
        """Ask the thread to end and wait a little; it closes the camera as soon as it can."""
        self.over = True
        _stopped.add(self.thread)
        if self.thread.ident is not None and self.thread is not threading.current_thread():
            self.thread.join(timeout_s)

    def _limit_s(self) -> float:
        return self._open_s if self.first_s is None else self._stall_s

    def _run(self) -> None:
        try:
            camera = self._open_camera()
            try:
                while not self.over:
                    self._step(camera)
            finally:
                # What a broken driver says while it is closed helps nobody, and must not hide
                # what was wrong before.
                with contextlib.suppress(Exception):
                    camera.close()
        except Ended:
            self.ended = True
        except Exception as exc:  # noqa: BLE001 - a thread must hand its failure on, whatever it is
            self.fault, self.error = _as_fault(exc), exc
        finally:
            self._stir()

    def _step(self, camera: Camera) -> None:
        began_s = time.monotonic()
        try:
            shot = camera.read()
        except PhotoUnreadable as exc:
            self._delivery.unreadable(str(exc), time.monotonic())
            return
        now_s = time.monotonic()
        if shot is None:
            raise CameraFault("error", "the camera gives no picture")
        # A frozen RTSP stream hands an old picture out as good once its time-out has passed.
        if now_s - began_s >= self._limit_s():
            raise CameraFault("stall", f"a picture took {now_s - began_s:.1f} s")
        if not self.over and self._delivery.accepts(shot, now_s):
            self._deliver(self, shot)
            if self.first_s is None:
                self.first_s = now_s
                self._stir()


def _as_fault(exc: Exception) -> CameraFault:
    """A new one: an exception's traceback would hold the session, its camera and itself."""
    if isinstance(exc, CameraFault):
        return CameraFault(exc.fault, exc.detail)
    if isinstance(exc, TimeoutError):
        return CameraFault("stall", first_line(exc))
    return CameraFault("error", first_line(exc))
