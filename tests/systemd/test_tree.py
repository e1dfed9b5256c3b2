"""``.ci/systemd-tree boot``: gives back what ran inside, and leaves nothing behind."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest


def boot(tree: Path, job: Path, *words: str, limit_s: int = 60) -> "subprocess.Popen[str]":
    environment = {**os.environ, "LIMIT_S": str(limit_s)}
    command = [str(tree), "boot", str(job), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def left(job: Path) -> list[str]:
    """Processes that still see the job's folder mounted, and mounts of this machine that do."""
    found = []
    for table in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            text = table.read_text()
        except OSError:
            continue  # it ended meanwhile
        if f"{job} /job" in text:
            found.append(str(table))
    return found


def test_the_exit_code_and_the_output_come_back(tree: Path, tmp_path: Path) -> None:
    """As of a command, with systemd as pid 1."""
    machine = boot(tree, tmp_path, "sh", "-c", "cat /proc/1/comm; exit 7")
    said, _ = machine.communicate(timeout=60)
    assert (machine.returncode, said.strip()) == (7, "systemd")
    assert "what this boot is for" in (tmp_path / "journal.txt").read_text()
    assert not left(tmp_path)


def test_the_machine_cannot_be_reached(tree: Path, tmp_path: Path) -> None:
    """No network but its own loopback; neither clock nor kernel settings can be changed."""
    setting = "/proc/sys/vm/swappiness"
    script = f"ls /sys/class/net; date -s 2001-01-01; cat {setting} >{setting}; exit 0"
    before = time.time()
    machine = boot(tree, tmp_path, "sh", "-c", script)
    said, _ = machine.communicate(timeout=60)
    assert said.split()[0] == "lo"
    assert "eth0" not in said
    assert 0 <= time.time() - before < 60
    assert "Read-only file system" in said


def test_too_long_is_the_end(tree: Path, tmp_path: Path) -> None:
    """After LIMIT_S seconds, with 137."""
    machine = boot(tree, tmp_path, "sleep", "60", limit_s=3)
    machine.communicate(timeout=30)
    assert machine.returncode == 137
    assert not left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_boot_leaves_nothing(tree: Path, tmp_path: Path, number: int) -> None:
    """No process and no mount, whatever signal it was; after SIGKILL an empty cgroup stays, which
    the next boot removes."""
    machine = boot(tree, tmp_path, "sleep", "60")
    while not (tmp_path / "journal.txt").exists():
        assert machine.poll() is None
        time.sleep(0.1)
    assert left(tmp_path)
    machine.send_signal(number)
    machine.communicate(timeout=30)
    until = time.monotonic() + 10
    while left(tmp_path):
        assert time.monotonic() < until, left(tmp_path)
        time.sleep(0.1)
