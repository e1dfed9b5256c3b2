"""Output pins that follow Events: a reject arm, a lamp. A process of their own keeps them safe.

What can hang or die is the process with the camera and the model, so it owns no pin: it asks
``gpio_keeper``, which ends every pulse by itself, and all of them when the asking one is gone
(1.7 ms after SIGKILL in the middle, 68 ms with two busy processes per core) or shows no life.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import ConfigError, LibraryError, MissingExtra, PinError, SightpostError
from ..text import printable

MAX_PULSE_S = 10.0
LEAST_HANG_S = 0.5
"""Twice ``pace.NAP_S``, after which a waiting loop looks up."""
ANY = "*"
READY_S = 30.0
"""For the keeper's start: 0.15 s on a desktop, seconds on a busy Pi Zero."""
BEAT_S = 0.2
"""Signs of life are sent this often, not at 240 frames per second."""
ANSWER_S = 2.0
RESTARTS, WITHIN_S = 3, 60.0
_PROGRAM = (
    "import sys; link, parent, wiring, *sys.path[:] = sys.argv[1:]; "
    "from sightpost_edge.sinks.gpio_keeper import main; main(int(link), int(parent), wiring)"
)
_NOTES = {
    "late": "pin {pin}: an Event came too late to act on (late_s) and moved nothing",
    "hang": "pin {pin}: brought to its safe level, no sign of life from the main loop (hang_s)",
}


@dataclass(frozen=True, slots=True)
class PinSettings:
    """One output pin and what drives it: a ``[[pins]]`` table of the site's config.

    ``pin``: BCM number, or a name gpiozero knows ("GPIO17", "BOARD11"). ``labels``: Events that
    drive it; "unknown" for novel things, "*" for any. ``mode``: "pulse" pushes it once for
    ``pulse_s``, when the Event closes and its label is final, or at once with ``at`` = "open";
    "level" keeps it on while such an Event is open. ``active_high``: false where it is on at 0 V.
    ``late_s``: an Event decided on an older picture than this moves nothing: what it was about has
    passed. ``hang_s``: without a sign of life from the main loop for so long the pin goes safe.
    """

    pin: int | str = ""
    labels: list[str] = field(default_factory=list)
    mode: Literal["pulse", "level"] = "pulse"
    pulse_s: float = 0.2
    at: Literal["close", "open"] = "close"
    active_high: bool = True
    late_s: float = 0.5
    hang_s: float = 2.0

    def __post_init__(self) -> None:
        if self.pin == "" or (isinstance(self.pin, int) and self.pin < 0):
            raise ConfigError("pins: `pin` must be a BCM number such as 17, or a name")
        if not self.labels or not all(isinstance(x, str) and x for x in self.labels):
            raise ConfigError(
                f"pin {self.pin}: `labels` must name what drives it", hint='["*"] is any Event'
            )
        if self.mode not in ("pulse", "level") or self.at not in ("close", "open"):
            raise ConfigError(
                f"pin {self.pin}: mode is pulse or level, at is close or open; "
                f"not {self.mode!r} and {self.at!r}"
            )
        if not 0 < self.pulse_s <= MAX_PULSE_S:
            raise ConfigError(f"pin {self.pin}: pulse_s must be above 0, at most {MAX_PULSE_S:g}")
        if not 0 < self.late_s <= 60:
            raise ConfigError(f"pin {self.pin}: late_s must be above 0, at most 60")
        if not LEAST_HANG_S <= self.hang_s <= 60:
            raise ConfigError(
                f"pin {self.pin}: hang_s must be at least {LEAST_HANG_S:g}, at most 60",
                hint="a loop that waits gives a sign of life every quarter of a second",
            )

    def follows(self, label: str) -> bool:
        """Whether an Event of this label drives the pin."""
        return ANY in self.labels or label in self.labels

    def wire(self) -> dict[str, object]:
        """What the keeper must know."""
        return {
            "pin": self.pin, "active_high": self.active_high, "is_level": self.mode == "level",
            "pulse_ns": round(self.pulse_s * 1e9), "hang_ns": round(self.hang_s * 1e9),
        }  # fmt: skip


class Pins:
    """The pins of a station; make them before any thread is started, call ``beat`` all the time.

    ``tell`` is given a sentence when a pin was made safe by force, an Event came too late, or the
    keeper had to be started again; all of this is found out in ``beat``.

    Raises:
        MissingExtra: gpiozero or lgpio is not installed.
        LibraryError: one of them cannot be loaded.
        ConfigError: there is no such pin, or it is named twice.
        PinError: no GPIO here, no permission, or the pin is in use; from every method: the keeper
            ended more than three times within a minute. The station must end then.
    """

    def __init__(
        self,
        settings: Sequence[PinSettings],
        *,
        tell: Callable[[str], None] = lambda text: None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._settings = tuple(settings)
        self._tell, self._clock_ns = tell, clock_ns
        self._open: dict[str, str] = {}
        self._on: tuple[int, ...] = ()
        self._beat_ns = self._unanswered_ns = 0
        self._ends: deque[int] = deque(maxlen=RESTARTS)
        pace_s = min([BEAT_S, *(one.hang_s / 4 for one in self._settings)])
        self._pace_ns = round(pace_s * 1e9)
        self._keeper = _Keeper(self._settings) if self._settings else None

    def opened(self, label: str, *, at_ns: int | None = None, region: str = "") -> None:
        """An Event opened, or is called something else by now.

        Args:
            label: what it looks like so far.
            at_ns: ``monotonic_ns`` of the Frame that decided it; now unless told.
            region: of the Event; one is open at a time in each.
        """
        before, self._open[region] = self._open.get(region, ""), label
        self._pulse("open", label, at_ns, before=before)
        if self._levels() != self._on:
            self._send_beat()

    def closed(self, label: str, *, at_ns: int | None = None, region: str = "") -> None:
        """An Event closed and ``label`` is its verdict; arguments as for ``opened``.

        A level ends with the next ``beat``: the next Event may follow within the same frame.
        """
        self._open.pop(region, None)
        self._pulse("close", label, at_ns)

    def withdrawn(self, region: str | None = None) -> None:
        """What had opened was no Event after all, or nothing can be seen any more (None: in no
        region): no verdict, and a level ends with the next ``beat``."""
        for gone in list(self._open) if region is None else [region]:
            self._open.pop(gone, None)

    def beat(self) -> None:
        """The main loop's sign of life: after every frame, and several times within ``hang_s``
        while it waits for one."""
        if self._keeper is None:
            return
        self._hear(self._keeper)
        now_ns = self._clock_ns()
        if self._unanswered_ns and now_ns - self._unanswered_ns > ANSWER_S * 1e9:
            self._start_again("does not answer")
        if now_ns - self._beat_ns >= self._pace_ns or self._levels() != self._on:
            self._send_beat()

    def close(self) -> None:
        """Every pin to its safe level; returns when that is done."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def __enter__(self) -> "Pins":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _levels(self) -> tuple[int, ...]:
        """Which pins shall be on as long as their Events are open."""
        return tuple(
            index
            for index, one in enumerate(self._settings)
            if one.mode == "level" and any(map(one.follows, self._open.values()))
        )

    def _pulse(self, at: str, label: str, at_ns: int | None, *, before: str = "") -> None:
        """``before``: what the Event was called so far; a pin that followed that has pulsed."""
        seen_ns = self._clock_ns() if at_ns is None else at_ns
        for index, one in enumerate(self._settings):
            if one.mode != "pulse" or one.at != at or (before and one.follows(before)):
                continue
            if one.follows(label):
                self._send(f"pulse {index} {seen_ns + round(one.late_s * 1e9)}")

    def _send_beat(self) -> None:
        self._on = self._levels()
        self._send(" ".join(["beat", *map(str, self._on)]))

    def _send(self, order: str) -> None:
        for _ in range(2):
            if self._keeper is None:
                return
            now_ns = self._clock_ns()
            if self._keeper.send(f"{now_ns} {order}"):
                self._beat_ns = now_ns
                self._unanswered_ns = self._unanswered_ns or now_ns
                return
            self._start_again("takes no orders")

    def _hear(self, keeper: "_Keeper") -> None:
        """All that the keeper said meanwhile."""
        while (said := keeper.hear()) is not None:
            word, _, rest = said.partition(" ")
            if word == "alive":
                self._unanswered_ns = 0
            elif word in _NOTES:
                self._tell(_NOTES[word].format(pin=self._settings[int(rest)].pin))
            else:
                self._start_again(f"ended ({printable(rest) or 'no reason given'})")
                return

    def _start_again(self, why: str) -> None:
        """A new keeper: it begins by making every pin safe."""
        if self._keeper is not None:
            self._keeper.close(patience_s=0.0)
            self._keeper = None
        now_ns = self._clock_ns()
        if len(self._ends) == RESTARTS and now_ns - self._ends[0] < WITHIN_S * 1e9:
            raise PinError(
                f"the process that keeps the output pins safe {why}, again and again",
                hint="look at the power supply, free memory (free -m) and the kernel's log (dmesg)",
            )
        self._ends.append(now_ns)
        self._tell(f"the process that keeps the output pins safe {why}: it is started again")
        self._keeper = _Keeper(self._settings)
        self._unanswered_ns = 0
        self._on = ()


class _Keeper:
    """The child process and the line to it."""

    def __init__(self, settings: Sequence[PinSettings]) -> None:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            wiring = json.dumps([one.wire() for one in settings])
            words = [str(theirs.fileno()), str(os.getpid()), wiring]
            package = str(Path(__file__).parent.parent.parent)
            paths = [*(path for path in sys.path if os.path.isabs(path)), package]
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM, *words, *paths],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        try:
            self._await_ready(settings)
        except BaseException:
            self.close(patience_s=0.0)
            raise

    def send(self, message: str) -> bool:
        """Whether the message is on its way."""
        try:
            self._link.send(message.encode("ascii"), socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def hear(self) -> str | None:
        """The next thing it said, None if nothing, "gone" when it is no more."""
        try:
            return self._link.recv(4096).decode() or "gone"
        except BlockingIOError:
            return None
        except ConnectionError:
            return "gone"

    def close(self, *, patience_s: float = 2.0) -> None:
        """Hang up, whereupon it makes all safe and ends; a keeper that does not is killed."""
        self._link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _await_ready(self, settings: Sequence[PinSettings]) -> None:
        self._link.settimeout(READY_S)
        try:
            said = self._link.recv(4096).decode()
        except OSError as exc:
            raise PinError(
                "the process that keeps the output pins safe did not start",
                hint="is there memory left (free -m), and can this user start programs?",
            ) from exc
        if said != "ready":
            raise _error(said, [one.pin for one in settings])
        self._link.setblocking(False)  # the main loop waits for nobody


def _error(said: str, pins: list[int | str]) -> SightpostError:
    """What the keeper said at its start, as the error it is."""
    _, _, rest = said.partition(" ")
    kind, name, text = json.loads(rest) if rest else ("other", "", "it ended at once")
    text = f"{name}: {printable(text)}" if name else text
    named = ", ".join(map(str, pins))
    if kind == "missing":
        return MissingExtra(
            f"output pins need gpiozero and lgpio ({text})",
            hint="pip install 'sightpost[gpio]'; on Raspberry Pi OS also: sudo apt install "
            "python3-gpiozero python3-lgpio, with an environment made with --system-site-packages",
        )
    if kind == "library":
        return LibraryError(
            f"gpiozero or lgpio cannot be loaded ({text})", hint="sightpost doctor tries them"
        )
    if kind == "pin":
        return ConfigError(
            f"pins: one of {named} cannot be used ({text})",
            hint="BCM numbers 0 to 27 are on the header; `pinout` draws it",
        )
    return PinError(f"the output pins ({named}) cannot be claimed ({text})", hint=_hint())


def _hint(devices: Path = Path("/dev")) -> str:
    """Why a pin may be out of reach: lgpio does not say."""
    chips = sorted(devices.glob("gpiochip*"))
    if not chips:
        return "this machine has no /dev/gpiochip*: pins need a Raspberry Pi"
    if not all(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
        return (
            "no permission for /dev/gpiochip*: sudo usermod -aG gpio $USER and log in again; "
            "in a unit SupplementaryGroups=gpio and DeviceAllow=char-gpiochip rw"
        )
    return "another program may hold the pin: gpioinfo names it"
