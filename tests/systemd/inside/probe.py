"""What a unit's sandbox lets through, as a line of JSON."""

import ctypes
import json
import mmap
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

NEW_USER = 0x10000000
FILES = (
    "/etc", "/opt/sightpost/bin", "/usr/bin", "/usr/lib/systemd", "/proc/sys", "/sys/kernel",
    "/sys/fs/cgroup", "/job",
)  # fmt: skip


def works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, ValueError):
        return False
    return True


def writable_folders() -> list[str]:
    """Folders in which a file can be made: all of the system, three levels deep, and wherever
    something is mounted."""
    depths = ("*", "*/*", "*/*/*")
    places = {str(path) for depth in depths for path in Path("/").glob(depth)}
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    places |= {line.split()[4] for line in mounts} | {"/"}
    places = {place for place in places if not place.startswith("/proc/")}
    return sorted(place for place in places if works(lambda place=place: make_file(place)))


def make_file(place: str) -> None:
    path = Path(place) / ".probe"
    path.write_bytes(b"")
    path.unlink()


def writable_files() -> list[str]:
    paths = [str(path) for root in FILES for path in Path(root).rglob("*") if path.is_file()]
    return sorted(path for path in paths if works(lambda path=path: opened(path)))


def opened(path: str, flags: int = os.O_WRONLY | os.O_APPEND) -> None:
    os.close(os.open(path, flags | os.O_NONBLOCK))


def devices() -> list[str]:
    nodes = [path for path in Path("/dev").iterdir() if path.is_char_device()]
    return sorted(path.name for path in nodes if works(lambda p=path: opened(p, os.O_RDWR)))


def owners() -> list[int]:
    """Whose processes it sees."""
    found = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
    return sorted({path.stat().st_uid for path in found if works((path / "stat").read_text)})


def call(name: str, *arguments: object) -> None:
    """Of the C library; an OSError where it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)


def make_setuid_file() -> None:
    path = Path("setuid")
    path.touch()
    path.chmod(0o4755)


def list_some(place: str) -> None:
    if not os.listdir(place):
        raise OSError(f"{place} is empty")


ATTEMPTS: dict[str, Callable[[], object]] = {
    "become root": lambda: os.setresuid(0, 0, 0),
    "a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "a device node": lambda: os.mknod("node", 0o60600, os.makedev(254, 0)),
    "a setuid file": make_setuid_file,
    "memory to write and run": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    "a mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "a namespace of users": lambda: call("unshare", NEW_USER),
    "the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "the host's name": lambda: socket.sethostname("mine"),
    "a password file": lambda: opened("/etc/shadow", os.O_RDONLY),
    "/root": lambda: list_some("/root"),
    "/home": lambda: list_some("/home"),
    "the kernel's log": lambda: opened("/dev/kmsg", os.O_RDONLY),
    "a station's config": lambda: opened("/etc/sightpost/line.toml"),
    "the broker's password": lambda: opened("/etc/sightpost/line.mqtt-password", os.O_RDONLY),
    "another's memory": lambda: opened("/proc/1/mem", os.O_RDONLY),
}


def status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}
    return {k: v for k, v in fields.items() if k.startswith(("Cap", "NoNewPrivs", "Seccomp"))}


found = {
    "uid": os.getuid(),
    "state": sys.argv[1],
    "folders": writable_folders(),
    "files": writable_files(),
    "devices": devices(),
    "seen": owners(),
    "allowed": [name for name, attempt in ATTEMPTS.items() if works(attempt)],
    **status(),
}
print(json.dumps(found), flush=True)
