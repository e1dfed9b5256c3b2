"""The doctor without root, and without systemd: what it says then, and that its fixes work."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightpost_edge.doctor import examine as examining
from sightpost_edge.doctor.examine import checks, examine
from sightpost_edge.doctor.finding import Finding
from sightpost_edge.doctor.host import this_host
from sightpost_edge.doctor.mend import mendable
from sightpost_edge.doctor.unseen import is_shut, unseen

from ..conftest import REPOSITORY
from .doctor_rig import board, only, plant

NOBODY = 65534
LOOK = (
    f"NOBODY = {NOBODY}"
    + """
import json, os, sys
from dataclasses import asdict, replace
from pathlib import Path
from sightpost_edge.config import Site, build
from sightpost_edge.doctor.examine import examine
from tests.edge.doctor_rig import MadeUp

root = Path(sys.argv[1])
store = root / "var/lib/sightpost/garden"
table = {"model": str(store / "models"), "store": str(store),
         "mqtt": {"url": "mqtt://127.0.0.1:9", "username": "gate"}}
station = MadeUp(root=root, environ={}, uid=NOBODY, prefix="/opt/sightpost", station="garden",
                 store=store, config=root / "etc/sightpost/garden.toml",
                 site=build(Site, table, where="test"))
hand = replace(station, station="", config=root / "st.toml", made={})
examine(hand)  # loads all that is needed: this interpreter may lie in root's home
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
print(json.dumps([[asdict(x) for x in examine(replace(one, made={}))] for one in (station, hand)]))
"""
)


@pytest.fixture
def stations() -> Iterator[Path]:
    """As installed: root's, closed to others; pytest's own folder may be entered by root alone."""
    mode = 0o750 if os.geteuid() == 0 else 0
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        root.chmod(0o755)
        store = plant(root, {
            "var/lib/sightpost/garden/models/versions/1-ab/model.tflite": "",
            "var/lib/sightpost/garden/events.db": "",
            "var/lib/sightpost/garden/store.lock": "",
            "etc/sightpost/garden.mqtt-password": "", "etc/sightpost/garden.toml": "",
            "st.toml": "",
        }) / "var/lib/sightpost/garden"  # fmt: skip
        (store / "models/current").symlink_to("versions/1-ab")
        shut = (store, root / "etc/sightpost")
        for folder in shut:
            folder.chmod(mode)
        yield root
        for folder in shut:
            folder.chmod(0o750)


def test_without_root_one_note_says_what_was_not_looked_at(stations: Path) -> None:
    """By another user's own process, over real folders: one note with the command that looks at
    all, of the station it was asked for; no check gives up, and none is called defective."""
    ran = subprocess.run(
        [sys.executable, "-c", LOOK, str(stations)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    asked = ("garden", f"--config {stations}/st.toml")
    for words, found in zip(asked, json.loads(ran.stdout), strict=True):
        assert {one["check"] for one in found} == {name for name, _ in checks()}
        assert not [one for one in found if "could not look" in one["what"]]
        closed = [one for one in found if "may not look" in one["what"]]
        assert [one["level"] for one in closed] == ["note"], closed
        assert closed[0]["fix"].startswith("sudo ")
        assert closed[0]["fix"].endswith(f"sightpost doctor {words}")
        assert "the model " in closed[0]["what"]
        assert "the store " in closed[0]["what"]
        assert [one["level"] for one in found if one["check"] == "model.trial"] == ["ok"]
        faulty = {one["check"].partition(".")[0] for one in found if one["level"] == "fault"}
        assert faulty == {"wheels", "network"}  # nothing is installed there, and no broker


def test_a_permission_is_no_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a check meets one, and what it had found before stays; of root it is a defect."""

    def check_odd(host: Any) -> Iterator[Finding]:
        yield Finding("test.odd", "ok", "this much")
        raise PermissionError(13, "Permission denied", "/etc/shadow")

    monkeypatch.setattr(examining, "checks", lambda: iter([("test.odd", check_odd)]))
    before, after = examine(board(tmp_path))
    assert (before.what, after.level) == ("this much", "note")
    assert after.what == "this user may not look at /etc/shadow"
    assert after.fix.endswith("sightpost doctor")
    assert "PermissionError" in examine(board(tmp_path, uid=0))[1].what


def test_what_was_not_looked_at_is_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thing once, in the order of the checks; every check keeps its place."""
    rows = [
        (f"test.{name}", lambda host, n=name, s=subject: iter([unseen(host, f"test.{n}", s)]))
        for name, subject in (("a", "the store"), ("b", "the log"), ("c", "the store"))
    ]
    monkeypatch.setattr(examining, "checks", lambda: iter(rows))
    found = examine(board(tmp_path, station="garden"))
    assert [(one.check, one.level) for one in found] == [
        ("test.a", "note"), ("test.b", "ok"), ("test.c", "ok")
    ]  # fmt: skip
    assert found[0].what == "this user may not look at the store; the log"
    assert found[2].what == "not looked at: this user may not, as test.a says"


def test_looking_again_names_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its whole path, and so is a store that the config names from here."""
    monkeypatch.chdir(tmp_path)
    Path("my site.toml").write_text('store = "kept"\n')
    host = this_host(config=Path("my site.toml"))
    assert host.as_root == f"sudo sightpost doctor --config '{tmp_path}/my site.toml'"
    assert host.store == tmp_path / "kept"


def test_shut_is_not_absent(tmp_path: Path) -> None:
    """Nothing there is nothing that is hidden."""
    assert not is_shut(tmp_path / "none")
    assert not is_shut(tmp_path)


def test_fixes_without_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that need it are left out; where no other is left it is said in a sentence, which
    nobody runs. On another machine it may run."""
    fixes = {
        "sudo systemctl restart x\nls": "ls",
        "sudo systemctl restart x": "Systemd does not run here; where it does: sudo systemctl "
        "restart x",
        "ping b\nsystemctl status m  # on the broker's machine": None,
        "": None,
    }
    safe = list(fixes)[:2]
    rows = [
        (
            "test.x",
            lambda host, fix=fix: iter(
                [Finding("test.x", "fault", "x", fix=fix, safe=fix in safe)]
            ),
        )
        for fix in fixes
    ]
    monkeypatch.setattr(examining, "checks", lambda: iter(rows))
    here = board(tmp_path)
    found = examine(here)
    assert [one.fix for one in found] == [fix if new is None else new for fix, new in fixes.items()]
    assert "restart" not in " ".join(one.fix for one in mendable(found))
    plant(tmp_path, {"run/systemd/system/x": ""})
    monkeypatch.setattr(examining, "checks", lambda: iter(rows))
    assert [one.fix for one in examine(here)] == list(fixes)
    assert only(mendable(examine(here)[:1])).fix == "sudo systemctl restart x\nls"
