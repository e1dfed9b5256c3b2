"""The machine as the doctor's checks see it; a test gives another root and other answers."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..heat import read as read_small
from .runs import is_unheld, told_in

if TYPE_CHECKING:
    from ..config import Site
    from ..live import Live

T = TypeVar("T")

SERVICE_USER = "sightpost"
CONFIG_FOLDER, STATE_FOLDER, RUN_FOLDER = (
    Path(f"/{top}/sightpost") for top in ("etc", "var/lib", "run")
)
CRASHED = "crashed"
_WITH_PARENT = "import ctypes; ctypes.CDLL(None).prctl(1, 9)\n"
"""PR_SET_PDEATHSIG, SIGKILL."""
COMMAND_S = 5.0
"""Time-out of a command; ``systemctl`` answers in 0.02 s, ``vcgencmd`` in 0.1 s on a Zero 2."""
_NATIVE = ("numpy", "cv2")
_MOST_SAID = 200_000
"""Characters of a command's output that are kept; a boot's kernel log has some 100,000."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended: exit code (negative: the signal that ended it), what it said."""

    code: int
    out: str = ""
    err: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """Everything that a check may ask of the machine; nothing here raises.

    ``root`` stands before every path that is read. ``site`` is the station's config, None without
    one or where ``trouble`` says why it cannot be read, and ``hint`` what helps. ``station`` is the
    service's name, "" outside of a service. ``store`` is the event store's folder, absolute as
    mounts are, and below ``root`` if that is not "/".
    ``libc`` is glibc's version, "" with another C library; ``bits`` those of this Python.
    ``prefix`` is the environment this Python runs in, ``base_prefix`` that which it was made from.
    ``groups`` are this process's. ``native`` is whether numpy and OpenCV can be loaded: where they
    cannot, importing them here fails at once. ``made`` keeps what several checks need.
    """

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    site: "Site | None" = None
    trouble: str = ""
    hint: str = ""
    config: Path | None = None
    store: Path = Path()
    station: str = ""
    python: tuple[int, int, int] = sys.version_info[:3]
    bits: int = 64 if sys.maxsize > 2**32 else 32
    machine: str = platform.machine()
    libc: str = platform.libc_ver()[1]
    prefix: str = sys.prefix
    base_prefix: str = sys.base_prefix
    executable: str = sys.executable
    uid: int = field(default_factory=os.geteuid)
    groups: tuple[int, ...] = field(default_factory=lambda: tuple(os.getgroups()))
    native: bool = True
    made: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_root(self) -> bool:
        """Whether everything may be looked at."""
        return self.uid == 0

    @property
    def release(self) -> str:
        """The code name of the system's release: "bookworm", "trixie"."""
        found = re.search(r"^VERSION_CODENAME=\"?(\w+)", self.read("etc/os-release"), re.MULTILINE)
        return found[1] if found else ""

    @property
    def is_pi(self) -> bool:
        """Whether this is a Raspberry Pi."""
        return self.read("proc/device-tree/model").startswith("Raspberry Pi")

    def live(self) -> "Live | None":
        """What the station's run is doing now; None where none is running, as far as one sees."""
        return None if is_unheld(self.store) else self._told()

    def ended_untold(self) -> bool:
        """Whether a run was there a moment ago and was killed: its word is left, it is not."""
        return is_unheld(self.store) and self._told() is not None

    def _told(self) -> "Live | None":
        own = [self.path(RUN_FOLDER / self.station)] if self.station else []
        return told_in(*own, self.store)

    def run(self, *words: str, timeout_s: float = COMMAND_S, stdin: str = "") -> Ran | None:
        """Run a command without a shell; None: no such program, not startable, or timed out.

        It has its own process group, which is gone on return, speaks English and may not ask.
        """
        environ = {**self.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
        return run_limited(words, environ, timeout_s=timeout_s, stdin=stdin)

    def child(
        self, program: str, *words: str, timeout_s: float = 20.0, stdin: str = ""
    ) -> Ran | None:
        """Run a Python program in a fresh process of this environment: it may crash or hang.

        It dies with the doctor: one that was left behind would hold the camera.
        """
        command = (self.executable, "-P", "-c", _WITH_PARENT + program, *words)
        return self.run(*command, timeout_s=timeout_s, stdin=stdin)

    def ask(self, module: str, question: object, *, timeout_s: float = 20.0) -> dict[str, Any]:
        """What ``answer`` of a module of this package gives to a question, both JSON, in a child.

        The question goes through a pipe: a camera's address may hold a password, and everybody
        can read the words that a process was started with. Where nothing came back, ``CRASHED``
        says how it ended.
        """
        program = f"from {__package__}.{module} import answer; import json, sys; "
        program += "print('\\n' + json.dumps(answer(json.load(sys.stdin))))"
        ran = self.child(program, timeout_s=timeout_s, stdin=json.dumps(question))
        if ran is None:
            return {CRASHED: f"took longer than {timeout_s:g} s"}
        if ran.code < 0:
            return {CRASHED: f"crashed ({signal.strsignal(-ran.code)})"}
        last = (ran.err.strip().splitlines() or [f"exit code {ran.code}"])[-1]
        return last_object(ran.out) or {CRASHED: f"failed ({last[:200]})"}

    @property
    def has_systemd(self) -> bool:
        """Whether systemd started this machine; in most containers it did not."""
        return self.exists("/run/systemd/system")

    @property
    def again(self) -> str:
        """How the doctor is called for this station, from any folder."""
        config = shlex.quote(os.path.abspath(self.config)) if self.config else ""
        words = self.station or (f"--config {config}" if config else "")
        return f"sightpost doctor {words}".rstrip()

    @property
    def as_root(self) -> str:
        """The same, with the right to look at everything."""
        return f"sudo {self.again}"

    def sudo(self, command: str) -> str:
        """A command as this user must write it to run it as root; one line for each line."""
        return command if self.is_root else "\n".join(f"sudo {x}" for x in command.splitlines())

    @property
    def sightpost(self) -> str:
        """How to call this program: sudo looks into few folders, an environment is none of them."""
        path = shutil.which("sightpost", path="/usr/local/bin:/usr/bin")
        return "sightpost" if path else f"{shlex.quote(self.prefix)}/bin/sightpost"

    def pip(self, words: str) -> str:
        """What to write for pip in the environment that this runs in."""
        command = f"{shlex.quote(self.prefix)}/bin/pip {words}"
        return command if os.access(self.prefix, os.W_OK) else self.sudo(command)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once for all checks that need it: children are slow."""
        if key not in self.made:
            self.made[key] = make()
        return cast(T, self.made[key])

    def has(self, program: str) -> bool:
        """Whether a program can be found; those of administrators are looked for, too."""
        path = f"{self.environ.get('PATH', '')}:/usr/sbin:/sbin"
        return shutil.which(program, path=path) is not None

    def read(self, path: str) -> str:
        """A small file's text without its margins, "" where it is absent or may not be read."""
        return read_small(self.path(path))

    def exists(self, path: str) -> bool:
        """Whether there is such a file; a broken link is none."""
        try:
            return self.path(path).exists()
        except OSError:
            return False

    def glob(self, pattern: str) -> list[Path]:
        """Files below the root, in order; ``pattern`` as "sys/class/video4linux/*/name"."""
        try:
            return sorted(self.root.glob(pattern.lstrip("/")))
        except OSError:
            return []

    def path(self, path: str | Path) -> Path:
        """Where the machine's ``path`` lies here."""
        return self.root / str(path).lstrip("/")

    def shown(self, path: Path) -> str:
        """A path as people on the machine call it."""
        return f"/{path.relative_to(self.root)}" if path.is_relative_to(self.root) else str(path)

    def module(self, name: str) -> bool:
        """Whether this Python finds a top-level module; nothing is imported."""
        try:
            return importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            return False

    def version(self, distribution: str) -> str:
        """The version of an installed distribution, "" where there is none."""
        try:
            return importlib.metadata.version(distribution)
        except (importlib.metadata.PackageNotFoundError, ValueError, OSError):
            return ""


def this_host(station: str = "", config: Path | None = None) -> Host:
    """This machine, with the station of a service's name or of a config file, or with none.

    The config is read with numpy and OpenCV around it, so these are tried in a child first: one
    that crashes shall be what is found, not what ends the doctor.

    Raises:
        ConfigError: no station can be called that.
    """
    if station:
        from ..service.places import Places

        Places(station)
    if station and config is None:
        config = CONFIG_FOLDER / f"{station}.toml"
    host = Host(config=config, station=station)
    tried = host.child("import numpy, cv2")
    if tried is not None and tried.code == 0:
        return _with_site(host)
    for name in _NATIVE:  # a crash would end the doctor, an ImportError only a check
        sys.modules.setdefault(name, cast(Any, None))
    return replace(host, native=False, store=_store(host))


def _store(host: Host) -> Path:
    """A service's own, else where ``store.default_folder`` would look."""
    if host.station:
        return STATE_FOLDER / host.station
    data = host.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "sightpost"


def _with_site(host: Host) -> Host:
    from ..config import Site, load
    from ..errors import SightpostError
    from .lenient import what_can_be_read

    if host.config is None:
        return replace(host, store=_store(host))
    site: Site | None = None
    try:
        site = load(Site, host.config)
    except (SightpostError, OSError) as exc:
        hint = exc.hint if isinstance(exc, SightpostError) else ""
        host, site = replace(host, trouble=str(exc), hint=hint), what_can_be_read(host.config)
    store = Path(site.store) if site and site.store else _store(host)
    return replace(host, site=site, store=store.absolute())


def last_object(text: str) -> dict[str, Any]:
    """The JSON object in the last line: libraries write to the same output before it."""
    try:
        said = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {}
    return said if isinstance(said, dict) else {}


def run_limited(
    words: tuple[str, ...], environ: Mapping[str, str], *, timeout_s: float, stdin: str = ""
) -> Ran | None:
    """Run a command and everything it starts for ``timeout_s`` at most."""
    try:
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(environ), text=True, errors="replace", start_new_session=True,
        ) as process:  # fmt: skip
            try:
                out, err = process.communicate(stdin, timeout=timeout_s)
            except BaseException as exc:
                os.killpg(process.pid, signal.SIGKILL)
                if isinstance(exc, subprocess.TimeoutExpired):
                    return None
                raise
    except (OSError, ValueError):
        return None
    return Ran(process.returncode, out[-_MOST_SAID:], err[-_MOST_SAID:])
