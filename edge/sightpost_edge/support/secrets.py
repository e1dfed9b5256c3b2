"""What is secret on this machine, by value: in configs, credentials, networks, the environment."""

import re
import string
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..doctor.host import CONFIG_FOLDER, Host
from ..doctor.login import named
from ..uplink.settings import CREDENTIAL
from .scrub import PEOPLE, REMOVED, SHORT, USERS, Scrubber, Secret, login

_HIDDEN = re.compile(
    r"pass|pwd|secret|token|credential|psk|ssid|(^|_)key$|api_?key|user|login", re.IGNORECASE
)
_PLACE = (
    "latitude", "longitude", "location", "contact", "setup_by", "organization", "organisation",
    "email", "mail", "gps", "coordinates", "address",
)  # fmt: skip
"""Of ``[deployment]``: where the camera stands and whose it is; some in others' words."""
_IN_NAMES = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|AUTH|API_?KEY|PRIVATE", re.IGNORECASE)
_IN_ADDRESS = re.compile(
    r"(?:pas|pw|token|key|secret|auth|sig|user|login)[^?&#/=_]*="
    r"(.+?)(?=[&#][^?&#/=]*=|_[a-z]+=|$)",
    re.IGNORECASE | re.DOTALL,
)
"""Cameras call their keys ``loginpas``, ``user_pwd``, or write them into the path."""
_WIRELESS = (
    "etc/NetworkManager/system-connections/*", "run/NetworkManager/system-connections/*",
    "etc/wpa_supplicant/*.conf", "etc/netplan/*.yaml", "var/lib/iwd/*",
)  # fmt: skip
_COMMON = ("sightpost", "root", "admin", "user", "guest", "pi", *string.ascii_lowercase)
_SSID = re.compile(r"^\s*(?:id|ssid)\s*=\s*\"?(.+?)\"?\s*$", re.MULTILINE)
_PSK = re.compile(
    r"^\s*(?:psk|password|passphrase|wep-key\d|identity)\s*[=:]\s*\"?(.+?)\"?\s*$",
    re.MULTILINE | re.IGNORECASE,
)
_WIFI = "wireless networks"
_MOST = 65_536


def scrubber_of(host: Host) -> Scrubber:
    """One that knows all of them. A user who is called as the station is, or as everybody is,
    gives nothing away; as a login in an address, and in the config, it is removed as well."""
    found = [*_of_configs(host), *_of_passwords(host), *_of_networks(host), *_of_environ(host)]
    common = {*_COMMON, host.station, host.site.name if host.site else ""}
    kept = [one for one in found if one.kind != USERS or one.value.lower() not in common]
    return Scrubber(tuple(dict.fromkeys(kept)))


def shown_config(host: Host, removed: Counter[str]) -> dict[str, Any]:
    """The station's config as it was parsed, so without comments, and without secrets, which are
    counted by kind in ``removed``.
    """
    if host.config is None:
        return {"config": "none was named"}
    try:
        raw = tomllib.loads(named(host, host.config).read_text(encoding="utf-8-sig"))
    except OSError as exc:
        return {"config": f"cannot be read: {exc.strerror}"}
    except (ValueError, RecursionError):
        # The lines themselves stay here: in what cannot be parsed no secret can be told apart.
        return {"config": "is not valid TOML", "trouble": host.trouble}
    shown: dict[str, Any] = _without(raw, removed)
    return shown


def is_hidden(key: str) -> bool:
    """Whether the value under such a key is nobody else's business; a file's name is no secret."""
    return not key.endswith("_file") and (key in _PLACE or _HIDDEN.search(key) is not None)


def _without(value: Any, removed: Counter[str], key: str = "") -> Any:
    if is_hidden(key) and value not in ("", None):
        removed[_kind(key)] += 1
        return REMOVED
    if isinstance(value, Mapping):
        return {name: _without(inner, removed, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, removed, key) for inner in value]
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def _of_configs(host: Host) -> Iterator[Secret]:
    """Of this station, and of its neighbours on the machine."""
    paths = [named(host, host.config)] if host.config else []
    paths += host.glob(f"{CONFIG_FOLDER}/*.toml")
    for path in dict.fromkeys(paths):
        try:
            raw = tomllib.loads(_text(path))
        except (ValueError, RecursionError):
            yield from _of_lines(_text(path))
        else:
            yield from _of_values(raw)


def _of_lines(text: str) -> Iterator[Secret]:
    """Of a config that is not TOML: every key that sounds so."""
    for line in text.splitlines():
        key, is_value, value = line.partition("=")
        value = value.split(" #")[0].strip().strip("\"'")
        if is_value and is_hidden(key.strip()):
            yield Secret(value, _kind(key.strip()))
        if is_value and ("://" in value or "@" in value):
            yield from _of_address(value)


def _of_values(value: Any, key: str = "") -> Iterator[Secret]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _of_values(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _of_values(inner, key)
    elif isinstance(value, bool):
        return
    elif is_hidden(key):
        yield Secret(str(value), _kind(key))
        if key == "contact":  # "Name <mail@example.org>"
            yield from (Secret(part.strip(), _kind(key)) for part in re.split("[<>]", str(value)))
    elif isinstance(value, str) and ("://" in value or "@" in value):
        yield from _of_address(value)


def _kind(key: str) -> str:
    if key in _PLACE:
        return PEOPLE
    return USERS if re.search("user|login", key, re.IGNORECASE) else "passwords"


def _of_address(address: str) -> Iterator[Secret]:
    """Its login, as written and as meant, and what hangs on its end.

    Passwords hold ``/``, ``@`` and ``?`` that nobody has encoded, schemes are mistyped: a login is
    all that stands before the last "@".
    """
    if found := re.match(r"(?:[a-z][\w+.-]*:/+)?(.*)@", address, re.IGNORECASE | re.DOTALL):
        user, _, password = found[1].partition(":")
        for one, other in ((user, password), (unquote(user), unquote(password))):
            yield from login(one, other)
    for value in _IN_ADDRESS.findall(address):
        sent = re.split("[&#]", value)[0]  # as much of it as the camera gets
        for one in (value, sent if len(sent) >= SHORT else value):
            yield Secret(one, "tokens")
            yield Secret(unquote(one), "tokens")


def _of_passwords(host: Host) -> Iterator[Secret]:
    """The broker's, wherever they lie."""
    paths = host.glob(f"{CONFIG_FOLDER}/*.{CREDENTIAL}")
    if host.site and host.site.mqtt.password_file:
        paths.append(named(host, Path(host.site.mqtt.password_file)))
    if folder := host.environ.get("CREDENTIALS_DIRECTORY"):
        paths += [path for path in Path(folder).glob("*") if path.is_file()]
    user = host.site.mqtt.username if host.site else ""
    for path in paths:
        text = _text(path).rstrip("\r\n")
        yield from login(user, text)
        yield from (Secret(line, "passwords") for line in text.splitlines())


def _of_networks(host: Host) -> Iterator[Secret]:
    for pattern in _WIRELESS:
        for path in host.glob(pattern):
            text = _text(path)
            yield from (Secret(word.strip(), "passwords") for word in _PSK.findall(text))
            yield from (Secret(name.strip(), _WIFI) for name in _networks_in(path, text))
    if (ran := host.run("iwgetid", "-r")) is not None:
        yield Secret(ran.out.strip(), _WIFI)
    ran = host.run("nmcli", "-t", "-f", "TYPE,NAME", "connection", "show")
    for line in ran.out.splitlines() if ran else []:
        kind, _, name = line.partition(":")
        if kind == "802-11-wireless":
            yield Secret(name.replace("\\:", ":"), _WIFI)


def _networks_in(path: Path, text: str) -> Iterable[str]:
    """Of wireless networks only: "Wired connection 1" is no secret."""
    if "iwd" in path.parts:
        return [path.stem]
    if path.suffix == ".yaml":
        return _access_points(text)
    is_wired = "system-connections" in path.parts and "[wifi]" not in text
    return [] if is_wired else _SSID.findall(text)


def _of_environ(host: Host) -> Iterator[Secret]:
    for name, value in host.environ.items():
        if _IN_NAMES.search(name) and not value.startswith("/") and len(value) >= SHORT:
            yield Secret(value, "passwords")
        if "://" in value:
            yield from _of_address(value)


def _access_points(text: str) -> Iterator[str]:
    """Names in netplan's YAML: the keys right below ``access-points:``."""
    within = depth = -1
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.strip() == "access-points:":
            within, depth = indent, -1
        elif within >= 0 and line.strip():
            if indent <= within:
                within = -1
            elif depth in (-1, indent):
                depth = indent
                yield line.strip().rstrip("{} ").rstrip(":").strip("\"'")


def _text(path: Path) -> str:
    """A small file, "" where it may not be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST).decode("utf-8-sig", "replace")
    except OSError:
        return ""
