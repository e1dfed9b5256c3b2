"""Numbers that no event ever shares with another, even when its database had to be set aside."""

import sqlite3
from pathlib import Path

from ..durable import write_file

SEQUENCE = "sequence"
BLOCK = 1000


class Numbers:
    """Gives out event numbers.

    The file ``sequence`` says below which number all may be used up. It is written ahead, once in
    a thousand events; a database begun afresh beside a damaged one goes on from there.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self._file = folder / SEQUENCE
        self._reserved = self._read()
        (highest,) = connection.execute("SELECT max(seq) FROM events").fetchone()
        self.next = self._reserved if highest is None else highest + 1

    def take(self, count: int) -> range:
        """So many numbers, none used before; they are used only when ``used`` is called."""
        if self.next + count > self._reserved:
            self._reserved = self.next + count + BLOCK
            write_file(self._file, f"{self._reserved}\n".encode())
        return range(self.next, self.next + count)

    def used(self, numbers: range) -> None:
        """These are in the database now."""
        self.next = max(self.next, numbers.stop)

    def _read(self) -> int:
        try:
            return max(1, int(self._file.read_text(encoding="ascii")))
        except (OSError, ValueError):
            return 1
