"""The process that owns the output pins: whatever becomes of the main one, they end up safe.

It imports gpiozero and little else (20 MB), so nothing that a camera driver or a model does can
hang it. Its parent writes to it: ``SENT beat [PIN ...]`` is a sign of life with the pins that shall
be on, ``SENT pulse PIN DEADLINE`` a push; times are of the monotonic clock, in nanoseconds, which
all processes share.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..extras import is_absent

REST_NS = 50_000_000
"""Between two pulses of a pin: asked for again during a pulse, an arm or a jet must see two."""
MAX_MESSAGE = 4096
_PR_SET_PDEATHSIG = 1
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


class Output(Protocol):
    """What ``gpiozero.OutputDevice`` is used for."""

    def on(self) -> None:
        """Drive the pin."""

    def off(self) -> None:
        """Bring it to its safe level."""


@dataclass(slots=True)
class Pin:
    """One pin: its output, how long it may be on, and until when it is; times in nanoseconds.

    ``until_ns`` is 0 while the pin is safe. ``asked_ns`` is the deadline of a pulse that was asked
    for during another one.
    """

    output: Output
    pulse_ns: int
    hang_ns: int
    until_ns: int = 0
    rested_ns: int = 0
    asked_ns: int = 0
    is_level: bool = False


@dataclass(slots=True)
class Keeper:
    """Obeys and, above all, ends what it began; pure but for the outputs, the clock is given."""

    pins: Sequence[Pin]
    alive_ns: int = 0
    locked: bool = False
    notes: list[str] = field(default_factory=list)

    def obey(self, message: str, now_ns: int) -> None:
        """Take one message in; a malformed one raises ValueError or IndexError."""
        sent, order, *rest = message.split()
        self.alive_ns = max(self.alive_ns, int(sent))
        if order == "pulse" and not self.locked:
            index, deadline = int(rest[0]), int(rest[1])
            self._pulse(index, deadline, now_ns)
        elif order == "beat" and not self.locked:
            self._levels({int(index) for index in rest}, now_ns)
        self.tick(now_ns)

    def tick(self, now_ns: int) -> None:
        """End pulses that are over, and everything if the parent shows no life."""
        for index, pin in enumerate(self.pins):
            if pin.until_ns and now_ns >= pin.until_ns:
                self._off(pin, now_ns)
            elif pin.until_ns and now_ns >= self.alive_ns + pin.hang_ns:
                self._off(pin, now_ns)
                self.notes.append(f"hang {index}")
            if pin.asked_ns and not pin.until_ns and now_ns >= pin.rested_ns:
                deadline, pin.asked_ns = pin.asked_ns, 0
                self._pulse(index, deadline, now_ns)

    def due_ns(self) -> int | None:
        """When ``tick`` has something to do next."""
        on = [min(p.until_ns, self.alive_ns + p.hang_ns) for p in self.pins if p.until_ns]
        waiting = [p.rested_ns for p in self.pins if p.asked_ns and not p.until_ns]
        return min(on + waiting, default=None)

    def lock(self) -> None:
        """Everything safe, for good."""
        self.locked = True
        release(self.pins)

    def _pulse(self, index: int, deadline_ns: int, now_ns: int) -> None:
        pin = self.pins[index]
        if now_ns > deadline_ns:
            self.notes.append(f"late {index}")
        elif pin.until_ns or now_ns < pin.rested_ns:
            pin.asked_ns = deadline_ns
        else:
            pin.until_ns = now_ns + pin.pulse_ns
            pin.output.on()

    def _levels(self, wanted: set[int], now_ns: int) -> None:
        for index, pin in enumerate(self.pins):
            if not pin.is_level:
                continue
            if index in wanted and not pin.until_ns and now_ns < self.alive_ns + pin.hang_ns:
                pin.until_ns = sys.maxsize
                pin.output.on()
            elif index not in wanted and pin.until_ns:
                self._off(pin, now_ns)

    @staticmethod
    def _off(pin: Pin, now_ns: int) -> None:
        pin.output.off()
        pin.until_ns, pin.rested_ns = 0, now_ns + REST_NS


def release(pins: Sequence[Pin]) -> None:
    """Every pin to its safe level, even if one of them fails."""
    failed: Exception | None = None
    for pin in pins:
        pin.until_ns = pin.asked_ns = 0
        try:
            pin.output.off()
        except Exception as exc:  # noqa: BLE001 - the others must be made safe all the same
            failed = exc
    if failed is not None:
        raise failed


def main(descriptor: int, parent: int, wiring: str) -> None:
    """Run until the parent is gone; never returns.

    The process ends without closing its pins: that would turn them into inputs that float, while
    so the kernel of Raspberry Pi OS leaves them driven at their safe level.
    """
    with socket.socket(fileno=descriptor) as link:
        pins: list[Pin] = []
        try:
            wake = _signals_to_descriptor()
            _die_with(parent)
            pins = _open(json.loads(wiring))
            _tell(link, "ready")
            _keep(Keeper(pins, time.monotonic_ns()), link, wake, parent)
        except BaseException as exc:  # noqa: BLE001 - the parent is told, whatever it is
            _tell(link, "failed " + json.dumps([_kind(exc), type(exc).__name__, str(exc)[:300]]))
        finally:
            try:
                release(pins)
            finally:
                os._exit(0)


def _keep(keeper: Keeper, link: socket.socket, wake: int, parent: int) -> None:
    poll = select.poll()
    poll.register(link, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while os.getppid() == parent:
        due_ns = keeper.due_ns()
        left_ms = None if due_ns is None else max(0.0, (due_ns - time.monotonic_ns()) / 1e6)
        ready = {found for found, _ in poll.poll(left_ms)}
        if wake in ready:
            os.read(wake, 64)
            keeper.lock()
        if link.fileno() in ready and not _listen(keeper, link):
            return
        keeper.tick(time.monotonic_ns())
        for note in keeper.notes:
            _tell(link, note)
        keeper.notes.clear()


def _listen(keeper: Keeper, link: socket.socket) -> bool:
    """Obey one message; False when the parent is gone."""
    try:
        message = link.recv(MAX_MESSAGE)
    except ConnectionError:
        return False
    if message:
        keeper.obey(message.decode("ascii"), time.monotonic_ns())
        _tell(link, "alive")
    return bool(message)


def _tell(link: socket.socket, text: str) -> None:
    """Say something to the parent; where it does not listen, that is its loss."""
    try:
        link.send(text.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        return


def _signals_to_descriptor() -> int:
    """SIGTERM ends in a descriptor that ``poll`` watches; Ctrl-C is the parent's business."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for number in _ENDINGS:
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(writing)
    return reading


def _die_with(parent: int) -> None:
    """A process that the parent forked may hold the link open: then its death comes as a signal."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the parent is gone already")


def _open(wiring: list[dict[str, Any]]) -> list[Pin]:
    """Claim the pins, each at its safe level at once."""
    # gpiozero would go on to try libraries that write to the chip's registers unseen by the kernel.
    os.environ.setdefault("GPIOZERO_PIN_FACTORY", "lgpio")
    # lgpio makes a pipe in the working directory when it is loaded, and keeps it open.
    folder = tempfile.mkdtemp(prefix="sightpost-pins-")
    try:
        os.chdir(folder)
        return [_claim(wire) for wire in wiring]
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)


def _claim(wire: dict[str, Any]) -> Pin:
    import gpiozero

    output = gpiozero.OutputDevice(
        wire["pin"], active_high=wire["active_high"], initial_value=False
    )
    return Pin(output, wire["pulse_ns"], wire["hang_ns"], is_level=wire["is_level"])


def _kind(exc: BaseException) -> str:
    """What the parent makes an error of: "missing", "library", "pin" or "other"."""
    if isinstance(exc, ImportError):
        return "missing" if is_absent(exc, "gpiozero", "lgpio") else "library"
    names = {base.__name__ for base in type(exc).__mro__}
    return "pin" if names & {"PinInvalidPin", "PinUnsupported", "PinMultiplePins"} else "other"
