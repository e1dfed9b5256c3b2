"""Where a station's name and password for the broker come from; the password is never quoted."""

import shlex
from pathlib import Path

from ..uplink.settings import CREDENTIAL, MqttSettings
from .host import CONFIG_FOLDER, Host


def settings_of(host: Host) -> MqttSettings | None:
    """The broker of the station's config, None where nothing is sent."""
    return host.site.mqtt if host.site and host.site.mqtt.url else None


def password_path(host: Host, settings: MqttSettings) -> Path | None:
    """As the config names it, else what root keeps for the service and systemd hands over."""
    if settings.password_file:
        return named(host, Path(settings.password_file))
    if host.station:
        return host.path(CONFIG_FOLDER / f"{host.station}.{CREDENTIAL}")
    return None


def named(host: Host, path: Path) -> Path:
    """A file as a config or a person names it: from here, or on the machine."""
    return host.path(path) if path.is_absolute() else path


def password_of(host: Host, settings: MqttSettings) -> str | None:
    """The password; None where there is none, or where it may not be read."""
    path = password_path(host, settings)
    if not settings.username or path is None:
        return None
    try:
        return path.read_text().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError):
        return None


def renewal(host: Host, settings: MqttSettings) -> str:
    """How the password is written down anew, for its reader only."""
    path = password_path(host, settings)
    if path is None:
        return "Write username and password_file into [mqtt], and the password into that file."
    command = f"install -m 600 /dev/stdin {shlex.quote(host.shown(path))}"
    again = f"systemctl restart sightpost-uplink@{host.station}"
    typed = f"{host.sudo(command)}  # type it, then Ctrl-D"
    return f"{typed}\n{host.sudo(again)}" if host.station else typed
