"""``sightpost support``: one archive for a bug report, without secrets."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..doctor.host import Host
    from ..support.gather import Gathered


def support(
    name: Annotated[
        str, typer.Argument(help="A service's station: NAME of /etc/sightpost/NAME.toml.")
    ] = "",
    config: Annotated[
        Path | None, typer.Option(help="A station's config; without, only the machine.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The archive, FILE.tar.gz; by default in this folder.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write it without asking.")] = False,
) -> None:
    """Gather what helps to find a fault into one archive for a bug report.

    Never pictures, models or keys. Replaced are passwords, tokens, names of users, mail addresses,
    place, contact and organization of [deployment], wireless networks and hardware addresses. The
    names of the station, of hosts, of labels and regions and of the project stay. What goes in and
    what was removed is shown before anything is written. With sudo it can see more.
    """
    from ..doctor.host import this_host
    from ..support.archive import packed, write_private
    from .common import ask

    path = _path(out, name)
    _may_ask_or(yes)
    host = this_host(name, config)
    _check_there(host, config)
    gathered = _gathered(host)
    content = packed(gathered.files)
    _show(gathered, path, len(content))
    if not (yes or ask("write it?")):
        print("sightpost: nothing was written", file=sys.stderr)
        raise typer.Exit(1)
    write_private(path, content)
    print(path)


def _path(out: Path | None, name: str) -> Path:
    """Refused before a minute of looking, not after.

    Raises:
        ConfigError: it is no name of an archive, or its folder is not there or takes no file; or
            no station can be called so.
    """
    from .. import clock
    from ..doctor.mounts import takes_no_writes
    from ..errors import ConfigError, looking_at
    from ..service.places import Places
    from .event_options import check_parent

    if name:
        Places(name)
    if out is None:
        about = f"-{name}" if name else ""
        out = Path(f"sightpost-support{about}-{clock.now():%Y%m%dT%H%M%SZ}.tar.gz")
    if not out.name.endswith((".tar.gz", ".tgz")):
        raise ConfigError(f"{out} must end in .tar.gz", hint="that is what it will be")
    with looking_at(out, ConfigError):
        if out.is_dir():
            raise ConfigError(f"{out} is a folder")
    check_parent(out)
    if takes_no_writes(out.absolute().parent):
        raise ConfigError(
            f"the file system of {out.absolute().parent} is read-only",
            hint="--out FILE on another disk; sightpost doctor says more about this one",
        )
    if not os.access(out.absolute().parent, os.W_OK):
        raise ConfigError(f"no permission to write into {out.absolute().parent}", hint="--out FILE")
    return out


def _check_there(host: "Host", config: Path | None) -> None:
    """A mistyped name gives no report of a station that does not exist. What is there and broken is
    gathered; so is a store whose config is gone.

    Raises:
        ConfigError: there is no such station, or no such config.
    """
    from ..errors import ConfigError
    from ..service.machine import Machine
    from ..service.places import need_station

    if host.station:
        need_station(Machine(root=host.root), host.station)
    if config is not None:
        try:
            config.stat()
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise ConfigError(f"no config file at {config}") from exc
        except OSError:
            return  # it may not be looked at: the archive says so


def _may_ask_or(yes: bool) -> None:
    from ..errors import ConfigError

    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            "nobody is there to look at what would be written",
            hint="on a terminal it is shown first; --yes writes it without asking",
        )


def _gathered(host: "Host") -> "Gathered":
    """Look at everything; a secret that is in there after all ends it here."""
    from ..errors import SightpostError
    from ..support.gather import gather
    from .progress import Line

    line = Line()
    try:
        gathered = gather(
            host, lambda part: line.show(f"gathering {part}"),
            lambda check: line.show(f"looking at {check}"),
        )  # fmt: skip
    finally:
        line.close()
    if gathered.left:
        raise SightpostError(
            f"{' and '.join(gathered.left)} could not be removed: nothing was written",
            hint="this is a bug; report it with the output of sightpost doctor --json",
        )
    return gathered


def _show(gathered: "Gathered", path: Path, size: int) -> None:
    from .event_options import say

    say(f"this would be in {path} ({size / 1000:.0f} kB):")
    for name, content in gathered.files.items():
        print(f"  {len(content):>9,}  {name}", file=sys.stderr)
    removed = ", ".join(f"{kind} ({times}x)" for kind, times in gathered.removed.items())
    print(f"removed: {removed or 'nothing had to be'}; no pictures, models or keys are in it",
          file=sys.stderr)  # fmt: skip
