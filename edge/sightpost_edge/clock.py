"""What time it is, and how far to trust that: a station without a network boots in the past."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

_SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def now() -> datetime:
    """The wall time, aware, UTC."""
    return datetime.now(UTC)


def quality() -> str:
    """ "synchronized" or "unsynchronized" as systemd-timesyncd says, "unknown" without it."""
    if _SYNCHRONIZED.exists():
        return "synchronized"
    return "unsynchronized" if _SYNCHRONIZED.parent.exists() else "unknown"


@cache
def boot_id() -> str:
    """The kernel's id of this boot: monotonic times compare only within one."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
