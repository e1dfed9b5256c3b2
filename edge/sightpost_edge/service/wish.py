"""What somebody wants a station to be, read and judged before anything is changed."""

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import Site, build, parse
from ..errors import ConfigError, nearest
from ..minikeys import PublicKey
from ..models import ModelFolder
from ..models.trust import read_trusted
from ..pixels import PHOTO_SUFFIXES
from ..sources import SCHEMES
from .chosen import contract_to_be, model_to_install
from .extras import Doubt, check_extras, doubted, need
from .machine import Machine
from .places import CONFIGS, Places
from .sandbox import check_program, check_store, unseen

_SECRET_LINE = re.compile(r"^[ \t]*password_file[ \t]*=.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wish:
    """``config``, ``model`` and ``key`` are files that were given, None where what is here already
    counts; ``reboot`` None leaves that as it is."""

    places: Places
    config: Path | None = None
    model: Path | None = None
    key: Path | None = None
    reboot: bool | None = None


@dataclass(frozen=True, slots=True)
class Station:
    """A wish that can be fulfilled: ``config`` is the text to be served, ``model`` a file that is
    to be installed, ``key`` the text of a .pub, ``password`` the broker's, each None where there
    is nothing to be done about it; ``site`` is what the text says."""

    places: Places
    site: Site
    config: str
    model: Path | None = None
    key: str | None = None
    password: bytes | None = None
    reboot: bool | None = None

    @property
    def has_password(self) -> bool:
        """Whether the broker's password is to be handed to its uplink."""
        return self.password is not None


def read_site(machine: Machine, wish: Wish) -> tuple[str, Site]:
    """The config that was given, else that which is here, as its text and what that says.

    Raises:
        ConfigError: there is none, or it is none.
        ServiceError: that which is here may not be read.
    """
    text = _text(machine, wish)
    return text, _site(text.encode(), str(wish.config or wish.places.config))


def consider(machine: Machine, wish: Wish, doubt: Doubt | None = None) -> Station:
    """Everything that can be refused, refused now.

    Args:
        machine: the one that is to get the station.
        wish: what it is to be.
        doubt: is told what would be refused for what this machine is or lacks; nothing is, then:
            for a plan that is only to be shown.

    Raises:
        SightpostError: with what would help.
    """
    text, site = read_site(machine, wish)
    with doubted(doubt):
        check_program(machine, _words(wish))
    with doubted(doubt):
        check_store(machine, wish.places)
    _check_source(machine, site, wish.places)
    _check_files(machine, site, wish.places)
    with doubted(doubt):
        check_extras(site, machine)
    password = _password(machine, site, wish.places)
    served = without_password(text)
    key = _key(machine, wish)
    if read_trusted(_trusted(machine, wish)) is not None:
        need("cryptography", "signed models", "cryptography", machine)
    folder = ModelFolder(machine.path(wish.places.models), key=_trusted(machine, wish))
    model = model_to_install(folder, wish.model, site.model, key_given=key is not None)
    if (contract := contract_to_be(folder, model)) is not None:
        site.check_pins(site.rules_for(contract), contract)
    return Station(
        wish.places, replace(site, mqtt=replace(site.mqtt, password_file="")), served,
        model, key, password, wish.reboot,
    )  # fmt: skip


def without_password(text: str) -> str:
    """A config without ``password_file``: the service could not read that, systemd hands it over.

    Raises:
        ConfigError: the line cannot be taken out of this file.
    """
    parsed = parse(text.encode(), where="config")
    if "password_file" not in parsed.get("mqtt", {}):
        return text
    changed = _SECRET_LINE.sub("# \\g<0>    # a service: systemd hands the password over", text)
    del parsed["mqtt"]["password_file"]
    try:
        if parse(changed.encode(), where="config") == parsed:
            return changed
    except ConfigError:
        pass
    raise ConfigError(
        "mqtt: password_file cannot be taken out of this config",
        hint="give it a line of its own below a line [mqtt]",
    )


def config_changes(old: str, new: str) -> int:
    """How many lines differ."""
    import difflib

    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    return sum(line[:1] in "+-" and line[:3] not in ("+++", "---") for line in lines)


def _words(wish: Wish) -> str:
    words = ["service", "install", wish.places.name]
    for name in ("config", "model", "key"):
        if (given := getattr(wish, name)) is not None:
            words += [f"--{name}", str(given.absolute())]
    return shlex.join([*words, *(["--reboot"] if wish.reboot else [])])


def _text(machine: Machine, wish: Wish) -> str:
    if wish.config is None:
        found = machine.read(wish.places.config)
        if found is None:
            raise ConfigError(
                f"there is no {wish.places.config} yet", hint="--config site.toml becomes it"
            )
    else:
        try:
            found = wish.config.read_bytes()
        except OSError as exc:
            raise ConfigError(f"cannot read {wish.config}: {exc.strerror}") from exc
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{wish.config or wish.places.config} is not UTF-8 text") from exc


def _site(content: bytes, where: str) -> Site:
    return build(Site, parse(content, where=where), where=where)


def is_config(content: bytes) -> bool:
    """Whether a start could use this config."""
    try:
        _site(content, "config")
    except ConfigError:
        return False
    return True


def _check_source(machine: Machine, site: Site, places: Places) -> None:
    if not site.source:
        raise ConfigError("the config names no source", hint='source = "picamera://0", or "0"')
    scheme, link, rest = site.source.partition("://")
    if link and scheme not in SCHEMES:
        raise ConfigError(f"unknown source {scheme}://", hint=nearest(scheme, SCHEMES))
    if not link and (site.source.isdigit() or site.source.startswith("/dev/")):
        return
    if not link or scheme in ("file", "folder"):
        place = rest if link else site.source
        _check_readable(machine, "source", place, places)
        _check_endless(site, machine.path(place))


def _check_endless(site: Site, place: Path) -> None:
    """A source that ends is begun again for ever, and each time its events are kept once more."""
    shown = f"source {site.source}:"
    once = f"sightpost run --source {shlex.quote(site.source)} looks at it once"
    if place.is_dir() or place.suffix.lower() in PHOTO_SUFFIXES:
        raise ConfigError(f"{shown} photos come to an end, a service does not", hint=once)
    if not site.camera.loop:
        raise ConfigError(
            f"{shown} a recording comes to an end, a service does not",
            hint=f"loop = true below a line [camera] plays it again and again; {once}",
        )


def _check_files(machine: Machine, site: Site, places: Places) -> None:
    if site.store and Path(site.store) != Path(places.state):
        raise ConfigError(
            f"store {site.store}: a service keeps its events in {places.state}",
            hint="take the line out; another disk is mounted there",
        )
    log = Path(places.state) / site.log
    if site.log and not log.is_relative_to(places.state):
        raise ConfigError(
            f"log {site.log}: a service writes below {places.state} only",
            hint=f'log = "{Path(site.log).name}"',
        )
    for name, given in (("labels", site.labels), ("mqtt: ca_file", site.mqtt.ca_file)):
        if given:
            _check_readable(machine, name, given, places)


def _check_readable(machine: Machine, name: str, given: str, places: Places) -> None:
    path = Path(given)
    if not path.is_absolute():
        raise ConfigError(
            f"{name} {given}: a service works in {places.state}, not here",
            hint=f"write the whole path: {path.absolute()}",
        )
    if why := unseen(machine, path):
        copy = f"sudo mkdir -p {CONFIGS} && sudo cp -r {shlex.quote(given)} {CONFIGS}/"
        there = machine.path(path).exists()
        hint = f"{copy}, and {CONFIGS}/{path.name} in the config" if there else ""
        raise ConfigError(f"{name} {given} {why}", hint=hint)


def _password(machine: Machine, site: Site, places: Places) -> bytes | None:
    """What is to be in the service's own file: the given one's content, else what is there."""
    here = machine.peek(places.password) if site.mqtt.username else None
    given = site.mqtt.password_file
    if not given or Path(given) == Path(places.password):
        if given and here is None:
            raise ConfigError(f"mqtt: there is no {given}")
        return here
    try:
        secret = site.mqtt.password() or ""
    except ConfigError:
        if here is not None and not Path(given).exists():
            return here  # it was taken over by an earlier installation
        raise
    return secret.encode()


def _key(machine: Machine, wish: Wish) -> str | None:
    if wish.key is None:
        return None
    try:
        key = PublicKey.from_text(wish.key.read_text())
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read {wish.key}: {exc}") from exc
    known = read_trusted(machine.path(wish.places.key))
    if known is not None and known != key:
        raise ConfigError(
            f"key {known.name} is trusted here, not {key.name}",
            hint="sightpost model trust KEY --replace changes it",
        )
    return key.to_text()


def _trusted(machine: Machine, wish: Wish) -> Path:
    return wish.key or machine.path(wish.places.key)
