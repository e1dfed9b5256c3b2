"""What a run has finished so far, kept as files: a killed run goes on where it stopped."""

import hashlib
import io
import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightpost_edge.durable import make_folder, write_file, writing
from sightpost_edge.errors import ConfigError

Arrays = dict[str, NDArray[Any]]
KEY = "key.json"
FOLDER = "unfinished"
SPENT = "spent"


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds on the clock and of processor time."""

    wall_s: float
    cpu_s: float


def file_digest(path: Path) -> str:
    """SHA-256 of a file, for a key."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Work:
    """Steps by name, each one file of arrays that is whole or absent.

    ``key`` is everything that the steps depend on; steps of another key are refused, because
    going on with them would mix two runs.
    """

    def __init__(self, folder: Path, key: dict[str, Any]) -> None:
        self.folder = folder
        self._key = json.dumps(key, sort_keys=True, indent=1)
        self._began_s = time.perf_counter()
        make_folder(folder)
        if not (folder / KEY).exists():
            write_file(folder / KEY, self._key.encode())
        elif (folder / KEY).read_text(encoding="utf-8") != self._key:
            raise ConfigError(
                f"{folder.parent} was begun with another recipe or other photos"
                f" ({_differences((folder / KEY).read_text(encoding='utf-8'), key)})",
                hint="repeat the command as it was, or choose another --out",
            )
        kept = self.load(SPENT)
        self._before = (float(kept["wall_s"]), float(kept["cpu_s"])) if kept else (0.0, 0.0)

    @classmethod
    def open(cls, run: Path, key: dict[str, Any], *, resume: bool) -> "Work":
        """The steps of the run in folder ``run``.

        Raises:
            ConfigError: an unfinished run is there and ``resume`` is not set, or it is another run.
        """
        folder = run / FOLDER
        if folder.exists() and not resume:
            raise ConfigError(
                f"{run} holds an unfinished run",
                hint="--resume goes on where it stopped; to start afresh delete the folder",
            )
        return cls(folder, key)

    @property
    def spent(self) -> Spent:
        """Time that went into this run so far, killed processes included."""
        used = os.times()
        wall_s, cpu_s = self._before
        now = time.perf_counter() - self._began_s
        return Spent(wall_s + now, cpu_s + used.user + used.system)

    def once(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of step ``name``: those that were kept, or what ``make`` gives, kept."""
        kept = self.load(name)
        if kept is None:
            kept = make()
            self.save(name, kept)
        return kept

    def load(self, name: str) -> Arrays | None:
        """The arrays of a step that was saved, None before that."""
        try:
            with self._path(name).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        except FileNotFoundError:
            return None
        except (ValueError, OSError, zipfile.BadZipFile):
            # Written whole or not at all, so the disk damaged it: the step is done again.
            return None

    def save(self, name: str, arrays: Arrays) -> None:
        """Replace the arrays of a step, durably."""
        with writing(self._path(name)) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        if name != SPENT:
            spent = self.spent
            self.save(
                SPENT, {"wall_s": np.array(spent.wall_s), "cpu_s": np.array(spent.cpu_s)}
            )  # fmt: skip

    def part(self, name: str) -> "Work":
        """Steps of their own, for one fold."""
        return Work(self.folder / name, json.loads(self._key))

    def clear(self) -> None:
        """Remove everything: the run is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"


def rows_as_array(rows: list[Any]) -> NDArray[Any]:
    """JSON-able rows as one array of bytes, so that they lie in the same file as the weights."""
    return np.frombuffer(json.dumps(rows).encode(), np.uint8)


def rows_from_array(array: NDArray[Any]) -> list[Any]:
    """The rows that ``rows_as_array`` took."""
    return list(json.load(io.BytesIO(array.tobytes())))


def _differences(kept: str, key: dict[str, Any]) -> str:
    old = json.loads(kept)
    flat_old, flat_new = _flat(old), _flat(json.loads(json.dumps(key)))
    names = sorted(n for n in {*flat_old, *flat_new} if flat_old.get(n) != flat_new.get(n))
    return ", ".join(f"{n} was {flat_old.get(n)!r}" for n in names[:3])


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
