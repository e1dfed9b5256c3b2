"""Where a camera stands and for whom: what a data package says that no event knows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..contract import NOTHING_LABELS
from ..errors import ConfigError, nearest
from ..localtime import read_when
from ..rules import UNKNOWN

Sampling = Literal[
    "simpleRandom", "systematicRandom", "clusteredRandom", "experimental", "targeted",
    "opportunistic",
]  # fmt: skip
"""How the place was chosen, in the words of Camtrap DP."""
KINDS = ("animal", "human", "vehicle", "blank", "unknown", "unclassified")
"""What Camtrap DP calls an observation's type."""
_USUAL = {
    "person": "human", "human": "human", "vehicle": "vehicle", "car": "vehicle",
    UNKNOWN: "unknown", **dict.fromkeys(NOTHING_LABELS, "blank"),
}  # fmt: skip
_MISSING = ("", "NA", "NaN", "nan")
"""What Camtrap DP's tables take for no value."""
_MAIL = re.compile(r"(.*?)\s*<([^<>\s]+@[^<>\s]+)>\s*")


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the camera stands: the ``[deployment]`` table, for ``events export`` only.

    ``id`` names this stay at this place; left empty it is the device's name and the first day.
    ``start`` and ``end`` bound it (ISO 8601; without an offset in the device's time zone; an end
    that is a day alone includes that day): other events are left out. ``contact`` is
    "Name <mail@example.org>", or a name alone. ``species`` says what labels mean: a scientific
    name, one of ``KINDS``, or "" where nobody has said yet. The licences
    are names as in SPDX, or addresses.
    """

    id: str = ""
    location: str = ""
    latitude: float | None = None
    longitude: float | None = None
    uncertainty_m: int = 0
    start: str = ""
    end: str = ""
    setup_by: str = ""
    camera_model: str = ""
    height_m: float | None = None
    heading_degrees: int | None = None
    tilt_degrees: int | None = None
    project: str = ""
    sampling: Sampling = "opportunistic"
    contact: str = ""
    organization: str = ""
    data_license: str = ""
    media_license: str = ""
    species: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_within("latitude", self.latitude, -90, 90)
        _check_within("longitude", self.longitude, -180, 180)
        _check_within("uncertainty_m", self.uncertainty_m, 0, 1e7)
        _check_within("height_m", self.height_m, 0, 1e4)
        _check_within("heading_degrees", self.heading_degrees, 0, 360)
        _check_within("tilt_degrees", self.tilt_degrees, -90, 90)
        if self.id and self.id.strip() in _MISSING:
            raise ConfigError(f"deployment: id {self.id!r} means that there is none")
        if any(mark in self.contact for mark in "<>@") and not _MAIL.fullmatch(self.contact):
            raise ConfigError(
                f"deployment: contact {self.contact!r} has no address that can be read",
                hint='as in "Ada Lovelace <ada@example.org>", or a name alone',
            )
        if bool(self.data_license) != bool(self.media_license):
            raise ConfigError(
                "deployment: a data package needs both data_license and media_license, or neither"
            )
        start_ms, end_ms = self.period_ms
        if start_ms is not None and end_ms is not None and start_ms >= end_ms:
            raise ConfigError(f"deployment: start {self.start} is not before end {self.end}")
        for label, meaning in self.species.items():
            _check_meaning(label, meaning)

    @property
    def period_ms(self) -> tuple[int | None, int | None]:
        """From when to before when it stood there, ms since 1970; None where that is open."""
        start = _moment("start", self.start) if self.start else None
        end = _moment("end", self.end, whole_day=True) if self.end else None
        return start, end

    def check_complete(self) -> None:
        """Refuse what cannot become a Camtrap DP package.

        Raises:
            ConfigError: naming all keys that are missing.
        """
        values = {name: getattr(self, name) for name in ("latitude", "longitude")}
        values |= {"project": self.project.strip(), "contact": self.contact.strip()}
        if missing := [name for name, value in values.items() if value in (None, "")]:
            raise ConfigError(
                f"Camtrap DP needs {' and '.join(missing)}",
                hint="write it under [deployment] in the station's file and give that as --config",
            )

    def scientific_name(self, label: str) -> str:
        """Of an animal's label, "" where none is given."""
        meaning = self.species.get(label, "")
        return "" if meaning in KINDS else meaning

    @property
    def contributor(self) -> dict[str, str]:
        """The contact as a data package's contributor."""
        found = _MAIL.fullmatch(self.contact)
        parts = {"title": self.contact.strip(), "role": "contact"}
        if found:
            parts |= {"title": found[1] or found[2], "email": found[2]}
        return parts | ({"organization": self.organization} if self.organization else {})


def kind_of(label: str, species: Mapping[str, str]) -> str:
    """One of ``KINDS``: a label that says nothing else is an animal's."""
    meaning = species.get(label) or _USUAL.get(label.lower(), "animal")
    return meaning if meaning in KINDS else "animal"


def _moment(name: str, text: str, *, whole_day: bool = False) -> int:
    """A bound of the stay, ms since 1970; never one that moves, such as "2h" ago."""
    if not text[:4].isdigit():
        raise ConfigError(
            f"deployment: {name} {text!r} is no date", hint="2026-04-03, or 2026-04-03T18:30+02:00"
        )
    return read_when(text, whole_day=whole_day)


def _check_within(name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise ConfigError(f"deployment: {name} must be {least:g} to {most:g}, got {value}")


def _check_meaning(label: str, meaning: object) -> None:
    """Scientific names begin with a capital, so that a mistyped kind is not taken for one."""
    if isinstance(meaning, str) and (meaning in ("", *KINDS) or meaning[:1].isupper()):
        return
    hint = nearest(str(meaning), KINDS)
    raise ConfigError(
        f"deployment: species {label!r}: {meaning!r} is neither a scientific name nor a kind",
        hint=f'as in "Vulpes vulpes"; {hint}',
    )
