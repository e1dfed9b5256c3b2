"""``sightpost service``: a camera that starts with the machine and is looked after by systemd."""

import json as jsonlib
import os
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .event_options import many, say

if TYPE_CHECKING:
    from ..errors import SightpostError
    from ..service.machine import Machine
    from ..service.places import Places
    from ..service.standing import Standing, Unit

service = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="A camera that starts with the machine, looked after by systemd.",
)

NO_SYSTEMD = "systemd is not pid 1 here (a container?)"
NOT_ACTIVE = 3
"""What ``systemctl is-active`` ends with, too."""

Name = Annotated[str, typer.Argument(help="The station's name: gate is sightpost@gate.service.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
Json = Annotated[bool, typer.Option("--json", help="The same as one JSON object.")]


@service.command()
def install(
    name: Name,
    config: Annotated[
        Path | None, typer.Option(help="The site.toml; becomes /etc/sightpost/NAME.toml.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="The Bundle to begin with, or a folder that holds it.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The .pub whose models are taken from now on.")
    ] = None,
    reboot: Annotated[
        bool | None,
        typer.Option(
            "--reboot/--no-reboot",
            help="Let the machine be started anew where nothing else helped: five bad ends within "
            "an hour.",
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Install a station as a service and start it; needs sudo.

    Everything is checked first. What is as it should be is left alone: repeat it after a change of
    the config or of the program. Where it would be refused here, a dry run ends with that code.
    """
    from ..service.places import Places
    from ..service.plan import carry_out, install_steps
    from ..service.wish import Wish, consider, read_site

    doubts: list[SightpostError] = []

    def doubt(exc: "SightpostError") -> None:
        say(f"this would be refused: {exc}\n  hint: {exc.hint}")
        doubts.append(exc)

    wish = Wish(Places(name), config, model, key, reboot)
    if config is not None:
        read_site(_this(dry_run=dry_run), wish)  # its faults come before the machine's
    machine = _machine(dry_run=dry_run)
    station = consider(machine, wish, doubt if dry_run else None)
    steps = install_steps(machine, station)
    done = carry_out(machine, name, steps, say, dry_run=dry_run)
    _count(done, dry_run=dry_run)
    if not dry_run:
        _status(machine, station.places, json=False)
    elif doubts:
        raise typer.Exit(doubts[0].exit_code)


@service.command()
def status(name: Name, json: Json = False) -> None:
    """Show how a station is doing; ends with 0 where it is active, else with 3."""
    from ..service.places import need_station

    machine = _running()
    if not _status(machine, need_station(machine, name), json=json):
        raise typer.Exit(NOT_ACTIVE)


@service.command()
def logs(
    name: Name,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="The last so many.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new ones.")] = False,
) -> None:
    """Show what a station's units said, from the journal."""
    from ..errors import ServiceError
    from ..service.journal import log_command
    from ..service.places import need_station

    places = need_station(_running(), name)
    words = log_command([places.camera, places.uplink], lines=lines, follow=follow)
    sys.stdout.flush()
    try:
        os.execvp(words[0], words)
    except OSError as exc:
        raise ServiceError(f"{words[0]} cannot be run: {exc.strerror}") from exc


@service.command()
def uninstall(
    name: Name,
    delete_data: Annotated[
        bool,
        typer.Option("--delete-data", help="Events, models, config and keys as well, for good."),
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Stop a station and take it out of systemd; data and config stay. Needs sudo."""
    from ..service.places import need_station
    from ..service.plan import carry_out, left, uninstall_steps

    machine = _machine(dry_run=dry_run)
    places = need_station(machine, name)
    steps = uninstall_steps(machine, places, delete_data=delete_data)
    _count(carry_out(machine, name, steps, say, dry_run=dry_run), dry_run=dry_run)
    if not dry_run and (found := left(machine, places)):
        more = ", where a disk is mounted" if delete_data else "; --delete-data removes them"
        say(f"left: {', '.join(found)}{more}")


def _machine(*, dry_run: bool) -> "Machine":
    """The one that this runs on, where it can have services and this user may install them.

    A plan can be made for any machine; it is said what keeps it from being carried out here.
    """
    from ..errors import ServiceError

    if not dry_run:
        machine = _running()
        if not machine.is_root:
            words = [str(machine.prefix / "bin" / "sightpost"), *sys.argv[1:]]
            raise ServiceError("this needs root", hint=f"sudo {shlex.join(words)}")
        return machine
    machine = _this(dry_run=True)
    if not machine.has_systemd:
        say(f"{NO_SYSTEMD}: its units count as not there, and nothing of this could be done")
    if not machine.is_root:
        say("doing this needs root; what only root may read counts as not there")
    return machine


def _running() -> "Machine":
    """The one that this runs on, where it can have services."""
    from ..errors import ServiceError

    machine = _this(dry_run=False)
    if not machine.has_systemd:
        raise ServiceError(
            NO_SYSTEMD,
            hint="sightpost run --config site.toml works without, under any other supervisor",
        )
    return machine


def _this(*, dry_run: bool) -> "Machine":
    from ..service.machine import Machine

    return Machine(plans=dry_run)


def _count(done: int, *, dry_run: bool) -> None:
    if not done:
        say("nothing to do")
    elif dry_run:
        say(f"{many(done, 'step')} would be done, nothing was")
    else:
        say(f"{many(done, 'step')} done")


def _status(machine: "Machine", places: "Places", *, json: bool) -> bool:
    from ..service.standing import as_facts, look

    standing = look(machine, places)
    if json:
        print(jsonlib.dumps(as_facts(standing), ensure_ascii=False))
    else:
        for line in _lines(standing):
            print(line)
    return standing.is_active


def _lines(standing: "Standing") -> list[str]:
    lines = [f"{standing.name}: {_unit(standing.camera)}"]
    if looking := ", ".join(part for part in (standing.camera.says, *_looking(standing)) if part):
        lines.append(f"  {looking}")
    if standing.hidden:
        lines.append("  its store can be looked into with sudo only")
        return lines
    if standing.last_bad is not None:
        lines.append(
            f"  ended badly last: {_local(standing.last_bad['time'])} ({standing.last_bad['why']})"
        )
    if standing.model is not None:
        lines.append(f"  {_model(standing.model)}")
    lines.append(f"  {_events(standing)}")
    if standing.disk:
        free = standing.disk["free_bytes"]
        lines.append(
            f"  disk: {free / 1e9:.1f} GB free, {1 - free / standing.disk['bytes']:.0%} taken"
        )
    if standing.uplink.enabled or standing.uplink.state == "active":
        waiting = many(standing.waiting, "message")
        lines.append(f"  uplink: {_unit(standing.uplink)}; {waiting} to be sent")
    if standing.reboots:
        lines.append("  may have the machine rebooted")
    return lines


def _looking(standing: "Standing") -> list[str]:
    """What the run tells beyond its line for systemd."""
    live = standing.live
    if live is None:
        return []
    camera = f"camera {live.fault} ({live.detail})" if live.fault else "camera good"
    return [camera, "" if live.armed else "disarmed", "disk full" if live.disk_full else ""]


def _local(time: str) -> str:
    """An ISO time as people here read it."""
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _unit(unit: "Unit") -> str:
    since = f" since {_local(unit.since)}" if unit.since else ""
    ended = f", last end: {unit.result}" if unit.result not in ("", "success") else ""
    off = "" if unit.enabled else ", does not start with the machine"
    restarts = f", {many(unit.restarts, 'restart')}" if unit.restarts else ""
    return f"{unit.state} ({unit.detail}){since}{restarts}{ended}{off}"


def _model(model: dict[str, Any]) -> str:
    trust = "signed" if model["signed"] else "unsigned"
    trial = ", on trial" if model["on_trial"] else ""
    version = model["version"] or model["id"]
    return f"model {model['name']} {version} ({trust}{trial})"


def _events(standing: "Standing") -> str:
    event = standing.last_event
    if event is None:
        return "no events yet"
    return (
        f"last event #{event['seq']} {event['label']} {event['score']:.2f}, "
        f"{_local(event['time'])}; {standing.events_today} today, {standing.events} in all"
    )
