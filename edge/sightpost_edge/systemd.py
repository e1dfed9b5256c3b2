"""What a service tells systemd about itself: a datagram to a socket, and no library for it.

The protocol is that of sd_notify(3): lines of NAME=VALUE to the socket named in $NOTIFY_SOCKET.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

LONGEST = 200
"""Characters of a status: one line of ``systemctl status``."""


class Notifier:
    """Speaks to the service manager that started this process, or to nobody.

    A manager that does not listen is no reason to stop: nothing is raised, whatever happens.

    Args:
        address: of its socket: a path, or "@" and a name for an abstract one; "" where none is.
        watchdog_s: so often at least it wants to hear ``alive``; 0 where it does not.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self.heard = address.startswith(("/", "@"))
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s

    heard: bool
    """Whether there is a manager."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Notifier":
        """The manager of this very process; variables inherited from another one's do not count."""
        for_us = environ.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
        period_us = environ.get("WATCHDOG_USEC", "")
        watchdog_s = int(period_us) / 1e6 if for_us and period_us.isdecimal() else 0.0
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_s)

    def extend(self, seconds: float) -> None:
        """Starting takes longer: be patient for so long from now."""
        self._tell(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def ready(self) -> bool:
        """The service has started; whether the manager's queue took that, which holds ten."""
        return self._tell("READY=1")

    def alive(self) -> None:
        """Work goes on; without this for ``watchdog_s`` the manager ends the process."""
        self._tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """What ``systemctl status`` shows; one line."""
        self._tell("STATUS=" + " ".join(text.split())[:LONGEST])

    def stopping(self) -> None:
        """The end was asked for."""
        self._tell("STOPPING=1")

    def _tell(self, line: str) -> bool:
        if not self.heard:
            return False
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gate:
            gate.setblocking(False)
            gate.sendto(line.encode(), self._address)
            return True
        return False
