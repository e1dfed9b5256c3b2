"""The root command: parses, calls one function, prints; every command loads only when called."""

import contextlib
import errno
import importlib
import logging
import os
import sys
from importlib.metadata import entry_points
from typing import Any

import typer
import typer.core
import typer.main

from . import __version__
from .errors import ConfigError, DiskFull, SightpostError, nearest
from .native import no_opencv_warnings

GROUP = "sightpost.commands"

DEVICE_COMMANDS = {
    "run": "sightpost_edge.commands.run:run",
    "bench": "sightpost_edge.commands.bench:bench",
    "classify": "sightpost_edge.commands.classify:classify",
    "events": "sightpost_edge.commands.events:events",
    "inspect": "sightpost_edge.commands.inspect:inspect",
    "replay": "sightpost_edge.commands.replay:replay",
    "why": "sightpost_edge.commands.why:why",
    "uplink": "sightpost_edge.commands.uplink:uplink",
    "keys": "sightpost_edge.commands.keys:keys",
    "service": "sightpost_edge.commands.service:service",
    "model": "sightpost_edge.commands.model:model",
    "doctor": "sightpost_edge.commands.doctor:doctor",
    "support": "sightpost_edge.commands.support:support",
}
ORDER = (
    "demo", "data", "train", "convert", "inspect", "bench", "classify", "run", "events", "why",
    "replay", "service", "doctor", "support", "uplink", "model", "keys",
)  # fmt: skip


class Commands(typer.core.TyperGroup):
    """A group whose commands come from a table and from the entry points of ``GROUP``."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All command names, in the order in which a newcomer needs them."""
        names = _targets()
        return sorted(names, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and build one command."""
        targets = _targets()
        if cmd_name not in targets:
            raise ConfigError(f"no command {cmd_name!r}", hint=nearest(cmd_name, targets))
        module, _, attribute = targets[cmd_name].partition(":")
        thing = getattr(importlib.import_module(module), attribute)
        if not isinstance(thing, typer.Typer):
            app = typer.Typer(rich_markup_mode=None, add_completion=False)
            app.command(cmd_name)(thing)
            thing = app
        command = typer.main.get_command(thing)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        """Turn our errors into one message, one hint and their exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except SightpostError as exc:
            typer.echo(f"sightpost: {exc}", err=True)
            if exc.hint:
                typer.echo(f"  hint: {exc.hint}", err=True)
            raise typer.Exit(exc.exit_code) from exc
        except BrokenPipeError as exc:
            # The reader went away (| head): nothing is left to say, and nobody to say it to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(141) from exc
        except OSError as exc:
            if exc.errno != errno.ENOSPC:
                raise
            typer.echo("sightpost: no space left where the output goes", err=True)
            raise typer.Exit(DiskFull.exit_code) from exc
        except KeyboardInterrupt as exc:
            typer.echo("sightpost: interrupted", err=True)
            raise typer.Exit(130) from exc


def _targets() -> dict[str, str]:
    joined = {point.name: point.value for point in entry_points(group=GROUP)}
    return {**joined, **DEVICE_COMMANDS}


app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="From a folder of labelled photos to a camera that logs what it sees.",
    epilog="Exit codes: 0 done, 2 usage, 3 photos, 4 model, 5 camera or recording, 6 missing "
    "extra, 7 store or disk, 8 conversion refused, 9 training, 10 target, 11 pins, "
    "12 nothing could be sent, 13 the doctor found a fault, 14 service, "
    "130 interrupted, 141 the reader of the output went away.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sightpost {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """From a folder of labelled photos to a camera that logs what it sees."""
    logging.basicConfig(level=logging.INFO, format="sightpost: %(message)s", stream=sys.stderr)


def main() -> None:
    """The console script."""
    for number in (0, 1, 2):  # a closed descriptor would be given to the first file we open
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - for the process's life
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    no_opencv_warnings()
    app(prog_name="sightpost")
