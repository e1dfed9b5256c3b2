"""What commands say where a path is closed, a database empty, a folder not made, work not done."""

import io
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sightpost_edge.bundle import Bundle
from sightpost_edge.cli import app
from sightpost_edge.errors import ModelError, SourceUnavailable
from sightpost_edge.sources import open_source
from sightpost_edge.store import EventStore
from sightpost_edge.store.outbox import UPLINK, store_id
from sightpost_edge.uplink.cursor import Cursor

from .test_store import event

Close = Callable[[Path], None]


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def close(monkeypatch: pytest.MonkeyPatch) -> Close:
    """Nobody may look at what lies in a folder; root, as whom the tests may run, always may."""

    def folder(closed: Path) -> None:
        def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
            def refused(path: Any, *more: Any, **other: Any) -> Any:
                if isinstance(path, (str, Path)) and closed in Path(path).absolute().parents:
                    raise PermissionError(13, "Permission denied", str(path))
                return real(path, *more, **other)

            return refused

        for name in ("stat", "lstat", "open", "scandir"):
            monkeypatch.setattr(os, name, refusing(getattr(os, name)))
        monkeypatch.setattr(io, "open", refusing(io.open))

    return folder


# Where a path may not be looked at


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("run --model closed/models", 4),
        ("run --model closed/m.tflite", 4),
        ("run --model m --config closed/site.toml", 2),
        ("bench closed/m.tflite", 4),
        ("classify closed/m.tflite closed/a.jpg", 3),
        ("events --store closed/store", 7),
        ("events export --store closed/store", 7),
        ("events export --store s --to closed/folder/x.csv", 2),
        ("events chart --store s --save closed/folder/x.png", 2),
        ("why 1 --store closed/store", 7),
        ("uplink --config closed/site.toml", 2),
    ],
)
def test_a_closed_path_is_said_with_what_may_enter(
    tmp_path: Path, close: Close, monkeypatch: pytest.MonkeyPatch, words: str, code: int
) -> None:
    """Not a traceback: on Python 3.11 even ``is_dir`` raises there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "closed").mkdir()
    close(tmp_path / "closed")
    done = call(*words.split())
    assert done.exit_code == code, done.stderr
    assert done.stderr.startswith(("sightpost: cannot ", "sightpost: no permission to "))
    assert "sudo" in done.stderr


def test_a_stations_models_need_sudo(close: Close) -> None:
    """Whoever forgets it on a station is not told to change its owner."""
    close(Path("/var/lib/sightpost"))
    done = call("run", "--model", "/var/lib/sightpost/garden/models")
    assert done.exit_code == ModelError.exit_code
    assert done.stderr == (
        "sightpost: cannot look at /var/lib/sightpost/garden/models: Permission denied\n"
        "  hint: a station's files are open to its own user and to root: repeat this with sudo\n"
    )


@pytest.mark.parametrize("source", ["{}/clip.mp4", "file://{}/clip.mp4", "folder://{}/photos"])
def test_a_closed_source_is_one_that_cannot_be_opened(
    tmp_path: Path, close: Close, source: str
) -> None:
    """However its path is given."""
    close(tmp_path)
    with pytest.raises(SourceUnavailable, match=r"cannot look at .*: Permission denied") as caught:
        open_source(source.format(tmp_path))
    assert "sudo" in caught.value.hint


def test_a_name_too_long_is_no_traceback() -> None:
    """Nor does sudo help."""
    done = call("run", "--model", "m" * 300)
    assert done.exit_code == ModelError.exit_code
    assert "File name too long" in done.stderr
    assert "sudo" not in done.stderr


# A model that is not there


def test_a_station_without_a_model_is_told_how_one_comes(tmp_path: Path) -> None:
    """Before its store is made as after; its owner has no workshop."""
    for _ in range(2):
        done = call("run", "--model", tmp_path / "st" / "models")
        assert done.exit_code == ModelError.exit_code
        assert f"model install --store {tmp_path / 'st'} FILE puts one there" in done.stderr
        assert "convert" not in done.stderr
        (tmp_path / "st" / "models").mkdir(parents=True, exist_ok=True)


def test_a_file_that_is_missing_may_be_a_wrong_path(tmp_path: Path) -> None:
    """Or still to be made."""
    with pytest.raises(ModelError, match="no model file at") as caught:
        Bundle.open(tmp_path / "m.tflite")
    assert caught.value.hint.startswith("is the path right?")


# A database without tables


def of_no_bytes(path: Path) -> None:
    path.touch()


def without_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 0")
        database.execute("CREATE TABLE other (x)")


@pytest.fixture(params=[of_no_bytes, without_tables])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What a start on a full disk leaves, or a copy that ran out of room."""
    (tmp_path / "store").mkdir()
    request.param(tmp_path / "store" / "events.db")
    return tmp_path / "store"


@pytest.mark.parametrize(
    "words",
    [
        "list", "list --label fox --last 3", "list --marked", "count", "count --by hour --last 3",
        "chart", "chart activity --label fox", "chart accumulation", "chart yield", "export",
        "export --format csv", "export --format megadetector",
    ],
)  # fmt: skip
def test_an_empty_database_has_no_events_yet(empty: Path, words: str) -> None:
    """As one in which nothing was written: no error of SQL's, and no older release."""
    done = call("events", *words.split(), "--store", empty)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.startswith("sightpost: no such events yet\n")


def test_an_empty_database_has_no_health_and_no_samples_yet(empty: Path) -> None:
    """Nothing was dropped from it either."""
    assert "no camera faults so far" in call("events", "health", "--store", empty).stderr
    assert "no such samples yet" in call("events", "samples", "--store", empty).stderr


@pytest.mark.parametrize("words", ["events show 1", "events mark 1", "why 1"])
def test_an_empty_database_has_no_event_of_that_number(empty: Path, words: str) -> None:
    """Asked for one, it is an error as ever."""
    done = call(*words.split(), "--store", empty)
    assert done.exit_code == 7
    assert done.stderr.startswith(f"sightpost: no event 1 in {empty}\n")


def test_an_empty_database_makes_an_empty_package(empty: Path, tmp_path: Path) -> None:
    """Camtrap DP, which asks for more than the events."""
    site = tmp_path / "site.toml"
    site.write_text(
        f'store = "{empty}"\n[deployment]\nlatitude = 52.7\nlongitude = 23.8\nproject = "Foxes"\n'
        'contact = "Ada"\nstart = "2026-05-01"\nend = "2026-05-02"\n'
    )
    words = ("events", "export", "--config", site, "--format", "camtrap-dp", "--to")
    done = call(*words, tmp_path / "package")
    assert done.exit_code == 0, done.stderr
    assert "0 events in 0 sequences" in done.stderr


# What is said


def test_what_waits_still_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending was stopped by a signal: two of three messages are for the next time."""
    monkeypatch.setattr("sightpost_edge.uplink.service.send_waiting", lambda *_: 1)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # those of the tests stay
    site, store = tmp_path / "site.toml", tmp_path / "store"
    site.write_text(f'name = "gate"\nstore = "{store}"\n[mqtt]\nurl = "mqtt://127.0.0.1:1"\n')
    with EventStore(store, source="s", model="m", model_digest="d", outbox=True) as writer:
        writer.write_all([writer.pending(event(), snapshot=False) for _ in range(3)])
    cursor = Cursor(store / UPLINK / "mqtt.json")
    cursor.belongs_to(store_id(store))
    for acked, waits in ((1, ", 2 wait for the next time"), (3, "")):
        cursor.advance(acked)
        cursor.save()
        done = call("uplink", "--config", site, "--once")
        assert (done.exit_code, done.stderr) == (0, f"sightpost: 1 messages sent{waits}\n")


def test_opencv_does_not_warn_in_its_own_words() -> None:
    """A camera that is not there is told by our error; before came a line with cap.cpp in it."""
    program = (
        "import sys; from sightpost_edge import cli\n"
        "cli.app = lambda **_: None; cli.main()\n"
        "import cv2; print(cv2.VideoCapture('rtsp://127.0.0.1:9/x', cv2.CAP_FFMPEG).isOpened())"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENCV_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env=environment,
    )  # fmt: skip
    assert done.stdout == "False\n"
    assert "WARN" not in done.stderr
