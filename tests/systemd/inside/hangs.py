"""What stands still: the process, its main loop, its camera, its disk."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from machine import (
    UNIT,
    Camera,
    ended,
    events,
    fact,
    first_said,
    installed,
    live,
    main_pid,
    now_s,
    ready_after,
    restarts,
    said,
    scene,
    shown,
    wait_for,
    write_unit,
)

WATCHDOG_S = 30.0


@scene
def stopped() -> None:
    """Nothing of the process runs any more, until systemd's SIGTERM, which SIGCONT follows."""
    installed()
    time.sleep(5)
    hang(lambda: os.kill(main_pid(), signal.SIGSTOP), lambda: None)


@scene
def hung_loop() -> None:
    """The main loop stands in a call, beside threads that go on; SIGTERM is not heard."""
    can_hang()
    installed()
    time.sleep(5)
    hung = Path("/run/hung-loop")
    hang(hung.touch, hung.unlink)


@scene
def hung_disk() -> None:
    """No sync comes back, not for the next process either; later the disk answers again."""
    can_hang()
    installed()
    time.sleep(5)
    hung = Path("/run/hung-disk")
    hang(hung.touch, hung.unlink, longer_s=10.0)


def can_hang() -> None:
    library = "/usr/local/lib/hang.so"
    shutil.copy("/job/hang.so", library)
    write_unit(f"{UNIT}.d/hang.conf", f"[Service]\nEnvironment=LD_PRELOAD={library}\n")


def hang(begin: Callable[[], object], end: Callable[[], object], *, longer_s: float = 0.0) -> None:
    """From the moment it begins to the READY of another process; it ends with the first one, or
    so much later."""
    before, hung_s = events(), now_s()
    begin()
    died_s = ended(hung_s)
    fact(to_end_s=died_s - hung_s)
    time.sleep(longer_s)
    end()
    over_s = now_s()
    watchdog_s = first_said("Watchdog timeout", hung_s)
    ready_s = hung_s + ready_after(hung_s)
    fact(
        to_watchdog_s=watchdog_s - hung_s,
        to_ready_s=ready_s - hung_s,
        over_to_ready_s=ready_s - over_s,
        restarts=restarts(),
        before=before,
        after=events(),
        said=[line for _, line in said(since_s=hung_s)],
    )


@scene
def frozen_camera() -> None:
    """The camera stops sending without closing: for a moment, then for longer than the watchdog."""
    ready_s = installed()
    camera = Camera()
    time.sleep(5)
    frozen_s = camera.freeze()
    wait_for("the fault", lambda: live("fault"), WATCHDOG_S)
    fact(freeze_to_fault_s=now_s() - frozen_s, fault=live("fault"))
    thawed_s = camera.thaw()
    wait_for("pictures again", lambda: live("fault") == "", 60.0)
    fact(thaw_to_pictures_s=now_s() - thawed_s, restarts_after_short=restarts())
    time.sleep(5)
    frozen_s = camera.freeze()
    fact(freeze_to_end_s=ended(frozen_s) - frozen_s)
    time.sleep(max(0.0, frozen_s + 50.0 - now_s()))
    fact(state_while_frozen=shown()["ActiveState"])
    thawed_s = camera.thaw()
    fact(
        thaw_to_ready_s=ready_after(thawed_s),
        restarts=restarts(),
        said=[line for _, line in said(since_s=ready_s)],
    )
