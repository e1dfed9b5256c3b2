"""Whether the store has room, on a file system that keeps it, and may be written."""

import os
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from ..store.ballast import Space
from ..store.events import CLIPS, SAMPLES, SNAPSHOTS
from ..store.numbers import SEQUENCE
from ..store.quota import FEW_FILES, StorageSettings
from . import card, contents
from .finding import Finding
from .host import SERVICE_USER, Host
from .mounts import existing, is_readonly, mount_of
from .runs import LOCK
from .unseen import is_shut, skipped

_FEW_FILES = 1000
_FOREIGN = ("vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk")
_MEMORY = ("tmpfs", "ramfs")
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p")
_OWNED = (
    "", SNAPSHOTS, CLIPS, SAMPLES, "uplink", "models", "store.lock", "control.json", "lives.json",
    "events.db", "events.db-wal", "events.db-shm",
)  # fmt: skip
_FILES = (LOCK, SEQUENCE)
_DYNAMIC = range(61_184, 65_520)
"""Users that systemd makes up for ``DynamicUser=``."""


def check_space(host: Host) -> Iterator[Finding]:
    """A full disk costs pictures first, and in the end events."""
    settings = host.site.storage if host.site else StorageSettings()
    folder = existing(host.store)
    space = Space.of(folder)
    limit = settings.limit(space)
    free = f"{_size(space.free)} of {_size(space.total)} free"
    fix = f"df -h {_quoted(folder)}\n"
    fix += f"sudo du -xh --max-depth=2 {_mounted(host)} | sort -h | tail -n 20"
    if space.free < space.ballast:
        yield Finding(
            "storage.space", "fault", f"the disk is full: {free}",
            "new events wait in memory and are lost with the power", fix,
        )  # fmt: skip
    elif space.free < space.reserve:
        yield Finding(
            "storage.space", "warning", f"the disk is nearly full: {free}",
            f"the store gives up pictures so that {_size(space.reserve)} stay free, whoever "
            "uses them", fix,
        )  # fmt: skip
    else:
        yield Finding("storage.space", "ok", f"{free}; the store may take {_size(limit)}")


def check_files(host: Host) -> Iterator[Finding]:
    """Some file systems run out of names for files while bytes are free."""
    files = Space.of(existing(host.store)).files
    if files >= _FEW_FILES:
        yield Finding("storage.files", "ok", "there is room for more files")
        return
    yield Finding(
        "storage.files", "fault" if files < FEW_FILES else "warning",
        f"the file system takes only {files} more files", "each event needs one or two",
        f"df -i {_quoted(existing(host.store))}\n"
        f"sudo du --inodes -x --max-depth=2 {_mounted(host)} | sort -n | tail -n 20",
    )  # fmt: skip


def check_filesystem(host: Host) -> Iterator[Finding]:
    """What acknowledged events can be kept on, through a power cut."""
    mount = mount_of(host, host.store)
    if mount is None:
        yield Finding(
            "storage.filesystem", "note", "the store's file system is not known",
            "whether events outlast a power cut there cannot be told",
            f"df -T {_quoted(existing(host.store))}",
        )  # fmt: skip
        return
    where = f"{host.shown(host.store)} is on {mount.kind} ({mount.device})"
    if mount.is_readonly:
        yield Finding(
            "storage.filesystem", "fault", f"{where}, which is read-only",
            "nothing can be stored; the kernel does that to a disk that fails",
            "sudo dmesg --level=err,warn | tail -n 50\n"
            f"sudo mount -o remount,rw {_quoted(mount.point)}",
        )  # fmt: skip
    elif mount.kind in _MEMORY:
        yield Finding(
            "storage.filesystem", "fault", f"{where}: that is memory",
            "everything is gone after a restart",
            "Name a folder on a disk in the config (store = ...), or with --store.",
        )  # fmt: skip
    elif mount.kind == "overlay" and not _in_container(host):
        yield Finding(
            "storage.filesystem", "fault", f"{where}: writes stay in memory",
            "everything is gone after a restart",
            "sudo raspi-config nonint do_overlayfs 1\nsudo reboot",
        )  # fmt: skip
    elif mount.kind in _FOREIGN:
        yield Finding(
            "storage.filesystem", "warning", where,
            "it has no owners and no journal: others may change the events, and a power cut can "
            "take the whole file system",
            f"Copy what is on it, then: sudo umount {shlex.quote(mount.device)} && "
            f"sudo mkfs.ext4 -L sightpost {shlex.quote(mount.device)} "
            "(this deletes everything on it).",
        )  # fmt: skip
    elif mount.kind in _NETWORK:
        yield Finding(
            "storage.filesystem", "warning", where,
            "SQLite's log does not work over a network, and no event is kept while it is away",
            "Name a folder on a local disk with store in the config; sightpost events export "
            "brings the events elsewhere.",
        )  # fmt: skip
    else:
        yield Finding("storage.filesystem", "ok", where)


def check_root(host: Host) -> Iterator[Finding]:
    """A system that turned read-only by itself has a failing card."""
    mount = mount_of(host, host.path("/"))
    if mount is None or not mount.is_readonly:
        yield Finding("storage.root", "ok", "the system's disk is writable")
        return
    wanted = any(
        words[1:2] == ["/"] and "ro" in words[3].split(",")
        for words in map(str.split, host.read("/etc/fstab").splitlines())
        if len(words) > 3
    )
    yield Finding(
        "storage.root", "note" if wanted else "fault",
        "the system's disk is read-only" + (", as /etc/fstab says" if wanted else ""),
        "updates and settings cannot be written"
        + ("" if wanted else "; the kernel does that to a card that fails"),
        "sudo mount -o remount,rw /" if wanted else
        "sudo dmesg --level=err,warn | tail -n 50\nsudo mount -o remount,rw /",
    )  # fmt: skip


def check_owner(host: Host) -> Iterator[Finding]:
    """A store that root made by hand cannot be written by the service."""
    if is_shut(host.store):
        yield skipped("storage.owner")
        return
    if wrong := _wrong_kind(host.store):
        kept = _quoted(wrong, host)
        yield Finding(
            "storage.owner", "fault", f"{host.shown(wrong)} is a "
            + ("folder, and has to be a file" if wrong.is_dir() else
               "file: the store has to be a folder"),
            "the run ends with code 7 at its start", host.sudo(f"mv -nT {kept} {kept}.aside"),
        )  # fmt: skip
        return
    if not os.path.isdir(host.store):
        yield Finding("storage.owner", "ok", f"{host.shown(host.store)} will be made by a run")
        return
    if is_readonly(host, host.store):
        yield Finding("storage.owner", "ok", "not looked at: the file system is read-only")
        return
    folder, user = _quoted(host.store, host), _user(host)
    wanted = _wanted_owner(host, user)
    strays = [name for name in _OWNED if not _is_good(host, host.store / name, wanted)]
    if strays:
        whose = f"{user}:{user}" if host.station and user else '"$(id -u):$(id -g)"'
        names = ", ".join(name or "the folder" for name in strays[:4])
        yield Finding(
            "storage.owner", "fault", f"{host.shown(host.store)}: {names} cannot be written "
            f"by {user or 'this user'}", "the run ends with code 7 as soon as it has to write",
            f"sudo chown -R {whose} {folder}",
        )  # fmt: skip
    elif host.station and host.store.stat().st_mode & stat.S_IRWXO:
        yield Finding(
            "storage.owner", "note", f"everybody on this machine may look into {folder}",
            "pictures of people may be in it", f"sudo chmod 0750 {folder}", safe=True,
        )  # fmt: skip
    else:
        yield Finding("storage.owner", "ok", f"{host.shown(host.store)} has the right owner")


def _wrong_kind(store: Path) -> Path | None:
    """What is a file in the place of the store's folder, or of one above it; or a folder in the
    place of a file that a run cannot do without. A database that is none is set aside by it."""
    above = existing(store)
    if not above.is_dir():
        return above
    return next((store / name for name in _FILES if os.path.isdir(store / name)), None)


def _user(host: Host) -> str:
    """Who runs the station: the service's own user, where this is about a service."""
    return SERVICE_USER if host.station else ""


def _wanted_owner(host: Host, user: str) -> int | None:
    """A service's user by /etc/passwd; None: whoever asks. Without that user systemd makes one."""
    if not user:
        return None
    lines = (line.split(":") for line in host.read("/etc/passwd").splitlines())
    return next((int(w[2]) for w in lines if w[0] == user and w[2].isdecimal()), -1)


def _is_good(host: Host, path: Path, wanted: int | None) -> bool:
    try:
        owner = path.lstat().st_uid
    except OSError:  # absent
        return True
    if wanted is None:
        return os.access(path, os.W_OK) if not host.is_root else owner == host.store.stat().st_uid
    return owner == wanted or (wanted == -1 and owner in _DYNAMIC)


def _in_container(host: Host) -> bool:
    """Where an overlay is how everything is kept."""
    marks = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")
    return any(host.exists(mark) for mark in marks)


def _mounted(host: Host) -> str:
    """Where the store's disk begins."""
    mount = mount_of(host, host.store)
    return _quoted(mount.point if mount else Path("/"))


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _quoted(path: Path, host: Host | None = None) -> str:
    return shlex.quote(host.shown(path) if host else str(path))


CHECKS: tuple[Callable[[Host], Iterator[Finding]], ...] = (
    check_space, check_files, check_filesystem, check_root, check_owner,
    *contents.CHECKS, *card.CHECKS,
)  # fmt: skip
