"""The plain prediction log: a line per prediction above the threshold, JSON or CSV, rotated."""

import contextlib
import csv
import io
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from ..durable import make_folder
from ..errors import ConfigError, DiskFull, writing_to
from ..records import Prediction

log = logging.getLogger("sightpost")

MAX_BYTES = 10 * 1024 * 1024
AGAIN_S = 2.0
"""So long a full disk is not asked again."""
KEEP = 5
"""60 MiB at the most: a log must not fill the card."""

COLUMNS = (
    "time", "elapsed_s", "frame", "name", "region", "label", "score", "novel", "inference_ms",
)  # fmt: skip


class PredictionLog:
    """Appends to ``NAME.jsonl`` or ``NAME.csv``; a full one becomes ``NAME.jsonl.1`` and so on.

    A line torn by a kill or a power cut is cut off before appending: otherwise it would swallow
    the next one. A CSV with other columns, by an older release, is not appended to but rotated.

    Args:
        path: the file.
        max_bytes: of one file.
        patient: while the disk is full lines are left out and counted in ``lost``: a log is no
            reason to stop looking. Without it, and for all other failures, ``write`` raises.
    """

    def __init__(
        self, path: Path, *, max_bytes: int = MAX_BYTES, patient: bool = False,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.lost = 0
        self._patient, self._clock_s, self._again_s = patient, clock_s, -math.inf
        if path.suffix not in (".jsonl", ".csv"):
            raise ConfigError(f"--log {path}: the name must end in .jsonl or .csv")
        self._path = path
        self._max_bytes = max_bytes
        make_folder(path.parent)
        with writing_to(path):
            _cut_torn_line(path)
            self._file = self._open()
            if self._csv and not self._has_our_columns():
                self._rotate()

    def write(self, prediction: Prediction) -> None:
        """Append one line."""
        row = prediction.as_row()
        line = json.dumps(row, ensure_ascii=False) if not self._csv else _csv_line(row.values())
        if self._clock_s() < self._again_s:
            self.lost += 1
            return
        try:
            with writing_to(self._path):
                if self._file.closed:
                    _cut_torn_line(self._path)
                    self._open()
                if self._file.tell() + len(line.encode()) >= self._max_bytes:
                    self._rotate()
                self._put(line)
                self._again_s = -math.inf
        except DiskFull as exc:
            if not self._patient:
                raise
            self._wait(exc)

    def _wait(self, exc: DiskFull) -> None:
        """Leave lines out for a while; what the file object still holds goes with it."""
        if self._again_s == -math.inf:
            log.warning("%s; predictions are left out of the log until there is room", exc)
        self.lost += 1
        self._again_s = self._clock_s() + AGAIN_S
        self.close()

    def close(self) -> None:
        """Close the file; every line was flushed when it was written, or its loss was reported."""
        with contextlib.suppress(OSError):
            self._file.close()

    def __enter__(self) -> "PredictionLog":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def _csv(self) -> bool:
        return self._path.suffix == ".csv"

    def _has_our_columns(self) -> bool:
        with self._path.open(encoding="utf-8", errors="replace", newline="") as file:
            return file.readline().rstrip("\n") == _csv_line(COLUMNS)

    def _open(self) -> TextIO:
        self._file = self._path.open("a", encoding="utf-8", newline="")
        if self._csv and self._file.tell() == 0:
            self._put(_csv_line(COLUMNS))
        return self._file

    def _put(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(KEEP - 1, 0, -1):
            if os.path.exists(f"{self._path}.{number}"):
                os.replace(f"{self._path}.{number}", f"{self._path}.{number + 1}")
        os.replace(self._path, f"{self._path}.1")
        self._open()


def _csv_line(values: Iterable[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(values)
    return buffer.getvalue()


def _cut_torn_line(path: Path) -> None:
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65536))
        tail = file.read()
        if tail.endswith(b"\n"):
            return
        if b"\n" in tail or size < 4096:
            file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
        else:  # no line of ours is that long: keep it whatever it is
            file.write(b"\n")
