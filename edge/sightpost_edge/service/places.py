"""Where a station's parts lie on the machine, all by its name."""

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, nearest
from .machine import Machine

USER = "sightpost"
CONFIGS = "/etc/sightpost"
STATES = "/var/lib/sightpost"
UNITS = "/etc/systemd/system"
RULES = "/etc/udev/rules.d/70-sightpost.rules"
README = f"{CONFIGS}/README.md"
DROP_IN = "50-sightpost.conf"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_OURS = "sightpost*@*"
_UNIT = re.compile(rf"sightpost(?:-uplink|-reboot)?@({_NAME.pattern})\.")


@dataclass(frozen=True, slots=True)
class Places:
    """Those of the station ``name``, which systemd takes as it is: letters, figures, "-" and "_".

    Raises:
        ConfigError: it cannot be a station's name.
    """

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} cannot be a station's name",
                hint='up to 32 letters, figures, "-" and "_", such as "gate"',
            )

    @property
    def config(self) -> str:
        """Its site.toml."""
        return f"{CONFIGS}/{self.name}.toml"

    @property
    def key(self) -> str:
        """The public key whose models it takes."""
        return f"{CONFIGS}/{self.name}.pub"

    @property
    def password(self) -> str:
        """The broker's, which systemd hands over."""
        return f"{CONFIGS}/{self.name}.mqtt-password"

    @property
    def state(self) -> str:
        """Its store."""
        return f"{STATES}/{self.name}"

    @property
    def models(self) -> str:
        """Its model folder."""
        return f"{self.state}/models"

    @property
    def runtime(self) -> str:
        """Where it says what it is doing; in RAM."""
        return f"/run/sightpost/{self.name}"

    @property
    def camera(self) -> str:
        """The unit that looks."""
        return f"sightpost@{self.name}.service"

    @property
    def uplink(self) -> str:
        """The unit that sends."""
        return f"sightpost-uplink@{self.name}.service"

    @property
    def reboot(self) -> str:
        """The unit that waits for a wish to be rebooted."""
        return f"sightpost-reboot@{self.name}.path"

    def drop_in(self, unit: str) -> str:
        """What its config adds to one of its units."""
        return f"{UNITS}/{unit}.d/{DROP_IN}"


def stations(machine: Machine) -> list[str]:
    """The names of all configs that lie here."""
    return sorted(path.stem for path in machine.path(CONFIGS).glob("*.toml"))


def neighbours(machine: Machine, places: Places) -> set[str]:
    """Other stations that may need what all share: with a config, or a unit that starts with the
    machine, has a drop-in (one that is only disabled for the winter), or is at work.

    Raises:
        ServiceError: systemd could not be asked.
    """
    units = machine.path(UNITS)
    found = [path.name for path in (*units.glob(f"*.wants/{_OURS}"), *units.glob(f"{_OURS}.d"))]
    found.append(machine.ask("systemctl", "list-units", "--plain", "--no-legend", _OURS).out)
    named = {match[1] for text in found for match in _UNIT.finditer(text)}
    return (named | set(stations(machine))) - {places.name}


def mounted_line(folder: str | Path, place: str | Path) -> str:
    """The line of /etc/fstab that shows ``folder`` of another disk at ``place``."""
    return f"{folder} {place} none bind,nofail 0 0"


def need_station(machine: Machine, name: str) -> Places:
    """The places of a station that is here.

    Raises:
        ConfigError: there is none of that name.
    """
    places, here = Places(name), stations(machine)
    if name in here or machine.path(places.state).exists():
        return places
    new = f"sudo sightpost service install {name} --config site.toml --model FILE.tflite makes one"
    hint = nearest(name, here) if here else new
    raise ConfigError(f"there is no station {name} here", hint=hint)
