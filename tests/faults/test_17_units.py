"""The units as they are installed: systemd has no complaints, and the sandbox is tight."""

import re
import subprocess
from pathlib import Path

import pytest

from ..edge.test_unit import SCORES, TEMPLATES, UNITS, installed, needs_systemd
from .conftest import ReportFault


def analyzed(*words: object) -> "subprocess.CompletedProcess[str]":
    line = ["systemd-analyze", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def complaints(unit: Path) -> bool:
    """Whether ``verify`` says anything: it exits 0 on keys that it does not know."""
    done = analyzed("verify", unit)
    return bool(done.stderr or done.returncode)


@pytest.mark.slow
@needs_systemd
def test_the_units_pass_both_gates(tmp_path: Path, report_fault: ReportFault) -> None:
    """2.0 or less for the camera, 1.6 for the uplink; a directive taken away is seen."""
    installed(tmp_path)
    names = [unit for name in TEMPLATES for unit in (name, name.replace("@", "@gate"))]
    noisy = [name for name in names if complaints(tmp_path / name)]
    found, loose = {}, []
    for name, limit in SCORES.items():
        done = analyzed("security", "--offline=true", f"--threshold={limit}", UNITS / name)
        level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
        found[name.partition("@")[0]] = level.group(1) if level else "?"
        loose += [name] * bool(done.returncode)
    scores = ", ".join(f"{name} {score}" for name, score in found.items())
    report_fault("17 systemd units", 0, len(noisy) + len(loose), None, f"verify is clean; {scores}"
                 if not noisy else f"complaints about {', '.join(noisy)}; {scores}")  # fmt: skip
    assert not noisy
    assert not loose
    naked = tmp_path / "naked@.service"
    naked.write_text("[Service]\nExecStart=/bin/true\nUser=nobody\nNoSuchKey=1\n")
    assert complaints(naked)
    assert analyzed("security", "--offline=true", "--threshold=20", naked).returncode
