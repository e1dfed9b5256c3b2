"""The systemd units: free of complaints, tight, explained, and in the wheel."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sightpost_edge.config import Site
from sightpost_edge.service.places import Places
from sightpost_edge.service.units import PROGRAM, TEMPLATES, camera_drop_in, uplink_drop_in
from sightpost_edge.sinks.gpio import PinSettings

from ..conftest import REPOSITORY

UNITS = REPOSITORY / "systemd"
GATE = Places("gate")
SCORES = {
    "sightpost@.service": 20,
    "sightpost-uplink@.service": 16,
    "sightpost-reboot@.service": 50,
}
"""Tenths of systemd's exposure; mosquitto's own unit has 92."""
NEWER_THAN_252 = {
    "DelegateSubgroup", "ExtraFileDescriptors", "FileDescriptorStorePreserve", "ImportCredential",
    "ManagedOOMMemoryPressureDurationSec", "MemoryPressureThresholdSec", "MemoryPressureWatch",
    "MemoryZSwapMax", "MemoryZSwapWriteback", "OpenFile", "PrivateBPF", "PrivatePIDs",
    "RestartMaxDelaySec", "RestartMode", "RestartSteps", "RootEphemeral", "SetLoginEnvironment",
    "SurviveFinalKillSignal", "UserNamespacePath", "WantsMountsFor",
}  # fmt: skip
"""Bookworm's systemd would leave these out, with a line in the log that nobody reads."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def directives(name: str) -> list[tuple[str, str]]:
    """Directive and value of each line of a unit."""
    lines = (UNITS / name).read_text().splitlines()
    return [(k, v) for k, eq, v in (line.partition("=") for line in lines) if eq and k.isalpha()]


def installed(folder: Path) -> None:
    """All units as they are installed, with a program that is there, and the drop-ins of a station
    that has everything."""
    for name in TEMPLATES:
        (folder / name).write_text((UNITS / name).read_text().replace(PROGRAM, "/bin/true"))
    added = {
        GATE.camera: camera_drop_in(Site(source="0", pins=[PinSettings(17, ["*"])])),
        GATE.uplink: uplink_drop_in(GATE.password),
    }
    for unit, text in added.items():
        (folder / f"{unit}.d").mkdir()
        (folder / f"{unit}.d" / "50-sightpost.conf").write_text(text)


@needs_systemd
@pytest.mark.parametrize("name", TEMPLATES)
def test_systemd_has_no_complaints(tmp_path: Path, name: str) -> None:
    """`verify` exits 0 on unknown keys, so what it prints must be empty; with drop-ins as well."""
    installed(tmp_path)
    for unit in (name, name.replace("@", "@gate")):
        result = subprocess.run(
            ["systemd-analyze", "verify", str(tmp_path / unit)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.stderr == ""
        assert result.returncode == 0


@needs_systemd
@pytest.mark.parametrize("name", SCORES)
def test_the_sandbox_is_tight(name: str) -> None:
    """2.0 or less for the camera, 1.6 for the uplink; mosquitto's own unit scores 9.2."""
    words = ["systemd-analyze", "security", "--offline=true", f"--threshold={SCORES[name]}"]
    assert (
        subprocess.run([*words, str(UNITS / name)], capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.parametrize("name", TEMPLATES)
def test_bookworm_knows_every_directive(name: str) -> None:
    """`verify` says so only where systemd is that old."""
    assert not NEWER_THAN_252 & {key for key, _ in directives(name)}


def test_the_readme_gives_a_reason_for_every_directive() -> None:
    """Also for what configs add; and it names none that is nowhere."""
    text = (UNITS / "README.md").read_text()
    reasons = text[text.index("## Why each") : text.index("## What is not there")]
    first_cells = " ".join(re.findall(r"^\| ([^|]+)\|", reasons, re.MULTILINE))
    explained = set(re.findall(r"`([A-Za-z]+)=", first_cells))
    used = {key for name in TEMPLATES for key, _ in directives(name)}
    assert used - explained == set()
    assert explained - used == set()
    for word in ("LoadCredential=", "DeviceAllow=char-gpiochip", "network-online.target"):
        assert word in text[: text.index("## Why each")]


def test_scores_in_the_readme_are_no_boast() -> None:
    """They are named there with one figure each, at most the limit."""
    text = (UNITS / "README.md").read_text()
    camera, uplink = re.search(r"better: ([\d.]+) for the camera, ([\d.]+) for", text).groups()  # type: ignore[union-attr]
    assert float(camera) * 10 <= SCORES["sightpost@.service"]
    assert float(uplink) * 10 <= SCORES["sightpost-uplink@.service"]


def test_the_uplink_does_not_own_what_is_the_cameras() -> None:
    """It would remove the live file when it stops; where that lies it is told all the same."""
    camera, uplink = dict(directives("sightpost@.service")), dict(directives(TEMPLATES[1]))
    assert "RuntimeDirectory" not in uplink
    assert uplink["Environment"] == f"RUNTIME_DIRECTORY=%t/{camera['RuntimeDirectory']}"
    assert uplink["StateDirectory"] == camera["StateDirectory"]
    assert uplink["User"] == camera["User"]


def test_the_wheel_has_the_units(tmp_path: Path) -> None:
    """A Pi installs from a wheel alone: they are those of the repository, byte for byte."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=REPOSITORY, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in (*TEMPLATES, "README.md"):
            assert archive.read(f"sightpost_edge/units/{name}") == (UNITS / name).read_bytes()
