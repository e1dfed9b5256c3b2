"""What time it is, and how far to trust that: a station without a network boots in the past."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

_SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STA_UNSYNC = 0x40
_TIMEX_BYTES, _STATUS_AT = 256, 40
"""``struct timex`` (208 bytes on 64-bit Linux, less on 32-bit) and its ``status`` on 64-bit."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All clocks at one moment: wall time in ms since 1970, monotonic ns, and their worth."""

    wall_ms: int
    monotonic_ns: int
    quality: str
    boot_id: str

    def wall_of(self, monotonic_ns: int) -> int:
        """The wall time, ms since 1970, of another moment of the same boot."""
        return self.wall_ms - (self.monotonic_ns - monotonic_ns) // 1_000_000


def read() -> Reading:
    """All clocks, now.

    The quality is read first: a clock set right between the two is then called worse than it is.
    """
    worth = quality()
    return Reading(time.time_ns() // 1_000_000, time.monotonic_ns(), worth, boot_id())


def now() -> datetime:
    """The wall time, aware, UTC."""
    return datetime.now(UTC)


def from_ms(wall_ms: int) -> datetime:
    """Milliseconds since 1970 as an aware UTC time; beyond the year 9999 the latest there is."""
    try:
        return datetime.fromtimestamp(wall_ms / 1000, UTC)
    except (OverflowError, ValueError):
        return datetime.max.replace(tzinfo=UTC) if wall_ms > 0 else datetime.min.replace(tzinfo=UTC)


def to_ms(when: datetime) -> int:
    """An aware time as milliseconds since 1970."""
    return round(when.timestamp() * 1000)


def iso(wall_ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC."""
    return from_ms(wall_ms).isoformat(timespec="milliseconds")


def quality() -> str:
    """ "synchronized", "unsynchronized", or "unknown" where nobody can tell.

    systemd-timesyncd's mark, else what the kernel has been told by any other time service
    (adjtimex(2), which a service's sandbox may forbid).
    """
    if _SYNCHRONIZED.exists():
        return "synchronized"
    status = _kernel_status()
    if status is not None and not status & _STA_UNSYNC:
        return "synchronized"
    known = status is not None or _SYNCHRONIZED.parent.exists()
    return "unsynchronized" if known else "unknown"


def _kernel_status() -> int | None:
    """``timex.status``; None where the kernel may not be asked."""
    import ctypes

    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes = 0: only read
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    if ctypes.sizeof(ctypes.c_long) != 8 or adjtimex is None or adjtimex(timex) < 0:
        return None
    return int(ctypes.c_int.from_buffer(timex, _STATUS_AT).value)


@cache
def boot_id() -> str:
    """The kernel's id of this boot: monotonic times compare only within one."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
