"""The systemd unit: free of complaints and tight."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parent.parent.parent / "systemd" / "sightpost@.service"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@needs_systemd
def test_systemd_has_no_complaints(tmp_path: Path) -> None:
    """`verify` exits 0 on unknown keys, so what it prints must be empty."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/sightpost/bin/sightpost", "/bin/true"))
    result = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    assert result.returncode == 0


@needs_systemd
def test_the_sandbox_is_tight() -> None:
    """Exposure of 2.0 or less; mosquitto's own unit scores 9.2."""
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT)]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
