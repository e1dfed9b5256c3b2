"""The doctor's table of bad combinations: each row is found where it holds, and only there."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sightpost_edge.doctor import known

from .doctor_rig import MadeUp, only, plant

PI4 = "Raspberry Pi 4 Model B Rev 1.4\0"
BAD = {
    "tflite-runtime with numpy 2":
        ({"tflite-runtime": "2.14.0", "numpy": "2.4.6"}, {}, "pip install 'numpy<2'"),
    "OpenCV 4.12 or later with numpy 1":
        ({"opencv-python-headless": "5.0.0.93", "numpy": "1.26.4"}, {}, "headless<4.12'"),
    "LiteRT before 2.1.5 with Python 3.14":
        ({"ai-edge-litert": "2.1.4"}, {"python": (3, 14, 0)}, "'ai-edge-litert>=2.1.5'"),
    "paho-mqtt 1": ({"paho-mqtt": "1.6.1"}, {}, "pip install 'paho-mqtt>=2.1,<3'"),
    "a newer picamera2 than libcamera":
        ({"picamera2": "0.3.34"}, {"answers": {"dpkg-query": "0~git20230720+bde9b04f-1\n"}},
         "apt install -y --reinstall python3-picamera2"),
    "a Pi 0 to 4 with a kernel from 6.1 to 6.6.61":
        ({"picamera2": "0.3.22"}, {"board": PI4, "kernel": "6.6.51+rpt-rpi-v8"}, "full-upgrade"),
    "gpiozero 1 with a kernel from 6.6.20 on":
        ({"gpiozero": "1.6.2"}, {"kernel": "6.6.20+rpt-rpi-v8"}, "'gpiozero>=2.0.1'"),
    "Litestream beside SQLite before 3.51.3":
        ({}, {"answers": {"litestream version": "0.5"}, "sqlite": "3.40.1"}, "disable --now"),
}  # fmt: skip
GOOD = {
    "tflite-runtime with numpy 2": {"tflite-runtime": "2.14.0", "numpy": "1.26.4"},
    "OpenCV 4.12 or later with numpy 1": {"opencv-python-headless": "4.11.0.86", "numpy": "1.26.4"},
    "LiteRT before 2.1.5 with Python 3.14": {"ai-edge-litert": "2.1.5"},
    "paho-mqtt 1": {"paho-mqtt": "2.1.0"},
    "a newer picamera2 than libcamera": {"picamera2": "0.3.12"},
    "a Pi 0 to 4 with a kernel from 6.1 to 6.6.61": {},
    "gpiozero 1 with a kernel from 6.6.20 on": {"gpiozero": "2.0.1"},
}


def machine(
    root: Path, monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], facts: dict[str, object]
) -> MadeUp:
    more = dict(facts)
    monkeypatch.setattr(known.sqlite3, "sqlite_version", more.pop("sqlite", "3.51.3"))
    plant(root, {
        "proc/sys/kernel/osrelease": str(more.pop("kernel", "6.12.34+rpt-rpi-v8")),
        "proc/device-tree/model": str(more.pop("board", "")),
    })  # fmt: skip
    return MadeUp(root=root, installed=installed, environ={}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", known.KNOWN, ids=lambda row: row.name)
def test_each_row_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: known.Known
) -> None:
    """With its level, its evidence and its fix; and not where one fact is another."""
    installed, facts, fix = BAD[row.name]
    here = machine(tmp_path, monkeypatch, installed, facts)
    found = only(known.check_combinations(here))
    assert (found.level, found.what.startswith(row.name)) == (row.level, True)
    assert found.why.endswith(f"({row.evidence})")
    assert fix in found.fix
    assert "PIP" not in found.fix
    if row.name in GOOD:
        well = replace(machine(tmp_path, monkeypatch, GOOD[row.name], facts))
        assert only(known.check_combinations(well)).level == "ok"


def test_every_row_names_its_evidence() -> None:
    """owner/repository#number, and needs that can be understood."""
    assert {row.name for row in known.KNOWN} == set(BAD)
    for row in known.KNOWN:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", row.evidence)
        for _, spec in row.needs:
            assert spec in ("present", "absent") or re.match(r"~|(>=|<)\d", spec)


@pytest.mark.parametrize(
    ("fact", "spec", "is_so"),
    [
        ("2.14.0", ">=2", True), ("1.26.4", ">=2", False), ("", ">=2", False),
        ("6.6.51+rpt", ">=6.1,<6.6.62", True), ("6.6.62", ">=6.1,<6.6.62", False),
        ("6.1", ">=6.1,<6.6.62", True), ("", "<9", False), ("x", "present", True),
        ("", "absent", True), ("Raspberry Pi Zero 2 W", "~Zero|4", True),
    ],
)  # fmt: skip
def test_facts_against_specs(fact: str, spec: str, is_so: bool) -> None:
    """What is not known is never bad."""
    assert known.holds(fact, spec) is is_so


def test_a_pi_5_is_spared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has another camera pipeline."""
    facts = {"board": "Raspberry Pi 5 Model B Rev 1.0\0", "kernel": "6.6.51"}
    here = machine(tmp_path, monkeypatch, {"picamera2": "0.3.22"}, facts)
    assert only(known.check_combinations(here)).level == "ok"
