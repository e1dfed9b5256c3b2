"""The plans: which steps make a station, which take it away, and how a plan is carried out."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..lives import REBOOT
from .arrival import Model
from .extras import Say
from .machine import Machine
from .managed import Off, Reloaded, Running
from .places import CONFIGS, README, RULES, STATES, UNITS, USER, Places, neighbours
from .removal import AccountGone, Gone
from .steps import UNITS_CHANGED, Account, DeviceRule, File, Folder, Step
from .units import TEMPLATES, camera_drop_in, shipped, started_by, unit, uplink_drop_in
from .wish import Station, is_config

CONFIG_CHANGED, PASSWORD_CHANGED = "config", "password"
_RULES = {
    "/dev/dma_heap/*": 'SUBSYSTEM=="dma_heap", GROUP="sightpost", MODE="0660"',
    "/dev/gpiochip*": 'SUBSYSTEM=="gpio", KERNEL=="gpiochip*", GROUP="sightpost", MODE="0660"',
}
"""Raspberry Pi OS gives these to the groups video and gpio; Debian leaves them to root alone."""


def install_steps(machine: Machine, station: Station) -> list[Step]:
    """What makes a station, in order; nothing of it runs before all of it is there."""
    places = station.places
    groups = ("video", "render", "gpio") if station.site.pins else ("video", "render")
    owner = f"{USER}:{USER}"
    steps: list[Step] = [
        Account(groups),
        Folder(STATES),
        Folder(places.state, owner, 0o750, deep=True),
        Folder(CONFIGS),
    ]
    had_key = machine.path(places.key).exists()
    if station.key is not None:
        steps.append(File(places.key, station.key.encode()))
    if station.model is not None:
        signed = station.key is not None or had_key
        new = "" if had_key or station.key is None else places.key
        steps.append(Model(station.model, places.models, program(machine), signed, new))
    steps.append(
        File(places.config, station.config.encode(), f"root:{USER}", 0o640, tells=CONFIG_CHANGED)
    )
    if station.password is not None:
        steps.append(
            File(places.password, station.password, mode=0o600, tells=PASSWORD_CHANGED, secret=True)
        )
    if rules := _rules(machine, station):
        steps.append(DeviceRule(rules))
    before = _as_it_is(machine, station)
    return [*steps, *_unit_files(machine, station), *_units(station, before)]


def uninstall_steps(machine: Machine, places: Places, *, delete_data: bool) -> list[Step]:
    """What takes a station away; the unit files go with the last one, data only where told."""
    steps: list[Step] = [Off(unit) for unit in (places.reboot, places.camera, places.uplink)]
    steps += [
        Gone(places.drop_in(unit), tells=UNITS_CHANGED) for unit in (places.camera, places.uplink)
    ]
    if is_last := not neighbours(machine, places):
        steps += [Gone(f"{UNITS}/{name}", tells=UNITS_CHANGED) for name in TEMPLATES]
        steps += [Gone(RULES), Gone(README)]
    steps.append(Reloaded())
    if delete_data:
        steps += [Gone(place) for place in data(places)]
        if is_last and not _kept(machine, places):
            steps += [Gone(STATES), Gone(CONFIGS), AccountGone()]
    return steps


def left(machine: Machine, places: Places) -> list[str]:
    """What lies here of a station that is out of systemd, and its user where that is nobody
    else's."""
    found = [place for place in data(places) if os.path.lexists(machine.path(place))]
    is_all = not neighbours(machine, places) and not _kept(machine, places)
    if is_all and USER in machine.accounts("passwd"):
        found.append(f"the user {USER}")
    return found


def data(places: Places) -> tuple[str, ...]:
    """What an uninstallation leaves unless it is told to delete it."""
    return places.state, places.config, places.key, places.password


def carry_out(
    machine: Machine, name: str, steps: Sequence[Step], say: Say, *, dry_run: bool = False
) -> int:
    """Do what is lacking, in order; gives how many steps that were.

    What was changed is noted in RAM until the end: where a step fails, the next time still starts
    anew what works with old files.

    Raises:
        SightpostError: a step could not be done; those before it are, and stay so.
    """
    note = machine.path(f"/run/sightpost-{name}.changed")
    changed = _noted(note)
    count = 0
    for step in steps:
        if not (lacking := step.lacking(machine, changed)):
            continue
        count += 1
        say(f"{step.what()} {lacking}")
        if dry_run:
            for line in step.how(machine):
                say(f"    {line}")
        else:
            step.do(machine)
        if step.tells:
            changed = changed | {step.tells}
            if not dry_run:
                with suppress(OSError):
                    note.write_text(" ".join(changed))
    if not dry_run:
        with suppress(OSError):
            note.unlink(missing_ok=True)
    return count


def program(machine: Machine) -> Path:
    """The program that the units start: the one that installs, as /opt/sightpost where that is it.

    A release is then changed by moving that link, without touching a unit.
    """
    for prefix in (Path("/opt/sightpost"), machine.prefix):
        found = prefix / "bin" / "sightpost"
        with suppress(OSError):
            if machine.path(prefix).resolve() == machine.path(machine.prefix).resolve():
                return found
    return machine.prefix / "bin" / "sightpost"


def _as_it_is(machine: Machine, station: Station) -> tuple[Step, ...]:
    """What makes the files that come of a config what they are now. None for a new station, none
    over a config that is broken, and none with a new model: rules of before need not go with its
    labels."""
    places = station.places
    config = machine.peek(places.config)
    if config is None or station.model is not None or not is_config(config):
        return ()
    steps: list[Step] = [File(places.config, config, f"root:{USER}", 0o640)]
    for place, mode in (
        (places.password, 0o600),
        *((places.drop_in(name), 0o644) for name in (places.camera, places.uplink)),
    ):
        old = machine.peek(place)
        steps.append(Gone(place) if old is None else File(place, old, mode=mode))
    return tuple(steps)


def _shared(machine: Machine, places: Places) -> str:
    """What the units' new program means for others, or ""."""
    old = started_by((machine.peek(f"{UNITS}/{TEMPLATES[0]}") or b"").decode(errors="replace"))
    new = str(program(machine))
    others = sorted(neighbours(machine, places)) if old not in ("", new) else []
    if not others:
        return ""
    verb = "shares" if len(others) == 1 else "share"
    told = f"{', '.join(others)} {verb} it: from the next restart on {new} is started there, too"
    return f"{told}, not {old} any more"


def _unit_files(machine: Machine, station: Station) -> list[Step]:
    places = station.places
    shared = _shared(machine, places)
    steps: list[Step] = [
        File(README, shipped("README.md", machine).encode()),
        *(
            File(
                f"{UNITS}/{name}", unit(name, machine, program(machine)).encode(),
                tells=UNITS_CHANGED, note=shared if name == TEMPLATES[0] else "",
            )
            for name in TEMPLATES
        ),
    ]  # fmt: skip
    added = {
        places.camera: camera_drop_in(station.site),
        places.uplink: uplink_drop_in(places.password) if station.has_password else "",
    }
    for name, text in added.items():
        place = places.drop_in(name)
        steps.append(
            File(place, text.encode(), tells=UNITS_CHANGED)
            if text
            else Gone(place, tells=UNITS_CHANGED)
        )
    return steps


def _units(station: Station, before: tuple[Step, ...]) -> list[Step]:
    places, heeds = station.places, frozenset({UNITS_CHANGED, CONFIG_CHANGED})
    wanted = [places.camera, *([places.uplink] if station.site.mqtt.url else [])]
    steps: list[Step] = [Reloaded(tuple(wanted)), Running(places.camera, heeds, before)]
    if station.site.mqtt.url:
        steps.append(Running(places.uplink, heeds | {PASSWORD_CHANGED}))
    else:
        steps.append(Off(places.uplink))
    if station.reboot:
        steps.append(Gone(f"{places.runtime}/{REBOOT}"))  # a wish from before somebody listened
        steps.append(Running(places.reboot, frozenset()))
    elif station.reboot is False:
        steps.append(Off(places.reboot))
    return steps


def _rules(machine: Machine, station: Station) -> tuple[str, ...]:
    """For devices that are here and belong to root alone."""
    wanted = []
    if station.site.source.startswith("picamera://"):
        wanted.append("/dev/dma_heap/*")
    if station.site.pins:
        wanted.append("/dev/gpiochip*")
    return tuple(_RULES[pattern] for pattern in wanted if _is_roots(machine, pattern))


def _is_roots(machine: Machine, pattern: str) -> bool:
    nodes = [f"/{p.relative_to(machine.root)}" for p in machine.root.glob(pattern.lstrip("/"))]
    return any(machine.owner(node) == "root:root" for node in nodes)


def _kept(machine: Machine, places: Places) -> list[Path]:
    """What lies here of other stations: their data goes only when they are named."""
    ours = {Path(place).name for place in (*data(places), README)}
    there = [*machine.path(STATES).glob("*"), *machine.path(CONFIGS).glob("*")]
    return [path for path in there if path.name not in ours]


def _noted(note: Path) -> frozenset[str]:
    try:
        return frozenset(note.read_text().split())
    except OSError:
        return frozenset()
