"""Numbers that no event ever shares with another, even when its database had to be set aside."""

import sqlite3
from pathlib import Path

from ..durable import write_file

SEQUENCE = "sequence"
BLOCK = 100


class Numbers:
    """Gives out event numbers.

    The file ``sequence`` says below which number all may be used up. It is written ahead, once in
    a hundred events, and at the end of a run exactly. After any other end counting goes on from
    there: what the damaged log of a database has lost is told by nothing else.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self._file = folder / SEQUENCE
        self._reserved = self._read()
        (highest,) = connection.execute("SELECT max(seq) FROM events").fetchone()
        self.next = max(self._reserved, (highest or 0) + 1)

    def take(self, count: int) -> range:
        """So many numbers, none used before; they are used only when ``used`` is called."""
        if self.next + count > self._reserved:
            reserved = self.next + count + BLOCK
            write_file(self._file, f"{reserved}\n".encode())
            self._reserved = reserved
        return range(self.next, self.next + count)

    def used(self, numbers: range) -> None:
        """These are in the database now."""
        self.next = max(self.next, numbers.stop)

    def close(self) -> None:
        """The next run goes on without a gap."""
        write_file(self._file, f"{self.next}\n".encode())

    def _read(self) -> int:
        try:
            return max(1, int(self._file.read_text(encoding="ascii")))
        except (OSError, ValueError):
            return 1
