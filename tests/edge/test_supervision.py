"""The service manager is told the truth: ready when it looks, alive while it gets on."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sightpost_edge.clock import Reading
from sightpost_edge.lives import FREE, HOUR_MS, LIVES, MOST_S, REBOOT, Life, Lives, read_lives
from sightpost_edge.supervision import STATUS_S, Counters, Supervisor
from sightpost_edge.systemd import LONGEST, Notifier


class Manager:
    """What a service manager hears."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        found = []
        try:
            while True:
                found.append(self.socket.recv(4096).decode())
        except BlockingIOError:
            return found


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    made = Manager(address)
    yield made
    made.socket.close()


class Rig:
    """A Supervisor on a clock that the test turns."""

    def __init__(self, address: str, manager: Manager, watchdog_s: float = 30.0) -> None:
        self.now_s = 100.0
        self._manager, self._heard = manager, list[str]()
        self.counters = Counters(0, 0, 0)
        self.watch = Supervisor(
            Notifier(address, watchdog_s), lambda: self.counters, lambda: "4.0 fps",
            clock_s=lambda: self.now_s, stacks=None,
        )  # fmt: skip

    def pass_s(
        self, seconds: float, *, moves: str = "pictures looks turns", rests: bool = False
    ) -> None:
        """The loop goes round four times a second."""
        for _ in range(round(4 * seconds)):
            self.now_s += 0.25
            one = {name: getattr(self.counters, name) + (name in moves)
                   for name in ("pictures", "looks", "turns")}  # fmt: skip
            self.counters = Counters(**one, rests=rests)
            self.watch.beat()
            self._heard += self._manager.heard()  # a socket's queue holds ten

    def heard(self) -> list[str]:
        found, self._heard = self._heard, []
        return found


@pytest.fixture
def rig(address: str, manager: Manager) -> Rig:
    made = Rig(address, manager)
    made.pass_s(1)
    made.heard()
    return made


def test_nobody_listens() -> None:
    """By hand, in a container, under another manager: nothing happens."""
    for notifier in (Notifier(), Notifier("relative"), Notifier("/no/such/socket", 1.0)):
        notifier.ready()
        notifier.status("x")
        Supervisor(notifier, lambda: Counters(1, 1, 1), stacks=None).beat()


def test_names_of_sockets(address: str, manager: Manager) -> None:
    """A path, or a name that begins with @ and lies in no folder."""
    Notifier(address).ready()
    assert manager.heard() == ["READY=1"]
    abstract = Manager(f"@sightpost-test-{os.getpid()}")
    Notifier(f"@sightpost-test-{os.getpid()}").stopping()
    assert abstract.heard() == ["STOPPING=1"]
    abstract.socket.close()


def test_what_the_environment_says(address: str) -> None:
    """The watchdog of another process is not ours."""
    given = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"}
    assert Notifier.from_environment({**given, "WATCHDOG_PID": str(os.getpid())}).watchdog_s == 30
    assert Notifier.from_environment(given).watchdog_s == 30
    assert Notifier.from_environment({**given, "WATCHDOG_PID": "1"}).watchdog_s == 0
    assert Notifier.from_environment({**given, "WATCHDOG_USEC": "soon"}).watchdog_s == 0
    assert not Notifier.from_environment({}).heard


def test_a_status_is_one_line(address: str, manager: Manager) -> None:
    Notifier(address).status("a\nREADY=1\n" + "x" * 999)
    (said,) = manager.heard()
    assert said.startswith("STATUS=a READY=1 xxx")
    assert len(said) == len("STATUS=") + LONGEST


def test_ready_only_when_a_picture_was_looked_at(address: str, manager: Manager) -> None:
    """Neither a camera that opens nor a store that turns is enough."""
    rig = Rig(address, manager)
    rig.pass_s(60, moves="pictures turns")
    assert not rig.watch.ready
    assert {line.split("=")[0] for line in rig.heard()} == {"STATUS"}
    rig.pass_s(0.25)
    assert "READY=1" in rig.heard()


def test_ready_is_said_again_until_it_was_heard(address: str, manager: Manager) -> None:
    """A manager under load: its queue is full, and what it does not hear it waits for in vain."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                other.sendto(b"X=1", address)
    notifier = Notifier(address, 30.0)
    watch = Supervisor(notifier, lambda: Counters(1, 1, 1), clock_s=lambda: 0.0, stacks=None)
    for _ in range(3):
        watch.beat()
    assert not watch.ready
    assert "READY=1" not in manager.heard()
    watch.beat()
    assert watch.ready
    assert manager.heard() == ["READY=1", "WATCHDOG=1"]
    watch.beat()
    assert manager.heard() == []


def test_a_notifier_knows_whether_it_was_heard(address: str, manager: Manager) -> None:
    assert Notifier(address).ready()
    manager.socket.close()
    for deaf in (Notifier(address), Notifier(), Notifier("/no/such/socket")):
        assert not deaf.ready()


def test_alive_ten_times_per_watchdog(rig: Rig) -> None:
    rig.pass_s(60)
    heard = rig.heard()
    assert 18 <= heard.count("WATCHDOG=1") <= 21
    assert heard.count("STATUS=4.0 fps") == 60 / STATUS_S


@pytest.mark.parametrize(
    ("moves", "said"),
    [
        ("turns", "no new picture came"),
        ("pictures turns", "no picture was classified"),
        ("pictures looks", "nothing was written"),
        ("", "nothing was written"),
    ],
)
def test_no_ping_while_one_stage_stands_still(
    rig: Rig, moves: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Within a tenth of its time; it is said once, and the next progress is a ping again."""
    rig.pass_s(3, moves=moves)
    rig.heard()
    rig.pass_s(25, moves=moves)
    assert "WATCHDOG=1" not in rig.heard()
    assert said in rig.watch.late
    assert len(caplog.records) == 1
    rig.pass_s(0.25)
    assert "WATCHDOG=1" in rig.heard()
    assert not rig.watch.late


def test_a_process_that_was_stopped_knows_that_it_was_silent(rig: Rig) -> None:
    """SIGSTOP, a debugger, a machine that hung: what ends it then is no good end."""
    rig.now_s += 31
    rig.watch.beat()
    assert rig.watch.late == "no sign of life for 32 s"
    rig.pass_s(10)
    rig.watch.close()
    assert rig.watch.late == "no sign of life for 32 s"


def test_a_planned_rest_is_progress(rig: Rig) -> None:
    """An hour; but a store that hangs is noticed then, too."""
    rig.pass_s(3600, moves="turns", rests=True)
    assert rig.heard().count("WATCHDOG=1") > 3600 / 30 * 2
    rig.pass_s(3, moves="", rests=True)
    rig.heard()
    rig.pass_s(40, moves="", rests=True)
    assert "WATCHDOG=1" not in rig.heard()


def test_one_picture_may_take_longer_than_the_watchdog_waits(rig: Rig) -> None:
    """Eight regions of 4 s each on a Pi Zero: each look is progress, no picture is asked for."""
    for _ in range(3):
        for region in range(8):
            rig.pass_s(3.75, moves="turns")
            rig.pass_s(0.25, moves="looks turns" if region else "pictures looks turns")
    assert not rig.watch.late
    assert rig.heard().count("WATCHDOG=1") >= 24


def test_no_watchdog_was_asked_for(address: str, manager: Manager) -> None:
    rig = Rig(address, manager, watchdog_s=0)
    rig.pass_s(60)
    heard = rig.heard()
    assert "READY=1" in heard
    assert rig.watch.ready
    assert not rig.watch.late


class Board:
    """Clocks, and the waits that somebody slept through."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.boot, self.wall_ms, self.up_s = folder, "one", 1_000_000_000_000, 60.0
        self.slept: list[float] = []

    def clock(self) -> Reading:
        return Reading(self.wall_ms, round(self.up_s * 1e9), "synchronized", self.boot)

    def start(self) -> Life:
        self.wall_ms += 1000
        life = Life(self.folder, read_clock=self.clock, sleep=self.slept.append)
        life.begin()
        return life


def test_several_bad_ends_wait_longer_and_longer(tmp_path: Path) -> None:
    board = Board(tmp_path)
    for _ in range(12):
        board.start().end("SourceLost: unplugged")
    assert board.slept == [5, 10, 20, 40, *[MOST_S] * 4]
    assert read_lives(tmp_path).ends[-1].why == "SourceLost: unplugged"


def test_a_good_end_or_ten_good_minutes_clear_the_count(tmp_path: Path) -> None:
    board = Board(tmp_path)
    for finish in (lambda life: life.end(), lambda life: life.healthy()):
        for _ in range(FREE + 1):
            board.start().end("ModelError")
        finish(board.start())
        board.slept.clear()
        board.start().end()
        assert not board.slept


def test_killed_counts_and_a_power_cut_does_not(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.start()
    board.start()
    assert read_lives(tmp_path).bad == 1
    assert read_lives(tmp_path).ends[0].why == "killed"
    board.boot = "two"
    board.start()
    assert read_lives(tmp_path).bad == 1


def test_a_reboot_is_asked_for_once_in_six_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five bad ends within an hour; not where nobody gives it a runtime folder."""
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))
    board = Board(tmp_path / "store")
    for _ in range(5):
        board.start().end("SourceLost")
    assert not (runtime / REBOOT).exists()
    board.start().end("SourceLost")
    assert (runtime / REBOOT).exists()
    for boot, up_s, passed_ms in (("two", 60.0, 7 * HOUR_MS), ("two", 7 * 3600, -7 * HOUR_MS)):
        board.boot, board.up_s, board.wall_ms = boot, up_s, board.wall_ms + passed_ms
        for _ in range(7):
            board.start().end("SourceLost")
        assert not (runtime / REBOOT).exists()
    board.wall_ms += 7 * HOUR_MS
    for _ in range(5):
        board.start().end("SourceLost")
    board.start()
    assert (runtime / REBOOT).exists()


def test_bad_ends_over_a_day_ask_for_no_reboot() -> None:
    lives = Lives()
    for hour in range(10):
        lives = lives.died("SourceLost", hour * HOUR_MS)
    assert not lives.wants_reboot(10 * HOUR_MS, 1e6)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"ends": 3}', b"\xff" * 99])
def test_a_damaged_count_is_no_count(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / LIVES).write_bytes(damage)
    assert read_lives(tmp_path) == Lives()


def test_a_disk_that_takes_nothing_does_not_stop_a_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    life = Life(tmp_path / "file" / "store", sleep=lambda s: None)
    life.begin()
    life.end("x")
    assert "how runs end is not counted" in caplog.text
