"""Which Event drives which pin, for how long, and what is said when a pin cannot be had."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightpost_edge.config import build
from sightpost_edge.errors import ConfigError, LibraryError, MissingExtra, PinError
from sightpost_edge.sinks import gpio
from sightpost_edge.sinks.gpio import Pins, PinSettings
from sightpost_edge.sinks.gpio_keeper import REST_NS, Keeper, Pin

from ..pins import Observer, observer, until

__all__ = ["observer"]
SECOND = 1_000_000_000


class Wire:
    """An output that remembers."""

    def __init__(self) -> None:
        self.level = 0

    def on(self) -> None:
        self.level = 1

    def off(self) -> None:
        self.level = 0


def keeper(**fields: Any) -> tuple[Keeper, Wire]:
    wire = Wire()
    pin = Pin(wire, **{"pulse_ns": SECOND // 5, "hang_ns": 2 * SECOND, **fields})
    return Keeper([pin]), wire


def timeline(kept: Keeper, wire: Wire, begin_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """Every change of level, with the clock jumping to each moment at which something is due."""
    seen, now_ns = [(begin_ns, wire.level)], begin_ns
    while (due_ns := kept.due_ns()) is not None and due_ns <= end_ns:
        now_ns = max(now_ns, due_ns)
        kept.tick(now_ns)
        if wire.level != seen[-1][1]:
            seen.append((now_ns, wire.level))
    return seen


def test_a_pulse_ends_by_itself() -> None:
    """To the nanosecond at the latest when it is looked at; nothing is due after it."""
    kept, wire = keeper()
    kept.obey(f"0 pulse 0 {SECOND}", 7)
    assert wire.level == 1
    assert timeline(kept, wire, 7, 9 * SECOND) == [(7, 1), (7 + SECOND // 5, 0)]
    assert kept.due_ns() is None


def test_asked_for_meanwhile_it_comes_afterwards_once() -> None:
    """Two things in quick succession are two pulses with a rest between; a hundred asks as well:
    nothing the main process does makes a pulse longer."""
    kept, wire = keeper()
    for now_ns in range(0, 100_000_000, 1_000_000):
        kept.obey(f"{now_ns} pulse 0 {SECOND}", now_ns)
    end_ns = SECOND // 5
    assert timeline(kept, wire, now_ns, 9 * SECOND) == [
        (now_ns, 1), (end_ns, 0), (end_ns + REST_NS, 1), (end_ns + REST_NS + SECOND // 5, 0),
    ]  # fmt: skip


def test_what_waited_too_long_is_not_done() -> None:
    """Its deadline passed during the pulse before it, or on the way here."""
    kept, wire = keeper(pulse_ns=SECOND)
    kept.obey(f"0 pulse 0 {SECOND}", 0)
    kept.obey(f"0 pulse 0 {SECOND // 2}", 1)
    assert timeline(kept, wire, 1, 9 * SECOND) == [(1, 1), (SECOND, 0)]
    kept.obey(f"{2 * SECOND} pulse 0 {3 * SECOND}", 3 * SECOND + 1)
    assert wire.level == 0
    assert kept.notes == ["late 0", "late 0"]


@pytest.mark.parametrize("order", ["pulse 0 999999999999", "beat 0"])
def test_without_a_sign_of_life_all_is_safe(order: str) -> None:
    """A long pulse and a level, two seconds after the last message was sent, not received."""
    kept, wire = keeper(pulse_ns=9 * SECOND, is_level=order.startswith("beat"))
    kept.obey(f"0 {order}", SECOND)
    assert timeline(kept, wire, SECOND, 9 * SECOND) == [(SECOND, 1), (2 * SECOND, 0)]
    assert kept.notes == ["hang 0"]
    kept.obey("0 beat 0", 3 * SECOND)
    assert wire.level == 0, "an old message is no sign of life"


def test_a_level_lives_as_long_as_the_loop_says_so() -> None:
    """An hour of beats; it ends with the first beat that does not name it."""
    kept, wire = keeper(is_level=True)
    for now_ns in range(0, 3600 * SECOND, SECOND):
        kept.obey(f"{now_ns} beat 0", now_ns)
        assert wire.level == 1
    kept.obey(f"{now_ns} beat", now_ns)
    assert wire.level == 0
    assert not kept.notes


def test_once_locked_nothing_moves() -> None:
    """After SIGTERM the pins are safe for good."""
    kept, wire = keeper()
    kept.obey("0 pulse 0 9", 0)
    kept.lock()
    kept.obey("1 pulse 0 9", 1)
    kept.obey("1 beat 0", 1)
    assert (wire.level, kept.due_ns()) == (0, None)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"pin": ""}, "BCM number"),
        ({"pin": -1}, "BCM number"),
        ({"labels": []}, "labels"),
        ({"labels": [3]}, "labels"),
        ({"pulse_s": 10.1}, "at most 10"),
        ({"pulse_s": 0.0}, "above 0"),
        ({"pulse_s": float("nan")}, "above 0"),
        ({"late_s": 0.0}, "late_s"),
        ({"hang_s": 61.0}, "hang_s"),
        ({"hang_s": 0.4}, "at least 0.5"),
        ({"mode": "blink"}, "unknown value 'blink'"),
        ({"at": "noon"}, "unknown value 'noon'"),
    ],
)
def test_settings_are_checked(fields: dict[str, Any], says: str) -> None:
    """Before anything is started, with the pin's name."""
    with pytest.raises(ConfigError, match=says):
        build(PinSettings, {"pin": 17, "labels": ["broken"], **fields}, where="pins")


def said_after(pins: Pins, told: list[str], words: str) -> None:
    """Keep the loop's beat until the words are told."""

    def heard() -> bool:
        pins.beat()
        return any(words in text for text in told)

    until(heard)


def test_the_verdict_pulses_its_pin(observer: Observer) -> None:
    """When the Event closes, by the label it closes with, for pulse_s and not shorter."""
    reject = PinSettings(17, ["broken"], pulse_s=0.1)
    with Pins([reject]) as pins:
        observer.wait_for(0)
        pins.opened("broken")
        pins.closed("whole")
        pins.beat()
        pins.closed("broken")
        observer.wait_for(1)
        observer.wait_for(0)
        assert len(observer.pulses_s()) == 1
        assert 0.1 <= observer.pulses_s()[0] < 1.0


def test_any_event_at_its_opening(observer: Observer) -> None:
    """And a pin that is on at 0 V."""
    with Pins([PinSettings("GPIO17", ["*"], at="open", active_high=False)]) as pins:
        observer.wait_for(1)
        pins.opened("unknown")
        observer.wait_for(0)
        observer.wait_for(1)
        pins.closed("unknown")
        assert [c.what for c in observer.changes() if c.what in "01"][-2:] == ["0", "1"]


def test_a_level_follows_its_event_by_region(observer: Observer) -> None:
    """The label may change until the Event closes; two Events keep it on together; the next one
    within the same frame leaves no gap."""
    with Pins([PinSettings(17, ["fox"], mode="level")]) as pins:
        pins.opened("cat", region="left")
        pins.beat()
        assert observer.level() == 0
        pins.opened("fox", region="left")
        observer.wait_for(1)
        pins.opened("fox", region="right")
        pins.closed("cat", region="left")
        pins.closed("fox", region="right")
        pins.opened("fox", region="right")
        pins.beat()
        pins.closed("cat", region="right")
        assert observer.level() == 1
        pins.beat()
        observer.wait_for(0)
        assert len(observer.pulses_s()) == 1
        pins.opened("fox")
        observer.wait_for(1)
        pins.withdrawn()
        pins.beat()
        observer.wait_for(0)


def test_an_event_that_comes_late_moves_nothing(observer: Observer) -> None:
    """Its picture is a second old: the thing is no longer in front of the arm."""
    told: list[str] = []
    with Pins([PinSettings(17, ["broken"])], tell=told.append) as pins:
        pins.closed("broken", at_ns=time.monotonic_ns() - SECOND)
        said_after(pins, told, "too late")
        assert not observer.pulses_s()
        assert told == ["pin 17: an Event came too late to act on (late_s) and moved nothing"]


def test_no_pins_need_nothing() -> None:
    """No process, no gpiozero."""
    with Pins([]) as pins:
        pins.opened("fox")
        pins.closed("fox")
        pins.beat()


def test_a_dead_keeper_is_replaced_and_said(observer: Observer) -> None:
    """The new one begins by making the pin safe."""
    told: list[str] = []
    with Pins([PinSettings(17, ["*"], pulse_s=9.0)], tell=told.append) as pins:
        pins.closed("broken")
        keeper = observer.wait_for(1).process
        os.kill(keeper, signal.SIGKILL)
        said_after(pins, told, "started again")
        assert observer.wait_for(0).process != keeper


def test_a_keeper_that_hangs_is_replaced(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It owes an answer to every sign of life."""
    monkeypatch.setattr(gpio, "ANSWER_S", 0.3)
    told: list[str] = []
    with Pins([PinSettings(17, ["*"])], tell=told.append) as pins:
        stopped = observer.wait_for(0).process
        os.kill(stopped, signal.SIGSTOP)
        said_after(pins, told, "does not answer")
        assert observer.wait_for(0).process != stopped


def test_a_keeper_that_dies_again_and_again_ends_the_station(observer: Observer) -> None:
    """Never on without its safety."""
    told: list[str] = []

    def kill_and_beat() -> None:
        for times in range(4):
            os.kill(observer.wait_for(0).process, signal.SIGKILL)
            until(lambda times=times: pins.beat() or len(told) > times)  # type: ignore[misc]

    with Pins([PinSettings(17, ["*"])], tell=told.append) as pins:
        with pytest.raises(PinError, match="again and again"):
            kill_and_beat()
        assert len(told) == 3


@pytest.mark.parametrize(
    ("pins", "error", "says"),
    [
        ([17, "GPIO17"], PinError, "GPIOPinInUse"),
        ([99], ConfigError, "99"),
        (["GND"], ConfigError, "GND"),
    ],
)
def test_pins_that_cannot_be_had(
    observer: Observer, pins: list[int | str], error: type[Exception], says: str
) -> None:
    """Named, at the start."""
    with pytest.raises(error, match=says):
        Pins([PinSettings(pin, ["*"]) for pin in pins])
    assert observer.level() != 1


def test_another_machine_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real lgpio where there is one: no Raspberry Pi, or no lgpio."""
    if list(Path("/dev").glob("gpiochip*")):
        pytest.skip("this machine has GPIO")
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    with pytest.raises((PinError, MissingExtra)) as caught:
        Pins([PinSettings(17, ["*"])])
    assert any(word in caught.value.hint for word in ("Raspberry Pi", "lgpio"))


@pytest.fixture
def without_gpiozero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which importing it fails."""
    text = "raise ModuleNotFoundError('No module named gpiozero', name='gpiozero')"
    (tmp_path / "gpiozero.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return


@pytest.mark.usefixtures("without_gpiozero")
def test_the_missing_extra_has_its_line() -> None:
    """What to install, and that apt has it too."""
    with pytest.raises(MissingExtra, match="gpiozero") as caught:
        Pins([PinSettings(17, ["*"])])
    assert "pip install 'sightpost[gpio]'" in caught.value.hint


def test_a_library_that_cannot_be_loaded_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that is short now may be there at the next start: nothing has to be installed."""
    (tmp_path / "gpiozero.py").write_text("raise ImportError('liblgpio.so: cannot allocate')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LibraryError, match="cannot allocate") as caught:
        Pins([PinSettings(17, ["*"])])
    assert "sightpost doctor" in caught.value.hint


def test_hints_say_what_stands_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No chip, no permission, or somebody else."""
    assert "Raspberry Pi" in gpio._hint(tmp_path)
    (tmp_path / "gpiochip0").touch()
    assert "gpioinfo" in gpio._hint(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "usermod -aG gpio" in gpio._hint(tmp_path)


def test_an_event_that_changes_its_name_pulses_once() -> None:
    """canid, fox, wolf, fox: one push for the animal, and one of the pin for wolves."""
    pins = Pins([])
    pins._settings = (
        PinSettings(17, ["*"], at="open"),
        PinSettings(27, ["wolf"], at="open"),
    )
    sent: list[str] = []
    pins._send = lambda order: sent.append(order.rsplit(" ", 1)[0])  # type: ignore[method-assign]
    for label in ("canid", "fox", "wolf", "fox"):
        pins.opened(label)
    assert sent == ["pulse 0", "pulse 1"]
    pins.closed("fox")
    pins.opened("fox")
    assert sent == ["pulse 0", "pulse 1", "pulse 0"]
