"""The 25 things that users of cameras with models complain of: which of them the doctor can find.

They were counted in the issue trackers of OpenCV, picamera2, LiteRT, frigate and BirdNET-Pi.
"""

import re
from pathlib import Path

import pytest

from sightpost_edge.doctor.examine import MODULES, checks

from ..conftest import REPOSITORY
from .test_doctor import FAULTS
from .test_doctor_cameras import MODEL_FAULTS

PAINS: dict[int, tuple[str, tuple[str, ...] | str]] = {
    1: ("wheels of the runtime lag behind Python and the system",
        ("python.version", "python.architecture", "python.libc", "wheels.runtime")),
    2: ("numpy 2 beside what was built for numpy 1",
        ("wheels.abi", "wheels.runtime", "known.combinations")),
    3: ("picamera2 cannot be seen from an environment", ("picamera.visible",)),
    4: ("training and device resize and crop differently", ("model.golden", "model.file")),
    5: ("red and blue are swapped", ("model.golden", "model.file")),
    6: ("labels in the wrong order", ("model.labels",)),
    7: ("int8 destroys a model", ("model.quantization",)),
    8: ("unknown things score 99 %", ("model.novelty",)),
    9: ("why is it wrong?", "a program does not know that a name is wrong: `sightpost why` and "
        "`replay` with what really happened tell the rest"),
    10: ("the camera's frontend times out", ("picamera.log",)),
    11: ("busy after a crash; works by hand and not as a service",
         ("cameras.busy", "cameras.access", "unit.user", "unit.environment")),
    12: ("OpenCV reports success after unplugging", ("cameras.devices", "cameras.picture")),
    13: ("a network stream never comes back", ("cameras.stream", "cameras.picture")),
    14: ("camera memory is used up; leaks", ("picamera.memory", "board.memory")),
    15: ("the disk is full", ("storage.space", "storage.files", "storage.held")),
    16: ("worn cards, damaged databases",
         ("storage.wear", "storage.errors", "storage.database", "storage.sqlite")),
    17: ("cannot be reached after days; nothing starts it again",
         ("board.watchdog", "unit.watchdog", "unit.installed", "network.wifi")),
    18: ("no clock chip, wrong time or zone",
         ("time.wrong", "time.synchronized", "time.rtc", "time.zone")),
    19: ("false triggers by light and wind", ("storage.rate",)),
    20: ("connected to the broker and shown as unavailable",
         ("network.broker", "network.waiting", "unit.uplink")),
    21: ("a weak supply or heat halves the speed", ("board.supply", "board.heat", "model.speed")),
    22: ("libGL.so.1 is missing on a machine without a screen", ("wheels.opencv",)),
    23: ("Model Maker cannot be installed", "another program, which runs on no device; ours needs "
         "only pip in the workshop"),
    24: ("no view of many stations", "a wish for a program, nothing that is wrong with a station"),
    25: ("the Pi's camera is not found; a new model needs a restart",
         ("picamera.camera", "model.trial")),
}  # fmt: skip
"""Number, what is complained of, and the checks that find it or why no program can."""

CHECKS = dict(checks())
TESTS = {p.stem: p.read_text() for p in Path(__file__).parent.glob("test_doctor*.py")}
IN_TABLES = {fault.check for fault in FAULTS} | {f"model.{row[1]}" for row in MODEL_FAULTS}


def is_planted(name: str) -> bool:
    """A row of a table plants its fault, or a test of the module that it is in calls it."""
    check = CHECKS[name]
    module = check.__module__.rpartition(".")[2]
    called = re.compile(rf"\b\w+\.{check.__name__}\b|named\(\"{re.escape(name)}\"\)")
    return name in IN_TABLES or any(
        module in text and called.search(text)
        for stem, text in TESTS.items()
        if stem != Path(__file__).stem
    )


def test_all_pains_are_answered() -> None:
    """Each has checks, or the reason why a program cannot find it; at most three have none."""
    assert sorted(PAINS) == list(range(1, 26))
    without = [number for number, (_, found) in PAINS.items() if isinstance(found, str)]
    assert without == [9, 23, 24]


@pytest.mark.parametrize(
    "number", [n for n, (_, found) in PAINS.items() if isinstance(found, tuple)]
)
def test_pain_has_checks_whose_fault_is_planted(number: int) -> None:
    """They exist, and for each there is a test that plants what it looks for."""
    for name in PAINS[number][1]:
        assert name in CHECKS
        assert is_planted(name), name


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "board.name"])
def test_every_check_has_a_planted_fault(name: str) -> None:
    """None is there that was never seen to find something; a board's name is no fault."""
    assert is_planted(name)


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_is_in_the_manual(name: str) -> None:
    """docs/doctor.md says of each what it looks at."""
    assert f"| `{name}` |" in (REPOSITORY / "docs" / "doctor.md").read_text()


def test_every_module_has_its_checks() -> None:
    """No group is silently missing, and names say where a check lives."""
    assert {name.partition(".")[0] for name in CHECKS} == set(MODULES)
