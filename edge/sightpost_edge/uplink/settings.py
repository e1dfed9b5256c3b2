"""Where the broker is and how it is spoken to: the ``[mqtt]`` table."""

import importlib.util
import ipaddress
import os
import shlex
import stat
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from ..durable import unreadable
from ..errors import ConfigError, MissingExtra, nearest
from ..extras import loading

if TYPE_CHECKING:
    from ssl import SSLContext

PORTS = {"mqtts": 8883, "mqtt": 1883}
CREDENTIAL = "mqtt-password"
MISSING = "sending to MQTT needs paho-mqtt"
INSTALL = (
    "pip install 'sightpost[mqtt]'; on a Pi, beside the files of make dist: "
    "sudo /opt/sightpost/bin/pip install --require-hashes -r station-trixie.txt"
)
LONGEST_PASSWORD = 65_535
"""What MQTT has room for."""


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The broker: the ``[mqtt]`` table of a site; without ``url`` nothing is sent.

    ``url``: "mqtts://host" is TLS with the certificate verified, always; "mqtt://host" is open to
    everyone on the way. ``ca_file``: the authority that signed the broker's certificate, in place
    of the system's. ``username``, and ``password_file`` that only its owner can read; without the
    latter systemd's credential "mqtt-password". ``topic``: what all topics begin with.
    ``discovery``: Home Assistant's prefix, "" tells it nothing. ``snapshots``: pictures of events
    are sent as well.
    """

    url: str = ""
    ca_file: str = ""
    username: str = ""
    password_file: str = ""
    topic: str = "sightpost"
    discovery: str = "homeassistant"
    snapshots: bool = True

    def __post_init__(self) -> None:
        if self.url:
            _check_url(self.url)
        if self.ca_file and not self.url.startswith("mqtts:"):
            raise ConfigError(
                "mqtt: ca_file verifies nothing without TLS", hint='url = "mqtts://HOST"'
            )
        if self.password_file and not self.username:
            raise ConfigError("mqtt: a password_file needs a username")
        for name in ("topic", "discovery"):
            _check_topic(name, getattr(self, name), may_be_empty=name == "discovery")

    @property
    def host(self) -> str:
        """The broker's name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """As given, or the usual one of the scheme."""
        parts = urlsplit(self.url)
        return parts.port or PORTS[parts.scheme]

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted, and the broker proven."""
        return self.url.startswith("mqtts:")

    @property
    def is_exposed(self) -> bool:
        """Whether events and the password travel readable over a network."""
        return not self.is_tls and not _is_loopback(self.host)

    def tls_context(self) -> "SSLContext | None":
        """What verifies the broker: its chain and its name; there is no way to leave that out.

        Raises:
            ConfigError: the ca_file cannot be used.
            StoreError: its disk fails.
        """
        import ssl  # 20 ms that a run without a broker need not spend

        if not self.is_tls:
            return None
        hint = "it must be a readable PEM file with the authority's certificate"
        try:
            return ssl.create_default_context(cafile=self.ca_file or None)
        except ssl.SSLError as exc:
            raise ConfigError(
                f"mqtt: ca_file {self.ca_file} cannot be used ({exc.strerror or exc})", hint=hint
            ) from exc
        except OSError as exc:
            where = Path(self.ca_file)
            raise unreadable(where, exc, what="mqtt: cannot read ca_file ", hint=hint) from exc

    def password(self) -> str | None:
        """The password, read anew each time so that a mended file needs no restart; None without.

        Raises:
            ConfigError: others can read the file, or it is unusable; nothing of it is quoted.
            StoreError: its disk fails.
        """
        if not self.username:
            return None
        if self.password_file:
            return _read_secret(Path(self.password_file), is_private=True)
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        given = Path(folder) / CREDENTIAL if folder else None
        # systemd grants its reader through an access list, which shows as a group's permission.
        return _read_secret(given, is_private=False) if given and given.exists() else None


def need_mqtt(settings: MqttSettings) -> None:
    """Check for a broker and for paho before anything is opened.

    Raises:
        ConfigError: the site names no broker.
        MissingExtra: paho is not installed.
    """
    if not settings.url:
        raise ConfigError("no broker given", hint='[mqtt] url = "mqtts://HOST" in the config')
    if importlib.util.find_spec("paho") is None:
        raise MissingExtra(MISSING, hint=INSTALL)


def loading_paho() -> AbstractContextManager[None]:
    """Around its import; see ``extras.loading``."""
    return loading("paho", MISSING, INSTALL)


def check(settings: MqttSettings) -> None:
    """Refuse at the start what would never work: the uplink, another process, could only say so
    again and again.

    Raises:
        ConfigError: no broker, or the password or the ca_file cannot be used.
        StoreError: their disk fails.
        MissingExtra: paho is not installed.
    """
    need_mqtt(settings)
    settings.tls_context()
    settings.password()


def _check_url(url: str) -> None:
    """The message never quotes the url: somebody may have written a password into it."""
    try:
        parts = urlsplit(url)
    except ValueError:  # "[::1" and the like; the exception quotes it
        parts = urlsplit("")
    if parts.scheme not in PORTS:
        raise ConfigError(
            "mqtt: the url must begin with mqtts:// or mqtt://", hint=nearest(parts.scheme, PORTS)
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "mqtt: no user or password in the url: config files are read by many",
            hint="username and password_file are the places for them",
        )
    if not parts.hostname or not _port_is_good(parts):
        raise ConfigError("mqtt: the url lacks a host, or its port is no number from 1 to 65535")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError('mqtt: the url ends after host and port: "mqtts://broker.example:8883"')


def _port_is_good(parts: SplitResult) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def _check_topic(name: str, value: str, *, may_be_empty: bool) -> None:
    if not value and may_be_empty:
        return
    levels = value.split("/")
    if not all(levels) or set(value) & set("+#\0") or levels[0].startswith("$"):
        raise ConfigError(
            f"mqtt: {name} {value!r} cannot begin a topic",
            hint='words with "/" between them, without + # $, such as "sightpost" or "farm/north"',
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_secret(path: Path, *, is_private: bool) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if is_private and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(
                    f"mqtt: others may read or write {path}",
                    hint=f"chmod 600 {shlex.quote(str(path))}",
                )
            secret = file.read(LONGEST_PASSWORD + 2).removesuffix(b"\n").removesuffix(b"\r")
    except OSError as exc:
        raise unreadable(path, exc, what="mqtt: cannot read ") from exc
    if not secret or len(secret) > LONGEST_PASSWORD:
        raise ConfigError(f"mqtt: {path} is empty, or too long for a password")
    try:
        return secret.decode()
    except UnicodeDecodeError:
        # Not `from exc`: the exception carries the bytes.
        raise ConfigError(f"mqtt: {path} is not UTF-8 text") from None
