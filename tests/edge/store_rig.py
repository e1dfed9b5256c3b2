"""A store made by SQL on a disk that a test can fill: rows with pictures of any size and age."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sightpost_edge.store.ballast import Space
from sightpost_edge.store.database import open_or_quarantine
from sightpost_edge.store.quota import Quota, StorageSettings

BLOCK = 4096
PICTURES = ("snapshots", "clips", "samples")
RULES = {"threshold": 0.8, "classes": {"owl": {"threshold": 0.4}}, "nothing": ["Grass"]}


class Rig:
    """``others`` is what other programs take of the ``total`` bytes of the disk."""

    def __init__(self, folder: Path, total: int = 100_000_000) -> None:
        self.folder, self.total, self.others = folder, total, 0
        self.now_s = 1000.0
        for name in PICTURES:
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.connection = open_or_quarantine(folder / "events.db")
        self.connection.execute("PRAGMA synchronous = OFF")
        with self.at_once():
            self.connection.execute(
                "INSERT INTO runs VALUES (1, 1, 0, NULL, 0, '', 'unknown', 0, '', '', '', '', ?)"
                " ON CONFLICT DO NOTHING",
                (json.dumps(RULES),),
            )

    def quota(self, settings: StorageSettings | None = None) -> Quota:
        return Quota(
            self.folder, self.connection, settings or StorageSettings(),
            measure=self.space, clock_s=lambda: self.now_s,
        )  # fmt: skip

    def space(self, _folder: Path) -> Space:
        files = [
            one.stat().st_size
            for place in (self.folder, *(self.folder / name for name in PICTURES))
            for one in os.scandir(place)
            if one.is_file()
        ]
        taken = sum(-(-size // BLOCK) * BLOCK for size in files)
        return Space(self.total, max(0, self.total - self.others - taken))

    @contextmanager
    def at_once(self) -> Iterator[None]:
        self.connection.execute("BEGIN")
        yield
        self.connection.execute("COMMIT")

    def event(
        self, seq: int, label: str = "deer", score: float = 0.99, *, picture: int = BLOCK,
        clip: int = 0, named_by: str = "label", marked: bool = False, trace: int = 10,
        said_bytes: int | None = None,
    ) -> None:  # fmt: skip
        """A row as the store writes it, and its files; ``picture`` and ``clip`` in bytes."""
        snapshot = self.file(f"snapshots/{seq:06d}.jpg", picture)
        said = picture + clip if said_bytes is None else said_bytes
        self.connection.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 'b', 'synchronized', 0, 3, "
            "'', 'left', '', ?, NULL, 1, '', '', '', ?, ?, ?, ?, ?)",
            (seq, label, score, seq * 1000, seq * 1000, named_by, snapshot,
             self.file(f"clips/{seq:06d}.avi", clip), said, marked, b"t" * trace),
        )  # fmt: skip

    def sample(self, number: int, label: str, *, kind: str = "random", size: int = BLOCK) -> None:
        self.connection.execute(
            "INSERT INTO samples VALUES (?, ?, ?, 0.5, '{}', NULL, 0, 0, '', '', 0, 1, '', ?, ?)",
            (number, kind, label, self.file(f"samples/{number}.jpg", size), size),
        )

    def file(self, name: str, size: int) -> str:
        if size:
            with (self.folder / name).open("wb") as file:
                file.truncate(size)
        return name if size else ""

    def column(self, query: str) -> list[object]:
        return [row[0] for row in self.connection.execute(query)]

    def with_picture(self) -> list[object]:
        return self.column("SELECT seq FROM events WHERE snapshot != '' ORDER BY seq")

    def counters(self) -> dict[str, int]:
        return dict(self.connection.execute("SELECT name, value FROM counters").fetchall())

    def check(self) -> None:
        """No row names a missing file, and no file is without its row."""
        named = self.column(
            "SELECT snapshot FROM events UNION SELECT clip FROM events "
            "UNION SELECT file FROM samples"
        )
        there = {
            str(path.relative_to(self.folder))
            for name in PICTURES
            for path in (self.folder / name).iterdir()
        }
        assert set(named) - {""} == there

    def settle(self, quota: Quota) -> int:
        """Round after round until nothing happens any more; how many things were dropped."""
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        total, idle = 0, 0
        while idle < 3:
            self.now_s += 1
            dropped = quota.enforce()
            total, idle = total + dropped, 0 if dropped else idle + 1
        return total
