"""The cameras: there, free, permitted, and showing something."""

import errno
import os
import re
import shlex
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..masking import without_password
from .access import check_access
from .devices import devices, wanted_device
from .finding import Finding, Level, as_fix
from .holders import Holder, holders
from .host import Host
from .picamera import absence
from .picture import Seen, look
from .unseen import is_shut, unseen

if TYPE_CHECKING:
    from ..live import Live

REACHED_S = 3.0


def check_devices(host: Host) -> Iterator[Finding]:
    """Cameras that are plugged in, and whether the configured one is among them."""
    name, found = "cameras.devices", list(devices(host))
    listed = ", ".join(f"{one.file} ({one.name})" for one in found)
    wanted = wanted_device(host)
    if wanted is not None and not host.exists(wanted):
        others = f"found: {listed}" if listed else "no camera is plugged in"
        yield Finding(
            name, "fault", f"no camera at {wanted}; {others}",
            why="the station cannot start; after unplugging a camera may come back with another "
            "number",
            fix=f"ls -l /dev/v4l/by-id/ && {host.sudo(f'nano {_config(host)}')}"
            if found else "lsusb",
        )  # fmt: skip
        return
    yield Finding(name, "ok", f"found: {listed}" if listed else "no USB camera is plugged in")
    lasting = _lasting_name(host, wanted)
    if wanted and lasting:
        yield Finding(
            name, "note", f"{wanted} may be another camera after the next start",
            why="numbers are given in the order in which cameras answer",
            fix=f'Set source = "{lasting}" in {host.config}',
        )  # fmt: skip


def _config(host: Host) -> str:
    return shlex.quote(str(host.config or "site.toml"))


def _lasting_name(host: Host, wanted: str | None) -> str:
    if wanted is None or not re.fullmatch(r"/dev/video\d+", wanted):
        return ""
    for link in host.glob("dev/v4l/by-id/*"):
        if link.is_symlink() and os.path.basename(os.readlink(link)) == wanted[len("/dev/") :]:
            return host.shown(link)
    return ""


def check_busy(host: Host) -> Iterator[Finding]:
    """Who holds the cameras: only one program can."""
    name = "cameras.busy"
    files = _camera_files(host)
    if not files:
        yield Finding(name, "ok", "no camera that somebody could hold")
        return
    found, all_seen = holders(host, files)
    running = host.live() is not None
    ours = [x for x in found if x.is_run_of(host.station) or (running and x.name == "sightpost")]
    others = [one for one in found if one not in ours]
    for one in others:
        yield Finding(
            name, "note" if _matters_not(host, one) else "fault",
            f"{one.file} is held by {one.name} (process {one.pid})",
            why="the station cannot open the camera while another program has it",
            fix=host.sudo(one.end()),
        )  # fmt: skip
    for one in ours:
        yield Finding(name, "ok", f"{one.file} is held by this station's run ({one.pid})")
    if not found:
        if all_seen:
            yield Finding(name, "ok", "nobody holds a camera")
        else:
            yield unseen(host, name, "other users' programs", "one of them may hold the camera")


def _matters_not(host: Host, holder: Holder) -> bool:
    """Without a config, or for a camera that is not the configured one."""
    if host.site is None:
        return True
    wanted = wanted_device(host)
    if wanted is None:
        return not host.site.source.startswith("picamera:")
    return host.path(wanted).resolve() != host.path(holder.file).resolve()


def _camera_files(host: Host) -> list[str]:
    """Files that one program holds at a time: what the config names, else every camera's."""
    found = [one.file for one in devices(host)]
    if host.is_pi or (host.site and host.site.source.startswith("picamera:")):
        found += [f"/dev/{path.name}" for path in host.glob("dev/media*")]
    wanted = wanted_device(host)
    if wanted and host.exists(wanted) and wanted not in found:
        found.append(wanted)
    return found


def check_stream(host: Host) -> Iterator[Finding]:
    """A network camera can be reached."""
    name, address = "cameras.stream", _address(host)
    if address is None:
        yield Finding(name, "ok", "no network camera is asked for")
        return
    misread = _may_be_misread(host.site.source if host.site else "")
    place = "the camera" if misread else f"{address[0]}:{address[1]}"
    refused = _reached(host)
    if refused is None:
        yield Finding(name, "ok", f"{place} answers")
        return
    what, fix = refused
    if misread:
        fix = "If the password in source has / ? or # in it, write %2F, %3F or %23 for them"
    yield Finding(
        name, "fault", f"{place}: {what}", why="the station sees nothing until it answers", fix=fix
    )


def _address(host: Host) -> tuple[str, int] | None:
    """Name and port of the network camera, None where the source is none, or has no such."""
    source = host.site.source if host.site else ""
    if not source.startswith(("rtsp", "http")):
        return None
    try:
        parts = urlsplit(source)
        port = parts.port or {"rtsp": 554, "rtsps": 322, "https": 443}.get(parts.scheme, 80)
    except ValueError:  # a port that is no number
        return None
    return (parts.hostname, port) if parts.hostname else None


def _may_be_misread(source: str) -> bool:
    """Whether what is taken for host and port may be a user and the first half of a password."""
    return "@" not in urlsplit(source).netloc and "***@" in without_password(source)


def _reached(host: Host) -> tuple[str, str] | None:
    """What keeps us from the network camera and its fix; None where nothing does."""
    address = _address(host)
    return host.once("stream", lambda: _refusal(host, *address)) if address else None


def _refusal(host: Host, hostname: str, port: int) -> tuple[str, str] | None:
    typed = shlex.quote(hostname)
    try:
        socket.create_connection((hostname, port), timeout=REACHED_S).close()
    except socket.gaierror:
        return "no such name in this network", f"getent hosts {typed}"
    except TimeoutError:
        return f"no answer within {REACHED_S:g} s", f"ping -c 3 {typed}"
    except ConnectionRefusedError:
        return (
            "the device is there and offers no stream at this port",
            f"Check host and port of source in {host.config or 'the config'}, and in the camera's "
            "settings that RTSP (or its HTTP stream) is switched on and at which port",
        )
    except OSError as exc:
        if exc.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return "it cannot be reached from this network", "ip -br address; ip route"
        return exc.strerror or str(exc), f"ping -c 3 {typed}"
    return None


def check_picture(host: Host) -> Iterator[Finding]:
    """What the camera shows: by a run's own word, else in a few test frames."""
    name = "cameras.picture"
    live = host.live()
    if host.ended_untold():
        log = host.sudo(f"journalctl -u sightpost@{host.station} -n 50")
        yield Finding(
            name, "note", "a run ended without saying so, within the last minute",
            why="it was killed, by somebody or for want of memory, or it crashed",
            fix=log if host.station else host.sudo("dmesg | tail -n 20"),
        )  # fmt: skip
    if live is not None:
        yield _of_a_run(live)
    elif is_shut(host.store):
        yield unseen(host, name, "what the camera shows", "a run may hold it, and tells others not")
    elif absent := _is_absent(host):
        yield Finding(name, "ok", f"no picture was taken: {absent} says why")
    elif host.site is None or not host.site.source:
        yield Finding(name, "ok", "no source is configured: no picture was taken")
    else:
        yield _judged(look(host, host.site))


def _is_absent(host: Host) -> str:
    """The check that has said already why there can be no picture, "" where none has."""
    wanted = wanted_device(host)
    if wanted is not None and not host.exists(wanted):
        return "cameras.devices"
    return absence(host) or ("cameras.stream" if _reached(host) else "")


def _of_a_run(live: "Live") -> Finding:
    if live.fault:
        return Finding(
            "cameras.picture", "fault", f"the run sees: {live.fault} ({live.detail})",
            why="nothing is classified while it lasts", fix=_REMEDIES.get(live.fault, _CABLE),
        )  # fmt: skip
    return Finding(
        "cameras.picture", "ok", f"the run sees well, {live.fps:.1f} pictures per second"
    )


_CABLE = "Look at the camera's cable and power, then: sightpost doctor again"
_LENS = "Look at what is in front of the lens: cap, dirt, dew, a spider's web"
_REMEDIES = {
    "black": "Take the cap off the lens; at night switch the camera's light on",
    "white": "Shade the lens, or set [camera] exposure_us and gain lower",
    "blurred": 'Clean the lens and focus it; on a Camera Module 3: autofocus = "continuous"',
    "covered": _LENS,
    "frozen": _CABLE,
}


def _judged(seen: Seen) -> Finding:
    name = "cameras.picture"
    if not seen.frames:
        return Finding(
            name, "fault", f"no picture: {seen.failure}",
            why="the station cannot start", fix=as_fix(seen.hint) or _CABLE,
        )  # fmt: skip
    shown = f"{seen.frames} pictures of {seen.width} x {seen.height}"
    if not seen.fault:
        return Finding(name, "ok", f"{shown}, well lit and sharp")
    level: Level = "warning" if seen.fault == "blurred" else "fault"
    why = {
        "blurred": "a lens out of focus costs most of what the model has learnt; a plain wall "
        "looks the same",
        "frozen": "the camera repeats one picture: whatever happens is not seen",
    }.get(seen.fault, "pictures on which nothing can be seen are never classified")
    return Finding(
        name, level, f"{shown}, {seen.fault}: {seen.detail}",
        why=why, fix=_REMEDIES.get(seen.fault, _CABLE),
    )  # fmt: skip


CHECKS = (check_devices, check_busy, check_access, check_stream, check_picture)
