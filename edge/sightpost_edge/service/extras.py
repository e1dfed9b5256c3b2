"""What a station needs of this machine's Python: libraries for its camera, pins and broker."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..config import Site
from ..errors import MissingExtra, ServiceError, SightpostError
from ..uplink.settings import need_mqtt
from .machine import Machine

Say = Callable[[str], object]
Doubt = Callable[[SightpostError], object]


@contextmanager
def doubted(doubt: Doubt | None) -> Iterator[None]:
    """Tell ``doubt`` of what is missing here, in place of refusing; None: refuse."""
    try:
        yield
    except (MissingExtra, ServiceError) as exc:
        if doubt is None:
            raise
        doubt(exc)


def check_extras(site: Site, machine: Machine) -> None:
    """Refuse a config for whose camera, pins or broker a library is missing here.

    Raises:
        MissingExtra: with the line that installs it.
        ConfigError: the broker's table cannot be used.
    """
    if site.source.startswith("picamera://"):
        _has_picamera(machine)
    if site.pins:
        for module in ("gpiozero", "lgpio"):
            need(module, "output pins", "gpiozero lgpio", machine)
    if site.mqtt.url:
        need_mqtt(site.mqtt)
        site.mqtt.tls_context()


def _has_picamera(machine: Machine) -> None:
    if importlib.util.find_spec("picamera2") is None:
        raise MissingExtra(
            "the Pi's camera needs picamera2, which only apt has",
            hint="sudo apt install -y python3-picamera2 && sudo python3 -m venv "
            f"--system-site-packages --upgrade {machine.prefix}",
        )


def need(module: str, what: str, packages: str, machine: Machine) -> None:
    """Refuse where this Python has no ``module``, which ``what`` needs and ``packages`` bring.

    Raises:
        MissingExtra: with the line that installs it.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingExtra(
            f"{what} need {module}",
            hint=f"sudo {machine.prefix}/bin/pip install {packages}; "
            "lgpio for Python 3.13 is apt's python3-lgpio",
        )
