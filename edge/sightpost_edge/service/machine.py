"""The machine that gets a service: its files, accounts and commands; tests make one up."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ..doctor.host import Ran, run_limited
from ..errors import ServiceError

COMMAND_S = 60.0
"""For a command; accounts and units take well under a second each, a busy card makes it many."""
OURS = "sightpost: "
START_S = 300.0
"""For ``systemctl start``, which waits until the first picture was classified."""


@dataclass(frozen=True, slots=True)
class Machine:
    """``root`` stands before every path; ``prefix``, ``base_prefix`` and ``python`` are this
    Python's, ``package`` is where our own code lies. ``plans``: nothing is to be done, only shown,
    and what cannot be asked here (accounts, units, root's files) is taken as not there."""

    root: Path = Path("/")
    prefix: Path = field(default_factory=lambda: Path(sys.prefix))
    base_prefix: Path = field(default_factory=lambda: Path(sys.base_prefix))
    python: Path = field(default_factory=lambda: Path(sys.executable).resolve())
    package: Path = field(default_factory=lambda: Path(__file__).parent.parent)
    plans: bool = False

    @property
    def is_root(self) -> bool:
        """Whether everything may be changed."""
        return os.geteuid() == 0

    @property
    def has_systemd(self) -> bool:
        """Whether systemd started this machine; in most containers it did not."""
        return self.path("/run/systemd/system").is_dir()

    def path(self, place: str | Path) -> Path:
        """Where the machine's ``place`` lies here."""
        return self.root / str(place).lstrip("/")

    def real(self, place: str | Path) -> Path:
        """The machine's place that ``place`` leads to, whatever links there are on the way."""
        return Path("/") / self.path(place).resolve().relative_to(self.root.resolve())

    def mounted(self, place: str | Path) -> list[Path]:
        """Where disks are mounted at ``place`` and below it, as paths here."""
        rows = (self.read("/proc/self/mounts") or b"").decode(errors="replace").splitlines()
        points = {self.root.resolve() / row.split()[1].lstrip("/") for row in rows if " " in row}
        return sorted(one for one in points if one.is_relative_to(self.path(place).resolve()))

    def ask(self, *words: str, timeout_s: float = COMMAND_S) -> Ran:
        """Run a command without a shell; an exit code that is not 0 is an answer, too.

        Raises:
            ServiceError: there is no such program, or it did not end in time.
        """
        environ = {**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
        environ["PATH"] = f"{environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"
        ran = run_limited(words, environ, timeout_s=timeout_s)
        if ran is None and self.plans:
            return Ran(1)
        if ran is None:
            raise ServiceError(
                f"{words[0]} cannot be run, or did not end within {timeout_s:g} s",
                hint=f"by hand: {' '.join(words)}",
            )
        return ran

    def run(self, *words: str, timeout_s: float = COMMAND_S) -> str:
        """Run a command that has to succeed; gives what it said.

        Raises:
            ServiceError: it failed; with what it said last.
        """
        ran = self.ask(*words, timeout_s=timeout_s)
        if ran.code:
            said = last_words(ran.err or ran.out) or f"exit code {ran.code}"
            raise ServiceError(f"{' '.join(words)} failed: {said}")
        return ran.out

    def read(self, place: str | Path) -> bytes | None:
        """A file's content, None where there is none.

        Raises:
            ServiceError: it may not be read.
        """
        try:
            return self.path(place).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise ServiceError(f"cannot read {place}: {exc.strerror}") from exc

    def peek(self, place: str | Path) -> bytes | None:
        """As ``read``; where this only plans, a file that may not be read is none, too.

        Raises:
            ServiceError: it may not be read.
        """
        try:
            return self.read(place)
        except ServiceError:
            if not self.plans:
                raise
            return None

    def accounts(self, kind: str) -> dict[str, list[str]]:
        """``passwd`` or ``group`` by name, each the other fields of its line."""
        text = (self.read(f"/etc/{kind}") or b"").decode(errors="replace")
        rows = [line.split(":") for line in text.splitlines() if line.count(":") >= 3]
        return {row[0]: row[1:] for row in rows}

    def owner(self, place: str | Path) -> str:
        """ "user:group" of a file, figures where they have no names, "" where there is none."""
        try:
            found = self.path(place).lstat()
        except OSError:
            return ""
        return f"{self._name('passwd', found.st_uid)}:{self._name('group', found.st_gid)}"

    def own(self, place: str | Path, owner: str, *, deep: bool = False) -> None:
        """Give a file or folder, ``deep``: with all that is in it, to "user:group"."""
        self.run("chown", "-hR" if deep else "-h", owner, str(self.path(place)))

    def _name(self, kind: str, number: int) -> str:
        names = (n for n, row in self.accounts(kind).items() if row[1] == str(number))
        return next(names, str(number))


def last_words(text: str) -> str:
    """The last line of what a program said; of our own the message, not the hint below it."""
    lines = [line for line in text.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith(OURS)]
    return (ours or lines or [""])[-1].removeprefix(OURS).strip()
