"""Which ends count and which are begun again: starts that are slow, stopped, or go nowhere."""

import errno
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sightpost_edge import lives as module
from sightpost_edge.clock import Reading
from sightpost_edge.commands import run as command
from sightpost_edge.config import Site, load
from sightpost_edge.durable import write_file
from sightpost_edge.errors import (
    BundleCorrupt,
    ConfigError,
    MissingExtra,
    ModelError,
    SightpostError,
    SourceUnavailable,
    StoreError,
)
from sightpost_edge.lives import FREE, REBOOT, REBOOT_ENDS, End, Life, Lives, read_lives
from sightpost_edge.models import trust
from sightpost_edge.served import TOO_LONG, Served
from sightpost_edge.service.places import Places
from sightpost_edge.service.wish import Wish, consider
from sightpost_edge.sources.settings import CameraSettings
from sightpost_edge.systemd import Notifier

from ..conftest import REPOSITORY
from .service_rig import MadeUp, made_up


class Manager:
    """A service manager's socket, and what it hears."""

    def __init__(self, address: Path) -> None:
        self.gate = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.gate.bind(str(address))
        self.gate.setblocking(False)
        self.notifier = Notifier(str(address))

    def heard(self) -> list[str]:
        found = []
        try:
            while True:
                found.append(self.gate.recv(4096).decode())
        except BlockingIOError:
            return found


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.gate.close()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def wish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that asks for a reboot."""
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))
    return runtime / REBOOT


class Board:
    """Clocks that the test turns."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.boot, self.wall_ms, self.up_s = folder, 1, 1_000_000_000_000, 60.0

    def start(self) -> Life:
        self.pass_s(30)
        life = Life(self.folder, read_clock=self._read, sleep=lambda _s: None)
        life.begin()
        return life

    def wedge(self) -> None:
        """The camera's driver: five bad ends, and the start after them."""
        for _ in range(REBOOT_ENDS):
            self.start().end("SourceLost: unplugged")
        self.start()

    def reboot(self) -> None:
        self.boot, self.up_s = self.boot + 1, 0.0

    def pass_s(self, seconds: float) -> None:
        self.wall_ms, self.up_s = self.wall_ms + round(1000 * seconds), self.up_s + seconds

    def _read(self) -> Reading:
        return Reading(self.wall_ms, round(self.up_s * 1e9), "synchronized", str(self.boot))


def fails(manager: Manager, store: Path, error: Exception) -> None:
    with pytest.raises(type(error)), Served(store, manager.notifier):
        raise error


def test_a_bad_model_is_tried_again_and_a_wrong_config_is_not() -> None:
    """One look with a NaN after months, a board too busy for a trial: both are exit code 4."""
    unit = (REPOSITORY / "systemd" / "sightpost@.service").read_text()
    (final,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    assert str(ConfigError.exit_code) in final.split()
    assert str(ModelError.exit_code) not in final.split()


@pytest.mark.parametrize("error", [ModelError("NaN"), BundleCorrupt("x"), ConfigError("x")])
def test_no_reboot_mends_a_model_or_a_config(
    manager: Manager, store: Path, monkeypatch: pytest.MonkeyPatch, error: SightpostError
) -> None:
    """They are waited for like all bad ends; a camera that is gone is a wish for one."""
    monkeypatch.setattr(Life, "begin", lambda *_: None)
    for _ in range(REBOOT_ENDS):
        fails(manager, store, error)
    lives = read_lives(store)
    assert lives.bad == REBOOT_ENDS
    assert lives.wait_s > 0
    assert not lives.wants_reboot(lives.ends[-1].at_ms, 1e6)
    for _ in range(REBOOT_ENDS):
        fails(manager, store, SourceUnavailable("gone"))
    lives = read_lives(store)
    assert lives.wants_reboot(lives.ends[-1].at_ms, 1e6)


def test_ends_that_an_older_release_noted_are_read(store: Path) -> None:
    store.mkdir()
    (store / "lives.json").write_text(
        '{"v": 1, "bad": 1, "ends": [{"at_ms": 5, "why": "x"}], "living": "", "asked_ms": 0}'
    )
    assert read_lives(store) == Lives(1, (End(5, "x"),))


def test_a_driver_that_wedges_after_ten_good_minutes_gets_one_reboot_in_six_hours(
    store: Path, wish: Path
) -> None:
    board = Board(store)
    board.wedge()
    assert wish.exists()
    for _ in range(20):
        board.reboot()
        board.start().healthy()
        assert not wish.exists()
        board.pass_s(600)
        board.wedge()
        assert not wish.exists()
    life = board.start()
    board.pass_s(7 * 3600)
    life.healthy()
    life.end()
    board.wedge()
    assert wish.exists()


def test_a_healthy_life_that_is_long_forgets_the_reboot(store: Path, wish: Path) -> None:
    """After a power cut years later the board has run for minutes only, and may have one."""
    board = Board(store)
    board.wedge()
    life = board.start()
    life.healthy()
    assert read_lives(store).asked_ms
    board.pass_s(7 * 3600)
    life.healthy()
    assert not read_lives(store).asked_ms
    board.reboot()
    board.wedge()
    assert wish.exists()


def test_no_reboot_is_asked_for_that_cannot_be_noted(
    store: Path, wish: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only disk would have the machine reboot for as long as the five ends are recent."""
    board = Board(store)
    for _ in range(REBOOT_ENDS):
        board.start().end("SourceLost: unplugged")

    def refuse(*_: object) -> None:
        raise StoreError("read-only")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_file", refuse)
        board.start()
        assert not wish.exists()
    board.start()
    assert wish.exists()


def test_patience_is_asked_for_before_anything_is_written(
    manager: Manager, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worn card takes 20 s for each fsync; without a wait there is one write only."""
    before: list[list[str]] = []

    def write(path: Path, content: bytes) -> None:
        before.append(manager.heard())
        write_file(path, content)

    monkeypatch.setattr(module, "write_file", write)
    with Served(store, manager.notifier):
        assert [said[0] for said in before] == ["EXTEND_TIMEOUT_USEC=90000000"]
        assert manager.heard()[0] == "EXTEND_TIMEOUT_USEC=90000000"


def test_a_camera_may_take_as_long_as_its_owner_says(
    manager: Manager, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``stall_s`` beyond the 90 s of a step: the source itself waits so long for a picture."""
    said: list[str] = []

    def station(*_: object, **__: object) -> None:
        said.extend(manager.heard())
        raise SourceUnavailable("enough")

    monkeypatch.setattr("sightpost_edge.station.Station", station)
    monkeypatch.setattr(command, "_model", lambda _site: None)
    monkeypatch.setattr("sightpost_edge.durable.keep_private", lambda: None)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    site = Site(model="m", source="0", store=str(store), camera=CameraSettings(stall_s=300.0))
    with pytest.raises(SourceUnavailable):
        command._watch(site, config=None, json=False)
    assert said[-2:] == [
        "EXTEND_TIMEOUT_USEC=390000000", "STATUS=starting: opening the camera and the store",
    ]  # fmt: skip


def terminate(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)


def out_of_patience(served: Served) -> None:
    served._patient_s = time.monotonic()
    terminate()


def test_who_stops_a_start_has_not_killed_it(manager: Manager, store: Path) -> None:
    """Five quick restarts by hand would have rebooted the machine; the old handler is back then."""
    before = signal.getsignal(signal.SIGTERM)
    started_s = time.monotonic()
    for _ in range(REBOOT_ENDS + 1):
        with pytest.raises(SystemExit) as ended, Served(store, manager.notifier):
            terminate()
        assert ended.value.code == 0
    assert read_lives(store) == Lives()
    assert signal.getsignal(signal.SIGTERM) == before
    assert time.monotonic() - started_s < 4


def swallows() -> None:
    with suppress(SystemExit):
        terminate()


def turns_it_into_another() -> None:
    swallows()
    raise MissingExtra("no TFLite runtime is installed")


@pytest.mark.parametrize("does", [swallows, turns_it_into_another])
def test_libraries_that_swallow_a_stop_do_not_undo_it(
    manager: Manager, store: Path, does: Callable[[], None]
) -> None:
    """Seen: while LiteRT is imported it becomes an ImportError, so exit code 6, for good."""

    def steps(served: Served) -> None:
        does()
        served.starts("opening the camera and the store")
        pytest.fail("it went on")

    with pytest.raises(SystemExit) as ended, Served(store, manager.notifier) as served:
        steps(served)
    assert ended.value.code == 0
    assert read_lives(store) == Lives()


def test_who_stops_a_start_that_waits_is_heeded_at_once(
    manager: Manager, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Life.__init__.__kwdefaults__, "sleep", terminate)  # type: ignore[arg-type]
    for _ in range(FREE + 1):
        fails(manager, store, SourceUnavailable("gone"))
    started_s = time.monotonic()
    with pytest.raises(SystemExit), Served(store, manager.notifier):
        pytest.fail("it went on")
    assert time.monotonic() - started_s < 4
    lives = read_lives(store)
    assert not lives.bad
    assert not lives.living
    assert len(lives.ends) == FREE + 1


def test_a_run_that_died_is_counted_though_the_next_start_is_stopped(
    manager: Manager, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the stop comes before that is written."""
    Life(store).begin()

    def write(_path: Path, _content: bytes) -> None:
        monkeypatch.undo()
        terminate()

    monkeypatch.setattr(module, "write_file", write)
    with pytest.raises(SystemExit), Served(store, manager.notifier):
        pytest.fail("it went on")
    lives = read_lives(store)
    assert [end.why for end in lives.ends] == ["killed"]
    assert not lives.living


def test_the_loops_own_handler_stays(manager: Manager, store: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    own: Callable[[int, object], None] = lambda _number, _frame: None  # noqa: E731
    try:
        with Served(store, manager.notifier):
            signal.signal(signal.SIGTERM, own)
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_start_that_the_manager_gives_up_is_a_bad_end(manager: Manager, store: Path) -> None:
    """It is SIGTERM, too, but comes when its patience is over."""
    with pytest.raises(SystemExit), Served(store, manager.notifier) as served:
        out_of_patience(served)
    assert read_lives(store).ends[-1].why == TOO_LONG


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EIO, StoreError),
        (errno.ENOMEM, StoreError),
        (errno.EMFILE, StoreError),
        (errno.EACCES, ConfigError),
        (errno.EISDIR, ConfigError),
    ],
)
def test_a_card_that_stutters_is_no_wrong_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[SightpostError]
) -> None:
    """Nor a wrong trusted key: exit code 2 would end the station for good."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(trust, "read_ordinary", refuse)
    with pytest.raises(error) as caught:
        load(Site, tmp_path / "site.toml")
    assert os.strerror(number) in str(caught.value)
    with pytest.raises(error) as caught:
        trust.read_trusted(tmp_path / "gate.pub")
    assert caught.value.hint


@pytest.fixture
def pi(tmp_path: Path) -> MadeUp:
    """A Raspberry Pi without any station; it has a recording and a folder of photos."""
    machine = made_up(tmp_path / "pi")
    for place in ("/srv/clip.avi", "/srv/photos/a.jpg"):
        machine.path(place).parent.mkdir(parents=True, exist_ok=True)
        machine.path(place).write_bytes(b"")
    return machine


@pytest.mark.parametrize(
    ("source", "more", "hint"),
    [
        ("/srv/clip.avi", "", "loop = true"),
        ("file:///srv/clip.avi", "[camera]\nloop = false", "loop = true"),
        ("/srv/photos", "[camera]\nloop = true", "looks at it once"),
        ("folder:///srv/photos", "", "looks at it once"),
        ("/srv/photos/a.jpg", "[camera]\nloop = true", "looks at it once"),
    ],
)
def test_a_source_that_ends_is_no_service(
    pi: MadeUp, tmp_path: Path, bundle_file: Path, source: str, more: str, hint: str
) -> None:
    """It would be begun again for ever, and the store would fill with copies."""
    site = tmp_path / "site.toml"
    site.write_text(f'source = "{source}"\n{more}\n')
    with pytest.raises(ConfigError, match="come") as caught:
        consider(pi, Wish(Places("gate"), site, bundle_file))
    assert hint in caught.value.hint


def test_a_recording_that_begins_again_by_itself_is_one(
    pi: MadeUp, tmp_path: Path, bundle_file: Path
) -> None:
    site = tmp_path / "site.toml"
    site.write_text('source = "/srv/clip.avi"\n[camera]\nloop = true\n')
    model = shutil.copy(bundle_file, tmp_path / "model.tflite")
    assert consider(pi, Wish(Places("gate"), site, Path(model))).site.camera.loop
