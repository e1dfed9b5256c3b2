"""The doctor on disks and stores: each fault is planted and must be named with its fix."""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sightpost_edge.doctor import card, contents, storage
from sightpost_edge.doctor.host import Ran
from sightpost_edge.store.ballast import Space

from .doctor_rig import MadeUp, only, plant
from .doctor_store import a_store, many

GIB = 1 << 30
STORE = "var/lib/sightpost/gate"
CARD = "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n"


@pytest.fixture
def machine(tmp_path: Path) -> MadeUp:
    """A Pi with its card."""
    plant(tmp_path, {"proc/self/mounts": CARD, f"{STORE}/.keep": ""})
    return MadeUp(root=tmp_path, store=tmp_path / STORE, environ={})


def measured(monkeypatch: pytest.MonkeyPatch, total: int, free: int, files: int = 1 << 20) -> None:
    monkeypatch.setattr(Space, "of", classmethod(lambda _cls, _folder: Space(total, free, files)))


@pytest.mark.parametrize(
    ("free", "level", "what"),
    [
        (100_000, "fault", "the disk is full"),
        (GIB // 2, "warning", "the disk is nearly full"),
        (10 * GIB, "ok", "10.7 GB of 34.4 GB free; the store may take 17.2 GB"),
    ],
)
def test_space(
    machine: MadeUp, monkeypatch: pytest.MonkeyPatch, free: int, level: str, what: str
) -> None:
    """Full, or so nearly that the store gives up pictures."""
    measured(monkeypatch, 32 * GIB, free)
    found = only(storage.check_space(machine), level)
    assert found.what.startswith(what)
    assert level == "ok" or "sudo du -xh --max-depth=2 /" in found.fix


@pytest.mark.parametrize(("files", "level"), [(10, "fault"), (500, "warning"), (5000, "ok")])
def test_files(machine: MadeUp, monkeypatch: pytest.MonkeyPatch, files: int, level: str) -> None:
    """A file system without inodes takes no file while bytes are free."""
    measured(monkeypatch, 32 * GIB, 10 * GIB, files)
    found = only(storage.check_files(machine), level)
    assert level == "ok" or found.fix.startswith("df -i ")


@pytest.mark.parametrize(
    ("mounts", "level", "what", "fix"),
    [
        (CARD, "ok", "is on ext4", ""),
        (CARD + "/dev/sda1 /var/lib/sightpost vfat rw 0 0\n", "warning", "vfat (/dev/sda1)",
         "sudo mkfs.ext4 -L sightpost /dev/sda1"),
        (CARD + "/dev/sda1 /var/lib exfat rw 0 0\n", "warning", "exfat", "mkfs.ext4"),
        (CARD + "tmpfs /var/lib/sightpost tmpfs rw 0 0\n", "fault", "that is memory", "--store"),
        ("overlay / overlay rw,upperdir=/u 0 0\n", "fault", "writes stay in memory",
         "sudo raspi-config nonint do_overlayfs 1\nsudo reboot"),
        (CARD + "nas:/x /var/lib/sightpost nfs4 rw 0 0\n", "warning", "nfs4 (nas:/x)",
         "local disk"),
        (CARD + "/dev/sda1 /var/lib/sightpost ext4 ro 0 0\n", "fault", "which is read-only",
         "sudo mount -o remount,rw /var/lib/sightpost"),
        ("", "note", "not known", ""),
    ],
)  # fmt: skip
def test_file_systems(machine: MadeUp, mounts: str, level: str, what: str, fix: str) -> None:
    """Without owners, in memory, over a network, read-only: what each would cost."""
    plant(machine.root, {"proc/self/mounts": mounts})
    found = only(storage.check_filesystem(machine), level)
    assert what in found.what
    assert fix in found.fix


def test_an_overlay_in_a_container_is_no_fault(machine: MadeUp) -> None:
    """There it is how everything is kept."""
    plant(machine.root, {"proc/self/mounts": "overlay / overlay rw 0 0\n", ".dockerenv": ""})
    assert only(storage.check_filesystem(machine)).level == "ok"


def test_names_with_blanks_and_dev_root(machine: MadeUp) -> None:
    """The kernel writes a blank as \\040, and the card as /dev/root."""
    plant(machine.root, {
        "proc/self/mounts": "/dev/root / ext4 rw 0 0\n/dev/sda1 /mnt/my\\040disk vfat rw 0 0\n",
        "proc/cmdline": "console=tty1 root=/dev/mmcblk0p2 rootwait",
    })  # fmt: skip
    assert "(/dev/mmcblk0p2)" in only(storage.check_filesystem(machine), "ok").what
    elsewhere = replace(machine, store=machine.root / "mnt/my disk/events")
    assert "vfat" in only(storage.check_filesystem(elsewhere), "warning").what


@pytest.mark.parametrize(
    ("fstab", "level"), [("", "fault"), ("/dev/mmcblk0p2 / ext4 defaults,ro 0 1\n", "note")]
)
def test_a_root_that_is_read_only(machine: MadeUp, fstab: str, level: str) -> None:
    """Wanted so, or turned so by the kernel: then the card fails."""
    plant(machine.root, {"proc/self/mounts": CARD.replace("rw", "ro"), "etc/fstab": fstab})
    found = only(storage.check_root(machine), level)
    assert found.fix.endswith("sudo mount -o remount,rw /")
    assert ("dmesg" in found.fix) == (level == "fault")


def test_a_store_on_a_read_only_disk(machine: MadeUp) -> None:
    """Said once, and no owner is to blame."""
    plant(machine.root, {"proc/self/mounts": CARD.replace("rw", "ro"), f"{STORE}/events.db": "xx"})
    assert only(storage.check_filesystem(machine), "fault").fix.endswith("remount,rw /")
    for check in (storage.check_owner, contents.CHECKS[0]):
        assert "read-only" in only(check(machine), "ok").what


def test_a_full_disk_of_its_own(machine: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fills it is looked for where it begins, not on the system's disk."""
    mounts = f"{CARD}/dev/sda1 /var/lib/sightpost ext4 rw 0 0\n"
    plant(machine.root, {"proc/self/mounts": mounts})
    measured(monkeypatch, 32 * GIB, 0, 5)
    for check in (storage.check_space, storage.check_files):
        assert "--max-depth=2 /var/lib/sightpost | sort" in only(check(machine), "fault").fix


def test_a_store_that_is_somebody_elses(machine: MadeUp) -> None:
    """The service's user has another number than the files."""
    passwd = f"root:x:0:0::/root:/bin/sh\nsightpost:x:{os.geteuid() + 7}:990::/:/bin/false\n"
    plant(machine.root, {"etc/passwd": passwd, f"{STORE}/events.db": ""})
    found = only(storage.check_owner(replace(machine, station="gate")), "fault")
    assert "the folder, events.db cannot be written by sightpost" in found.what
    assert found.fix == "sudo chown -R sightpost:sightpost /var/lib/sightpost/gate"
    mine = passwd.replace(str(os.geteuid() + 7), str(os.geteuid()))
    plant(machine.root, {"etc/passwd": mine})
    os.chmod(machine.store, 0o750)
    assert only(storage.check_owner(replace(machine, station="gate"))).level == "ok"


def test_a_store_that_everybody_may_look_into(machine: MadeUp) -> None:
    """Pictures of people may be in it; taking that away can do no harm."""
    plant(machine.root, {"etc/passwd": f"sightpost:x:{os.geteuid()}:990::/:/bin/false\n"})
    os.chmod(machine.store, 0o755)
    found = only(storage.check_owner(replace(machine, station="gate", uid=1000)), "note")
    assert (found.fix, found.safe) == ("sudo chmod 0750 /var/lib/sightpost/gate", True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_may_not_be_written(machine: MadeUp) -> None:
    """By hand, without a service."""
    os.chmod(machine.store, 0o500)
    assert "chown -R" in only(storage.check_owner(machine), "fault").fix


@pytest.mark.parametrize(
    ("files", "level", "what"),
    [
        ({"life_time": "0x01 0x02", "pre_eol_info": "0x01"}, "ok", "up to 20 %"),
        ({"life_time": "0x09 0x03", "pre_eol_info": "0x01"}, "warning", "up to 90 %"),
        ({"life_time": "0x0b 0x03", "pre_eol_info": "0x01"}, "fault", "up to 110 %"),
        ({"life_time": "0x02 0x02", "pre_eol_info": "0x02"}, "warning", "up to 20 %"),
        ({"life_time": "0x02 0x02", "pre_eol_info": "0x03"}, "fault", "up to 20 %"),
        ({}, "ok", "tells nothing of its wear"),
    ],
)
def test_wear(machine: MadeUp, files: dict[str, str], level: str, what: str) -> None:
    """As eMMC tells it; an SD card tells nothing."""
    plant(machine.root, {f"sys/block/mmcblk0/device/{k}": v for k, v in files.items()})
    found = only(card.check_wear(machine), level)
    assert what in found.what
    assert level == "ok" or "another card" in found.fix


def test_a_card_written_many_times_over(machine: MadeUp) -> None:
    """ext4 counts; 100 times the whole card is much for a cheap one."""
    plant(machine.root, {
        "sys/block/mmcblk0/size": str(32 * 10**9 // 512),
        "sys/fs/ext4/mmcblk0p2/lifetime_write_kbytes": str(4000 * 10**9 // 1024),
    })  # fmt: skip
    found = only(card.check_wear(machine), "note")
    assert found.what == "mmcblk0 (32 GB); 4000 GB were written to it so far"


@pytest.mark.parametrize(
    "line",
    [
        "[ 1.2] blk_update_request: I/O error, dev mmcblk0, sector 1234 op 0x1:(WRITE)",
        "[ 1.2] EXT4-fs error (device mmcblk0p2): ext4_find_entry:1455: inode #2",
        "[ 1.2] EXT4-fs (mmcblk0p2): Remounting filesystem read-only",
        "[ 1.2] mmc0: Timeout waiting for hardware interrupt.",
        "[ 1.2] mmcblk0: error -110 sending status command, retrying",
    ],
)
def test_errors_of_a_disk(machine: MadeUp, line: str) -> None:
    """What the kernel says before a card is gone."""
    found = only(card.check_errors(replace(machine, answers={"dmesg": f"[0.1] fine\n{line}\n"})))
    assert (found.level, "lines of disk errors" in found.what) == ("fault", True)
    assert "replace the card" in found.fix


def test_a_kernel_log_that_may_not_be_read(machine: MadeUp) -> None:
    """Said, with the way to read it; the journal has it too."""
    shut = {"dmesg": Ran(1, "", "Operation not permitted")}
    assert only(card.check_errors(replace(machine, answers=shut)), "note").fix.startswith("sudo")
    both = {**shut, "journalctl -k": "nothing\n"}
    assert only(card.check_errors(replace(machine, answers=both))).level == "ok"


@pytest.mark.parametrize(
    ("files", "level", "what"),
    [
        ({"usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf":
          "[Journal]\nStorage=volatile\n"}, "note", "lost at every restart"),
        ({"var/log/journal/x": ""}, "note", "no limit"),
        ({"var/log/journal/x": "", "etc/systemd/journald.conf": "[Journal]\nSystemMaxUse=50M\n"},
         "ok", "50M at most"),
        ({"var/log/journal/x": "", "etc/systemd/journald.conf": "[Journal]\n#SystemMaxUse=\n"},
         "note", "no limit"),
    ],
)  # fmt: skip
def test_the_journal(machine: MadeUp, files: dict[str, str], level: str, what: str) -> None:
    """Kept, and bounded; later files win over earlier ones."""
    plant(machine.root, {**files, "run/systemd/system/x": ""})
    found = only(card.check_journal(machine), level)
    assert what in found.what
    assert level == "ok" or "SystemMaxUse=50M" in found.fix
    own = {"etc/systemd/journald.conf.d/50-sightpost.conf": "Storage=persistent\nSystemMaxUse=9M"}
    plant(machine.root, own)
    assert "9M" in only(card.check_journal(machine), "ok").what


@pytest.mark.parametrize("place", ["/dev/mmcblk0p3", "/var/swap"])
def test_swap_on_the_card(machine: MadeUp, place: str) -> None:
    """As a partition or a file; compressed memory is none."""
    heading = "Filename Type Size Used Priority\n"
    plant(machine.root, {"proc/swaps": f"{heading}{place} file 102396 0 -2\n", "var/swap": "",
                         "run/systemd/system/x": ""})  # fmt: skip
    found = only(card.check_swap(machine), "note")
    assert found.fix.startswith(f"sudo swapoff {place}\n")
    plant(machine.root, {"etc/dphys-swapfile": ""})
    assert "disable --now dphys-swapfile" in only(card.check_swap(machine), "note").fix
    plant(machine.root, {"proc/swaps": f"{heading}/dev/zram0 partition 102396 0 100\n"})
    assert only(card.check_swap(machine)).level == "ok"


def broken(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:] = b"\xff" * (len(content) - 100)
    path.write_bytes(content)


def noted(path: Path) -> None:
    Path(f"{path}-suspect").touch()


@pytest.mark.parametrize("damage", [broken, noted])
def test_a_damaged_database(machine: MadeUp, damage: Callable[[Path], None]) -> None:
    """Found without writing: the file is afterwards as it was."""
    path = a_store(machine.store) / "events.db"
    assert only(contents.check_database(machine)).level == "ok"
    damage(path)
    before = path.read_bytes()
    found = only(contents.check_database(replace(machine, station="gate")), "fault")
    assert "is damaged" in found.what
    assert "\n" not in found.what
    assert "sqlite3 -readonly /var/lib/sightpost/gate/events.db .dump | " in found.fix
    assert path.read_bytes() == before


def test_databases_that_were_set_aside(machine: MadeUp) -> None:
    """Named with the command that reads what is left of the largest."""
    plant(machine.root, {
        f"{STORE}/events.db.damaged-20261101T000000Z": "x" * 9000,
        f"{STORE}/events.db.damaged-20261102T000000Z": "x",
    })  # fmt: skip
    found = only(contents.check_quarantine(machine), "warning")
    assert found.what.startswith("2 damaged databases")
    assert "events.db.damaged-20261101T000000Z .dump | " in found.fix
    assert only(contents.check_quarantine(replace(machine, store=Path("/none")))).level == "ok"


def test_thousands_of_events(machine: MadeUp) -> None:
    """16,000 a day are wind and insects; the label that makes most of them is named."""
    many(machine.store, 700)
    found = only(contents.check_rate(machine), "warning")
    assert "'cat'" in found.what
    assert "mask" in found.fix
    quiet = replace(machine, store=a_store(machine.root / "quiet", 20))
    assert only(contents.check_rate(quiet), "ok").what == "20 events in the last day"


def test_samples_that_take_nearly_everything(machine: MadeUp) -> None:
    """A note with the key that bounds them."""
    many(machine.store, 3, picture_bytes=1000)
    with sqlite3.connect(machine.store / "events.db") as connection:
        connection.execute(
            "INSERT INTO samples VALUES (1, 'random', 'x', 0.5, '{}', NULL, 0, 0, '', '', 0, 1, "
            "'', 'samples/1.jpg', 500000000)"
        )
    connection.close()
    found = only(contents.check_held(machine), "note")
    assert "500 MB of samples" in found.what
    assert "[samples] max_mb" in found.fix


def test_no_ballast(machine: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk nothing could be deleted."""
    a_store(machine.store)
    (machine.store / "ballast").unlink(missing_ok=True)
    measured(monkeypatch, GIB, 100_000)
    found = only(contents.check_ballast(replace(machine, station="gate")), "warning")
    assert found.fix == "df -h /var/lib/sightpost/gate"
    measured(monkeypatch, GIB, GIB // 2)
    found = only(contents.check_ballast(replace(machine, station="gate")), "note")
    assert found.fix == "sudo systemctl restart sightpost@gate"


@pytest.mark.parametrize(
    ("version", "options", "level", "what"),
    [
        ((3, 40, 1), set(), "note", "3.40.1 can lose events when two programs write"),
        ((3, 44, 6), set(), "ok", "SQLite 3.44.6"),
        ((3, 51, 3), {"THREADSAFE=0"}, "fault", "without threads"),
        ((3, 51, 3), {"OMIT_WAL"}, "fault", "write-ahead log"),
    ],
)
def test_sqlite(
    machine: MadeUp, monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, int, int], options: set[str], level: str, what: str,
) -> None:  # fmt: skip
    """The library that keeps the events: a bug in a range of versions, and how it was built."""
    monkeypatch.setattr(contents, "_sqlite", lambda: version)
    monkeypatch.setattr(contents, "_compile_options", lambda: options)
    assert what in only(contents.check_sqlite(machine), level).what


def test_a_store_that_may_not_be_looked_into(
    machine: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's: said once, instead of "no events yet"."""
    monkeypatch.setattr(contents, "is_shut", lambda _store: True)
    found = [
        one for check in contents.CHECKS[:-1] for one in check(replace(machine, station="gate"))
    ]
    assert only(found, "note").fix == "sudo sightpost doctor gate"
    assert [one.check for one in found] == [
        "storage.database", "storage.quarantine", "storage.rate", "storage.held", "storage.ballast",
    ]  # fmt: skip


def test_every_check_says_something_on_an_empty_machine(tmp_path: Path) -> None:
    """Nothing there is nothing wrong, or a note; nothing raises."""
    for check in storage.CHECKS:
        found = list(check(MadeUp(root=tmp_path, store=tmp_path / "none", environ={})))
        assert [one.level in ("ok", "note") for one in found] == [True], found
