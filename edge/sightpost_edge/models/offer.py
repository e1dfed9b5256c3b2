"""All that can be held against a model before a byte of it is read: its signed comment says enough.

offer = look(folder, "https://example.org/garden.tflite")
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from .. import __version__, clock
from ..container import MAX_BYTES
from ..errors import SignatureRefused, UpdateRefused
from ..machine import Machine, this_machine
from ..manifest import Manifest, is_version, version_numbers
from ..minikeys import PublicKey
from ..minisign import SUFFIX, verify_comment
from . import web
from .fetch import fetch_signature, find_model, shown
from .folder import ModelFolder
from .target import fit_target
from .versions import VERSIONS, id_of


def trusted_today(quality: Callable[[], str] = clock.quality) -> date | None:
    """The day, where the clock is synchronized; a Pi without a battery boots at any date."""
    return clock.now().date() if quality() == "synchronized" else None


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator said yes to: another name, another board."""

    new_name: bool = False
    any_target: bool = False


NOTHING_MORE = Allowed()
_OTHER_KEY = (
    "sign it with the trusted key; or, where the station is to take the other key's models from "
    "now on: sightpost model trust OTHER.pub --replace"
)


@dataclass(frozen=True, slots=True)
class Here:
    """This station as far as it decides what fits; ``today`` None: no clock that can be trusted."""

    machine: Machine = field(default_factory=this_machine)
    runtime: str = __version__
    today: date | None = field(default_factory=trusted_today)


@dataclass(frozen=True, slots=True)
class Offer:
    """A model whose manifest ``key`` signed, and that nothing speaks against so far."""

    manifest: Manifest
    signature: bytes
    key: PublicKey

    @property
    def id(self) -> str:
        """What its folder is to be called."""
        return id_of(self.manifest.version, self.manifest.sha256)


def look(
    folder: ModelFolder,
    place: str,
    *,
    allowed: Allowed = NOTHING_MORE,
    here: Here | None = None,
) -> Offer:
    """Fetch the signature of the model at ``place`` and judge all that it says.

    Raises:
        UpdateRefused: no key is trusted here, or the model is not for this station.
        SignatureRefused: unsigned, malformed, by another key, or no manifest of ours.
        ConfigError, ModelError: ``place`` cannot be used.
    """
    key = folder.trusted()
    if key is None:
        raise UpdateRefused(
            "key: no key is trusted here",
            hint="sightpost model trust KEY.pub says whose models to take; --trust-first-use takes "
            "the .pub that lies beside the model; --unsigned takes a file of your own as it is",
        )
    if not web.is_web(place) and Path(place).is_dir():
        place = str(find_model(Path(place)))
    signature = fetch_signature(place)
    try:
        manifest = Manifest.from_comment(verify_comment(signature, key))
    except SignatureRefused as exc:
        hint = _OTHER_KEY if f"the trusted key is {key.name}" in str(exc) else exc.hint
        raise SignatureRefused(f"{shown(place)}{SUFFIX}: {exc}", hint=hint) from exc
    offer = Offer(manifest, signature, key)
    check(folder, offer, allowed=allowed, here=here or Here())
    return offer


def check(folder: ModelFolder, offer: Offer, *, allowed: Allowed, here: Here) -> str:
    """Refuse what is not for this station; something to tell people, or "".

    Raises:
        UpdateRefused, SignatureRefused: the message begins with the field that does not hold.
    """
    manifest = offer.manifest
    _check_name(manifest.name, folder.state().name, allowed)
    _check_version(folder, offer)
    fit = fit_target(manifest.target, here.machine)
    if fit.verdict == "no" and not allowed.any_target:
        raise UpdateRefused(
            f"target: {fit.why}", hint="--any-target installs it all the same; it may be slow here"
        )
    if not 0 < manifest.size <= MAX_BYTES:
        raise UpdateRefused(
            f"size: {manifest.size:,} bytes were signed, a device takes {MAX_BYTES:,} at most"
        )
    manifest.check_runtime(here.runtime)
    if here.today is not None and manifest.expired(here.today):
        raise UpdateRefused(
            f"expires: the model was good until {manifest.expires}, today is {here.today}",
            hint="install its successor, or sign it again with a later day",
        )
    return "; ".join(filter(None, (fit.why, _unchecked_day(manifest, here))))


def _unchecked_day(manifest: Manifest, here: Here) -> str:
    if here.today is not None or not manifest.expires:
        return ""
    return (
        f"expires: it is good until {manifest.expires}; whether that is past was not checked, for "
        "this clock is not synchronized"
    )


def _check_name(name: str, pinned: str, allowed: Allowed) -> None:
    if pinned and name != pinned and not allowed.new_name:
        raise UpdateRefused(
            f"name: this is a model {name!r}, this station's are {pinned!r}",
            hint="--new-name takes it, if the station is to do something else from now on",
        )


def _check_version(folder: ModelFolder, offer: Offer) -> None:
    """Higher than all before, or the very one that is on disk already."""
    version, name = offer.manifest.version, offer.manifest.name
    if not is_version(version):
        raise UpdateRefused(
            f"version: {version!r} is no dotted number: nothing can be older or newer than it",
            hint="sightpost keys sign MODEL --key KEY signs the time; --version 1.2 chooses",
        )
    highest = folder.highest(offer.key.name, name)
    numbers, known = version_numbers(version), version_numbers(highest)
    current = folder.current()
    if not highest or numbers > known or (current is not None and current.id == offer.id):
        return
    if numbers == known:
        if (folder.path / VERSIONS / offer.id).is_dir():
            return
        raise UpdateRefused(
            f"version: {version} has been here, with other content",
            hint="give every model a version of its own: leave --version out, or raise it",
        )
    raise UpdateRefused(
        f"version: {version} is older than {highest}, which has been here",
        hint="sightpost model use VERSION goes back to one that is on disk; else sign the old "
        "model again with a higher version",
    )
