"""What a run tells of itself and what is asked of it, by two small files."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from sightpost_edge import clock
from sightpost_edge.control import CONTROL, Control, InForce, read_control, write_control
from sightpost_edge.errors import ConfigError
from sightpost_edge.live import (
    LIVE,
    STALE_S,
    Live,
    LiveFile,
    live_path,
    polled_live,
    read_live,
    write_live,
)
from sightpost_edge.rules import ClassRule, Rules

BASE = Rules(threshold=0.8, leave=0.5, classes={"fox": {"threshold": 0.9, "leave": 0.85}})
DAMAGED = [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b"7", b"[" * 60000, b'{"armed": 1}',
    b'{"armed": "OFF"}', b'{"threshold": "0.5"}', b'{"threshold": 0}', b'{"threshold": 1.01}',
    b'{"threshold": NaN}', b'{"threshold": Infinity}', b'{"threshold": true}',
    b'{"threshold": 1e999}', b'{"threshold": 1' + b"0" * 400 + b"}",
    b'{"armed": false, "why": "' + b"x" * 70000 + b'"}',
]  # fmt: skip


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def no_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)


# control.json


def test_nothing_asked_is_armed_with_the_rules_of_the_site(tmp_path: Path) -> None:
    """The very same object, so that decide sees no change."""
    assert read_control(tmp_path) == Control(armed=True, threshold=None)
    assert Control().rules(BASE) is BASE
    assert InForce(tmp_path, BASE)() is BASE


def test_what_is_asked_is_read_back(tmp_path: Path) -> None:
    """And a release that knows more keys does no harm."""
    write_control(tmp_path, Control(armed=False, threshold=0.65))
    assert read_control(tmp_path) == Control(armed=False, threshold=0.65)
    told = json.loads((tmp_path / CONTROL).read_text())
    assert told == {"v": 1, "armed": False, "threshold": 0.65}
    (tmp_path / CONTROL).write_text(json.dumps({**told, "v": 2, "zoom": [1, 2]}))
    assert read_control(tmp_path) == Control(armed=False, threshold=0.65)


def test_one_threshold_for_all_labels() -> None:
    """Their own go; at a lower one ``leave`` goes down in proportion, at a higher one it stays."""
    low = Control(threshold=0.4).rules(BASE)
    assert low is not None
    assert (low.of("fox").threshold, low.of("deer").threshold) == (0.4, 0.4)
    assert low.of("deer").leave == pytest.approx(0.25)
    assert low.of("fox").leave == pytest.approx(0.25)
    high = Control(threshold=0.95).rules(BASE)
    assert high is not None
    assert (high.of("deer").leave, high.of("deer").threshold) == (0.5, 0.95)
    assert high.of("fox").leave == pytest.approx(0.95 * 0.5 / 0.8)


def test_what_is_no_threshold_keeps_its_other_rules() -> None:
    """Cool-downs, shortest times, groups and times are the site's."""
    base = replace(BASE, classes={"fox": ClassRule(cooldown_s=9.0, least_s=2.0)}, gap_s=1.5)
    rules = Control(threshold=0.4).rules(base)
    assert rules is not None
    assert (rules.of("fox").cooldown_s, rules.of("fox").least_s, rules.gap_s) == (9.0, 2.0, 1.5)


def test_disarmed_is_no_rules_whatever_the_threshold() -> None:
    """None is what decide understands."""
    assert Control(armed=False, threshold=0.5).rules(BASE) is None


@pytest.mark.parametrize("threshold", [0.0, 0.049, 1.0001, -1.0, float("nan"), float("inf")])
def test_a_threshold_out_of_range_is_none(threshold: float) -> None:
    """Neither 0, at which anything is an event, nor what is no figure."""
    with pytest.raises(ConfigError):
        Control(threshold=threshold)


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: str(content[:24]))
def test_a_damaged_wish_is_no_wish(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A run keeps to what was asked before, or to the defaults, and says so once."""
    (tmp_path / CONTROL).write_bytes(content)
    assert read_control(tmp_path) == Control()
    caplog.clear()
    now = Clock()
    write_control(tmp_path, Control(armed=False))
    in_force = InForce(tmp_path, BASE, clock_s=now)
    (tmp_path / CONTROL).unlink()
    (tmp_path / CONTROL).write_bytes(content)
    for _ in range(5):
        now.now_s += 1
        assert in_force() is None
    assert [record.levelno for record in caplog.records if CONTROL in record.message] == [
        logging.WARNING
    ]


def test_a_wish_is_followed_within_a_second_and_looked_for_once_in_it(tmp_path: Path) -> None:
    """What is asked for a thousand times a second costs one look at the file."""
    now = Clock()
    in_force = InForce(tmp_path, BASE, clock_s=now)
    write_control(tmp_path, Control(threshold=0.6))
    now.now_s += 0.9
    assert in_force() is BASE
    now.now_s += 0.1
    rules = in_force()
    assert rules is not None
    assert rules.threshold == in_force.threshold == 0.6
    now.now_s += 5
    assert in_force() is rules
    write_control(tmp_path, Control(armed=False, threshold=0.6))
    now.now_s += 1
    assert in_force() is None
    assert in_force.threshold == 0.6
    write_control(tmp_path, Control())
    now.now_s += 1
    assert in_force() is BASE
    assert in_force.threshold == BASE.threshold


def test_a_wish_outlives_the_run(tmp_path: Path) -> None:
    """Disarmed before a restart, disarmed after it; a file taken away is the site as it was."""
    write_control(tmp_path, Control(armed=False))
    now = Clock()
    in_force = InForce(tmp_path, BASE, clock_s=now)
    assert in_force() is None
    (tmp_path / CONTROL).unlink()
    now.now_s += 1
    assert in_force() is BASE


# live.json

FULL = Live(
    armed=False, threshold=0.7, run=3, model="wild", fps=9.8, frames=1200,
    skipped=7, events=4, open={"": "fox"}, fault="stall", detail="no picture for 10 s",
    temperature_c=61.5, heat_bits=0x50000, pace="1/2 rate (80 °C)", waiting=2,
    disk_full=True,
)  # fmt: skip


def test_what_a_run_tells_is_read_back(tmp_path: Path) -> None:
    """Every field."""
    write_live(tmp_path, FULL)
    assert read_live(tmp_path) == FULL
    assert [path.name for path in tmp_path.iterdir()] == [LIVE]


def test_a_missing_field_has_its_default_and_a_new_one_is_left_alone(tmp_path: Path) -> None:
    """Two releases may run side by side during an update."""
    write_live(tmp_path, FULL)
    told = json.loads((tmp_path / LIVE).read_text())
    del told["fps"]
    (tmp_path / LIVE).write_text(json.dumps({**told, "humidity": 40}))
    assert read_live(tmp_path) == replace(FULL, fps=0.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [("fps", "fast"), ("fps", float("nan")), ("armed", 1), ("frames", 1.5), ("open", ["fox"]),
     ("open", {"": 1}), ("disk_full", 0), ("temperature_c", "hot"), ("clocks", None),
     ("clocks", {"wall_ms": 1}), ("events", True), ("frames", 2**63), ("fps", 10**400),
     ("clocks", {"wall_ms": 1, "monotonic_ns": 10**400, "quality": "unknown", "boot_id": "b"})],
    ids=lambda word: str(word)[:12],
)  # fmt: skip
def test_a_damaged_telling_is_none(tmp_path: Path, key: str, value: object) -> None:
    """And who has read a good one keeps it."""
    write_live(tmp_path, FULL)
    polled = polled_live(tmp_path)
    assert polled() == FULL
    told = json.loads((tmp_path / LIVE).read_text())
    (tmp_path / LIVE).unlink()
    (tmp_path / LIVE).write_text(json.dumps({**told, key: value}))
    assert read_live(tmp_path) is None
    assert polled() == FULL


def test_nobody_tells_nothing(tmp_path: Path) -> None:
    """No run has been here."""
    assert read_live(tmp_path) is None
    assert polled_live(tmp_path)() is None


def test_what_is_old_or_of_another_boot_is_not_fresh() -> None:
    """A run that was killed tells nothing any more; a monotonic clock starts at every boot."""
    then = clock.Reading(0, 10**12, "unknown", "boot")
    live = Live(clocks=then)
    later = replace(then, monotonic_ns=then.monotonic_ns + round(STALE_S * 1e9))
    assert live.is_fresh(later)
    assert not live.is_fresh(replace(later, monotonic_ns=later.monotonic_ns + 1))
    assert not live.is_fresh(replace(then, boot_id="other"))


def test_news_is_told_at_once_and_figures_every_half_minute(tmp_path: Path) -> None:
    """A rate that trembles is no news, a fault is; nothing is told twice within a second."""
    now = Clock()
    told = LiveFile(tmp_path, clock_s=now)

    def fps_after(live: Live) -> float:
        told.tell(live)
        found = read_live(tmp_path)
        assert found is not None
        return found.fps

    assert fps_after(Live(fps=1.0)) == 1.0
    now.now_s += 29
    assert fps_after(Live(fps=2.0)) == 1.0
    now.now_s += 1
    assert fps_after(Live(fps=3.0)) == 3.0
    now.now_s += 1
    assert fps_after(Live(fps=4.0, fault="black")) == 4.0
    now.now_s += 0.5
    assert not told.due
    assert fps_after(Live(fps=5.0)) == 4.0
    now.now_s += 0.5
    assert told.due
    assert fps_after(Live(fps=6.0)) == 6.0
    told.close()
    assert read_live(tmp_path) is None
    told.close()


def test_it_lies_in_ram_under_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The card is spared 3,000 writes a day."""
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{runtime}:/elsewhere")
    write_live(tmp_path, FULL)
    assert live_path(tmp_path) == runtime / LIVE
    assert read_live(tmp_path) == FULL


def test_a_place_that_takes_nothing_ends_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once, and again only after it worked in between."""
    now = Clock()
    folder = tmp_path / "gone"
    told = LiveFile(folder, clock_s=now)
    for number in range(5):
        told.tell(Live(events=number))
        now.now_s += 1
    assert len(caplog.records) == 1
    folder.mkdir()
    told.tell(FULL)
    assert read_live(folder) == FULL
