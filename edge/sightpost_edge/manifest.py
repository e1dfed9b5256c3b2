"""What a signature promises about a model: name, version, digests, and until when."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

from . import __version__
from .durable import write_file
from .errors import ConfigError, ModelError, SignatureRefused
from .minisign import MAX_BYTES, SUFFIX, PublicKey, SecretKey, sign, verify
from .polled import read_ordinary

VERSION = 1

_PREFIX = "sightpost:"
_COPY_AGAIN = "copy file and signature again"
_PATTERNS = {
    "sha256": ("64 hexadecimal digits", "[0-9a-f]{64}"),
    "labels_sha256": ("64 hexadecimal digits", "[0-9a-f]{64}"),
    "min_runtime": ("dotted numbers", r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}"),
    "expires": ("a date like 2027-01-31, or empty", "([0-9]{4}-[0-9]{2}-[0-9]{2})?"),
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """The signed statement about one model file; it travels as the trusted comment.

    ``size`` is in bytes, ``sha256`` that of the whole file, ``labels_sha256`` that of the labels
    joined by line breaks. ``min_runtime`` is the oldest sightpost that may run it, ``target`` the
    device it was made for, in words, and ``expires`` the last day it is good for (ISO date).
    """

    name: str
    version: str
    sha256: str
    size: int
    labels_sha256: str
    min_runtime: str
    target: str = ""
    expires: str = ""

    @classmethod
    def describe(
        cls,
        content: bytes,
        labels: Sequence[str],
        *,
        name: str,
        version: str,
        min_runtime: str = __version__,
        target: str = "",
        expires: str = "",
    ) -> "Manifest":
        """The Manifest of a model file's ``content`` with these ``labels``."""
        digests = hashlib.sha256(content).hexdigest(), labels_digest(labels)
        return cls(
            name, version, digests[0], len(content), digests[1], min_runtime, target, expires
        )

    def to_comment(self) -> str:
        """One line of ASCII: ``sightpost:1`` and JSON with sorted keys.

        Raises:
            ConfigError: a field holds what ``from_comment`` would refuse.
        """
        if fault := self._fault():
            raise ConfigError(f"the manifest's {fault}")
        return f"{_PREFIX}{VERSION} " + json.dumps(
            asdict(self), sort_keys=True, separators=(",", ":")
        )

    @classmethod
    def from_comment(cls, text: str) -> "Manifest":
        """Read a trusted comment.

        Raises:
            SignatureRefused: not ours, of a newer version, or a field is missing, unknown, doubled
                or of the wrong kind.
        """
        raw = _read_fields(_body(text))
        types = {field.name: field.type for field in fields(cls)}
        if wrong := sorted(types.keys() ^ raw.keys()):
            kind = "lacks" if wrong[0] in types else "has the unknown"
            raise SignatureRefused(f"the manifest {kind} field {wrong[0]!r}")
        for name, value in raw.items():
            if type(value) is not types[name]:
                raise SignatureRefused(f"the manifest's {name} is of the wrong type")
        manifest = cls(**raw)
        if fault := manifest._fault():
            raise SignatureRefused(f"the manifest's {fault}")
        return manifest

    def check(
        self,
        content: bytes,
        labels: Sequence[str],
        runtime: str = __version__,
        *,
        today: date | None = None,
    ) -> None:
        """Refuse a file, its labels, or a program that is not what this was signed for.

        Args:
            content: the whole model file.
            labels: in output order.
            runtime: the version of the sightpost that is to run it.
            today: None where no clock can be trusted; expiry is not judged then. A Pi without a
                battery starts in the past or anywhere, and a camera must not go dark over that.

        Raises:
            SignatureRefused: names the field that does not hold.
        """
        self.check_content(content)
        self.check_labels(labels)
        self.check_runtime(runtime)
        if today is not None and self.expired(today):
            raise SignatureRefused(
                f"expires: the model was good until {self.expires}", hint="install its successor"
            )

    def check_labels(self, labels: Sequence[str], *, where: str = "") -> None:
        """The part of ``check`` that concerns the labels alone; the message begins with ``where``.

        Raises:
            SignatureRefused: they are others, or in another order.
        """
        if labels_digest(labels) != self.labels_sha256:
            raise SignatureRefused(
                f"{where}labels_sha256: the labels are not those that were signed"
            )

    def check_runtime(self, runtime: str = __version__) -> None:
        """The part of ``check`` that concerns the program alone.

        Raises:
            SignatureRefused: it is older than what the model needs.
        """
        if version_numbers(self.min_runtime) > version_numbers(runtime):
            raise SignatureRefused(
                f"min_runtime: the model needs sightpost {self.min_runtime}, this is {runtime}",
                hint="update sightpost on this device",
            )

    def check_content(self, content: bytes) -> None:
        """The part of ``check`` that concerns the file alone.

        Raises:
            SignatureRefused: size or digest differ.
        """
        if len(content) != self.size:
            raise SignatureRefused(
                f"size: {len(content)} bytes, {self.size} were signed", hint=_COPY_AGAIN
            )
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise SignatureRefused("sha256: the content is not what was signed", hint=_COPY_AGAIN)

    def expired(self, today: date) -> bool:
        """Whether ``today`` lies after the last good day."""
        return bool(self.expires) and today > date.fromisoformat(self.expires)

    def _fault(self) -> str:
        """What is wrong with a field, beginning with its name; empty when nothing is."""
        for name, value in asdict(self).items():
            if isinstance(value, str) and not value.isprintable():
                return f"{name} holds characters that cannot be printed"
        for name, (what, pattern) in _PATTERNS.items():
            if not re.fullmatch(pattern, getattr(self, name)):
                return f"{name} is not {what}"
        if not self.name or not self.version:
            return "name and version must not be empty"
        if self.size < 0:
            return "size is negative"
        return _date_fault(self.expires)


def labels_digest(labels: Iterable[str]) -> str:
    """SHA-256 of the labels joined by line breaks, as labels.txt in a Bundle holds them."""
    return hashlib.sha256("\n".join(labels).encode()).hexdigest()


def sign_file(path: Path, key: SecretKey, manifest: Manifest) -> Path:
    """Write ``<path>.minisig``, durably, and return its path.

    Raises:
        SignatureRefused: the file is not the one that the manifest describes.
        ModelError: the file cannot be read.
        ConfigError: a field of the manifest cannot be signed.
        MissingExtra: ``cryptography`` is not installed.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ModelError(f"cannot read {path}: {exc.strerror}") from exc
    manifest.check_content(content)
    written = signature_of(path)
    write_file(written, sign(content, key, trusted_comment=manifest.to_comment()))
    return written


def verify_file(path: Path, content: bytes, public: PublicKey) -> Manifest:
    """The Manifest in ``<path>.minisig``, once ``public`` has signed it and ``content``.

    ``content`` is what the caller read from ``path`` and is going to use; ``Manifest.check`` judges
    the rest.

    Raises:
        SignatureRefused: missing, malformed, by another key, or not for this content.
        MissingExtra: ``cryptography`` is not installed.
    """
    file = signature_of(path)
    try:
        manifest = Manifest.from_comment(verify(content, _read_signature(file), public))
        manifest.check_content(content)
    except SignatureRefused as exc:
        raise SignatureRefused(f"{file}: {exc}", hint=exc.hint) from exc
    return manifest


def signature_of(path: Path) -> Path:
    """Where the signature of ``path`` lies: beside it, as minisign expects it."""
    return Path(f"{path}{SUFFIX}")


def _read_signature(file: Path) -> bytes:
    try:
        return read_ordinary(file, MAX_BYTES + 1, follow=True)
    except FileNotFoundError as exc:
        raise SignatureRefused(
            "there is no signature",
            hint="sightpost keys sign MODEL --key KEY makes one",
        ) from exc
    except OSError as exc:
        raise SignatureRefused(f"the signature cannot be read ({exc.strerror})") from exc


def _body(text: str) -> str:
    match = re.fullmatch(_PREFIX + r"([0-9]{1,9}) (\{.*\})", text)
    if not match:
        raise SignatureRefused(
            "the trusted comment is no sightpost manifest",
            hint="minisign alone signs no manifest: sightpost keys sign MODEL --key KEY does",
        )
    if int(match[1]) != VERSION:
        raise SignatureRefused(
            f"the manifest is of version {int(match[1])}, this program reads {VERSION}",
            hint="update sightpost on this device",
        )
    return match[2]


def _read_fields(text: str) -> dict[str, Any]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as exc:
        raise SignatureRefused(f"the manifest is not JSON ({exc})") from exc
    raw = dict(pairs)
    if len(raw) != len(pairs):
        raise SignatureRefused("the manifest has a field twice")
    return raw


def _date_fault(expires: str) -> str:
    try:
        date.fromisoformat(expires or "2000-01-01")
    except ValueError:
        return "expires is no day of the calendar"
    return ""


def is_version(text: str) -> bool:
    """Whether this is nothing but dotted numbers, six at most: another can be newer or older."""
    return re.fullmatch(_PATTERNS["min_runtime"][1], text) is not None


def version_numbers(version: str) -> list[int]:
    """The leading dotted numbers without trailing zeros: 1.10 is newer than 1.9.0, 1.0 is 1."""
    match = re.match(r"[0-9]{1,9}(\.[0-9]{1,9})*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers
