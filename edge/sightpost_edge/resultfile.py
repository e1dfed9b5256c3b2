"""A file of results that appears when it is whole, and goes on where a stopped run left it.

While photos are being classified FILE.part grows line by line, and FILE.state says of which photos,
by which model and in which format. At the end FILE.part becomes FILE. A kill or a power cut at any
byte costs the line that was being written.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from . import __version__
from .bundle import Bundle
from .durable import make_folder, sync_folder, write_file
from .errors import ConfigError, StoreBusy, writing_to
from .results import Format


@dataclass(frozen=True, slots=True)
class Job:
    """What results depend on: two runs with the same Job write the same file."""

    format: str
    model: str
    labels: str
    photos: str
    program: str

    @classmethod
    def of(cls, files: Sequence[Path], bundle: Bundle, form: Format) -> "Job":
        """Photos are known by name, size and time: cards from two cameras share all names."""
        photos = hashlib.sha256()
        for path in files:
            photos.update(os.fsencode(path.absolute()))
            with contextlib.suppress(OSError):  # it is missed when its turn comes
                found = path.stat()
                photos.update(f"\0{found.st_size} {found.st_mtime_ns}\n".encode())
        labels = hashlib.sha256("\n".join(bundle.contract.labels).encode()).hexdigest()
        return cls(form.title, bundle.digest, labels, photos.hexdigest(), __version__)

    def other_than(self, path: Path) -> str:
        """In what the Job noted at ``path`` differs, in words; empty where it is this one."""
        try:
            noted = json.loads(path.read_bytes())
            different = [key for key, value in asdict(self).items() if noted[key] != value]
        except (OSError, ValueError, KeyError, TypeError):
            return "something unknown"
        return " and ".join(f"another {key}" if key != "photos" else "other photos"
                            for key in different)  # fmt: skip


class ResultFile:
    """The file, opened for going on: ``done`` photos are in it, ``failed`` of these unreadable.

    Args:
        path: where the whole file shall be.
        form: its format.
        files: all photos, in order.
        job: see ``Job``.

    Raises:
        ConfigError: it is there already, or what is there belongs to another Job.
        StoreBusy: another run writes it.
        StoreError, DiskFull: it cannot be written.
    """

    def __init__(self, path: Path, form: Format, files: Sequence[Path], job: Job) -> None:
        self._path, self._form = path, form
        self._part, self._state = Path(f"{path}.part"), Path(f"{path}.state")
        self.done = self.failed = self._lines = 0
        self._refuse_whole()
        make_folder(path.parent)
        with writing_to(self._part):
            self._file = self._part.open("ab+")
        try:
            self._lock()
            self._refuse_whole()  # another run may have finished it meanwhile
            self._begin(files, job)
        except BaseException:
            self.close()
            raise

    def _refuse_whole(self) -> None:
        if self._path.exists():
            raise ConfigError(
                f"{self._path} is there already", hint="delete it, or give --out another file"
            )

    def _lock(self) -> None:
        with writing_to(self._part):  # a network share without locks is not a second run
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise StoreBusy(
                    f"another run writes {self._part}",
                    hint="wait for it, or give --out another file",
                ) from exc

    def _begin(self, files: Sequence[Path], job: Job) -> None:
        if not os.fstat(self._file.fileno()).st_size:
            write_file(self._state, json.dumps(asdict(job), indent=1).encode())
            self._put(self._form.head)
            return
        if different := job.other_than(self._state):
            raise ConfigError(
                f"{self._part} was begun with {different}",
                hint="give --out another file, or delete that one to begin anew",
            )
        self._go_on(files)

    def _go_on(self, files: Sequence[Path]) -> None:
        """Keep the whole lines that are in order; all else is cut off and done again."""
        head = self._form.head.encode()
        self._file.seek(0)
        begun = self._file.read(len(head)) == head
        good = len(head) if begun else 0
        names = [self._form.name(path) for path in files]
        for line in self._file if begun else ():
            found = self._form.read(line.decode("utf-8", "replace"))
            if found is None or not line.endswith(b"\n"):
                break
            try:  # forward only: two names that are not UTF-8 may be written alike
                place = names.index(found[0], self.done)
            except ValueError:
                break
            self.failed += place - self.done + found[1]
            self.done, self._lines, good = place + 1, self._lines + 1, good + len(line)
        with writing_to(self._part):
            self._file.truncate(good)
        if not begun:
            self._put(self._form.head)

    @property
    def first(self) -> bool:
        """Whether no line is in it yet."""
        return not self._lines

    def write(self, line: str) -> None:
        """Add one line."""
        self._put(line)
        self._lines += 1

    def _put(self, text: str) -> None:
        with writing_to(self._part):
            self._file.write(text.encode())
            self._file.flush()

    def finish(self) -> None:
        """All photos are done: the file is made durable and takes its place."""
        self._put(self._form.foot)
        with writing_to(self._path):
            os.fsync(self._file.fileno())
            os.rename(self._part, self._path)
            sync_folder(self._path.absolute().parent)
            self._state.unlink(missing_ok=True)

    def close(self) -> None:
        """Close it; what is not finished stays for the next run."""
        with contextlib.suppress(OSError):
            self._file.close()

    def __enter__(self) -> "ResultFile":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
