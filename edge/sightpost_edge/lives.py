"""How the runs before this one ended: after several bad ends the next start waits a little.

systemd's own back-off (RestartSteps) is unknown to the release that Bookworm has, so the count is
kept here, in a small file that survives kill -9. A power cut is nobody's fault and does not count.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from . import clock
from .durable import make_folder, write_file
from .errors import StoreError
from .polled import DAMAGED, read_object

LIVES = "lives.json"
REBOOT = "reboot-wanted"
FREE = 3
"""So many bad ends in a row cost no wait but the unit's own ``RestartSec``."""
FIRST_S, MOST_S = 5.0, 60.0
"""A camera that is plugged in again is back within the longest wait. A wait that grows without end
turned one outage into five times its length elsewhere (BirdNET-Go #4080)."""
HEALTHY_S = 600.0
"""What lasted so long was no bad life, however it ends."""
HOUR_MS = 3_600_000
REBOOT_ENDS = 5
"""So many bad ends within an hour: drivers keep state that no new process is rid of."""
REBOOT_AGAIN_S = 6 * 3600.0
"""A reboot that did not help is not tried again for so long, by the wall's clock and the board's:
neither is to be trusted alone."""

log = logging.getLogger("sightpost")


@dataclass(frozen=True, slots=True)
class End:
    """A bad end: when, ms since 1970 by whatever clock there was, and why, in a few words.
    ``reboot``: whether that could help; it mends no model and no config."""

    at_ms: int
    why: str
    reboot: bool = True


@dataclass(frozen=True, slots=True)
class Lives:
    """``bad`` counts bad ends in a row; ``ends`` are the last ones, oldest first. ``living`` is the
    boot in which a run is under way or died without a word, "" where the last one said goodbye.
    ``asked_ms``: when a reboot was asked for, heeded or not. A healthy life forgets it after six
    hours only: a driver that wedges after ten good minutes would get four reboots an hour."""

    bad: int = 0
    ends: tuple[End, ...] = ()
    living: str = ""
    asked_ms: int = 0

    @property
    def wait_s(self) -> float:
        """Seconds to wait before the next start."""
        steps = self.bad - FREE - 1
        return 0.0 if steps < 0 else min(FIRST_S * 2.0 ** min(steps, 10), MOST_S)

    def died(self, why: str, at_ms: int, *, reboot: bool = True) -> "Lives":
        """One more bad end."""
        ends = (*self.ends, End(at_ms, why[:200], reboot))[-REBOOT_ENDS:]
        return replace(self, bad=self.bad + 1, ends=ends, living="")

    def wants_reboot(self, now_ms: int, up_s: float) -> bool:
        """Whether only a reboot is left to try."""
        recent = [end for end in self.ends if end.reboot and 0 <= now_ms - end.at_ms <= HOUR_MS]
        return len(recent) >= REBOOT_ENDS and not self.has_asked(now_ms, up_s)

    def has_asked(self, now_ms: int, up_s: float) -> bool:
        """Whether the last reboot that was asked for is too near to ask for another one."""
        since_s = (now_ms - self.asked_ms) / 1000
        near = up_s < REBOOT_AGAIN_S or 0 <= since_s < REBOOT_AGAIN_S
        return self.asked_ms != 0 and near


def read_lives(folder: Path) -> Lives:
    """What is known of the runs in this store; nothing where the file is missing or damaged."""
    try:
        return _parsed(read_object(folder / LIVES))
    except (OSError, *DAMAGED):
        return Lives()


class Life:
    """A service's run, from its start to its end; a disk that takes nothing does not end it.

    Args:
        folder: the store's.
        read_clock: all clocks at one moment.
        sleep: of the wait before a start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        read_clock: Callable[[], clock.Reading] = clock.read,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder, self._read_clock, self._sleep = folder, read_clock, sleep
        self._lives = read_lives(folder)

    def begin(self, waiting: Callable[[float, str], None] = lambda wait_s, why: None) -> None:
        """Wait as the ends before this one ask for; ``waiting`` is told how long and why."""
        now, lives = self._read_clock(), self._lives
        if lives.living:
            same_boot = lives.living == now.boot_id
            lives = lives.died("killed", now.wall_ms) if same_boot else replace(lives, living="")
        self._lives, last = lives, lives.ends[-1].why if lives.ends else ""
        if lives.wants_reboot(now.wall_ms, now.monotonic_ns / 1e9):
            lives = self._ask_for_reboot(lives, now.wall_ms)
        else:
            _take_back()
        if lives.wait_s:
            self._keep(lives)  # only here: a slow card takes 20 s for each, and the manager waits
            waiting(lives.wait_s, last)
            self._sleep(lives.wait_s)
        self._keep(replace(lives, living=now.boot_id))

    def healthy(self) -> None:
        """It has run well for ``HEALTHY_S``: what came before is forgotten, see ``Lives``."""
        now, lives = self._read_clock(), self._lives
        has_asked = lives.has_asked(now.wall_ms, now.monotonic_ns / 1e9)
        left = Lives(living=lives.living, asked_ms=lives.asked_ms if has_asked else 0)
        if lives != left:
            self._keep(left)

    def end(self, why: str = "", *, reboot: bool = True) -> None:
        """It ends: badly, and ``why``, where a ``reboot`` could help or not; or as it should."""
        now_ms = self._read_clock().wall_ms
        lives = replace(self._lives, living="", bad=0)
        self._keep(self._lives.died(why, now_ms, reboot=reboot) if why else lives)

    def _ask_for_reboot(self, lives: Lives, now_ms: int) -> Lives:
        """Not where it cannot be noted: each boot would ask for the next one. It takes five new
        ends to ask again; the waits go on growing meanwhile."""
        asked = replace(lives, ends=(), asked_ms=now_ms)
        return asked if _wish() is not None and self._keep(asked) and _leave_word() else lives

    def _keep(self, lives: Lives) -> bool:
        self._lives = lives
        try:
            make_folder(self._folder)
            write_file(self._folder / LIVES, json.dumps({"v": 1, **asdict(lives)}).encode())
        except StoreError as exc:
            log.warning("%s; how runs end is not counted", exc)
            return False
        return True


def _wish() -> Path | None:
    """What ``sightpost-reboot@.path`` watches, where somebody has installed that; None without a
    folder for it."""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(runtime) / REBOOT if runtime else None


def _leave_word() -> bool:
    wish = _wish()
    try:
        return wish is not None and wish.write_text("five bad ends within an hour\n") > 0
    except OSError:
        return False


def _take_back() -> None:
    """An older wish: whoever installs the unit tomorrow would be surprised by it."""
    if (wish := _wish()) is not None:
        with suppress(OSError):
            wish.unlink(missing_ok=True)


def _parsed(found: Mapping[str, Any]) -> Lives:
    ends = tuple(_end(end) for end in found["ends"])
    bad, living, asked_ms = int(found["bad"]), str(found["living"]), int(found["asked_ms"])
    return Lives(max(0, bad), ends[-REBOOT_ENDS:], living, asked_ms)


def _end(found: Mapping[str, Any]) -> End:
    return End(int(found["at_ms"]), str(found["why"]), bool(found.get("reboot", True)))
