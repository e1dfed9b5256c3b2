"""Who may open cameras and pins: groups of the service's user, and of whoever asks."""

from collections.abc import Iterator

from .devices import devices, wanted_device
from .finding import Finding
from .host import SERVICE_USER, Host


def check_access(host: Host) -> Iterator[Finding]:
    """The service's user, and whoever asks, may open cameras and pins."""
    name = "cameras.access"
    wanted = list(_groups_wanted(host))
    if not wanted:
        yield Finding(name, "ok", "no camera or pin here that needs a permission")
        return
    said = False
    for user in _users(host):
        missing = [group for group in wanted if user not in _members(host, group)]
        said = said or bool(missing)
        if missing:
            service = user == SERVICE_USER
            yield Finding(
                name, "fault" if service or host.site else "note",
                f"{user} is not in the group{'s' * (len(missing) > 1)} {', '.join(missing)}",
                why="the service cannot open the camera: it works by hand and not as a service"
                if service else "camera or pins cannot be opened",
                fix=host.sudo(f"usermod -aG {','.join(missing)} {user}"), safe=True,
            )  # fmt: skip
        elif stale := _not_yet(host, user, wanted):
            said = True
            yield Finding(
                name, "warning", f"{user} is in {', '.join(stale)} only since the last log-in",
                why="a session keeps the groups it began with",
                fix="Log out and in again",
            )  # fmt: skip
    if not said:
        yield Finding(name, "ok", f"{', '.join(_users(host)) or 'root'}: {', '.join(wanted)}")


def _groups_wanted(host: Host) -> Iterator[str]:
    """video for cameras, render for picamera2's memory, gpio for pins; where these exist."""
    site, groups = host.site, _groups(host)
    local = site is not None and site.source.startswith("picamera:")
    if (local or wanted_device(host) or (site is None and any(devices(host)))) and (
        "video" in groups
    ):
        yield "video"
    if local and "render" in groups:
        yield "render"
    if site is not None and site.pins and "gpio" in groups:
        yield "gpio"


def _users(host: Host) -> list[str]:
    names = {int(words[2]): words[0] for words in _passwd(host)}
    service = [SERVICE_USER] if host.station and SERVICE_USER in names.values() else []
    asking = [names[host.uid]] if host.uid in names and not (host.is_root or service) else []
    return service + asking


def _passwd(host: Host) -> list[list[str]]:
    lines = (line.split(":") for line in host.read("etc/passwd").splitlines())
    return [words for words in lines if len(words) > 3 and words[2].isdigit()]


def _groups(host: Host) -> dict[str, tuple[int, list[str]]]:
    lines = (line.split(":") for line in host.read("etc/group").splitlines())
    return {
        words[0]: (int(words[2]), words[3].split(","))
        for words in lines
        if len(words) == 4 and words[2].isdigit()
    }


def _members(host: Host, group: str) -> list[str]:
    number, named = _groups(host)[group]
    return named + [words[0] for words in _passwd(host) if words[3] == str(number)]


def _not_yet(host: Host, user: str, wanted: list[str]) -> list[str]:
    """Groups that ``user`` has by the files, and this process, which is theirs, has not."""
    names = {int(words[2]): words[0] for words in _passwd(host)}
    if names.get(host.uid) != user:
        return []
    groups = _groups(host)
    return [group for group in wanted if groups[group][0] not in host.groups]
