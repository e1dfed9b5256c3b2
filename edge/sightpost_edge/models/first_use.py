"""Trust on first use: the public key that lies beside the model, if the operator asks for that."""

import os
from itertools import islice
from pathlib import Path

from ..errors import ConfigError, ModelError
from ..manifest import Manifest
from ..minikeys import PublicKey
from ..minisign import verify_comment
from . import web
from .fetch import fetch_signature, find_model, shown
from .folder import ModelFolder
from .media import opened_file, reading
from .trust import MAX_BYTES, trust

SUFFIX = ".pub"
_TIME_S = 60.0
_MOST_ENTRIES = 10_000


def trust_first_use(folder: ModelFolder, place: str) -> PublicKey | None:
    """Trust the key beside the model at ``place``, if none is trusted yet and it signed that.

    None where a key is trusted already: another one is never taken this way.

    Raises:
        SignatureRefused: that key did not sign the model's manifest.
        ConfigError, ModelError: there is no key there, or it cannot be had.
    """
    if folder.trusted() is not None:
        return None
    key = _parsed(fetch_key(place), place)
    Manifest.from_comment(verify_comment(fetch_signature(place), key))
    trust(folder.key, key)
    return key


def _parsed(content: bytes, place: str) -> PublicKey:
    try:
        return PublicKey.from_text(content.decode())
    except (ConfigError, UnicodeDecodeError) as exc:
        raise ModelError(f"what lies beside {shown(place)} is no public key ({exc})") from exc


def fetch_key(place: str) -> bytes:
    """The content of the .pub beside the model at ``place``.

    Raises:
        ConfigError, ModelError: there is none, or it cannot be had.
    """
    if not web.is_web(place):
        file = _beside(Path(place))
        with opened_file(file) as opened, reading(file):
            return opened.read(MAX_BYTES)
    where = web.address(place).beside(SUFFIX)
    content = b""
    try:
        with web.asked(where, {}) as answer, answer.within(_TIME_S):
            while len(content) < MAX_BYTES and (chunk := answer.read(MAX_BYTES - len(content))):
                content += chunk
    except web.Dropped as exc:
        raise ModelError(f"{where}: {exc}", hint="is there a network?") from exc
    return content


def _beside(place: Path) -> Path:
    """``MODEL.tflite.pub``, or the one .pub in the model's folder."""
    model = find_model(place) if place.is_dir() else place
    own = Path(f"{model}{SUFFIX}")
    if own.exists():
        return own
    with reading(model.parent), os.scandir(model.parent) as entries:
        found = sorted(e.name for e in islice(entries, _MOST_ENTRIES) if e.name.endswith(SUFFIX))
    if len(found) != 1:
        raise ModelError(
            f"{len(found)} public keys lie beside {model}, one is needed",
            hint=f"copy it there as {own.name}, or: sightpost model trust KEY",
        )
    return model.parent / found[0]
