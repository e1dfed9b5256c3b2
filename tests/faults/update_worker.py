"""Changes a model folder and is killed in the middle: before its k-th step on the disk.

    python update_worker.py < jobs        one line of JSON for each job, one line for each answer

Each job is done by a fork. A step is whatever changes the folder, as Python's audit events tell it:
a file opened for writing, a rename, a link, a folder, a removal, new permissions; and fsync.
``ENOSPC`` in place of the kill comes from that step on, as a full disk has it.
"""

import errno
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightpost_edge.errors import SightpostError
from sightpost_edge.models import ModelFolder, install
from sightpost_edge.models.offer import Here, look
from sightpost_edge.models.rehearsal import Rehearsal

CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
MOVES = ("os.rename", "os.symlink", "os.mkdir", "os.rmdir", "os.remove", "os.chmod", "os.truncate")
HERE = Here(today=None)
TAKES_ROOM = ("open", "os.symlink", "os.mkdir", "fsync")


@dataclass(slots=True)
class Steps:
    """Counts the steps below ``folder`` and ends the process, or fills the disk, at ``last``."""

    folder: str
    last: int
    full: bool
    done: int = 0

    def hook(self, event: str, words: tuple[Any, ...]) -> None:
        """An audit hook: called before the step."""
        if event == "open":
            if words[2] & CHANGING and self._is_ours(words[0]):
                self.step(event)
        elif event in MOVES and any(map(self._is_ours, words)):
            self.step(event)

    def step(self, event: str) -> None:
        """One more; perhaps the last."""
        self.done += 1
        if self.done < self.last:
            return
        if not self.full:
            os.kill(os.getpid(), signal.SIGKILL)
        elif event in TAKES_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _is_ours(self, word: object) -> bool:
        """A path below the folder; a bare name is one that ``rmtree`` removes by its folder."""
        if isinstance(word, bytes) or not isinstance(word, (str, os.PathLike)):
            return False
        path = os.fspath(word)
        return str(path).startswith(self.folder) or "/" not in str(path)


def act(models: ModelFolder, action: str, word: str) -> None:
    """What a run or the command line does to a folder."""
    if action == "install":
        install.install(models, look(models, word, here=HERE), word, here=HERE)
        return
    one = models.find(word)
    assert one is not None
    if action == "switch":
        models.switch(one, why="by hand")
    elif action == "begun":
        models.trial_begun(one)
    else:
        models.trial_ended(one, failed="" if action == "confirmed" else action)


def rehearsed(path: Path, signed_sha256: str) -> Rehearsal:
    """It changes nothing on the disk; a kill there is one before the next step."""
    return Rehearsal(1.0, 1)


def serve() -> None:
    """One fork for each job."""
    install.rehearse = rehearsed
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(do(job))
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


def do(job: dict[str, Any]) -> int:
    """The exit code: 0 where all steps were made."""
    steps = Steps(job["folder"], job["step"], job["full"])
    sync = os.fsync

    def counted(handle: int) -> None:
        steps.step("fsync")
        sync(handle)

    os.fsync = counted
    sys.addaudithook(steps.hook)
    try:
        act(ModelFolder(Path(job["folder"])), job["action"], job["word"])
    except SightpostError as exc:
        return exc.exit_code
    return 0


if __name__ == "__main__":
    serve()
