"""A pin factory for gpiozero that writes down every change of a pin, for whoever watches.

It is found as any other: through an installed package's entry point and GPIOZERO_PIN_FACTORY.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

FACTORY = """
import os, time
from gpiozero.pins.mock import MockFactory, MockPin


class RecordingPin(MockPin):
    def _change_state(self, value):
        changed = super()._change_state(value)
        self.record(int(value))
        return changed

    def _set_function(self, value):
        super()._set_function(value)
        self.record(value)

    def record(self, what):
        line = f"{self.info.name} {what} {time.monotonic_ns()} {os.getpid()}\\n"
        with open(os.environ["PINS_RECORD"], "a") as file:
            file.write(line)


class RecordingFactory(MockFactory):
    def __init__(self):
        super().__init__(pin_class=RecordingPin)
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A pin got a level (0 or 1) or a function, when, and by which process."""

    pin: str
    what: str
    at_ns: int
    process: int


@dataclass(frozen=True, slots=True)
class Observer:
    """Sees the pins from outside."""

    record: Path

    def changes(self, pin: str = "GPIO17") -> list[Change]:
        """All of a pin until now, oldest first."""
        text = self.record.read_text() if self.record.exists() else ""
        rows = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [Change(row[0], row[1], int(row[2]), int(row[3])) for row in rows if row[0] == pin]

    def level(self, pin: str = "GPIO17") -> int | None:
        """The one it has now, None before anybody gave it one."""
        levels = [int(c.what) for c in self.changes(pin) if c.what in "01"]
        return levels[-1] if levels else None

    def pulses_s(self, pin: str = "GPIO17") -> list[float]:
        """How long it was high each time; it must be low by now."""
        edges = [c for c in self.changes(pin) if c.what in "01"]
        found, since = [], None
        for edge in edges:
            if edge.what == "1" and since is None:
                since = edge.at_ns
            elif edge.what == "0" and since is not None:
                found.append((edge.at_ns - since) / 1e9)
                since = None
        assert since is None, "still high"
        return found

    def wait_for(self, level: int, pin: str = "GPIO17", *, within_s: float = 5.0) -> Change:
        """The last change to this level, as soon as the pin has it."""
        until(lambda: self.level(pin) == level, within_s=within_s)
        return [c for c in self.changes(pin) if c.what == str(level)][-1]


def until(holds: Callable[[], bool], *, within_s: float = 5.0) -> None:
    """Return when it holds; fail if it does not in time."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)


@pytest.fixture
def observer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observer:
    """The recording factory, installed for this test and the processes it starts."""
    package = tmp_path / "factory"
    info = package / "recording_pins-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "recording_pins.py").write_text(FACTORY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: recording-pins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[gpiozero_pin_factories]\nrecording = recording_pins:RecordingFactory\n"
    )
    observer = Observer(tmp_path / "pins.txt")
    monkeypatch.syspath_prepend(package)
    monkeypatch.setenv("PYTHONPATH", str(package))
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "recording")
    monkeypatch.setenv("PINS_RECORD", str(observer.record))
    return observer
