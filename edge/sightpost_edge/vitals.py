"""How a running station is doing: for its live file, the watchdog, ``systemctl status``."""

import time
from typing import TYPE_CHECKING

from .heat import heat
from .live import Live
from .sources.settings import CameraSettings
from .supervision import Counters

if TYPE_CHECKING:
    from .station import Station

USUAL_STALL_S = CameraSettings().stall_s


def live(station: "Station") -> Live:
    """For the live file."""
    board, fault, tally = heat(), station.fault, station.tally
    return Live(
        armed=station.in_force.control.armed,
        threshold=station.in_force.threshold,
        run=station.keeper.store.run,
        model=station.models.name or station.origin["model"],
        fps=round(tally.recent_fps, 1),
        frames=tally.frames,
        skipped=station.source.dropped,
        events=tally.events,
        open=dict(tally.open),
        fault=fault.fault if fault else "",
        detail=fault.detail if fault else "",
        temperature_c=board.temperature_c,
        heat_bits=board.bits,
        pace=station.pace.state,
        waiting=station.keeper.backlog,
        disk_full=station.keeper.full,
    )


def counters(station: "Station") -> Counters:
    """For the watchdog.

    No picture is due while the pace rests, while the camera is being opened again, nor sooner than
    the owner says (``stall_s``) where that is more than the usual. A picture on which nothing could
    be seen was looked at, one that could not be decoded was not.
    """
    now_s, tally, source = time.monotonic(), station.tally, station.source
    stall_s = station.site.camera.stall_s
    patience_s = stall_s if stall_s > USUAL_STALL_S else 0.0
    waits = source.opening or now_s - source.came_s < patience_s
    rests = waits or station.pace.idle(now_s)
    withheld = tally.withheld.total() - tally.withheld["unreadable"]
    return Counters(source.pictures, tally.frames + withheld, station.keeper.turns, rests)


def line(station: "Station") -> str:
    """One line for ``systemctl status``."""
    board, tally = heat(), station.tally
    parts = [
        "resting" if station.pace.asleep(time.monotonic()) else f"{tally.recent_fps:.1f} fps",
        f"{tally.events} events",
        f"last {tally.last}" if tally.last else "",
        "" if board.temperature_c is None else f"{board.temperature_c:.0f} °C",
        station.fault.fault if station.fault else "",
        "disk full" if station.keeper.full else "",
        "model on trial" if station.models.on_trial else "",
        station.pace.state,
    ]
    return ", ".join(part for part in parts if part)
