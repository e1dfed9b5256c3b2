"""How worn the card is, and what wears it; part of the checks of ``storage``."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from .finding import Finding
from .host import Host
from .mounts import Mount, existing, mount_of
from .unseen import unseen

_TIMES_WRITTEN = 100
"""Cheap cards are sold for some hundred rewrites."""
_TROUBLE = re.compile(
    r"mmcblk\d\S*: (error|timed out)|mmc\d: (?:cache flush error|Timeout|Card stuck)|"
    r"I/O error, dev (?:mmcblk|sd|nvme)|EXT4-fs error|Remounting filesystem read-only",
    re.IGNORECASE,
)
_LIMITED = "[Journal]\\nStorage=persistent\\nSystemMaxUse=50M\\n"
_LIMIT_JOURNAL = (
    "sudo mkdir -p /etc/systemd/journald.conf.d\n"
    f"printf '{_LIMITED}' | sudo tee /etc/systemd/journald.conf.d/50-sightpost.conf\n"
    "sudo systemctl restart systemd-journald"
)
_JOURNALD = tuple(
    f"{top}/systemd/journald.conf{rest}"
    for rest in ("", ".d/*.conf")
    for top in ("usr/lib", "usr/local/lib", "run", "etc")
)
_PRE_END = {"0x02": ("warning", "80 %"), "0x03": ("fault", "90 %")}


def check_wear(host: Host) -> Iterator[Finding]:
    """What eMMC says of itself; SD cards say nothing, so what was written to them is counted."""
    mount = mount_of(host, host.store)
    said = _life(host, mount) if mount else ""
    replace = "Copy what is on it and put another card in before it fails."
    if mount and said and (level := _worn(host, mount)):
        yield Finding(
            "storage.wear", "fault" if level == "fault" else "warning", f"{mount.disk} {said}",
            "it will fail, with everything on it", replace,
        )  # fmt: skip
        return
    written, size = _written_gb(host, mount), _disk_gb(host, mount)
    told = f"; {written:.0f} GB were written to it so far" if written else ""
    if mount and mount.is_card and size and written > _TIMES_WRITTEN * size:
        yield Finding(
            "storage.wear", "note", f"{mount.disk} ({size:.0f} GB){told}",
            f"that is more than {_TIMES_WRITTEN} times all of it; cheap cards fail after some "
            "hundred", replace,
        )  # fmt: skip
        return
    what = f"{mount.disk} {said}" if mount and said else "the disk tells nothing of its wear"
    yield Finding("storage.wear", "ok", what + told)


def check_errors(host: Host) -> Iterator[Finding]:
    """What the kernel has met while reading and writing."""
    lines = kernel_log(host)
    if lines is None:
        yield unseen(
            host, "storage.errors", "the kernel's log", "errors of the card would be there"
        )
        return
    found = [line for line in lines if _TROUBLE.search(line)]
    if not found:
        yield Finding("storage.errors", "ok", "the kernel met no errors of the disk")
        return
    yield Finding(
        "storage.errors", "fault", f"{len(found)} lines of disk errors since the start, the "
        f"last: {found[-1].strip()[-120:]}", "a card that begins so is soon read-only or gone",
        "Save the events (sightpost events export), then replace the card.",
    )  # fmt: skip


def check_journal(host: Host) -> Iterator[Finding]:
    """The system's log: bounded, so that it leaves room, and kept, so that it can be read."""
    settings = _journal_settings(host)
    storage = settings.get("Storage", "auto")
    kept = storage == "persistent" or (storage == "auto" and host.exists("/var/log/journal"))
    if not host.exists("/run/systemd/system"):
        yield Finding("storage.journal", "ok", "systemd does not run here")
    elif not kept:
        yield Finding(
            "storage.journal", "note", "the system's log is lost at every restart",
            "after a power cut or a reboot nothing tells what happened before", _LIMIT_JOURNAL,
        )  # fmt: skip
    elif not settings.get("SystemMaxUse"):
        yield Finding(
            "storage.journal", "note", "the system's log has no limit of its own",
            "it may take a tenth of the disk, 4 GB at most, and wears the card", _LIMIT_JOURNAL,
        )  # fmt: skip
    else:
        limit = settings["SystemMaxUse"]
        yield Finding("storage.journal", "ok", f"the system's log is kept, {limit} at most")


def check_swap(host: Host) -> Iterator[Finding]:
    """Memory that is moved to a card and back wears it, and stalls the station."""
    on_card = [one for one in _swaps(host) if _on_card(host, one)]
    if not on_card:
        yield Finding("storage.swap", "ok", "no memory is swapped to a card")
        return
    dphys = host.exists("/etc/dphys-swapfile")
    off = (
        "sudo systemctl disable --now dphys-swapfile"
        if dphys
        else f"sudo swapoff {shlex.quote(on_card[0])}"
    )
    yield Finding(
        "storage.swap", "note", f"memory is swapped to the card ({', '.join(on_card)})",
        "each time memory runs short the card is written; compressed memory (zram) is not",
        f"{off}\nsudo apt install -y systemd-zram-generator" if host.has_systemd else
        f"sudo swapoff {shlex.quote(on_card[0])}",
    )  # fmt: skip


def kernel_log(host: Host) -> list[str] | None:
    """This boot's lines; None where neither dmesg nor the journal may be read."""
    for words in (("dmesg",), ("journalctl", "-k", "-b", "-q", "--no-pager", "-n", "5000")):
        ran = host.run(*words)
        if ran is not None and ran.code == 0:
            return ran.out.splitlines()
    return None


def _life(host: Host, mount: Mount) -> str:
    """ "has used 30 % of its life"; "" where the disk does not say."""
    steps = [
        int(word, 16)
        for word in host.read(f"/sys/block/{mount.disk}/device/life_time").split()
        if re.fullmatch(r"0x[0-9a-fA-F]{1,2}", word)
    ]
    if not mount.disk or not any(steps):
        return ""
    return f"has used up to {min(max(steps) * 10, 110)} % of its life"


def _worn(host: Host, mount: Mount) -> str:
    """The level, "" where it is well."""
    folder = f"/sys/block/{mount.disk}/device"
    level, _ = _PRE_END.get(host.read(f"{folder}/pre_eol_info"), ("", ""))
    used = re.findall(r"0x([0-9a-fA-F]{1,2})", host.read(f"{folder}/life_time"))
    most = max((int(word, 16) for word in used), default=0)
    return level or ("fault" if most > 10 else "warning" if most >= 9 else "")


def _written_gb(host: Host, mount: Mount | None) -> float:
    """Since the file system was made; only ext4 counts."""
    name = mount.device.removeprefix("/dev/") if mount and mount.disk else "-"
    text = host.read(f"/sys/fs/ext4/{name}/lifetime_write_kbytes")
    return int(text) * 1024 / 1e9 if text.isdecimal() else 0.0


def _disk_gb(host: Host, mount: Mount | None) -> float:
    text = host.read(f"/sys/block/{mount.disk}/size") if mount and mount.disk else ""
    return int(text) * 512 / 1e9 if text.isdecimal() else 0.0


def _journal_settings(host: Host) -> dict[str, str]:
    """As systemd reads them: the main file, then those of the folders by their names."""
    main, parts = list[Path](), dict[str, Path]()
    for pattern in _JOURNALD:
        for path in host.glob(pattern):
            if path.name == "journald.conf":
                main.append(path)
            else:
                parts[path.name] = path
    found: dict[str, str] = {}
    for path in (*main[-1:], *(parts[name] for name in sorted(parts))):
        for line in host.read(host.shown(path)).splitlines():
            key, is_setting, value = line.partition("=")
            if is_setting and not line.lstrip().startswith(("#", ";")):
                found[key.strip()] = value.strip()
    return found


def _swaps(host: Host) -> list[str]:
    return [line.split()[0] for line in host.read("/proc/swaps").splitlines()[1:] if line.strip()]


def _on_card(host: Host, place: str) -> bool:
    if place.startswith("/dev/"):
        return place.startswith("/dev/mmcblk")
    mount = mount_of(host, existing(host.path(place)))
    return mount is not None and mount.is_card


CHECKS: tuple[Callable[[Host], Iterator[Finding]], ...] = (
    check_wear, check_errors, check_journal, check_swap,
)  # fmt: skip
