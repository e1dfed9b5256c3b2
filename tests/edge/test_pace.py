"""How often a station looks: its target, slower while hot, rest in the field; and how hot it is."""

import timeit
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sightpost_edge.config import build
from sightpost_edge.errors import ConfigError
from sightpost_edge.heat import Heat, Thermometer, heat
from sightpost_edge.pace import Pace, RateSettings
from sightpost_edge.records import Frame
from sightpost_edge.testing import ScriptedSource, colour, frame

PI_4 = "sys/devices/platform/soc/soc:firmware/get_throttled"
PI_5 = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
BY_DRIVER = "sys/bus/platform/drivers/raspberrypi-firmware/soc:firmware/get_throttled"
ZONE = "sys/class/thermal/thermal_zone0"


def put(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content + "\n")
    return root


class Board:
    """A station with a fake clock, whose frames cost time and whose sysfs can be set."""

    def __init__(self, root: Path, *, cost_s: float = 0.05, **settings: float) -> None:
        self.root, self.cost_s, self.now_s = root, cost_s, 1000.0
        self.set()
        self.told: list[tuple[float, str]] = []
        self.pace = Pace(
            RateSettings(**settings), Thermometer(root),
            tell=lambda text: self.told.append((self.now_s, text)),
        )  # fmt: skip

    def set(self, *, bits: str = "0", degrees: float = 50.0) -> None:
        put(self.root, {PI_4: bits, f"{ZONE}/temp": f"{degrees * 1000:.0f}"})

    def run(self, seconds: float) -> list[float]:
        """Look for so long; the moments at which a frame was taken."""
        taken, end_s = [], self.now_s + seconds
        while self.now_s < end_s:
            if left_s := self.pace.wait_s(self.now_s):
                self.now_s += min(left_s, 0.25)
                continue
            taken.append(self.now_s)
            self.pace.looked(self.now_s)
            self.now_s += self.cost_s
        return taken

    def per_s(self, seconds: float) -> float:
        return len(self.run(seconds)) / seconds


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize(("per_s", "expected"), [(0, 20), (10, 10), (4, 4), (0.5, 0.5), (50, 20)])
def test_a_target_rate(root: Path, per_s: float, expected: float) -> None:
    """Or as fast as frames can be had, also where more is asked for."""
    assert Board(root, per_s=per_s).per_s(100) == pytest.approx(expected, rel=0.02)


def test_a_pause_makes_no_debts(root: Path) -> None:
    """After a long frame the rate is as before, without a burst."""
    board = Board(root, per_s=2)
    board.run(10)
    board.now_s += 30
    after = board.run(10)
    assert min(b - a for a, b in pairwise(after)) >= 0.49


@pytest.mark.parametrize("per_s", [0, 10])
@pytest.mark.parametrize(
    "cause", [{"bits": "1"}, {"bits": "2"}, {"bits": "4"}, {"bits": "80008"}, {"degrees": 85}]
)
def test_a_hot_board_is_spared_within_five_seconds(
    root: Path, per_s: float, cause: dict[str, Any]
) -> None:
    """Half the rate, by a bit or by the temperature, and in the end an eighth, no less."""
    board = Board(root, per_s=per_s)
    usual = board.per_s(20)
    board.set(**cause)
    began_s = board.now_s
    board.run(5)
    assert board.told
    assert board.told[0][0] - began_s <= 5
    assert board.per_s(4) == pytest.approx(usual / 2, rel=0.15)
    board.run(300)
    assert board.per_s(40) == pytest.approx(usual / 8, rel=0.1)
    assert board.pace.share == 1 / 8
    assert board.pace.state.startswith("1/8 rate (")


def test_a_cooled_board_recovers(root: Path) -> None:
    """A step each minute below 75 degrees and without a bit; then all is as before."""
    board = Board(root, per_s=8)
    board.set(bits="4", degrees=85)
    board.run(60)
    board.set(degrees=70)
    cooled_s = board.now_s
    board.run(240)
    ups = [round(at_s - cooled_s) for at_s, text in board.told if at_s > cooled_s]
    assert len(ups) == 3
    assert all(60 * n <= up <= 60 * n + 3 * n for n, up in enumerate(ups, 1))
    assert board.told[-1][1] == "looking at the usual rate again"
    assert (board.pace.share, board.pace.state) == (1, "")
    assert board.per_s(20) == pytest.approx(8, rel=0.02)


@pytest.mark.parametrize("again", [{"degrees": 77}, {"degrees": 70, "bits": "1"}])
def test_what_is_not_yet_cool_stays_slow(root: Path, again: dict[str, Any]) -> None:
    """Between the two temperatures nothing changes, and the minute starts anew."""
    board = Board(root, per_s=8)
    board.set(degrees=85)
    board.run(5)
    for _ in range(5):
        board.set(degrees=70)
        board.run(50)
        board.set(**again)
        board.run(4)
    assert board.pace.share <= 0.5
    board.set(degrees=70)
    board.run(200)
    assert board.pace.share == 1


def test_since_start_up_is_no_reason(root: Path) -> None:
    """The bits that remember stay set until the next start."""
    board = Board(root)
    board.set(bits="f0000")
    board.run(30)
    assert not board.told


def test_the_state_says_why(root: Path) -> None:
    """In words."""
    board = Board(root, per_s=8)
    board.set(bits="50005", degrees=82)
    board.run(5)
    assert board.pace.state == "1/2 rate (under-voltage now, throttled now, 82 °C)"
    assert board.told[0][1] == f"looking at {board.pace.state}"


def test_a_duty_cycle(root: Path) -> None:
    """Ten seconds of looking from the first picture on, fifty of rest, and so on."""
    board = Board(root, awake_s=10, asleep_s=50, per_s=1)
    taken = board.run(60 * 10)
    assert len(taken) == pytest.approx(100, abs=2)
    phase = [(at_s - taken[0]) % 60 for at_s in taken[:40]]
    assert max(phase) < 11


def test_the_camera_may_take_its_time_to_wake(root: Path) -> None:
    """The awake time counts from the first picture, not from the end of the rest."""
    board = Board(root, awake_s=2, asleep_s=8)
    board.run(3)
    assert board.pace.resting(board.now_s)
    board.now_s += 30
    assert not board.pace.resting(board.now_s)
    board.now_s += 30
    assert not board.pace.resting(board.now_s)
    assert board.run(5)
    assert board.pace.resting(board.now_s)


def test_an_open_event_is_seen_to_its_end(root: Path) -> None:
    """Then the camera rests at once."""
    board = Board(root, awake_s=2, asleep_s=8)
    board.pace.busy = True
    board.run(20)
    assert not board.pace.resting(board.now_s)
    board.pace.busy = False
    assert board.pace.resting(board.now_s)
    assert board.pace.wait_s(board.now_s) == pytest.approx(8, abs=0.1)


class Camera:
    """A live source that notes when it rests."""

    live, uri, dropped = True, "fake", 0

    def __init__(self, board: Board) -> None:
        self.board, self.notes = board, list[tuple[str, float]]()

    def __iter__(self) -> Iterator[Frame]:
        for index in range(1000):
            yield frame(colour("red"), index=index)

    def rest(self) -> None:
        self.notes.append(("rest", self.board.now_s))

    def wake(self) -> None:
        self.notes.append(("wake", self.board.now_s))

    def close(self) -> None:
        """Nothing to close."""


def paced(board: Board, camera: Camera) -> Iterator[float]:
    def sleep(seconds: float) -> None:
        assert 0 < seconds <= 0.25, "a wait must be short enough to end when told so"
        board.now_s += seconds

    for _ in board.pace.frames(camera, clock_s=lambda: board.now_s, sleep=sleep):
        yield board.now_s
        board.now_s += board.cost_s


def test_frames_come_at_the_pace_and_the_camera_rests(root: Path) -> None:
    """Four a second for two seconds, then eight seconds with the camera closed."""
    board = Board(root, per_s=4, awake_s=2, asleep_s=8)
    camera = Camera(board)
    frames = paced(board, camera)
    at_s = [next(frames) for _ in range(24)]
    gaps = [round(b - a, 2) for a, b in pairwise(at_s)]
    assert set(gaps) == {0.25, *(gap for gap in gaps if gap > 8)}
    assert [word for word, _ in camera.notes] == ["rest", "wake"] * (len(camera.notes) // 2)
    assert camera.notes[1][1] - camera.notes[0][1] == pytest.approx(8, abs=0.1)


def test_a_wait_ends_when_told(root: Path) -> None:
    """Stopping a station must not take as long as its rest."""
    board = Board(root, awake_s=1, asleep_s=9999)
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        board.now_s += seconds
        board.pace.stopped = len(naps) == 3

    frames = board.pace.frames(Camera(board), clock_s=lambda: board.now_s, sleep=sleep)
    next(frames)
    board.now_s += 5
    next(frames)
    assert naps == [0.25] * 3


def passed(board: Board, frames: list[Frame], *, speed: float = 1.0) -> list[float]:
    """The times of the Frames that are looked at; each comes when it is its turn at ``speed``."""
    began_s, idle = board.now_s, list[bool]()

    class Played(ScriptedSource):
        def __iter__(self) -> Iterator[Frame]:
            for one in super().__iter__():
                idle.append(board.pace.idle(board.now_s))
                board.now_s = began_s + one.elapsed_s / speed
                yield one

    at_s = [f.elapsed_s for f in board.pace.passing(Played(frames), clock_s=lambda: board.now_s)]
    looks = {one.index for one in frames if one.elapsed_s in at_s}
    assert all(idle[i + 1] for i in range(len(frames) - 1) if i not in looks)
    return at_s


@pytest.mark.parametrize("fps", [10.0, 15.0, 29.97, 30.0])
@pytest.mark.parametrize("per_s", [0.0, 0.5, 3.0, 10.0, 15.0])
def test_a_recording_that_stands_for_a_camera_is_looked_at_as_often(
    root: Path, fps: float, per_s: float
) -> None:
    """By its own times, in whole milliseconds, and never oftener; 0 is every one of them."""
    film = [frame(colour("red"), index=i, elapsed_s=round(i / fps, 3)) for i in range(600)]
    at_s = passed(Board(root, per_s=per_s), film)
    expected = min(per_s or fps, fps)
    assert len(at_s) / (600 / fps) == pytest.approx(expected, rel=0.03)
    if per_s:
        assert all(b - a > 0.9 / fps for a, b in pairwise(at_s))
        assert len(at_s) <= per_s * film[-1].elapsed_s + 1.1


def test_a_recording_is_not_looked_at_while_the_camera_would_rest(root: Path) -> None:
    """Two seconds of ten, and whoever watches over the run knows that none is due."""
    board = Board(root, awake_s=2, asleep_s=8)
    film = [frame(colour("red"), index=i, elapsed_s=i / 10) for i in range(160)]
    assert {int(at_s) for at_s in passed(board, film)} == {0, 1, 10, 11}
    assert [board.pace.idle(1000 + at_s) for at_s in (16, 19, 21)] == [True, True, False]


def test_a_recording_that_cannot_keep_up_rests_by_plan_all_the_same(root: Path) -> None:
    """Decoded at 0.9 times its speed it is late without end: that is no watchdog's business."""
    film = [frame(colour("red"), index=i, elapsed_s=i / 2) for i in range(1200)]
    assert passed(Board(root, per_s=0.02), film, speed=0.9) == [50.0 * i for i in range(12)]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"per_s": -1}, "per_s"),
        ({"per_s": float("nan")}, "per_s"),
        ({"awake_s": 5}, "go together"),
        ({"hot_c": 70}, "must be below"),
        ({"per_second": 1}, "unknown key"),
    ],
)
def test_settings_are_checked(table: dict[str, Any], says: str) -> None:
    """With the key's name."""
    with pytest.raises(ConfigError, match=says):
        build(RateSettings, table, where="rate")


@pytest.mark.parametrize("path", [PI_4, PI_5, BY_DRIVER])
def test_the_firmwares_word_is_found_wherever_it_lies(root: Path, path: str) -> None:
    """The device tree names it otherwise on a Pi 5."""
    assert heat(put(root, {path: "50004"})) == Heat(0x50004)


def test_the_cpus_own_zone_and_the_supplys_alarm(root: Path) -> None:
    """Newer kernels have no word of the firmware; other zones and sensors may come first."""
    put(root, {
        f"{ZONE}/type": "nvme", f"{ZONE}/temp": "30000",
        "sys/class/thermal/thermal_zone1/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone1/temp": "61250",
        "sys/class/hwmon/hwmon0/name": "cpu_thermal",
        "sys/class/hwmon/hwmon1/name": "rpi_volt",
        "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1",
    })  # fmt: skip
    assert Thermometer(root)() == Heat(1, 61.25)
    put(root, {PI_4: "4"})
    assert Thermometer(root)() == Heat(5, 61.25)
    put(root, {"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0"})
    assert Thermometer(root)() == Heat(4, 61.25)


def test_what_cannot_be_read_is_nothing(root: Path) -> None:
    """No files, nonsense in them, or gone since: no error, and the pace is as usual."""
    assert Thermometer(root)() == Heat()
    put(root, {PI_4: "x", f"{ZONE}/temp": ""})
    thermometer = Thermometer(root)
    assert thermometer() == Heat()
    (root / PI_4).unlink()
    assert thermometer() == Heat()
    assert heat().bits >= 0


def test_reading_costs_little(root: Path) -> None:
    """0.2 ms, every two seconds; the best of twenty, on whatever machine this is."""
    put(root, {PI_4: "0", f"{ZONE}/temp": "50000", "sys/class/hwmon/hwmon1/name": "rpi_volt"})
    thermometer = Thermometer(root)
    assert min(timeit.repeat(thermometer, number=1, repeat=20)) < 0.0002
